"""Slow disk: each write of a validator's own state takes time, one after the other.

What a vote, a timeout or a proposal depends on must be durable before it leaves, so they are late
by as much. Shows in: block latency; timeouts once leaders and voters are slower than the timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class SlowDisk(Fault):
    """Let each write of `nodes` take `write_ns`; of overlapping ones the slowest holds."""

    kind: ClassVar[str] = "slow_disk"
    impairs: ClassVar[bool] = True
    nodes: tuple[int, ...]
    write_ns: int

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.slow_disk(node, self.write_ns, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.slow_disk(node, self.write_ns, on=False)
