"""Full disk: a validator can store nothing, neither its own state nor others' blocks.

It says nothing of its own and no longer follows the chain: proposals and blocks that arrive are
lost there. Shows in: refusals for `not_persisted` and `disk_full`, no commits of that validator
until there is room again and it has caught up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class FullDisk(Fault):
    """Let `nodes` write nothing."""

    kind: ClassVar[str] = "full_disk"
    impairs: ClassVar[bool] = True
    nodes: tuple[int, ...]

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.fill_disk(node, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.fill_disk(node, on=False)
