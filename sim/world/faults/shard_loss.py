"""Shard loss: hosts of the registry lose their copies of shards.

Shows in: `lost_write` and `moved_in` in `registry`; messages lost as unknown_target and
not_registered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class ShardLoss(Fault):
    """Destroy what `hosts` hold of `shards`; copies that others hold are made anew, and billed.

    Lost are the writes that had left no struck host yet, and all of a shard whose every host is
    struck: its agents are no longer found and must register anew. That breaks
    `no_lost_registration`.
    """

    hosts: tuple[int, ...]
    shards: tuple[int, ...]
    nodes: tuple[int, ...] = ()
    kind: ClassVar[str] = "shard_loss"

    @property
    def target(self) -> str:
        return "registry"

    def begin(self, target: Target) -> None:
        target.lose_shards(self.hosts, self.shards)
