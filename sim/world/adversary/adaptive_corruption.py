"""Adaptive corruption: take over whoever is about to lead, a few at a time, and let go again."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from sim.protocol.effects import ViewChanged
from sim.world.adversary import Attack, Corrupted, Edited
from sim.world.adversary.silent import quieted

_HORIZON = 256
"""Views ahead in which a target is looked for."""


class Target(NamedTuple):
    """A leader to come, and when it is in the adversary's hands."""

    node: int
    epoch: int
    view: int
    owned_ns: int


class AdaptiveCorruption(Attack):
    """Own at most `budget` of the scenario's `nodes` at once; silence each in the view it leads.

    A takeover begins when the target is chosen and is done `delay_ns` later; with `mobile` the
    adversary lets go once the target's view is over and moves on, else `budget` counts for the
    whole run. The leaders of an epoch are known as it begins, so a mobile adversary that is as fast
    as views silences every leader: budget 1 halts the chain without ever holding more than one
    validator. Slower ones lose it about budget / (delay / view + 1) of its views, and none at all
    once a takeover outlasts the epoch, whose successor's leaders nobody knows yet. A victim that
    is let go is honest again, but no longer believed by the monitors.
    """

    kind: ClassVar[str] = "adaptive_corruption"
    corrupts: ClassVar[bool] = True

    def __init__(self, budget: int, delay_ns: int, mobile: bool) -> None:
        self._budget = budget
        self._delay_ns = delay_ns
        self._mobile = mobile
        self._targets: list[Target] = []
        self._lost: dict[int, None] = {}
        self._front = (0, 0)
        self._moved_ns = 0
        self._pace_ns = 0

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        for effect in effects:
            if isinstance(effect, ViewChanged) and (effect.epoch, effect.view) > self._front:
                self._advance(me, (effect.epoch, effect.view), now_ns)
        if not self._owns(me, now_ns):
            return effects
        out: list[Edited] = [] if me in self._lost else [Corrupted()]
        self._lost[me] = None
        return out + quieted(effects)

    def _owns(self, me: int, now_ns: int) -> bool:
        return any(target.node == me and target.owned_ns <= now_ns for target in self._targets)

    def _advance(self, me: int, front: tuple[int, int], now_ns: int) -> None:
        """Let go of whose view is over, and choose from the leaders that can still be had."""
        same, core = front[0] == self._front[0], self.scene.cores[me]
        if same:
            gap_ns = (now_ns - self._moved_ns) // (front[1] - self._front[1])
            self._pace_ns = gap_ns if not self._pace_ns else (3 * self._pace_ns + gap_ns) // 4
        self._front, self._moved_ns = front, now_ns
        if self._mobile:
            self._targets = [t for t in self._targets if (t.epoch, t.view) >= front]
        if core.epoch != front[0]:
            return
        reach = -(-self._delay_ns // max(1, self._pace_ns or core.parameters.timer_base_ns))
        busy = {target.node for target in self._targets}
        aimed = {target.view for target in self._targets if target.epoch == front[0]}
        for view in range(front[1] + reach, front[1] + reach + _HORIZON):
            if len(self._targets) >= self._budget:
                return
            leader = core.leader(view)
            if self.scene.owns(leader) and leader not in busy and view not in aimed:
                owned_ns = now_ns + self._delay_ns
                self._targets.append(Target(leader, front[0], view, owned_ns))
                busy.add(leader)
