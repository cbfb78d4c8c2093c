"""Slow node: every service of a validator's workers takes `factor` times as long (gray failure)."""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.faults import Target


@dataclass(frozen=True, slots=True)
class SlowNode:
    nodes: tuple[int, ...]
    factor_ppm: int

    @property
    def kind(self) -> str:
        return "slow_node"

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.slow(node, self.factor_ppm, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.slow(node, self.factor_ppm, on=False)
