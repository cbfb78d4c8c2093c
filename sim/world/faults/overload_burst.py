"""Overload burst: agents send many times as much for a while.

Shows in: messages offered and refused in `traffic`, and `queue_max` of the gateways' stations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class OverloadBurst(Fault):
    """Multiply the open-loop rates of some kinds of traffic, from some regions, while it lasts.

    `place` tells bursts apart that overlap: what they add is added up. Empty `kinds`, `regions`:
    all.
    """

    place: int
    factor_ppm: int
    kinds: tuple[int, ...] = ()
    regions: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    kind: ClassVar[str] = "overload_burst"

    @property
    def target(self) -> str:
        return "agents"

    def begin(self, target: Target) -> None:
        target.surge(self.place, self.factor_ppm, self.kinds, self.regions)

    def end(self, target: Target) -> None:
        target.surge(self.place, 1_000_000, self.kinds, self.regions)
