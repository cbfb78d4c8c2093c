"""Invalid-signature flood: make others verify signatures that were never made."""

from __future__ import annotations

from typing import Any, ClassVar

from sim.protocol.effects import Send
from sim.protocol.messages import LateVotes, Message, VoteMessage
from sim.protocol.types import Vote, digest
from sim.world.adversary import Alarm, Attack, Edited
from sim.world.crypto.signer import FORGED

_MESSAGE = "message"


class InvalidSignatureFlood(Attack):
    """Send the victims in turn messages of `signatures` forged votes each, every `period_ns`.

    Each is verified at the receiver before it is refused (reason invalid_signature), so a flood
    takes the victims' processors and downlinks from consensus; ML-DSA-87 verifies a few thousand a
    second a worker. It raises latency until views time out, and stops when the flood stops; it
    never counts as a vote. The sender is known, but nothing that it signed convicts it.
    """

    kind: ClassVar[str] = "invalid_signature_flood"

    def __init__(self, key: int, period_ns: int, signatures: int, victims: tuple[int, ...]) -> None:
        self._key = key
        self._period_ns = period_ns
        self._signatures = signatures
        self._victims = victims
        self._sent = 0

    def begin(self, me: int, now_ns: int) -> list[Edited]:
        return [Alarm(_MESSAGE, self._period_ns)]

    def woken(self, me: int, token: Any, now_ns: int) -> list[Edited]:
        victims = [v for v in self._victims if not self.scene.owns(v)]
        self._sent += 1
        again = Alarm(_MESSAGE, self._period_ns)
        if not victims:
            return [again]
        return [Send(victims[self._sent % len(victims)], self._forged(me)), again]

    def _forged(self, me: int) -> Message:
        """Claim votes of everybody in turn for a block that nobody has seen."""
        core, block = self.scene.cores[me], digest("flood", self._key, self._sent)
        first = self._sent * self._signatures
        votes = tuple(
            Vote(core.epoch, core.view, block, (first + i) % self.scene.identities, FORGED)
            for i in range(self._signatures)
        )
        return VoteMessage(votes[0]) if len(votes) == 1 else LateVotes(votes)
