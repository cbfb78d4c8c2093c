"""Timeout spam: give up on views that are well, in the hope that others join."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import Broadcast, Send
from sim.protocol.messages import TimeoutMessage
from sim.protocol.types import Timeout
from sim.world.adversary import Attack, Edited, own_vote


class TimeoutSpam(Attack):
    """Broadcast, right after an own vote, `repeats` timeouts of the view `ahead` of the voted one.

    Honest validators join once timeouts weigh more than W - Q. Below, the spam costs bandwidth and
    processors only. Above, with `ahead` 0, each view gets a timeout certificate beside its quorum
    certificate, but the votes are out already and the chain keeps its pace; nothing convicts, for
    the timeouts name the highest certificate that the member has. With `ahead` 1 or more the others
    leave views before they vote, and the chain stands still; a member whose vote is certified above
    the certificate that it named is guilty of stale_timeout. Safety is never touched.
    """

    kind: ClassVar[str] = "timeout_spam"

    def __init__(self, repeats: int, ahead: int) -> None:
        self._repeats = repeats
        self._ahead = ahead

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for effect in effects:
            out.append(effect)
            vote = own_vote(effect, me)
            if vote is None or not isinstance(effect, Send):
                continue
            high, view = self.scene.cores[me].chain.high_qc, vote.view + self._ahead
            if high.epoch != vote.epoch or high.view >= view:
                continue
            timeout = Timeout(vote.epoch, view, high.view, high.block, me)
            out += [Broadcast(TimeoutMessage(timeout))] * self._repeats
        return out
