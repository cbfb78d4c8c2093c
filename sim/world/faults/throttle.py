"""Throttle: a validator's uplink and downlink keep only a share of their bandwidth."""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.faults import Target


@dataclass(frozen=True, slots=True)
class Throttle:
    nodes: tuple[int, ...]
    left_ppm: int

    @property
    def kind(self) -> str:
        return "throttle"

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.throttle(node, self.left_ppm, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.throttle(node, self.left_ppm, on=False)
