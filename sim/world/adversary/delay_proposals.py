"""Delay proposals: lead as late as the others' timers allow, to slow the chain unpunished."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import Broadcast, TimeoutCertified, ViewChanged
from sim.protocol.messages import Proposal
from sim.protocol.pacemaker import delay_ns
from sim.world.adversary import Attack, Edited, Later

_LEAST_MARGIN = 32
"""The margin never falls below this part of a timer."""
_FIRST_MARGIN = 4
"""The margin that it starts with, as part of a timer."""


class DelayProposals(Attack):
    """Hold each own proposal back; nothing signed is wrong, so nothing convicts.

    With `delay_ns` by that much. Without, until just before the others' timers run out: they run
    since the others saw the parent, which is when the members saw it, so a proposal leaves a margin
    before that timer's end. The margin doubles when a view led by a member was lost all the same,
    and shrinks by an eighth with each that was not: that is as slow as the chain can be made
    without a single timeout. Costs latency, never safety; views led by others are as fast as ever.
    """

    kind: ClassVar[str] = "delay_proposals"

    def __init__(self, delay_ns: int | None) -> None:
        self._delay_ns = delay_ns
        self._margin_ns = 0
        self._entered: dict[int, tuple[tuple[int, int], int]] = {}
        self._held: tuple[int, int] | None = None

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return [self._late(me, effect, now_ns) for effect in effects]

    def _late(self, me: int, effect: Edited, now_ns: int) -> Edited:
        if isinstance(effect, TimeoutCertified):
            self._learn((effect.tc.epoch, effect.tc.view), lost=True)
        elif isinstance(effect, ViewChanged):
            self._entered[me] = ((effect.epoch, effect.view), now_ns)
            if effect.reason == "certificate":
                self._learn((effect.epoch, effect.view - 1), lost=False)
        elif isinstance(effect, Broadcast) and isinstance(effect.message, Proposal):
            block = effect.message.block
            return Later(effect, self._hold_ns(me, (block.epoch, block.view), now_ns))
        return effect

    def _hold_ns(self, me: int, view: tuple[int, int], now_ns: int) -> int:
        if self._delay_ns is not None:
            return self._delay_ns
        # The timers of the others run since they saw the parent: since the slowest member did.
        timer_ns = delay_ns(self.scene.cores[me].parameters, 0)
        self._margin_ns = self._margin_ns or timer_ns // _FIRST_MARGIN
        since = [when for _, when in self._entered.values()]
        self._held = view
        return max(0, min(since, default=now_ns) + timer_ns - self._margin_ns - now_ns)

    def _learn(self, view: tuple[int, int], *, lost: bool) -> None:
        if self._held != view:
            return
        self._held = None
        timer_ns = delay_ns(next(iter(self.scene.cores.values())).parameters, 0)
        margin = self._margin_ns * 2 if lost else self._margin_ns - self._margin_ns // 8
        self._margin_ns = min(timer_ns, max(margin, timer_ns // _LEAST_MARGIN))
