"""Slow node: every service of a validator's workers takes `factor` times as long (gray failure).

It answers every question of whether it is alive, so nothing but its pace gives it away. Shows in:
block latency, and the station `cpu` of that validator; timeouts only where it leads too slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class SlowNode(Fault):
    """Stretch the service times of the workers of `nodes`; of overlapping ones the worst holds."""

    kind: ClassVar[str] = "slow_node"
    nodes: tuple[int, ...]
    factor_ppm: int

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.slow(node, self.factor_ppm, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.slow(node, self.factor_ppm, on=False)
