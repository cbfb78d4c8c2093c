"""Double vote: sign two votes in one view, the offence that accountability exists for."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import Send
from sim.protocol.messages import VoteMessage
from sim.protocol.types import BlockId, digest
from sim.world.adversary import Attack, Edited, own_vote

_VIEWS_KEPT = 64


class DoubleVote(Attack):
    """Send, beside an own vote, a second one of the same view for another block.

    The other block is one that a member voted for in that view, else an invented id. The collector
    sees both: two votes by one key in one view are Evidence. With less than 2q-1 of the weight it
    cannot break safety; its stake and reputation are slashed.
    """

    kind: ClassVar[str] = "double_vote"

    def __init__(self, key: int) -> None:
        self._key = key
        self._seen: dict[tuple[int, int], BlockId] = {}

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for effect in effects:
            out.append(effect)
            vote = own_vote(effect, me)
            if vote is None or not isinstance(effect, Send):
                continue
            known = self._seen.setdefault((vote.epoch, vote.view), vote.block)
            other = known if known != vote.block else digest(self._key, vote.epoch, vote.view)
            while len(self._seen) > _VIEWS_KEPT:
                del self._seen[next(iter(self._seen))]
            out.append(Send(effect.to, VoteMessage(vote._replace(block=other, signature=b""))))
        return out
