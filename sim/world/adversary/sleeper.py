"""Sleeper: farm reputation by honest work, then strike with the weight that it earned."""

from __future__ import annotations

from typing import Any, ClassVar

from sim.protocol.events import Event
from sim.world.adversary import Attack, Edited, Scene
from sim.world.adversary.when import next_height, reputation_ppm


class Sleeper(Attack):
    """Be honest until reputation or height is reached, then turn into `then`, for good.

    The coalition wakes as one, when the first member's own reputation or chain is there. What it
    gains is weight: 40 % of it follows reputation, so that members at the ceiling among others at
    the prior weigh more than their stake. It cannot gain more than the cap and the coefficient
    allow, and one proven offence halves what it farmed.
    """

    kind: ClassVar[str] = "sleeper"

    def __init__(self, then: Attack, reputation_ppm: int | None, height: int | None) -> None:
        self._then = then
        self._reputation_ppm = reputation_ppm
        self._height = height
        self.awake = False

    def join(self, scene: Scene) -> None:
        super().join(scene)
        self._then.join(scene)

    def see(self, me: int, event: Event, now_ns: int) -> list[Edited] | None:
        return self._then.see(me, event, now_ns) if self._awake(me) else None

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return self._then.edit(me, effects, now_ns) if self._awake(me) else effects

    def woken(self, me: int, token: Any, now_ns: int) -> list[Edited]:
        return self._then.woken(me, token, now_ns)

    def _awake(self, me: int) -> bool:
        if not self.awake:
            core = self.scene.cores[me]
            rich = self._reputation_ppm is not None and (
                reputation_ppm(core) >= self._reputation_ppm
            )
            late = self._height is not None and next_height(core) >= self._height
            self.awake = rich or late
        return self.awake
