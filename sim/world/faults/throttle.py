"""Throttle: a validator's uplink and downlink keep only a share of their bandwidth.

Shows in: block latency (copies of proposals queue on the leader's uplink), the stations `uplink`
and `downlink` of that validator, waiting times of its gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class Throttle(Fault):
    """Leave the links of `nodes` a share of their rate; of overlapping ones the least holds."""

    kind: ClassVar[str] = "throttle"
    nodes: tuple[int, ...]
    left_ppm: int

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.throttle(node, self.left_ppm, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.throttle(node, self.left_ppm, on=False)
