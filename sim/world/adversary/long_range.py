"""Long range: write another history from genesis with keys whose stake has long been withdrawn."""

from __future__ import annotations

from typing import Any, ClassVar

from sim.protocol.effects import EpochChanged, Send
from sim.protocol.events import BlocksReceived, Event, MessageReceived
from sim.protocol.messages import BlocksRequest, CertificateRequest, EpochProofMessage
from sim.world.adversary import Edited
from sim.world.adversary.twins import Copies, Sides


class LongRange(Copies):
    """As it starts, second copies begin at genesis, among themselves, and show it to the victims.

    With a quorum of the genesis weight they certify a history of their own, at the pace of blocks;
    nothing at stake is left to slash. Who is synced past the epochs that it still judges (four)
    ignores what comes of old ones; within them it takes the conflict for what it is and halts, so
    unbonding has to last longer than that. Who begins at genesis (a new node, or one that lost
    everything) cannot tell the histories apart and believes whichever it is given first: only a
    recent checkpoint from elsewhere helps, which is what "weak subjectivity" means (V. Buterin,
    "Proof of Stake: How I Learned to Love Weak Subjectivity", 2014). The first copies go on as
    they were.
    """

    kind: ClassVar[str] = "long_range"
    shows: ClassVar[tuple[type[Any], ...]] = ()
    """What they certify among themselves is of no epoch that anybody honest is in."""

    def __init__(self, key: int, victims: tuple[int, ...]) -> None:
        super().__init__(key)
        self._victims = victims

    def sides(self, now_ns: int) -> Sides:
        others = self.scene.others()
        rest = tuple(other for other in others if other not in self._victims)
        return rest, tuple(victim for victim in self._victims if victim in others)

    def see(self, me: int, event: Event, now_ns: int) -> list[Edited] | None:
        if isinstance(event, BlocksReceived | MessageReceived) and event.sender in self._victims:
            asked = isinstance(event, MessageReceived) and isinstance(
                event.message, BlocksRequest | CertificateRequest
            )
            if not asked:
                # The true history, told by a victim, must not reach the copies.
                return []
        return super().see(me, event, now_ns)

    def _of_the_second(self, me: int, effect: Edited, now_ns: int) -> list[Edited]:
        out = super()._of_the_second(me, effect, now_ns)
        if isinstance(effect, EpochChanged) and effect.epoch > 1:
            # The strongest claim there is: a quorum of that epoch closed it with another block.
            proof = self._second[me].chain.proofs[effect.epoch - 1]
            out += [Send(victim, EpochProofMessage(proof)) for victim in self.sides(now_ns)[1]]
        return out
