"""Failing disk: a share of a validator's writes of its own state fails.

Who cannot persist a vote must not cast it: its own statements stay where they are until a write
succeeds, and it follows the chain meanwhile. Shows in: refusals for `not_persisted`, attendance
and timeouts; a restart finds the last state that was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class FailingDisk(Fault):
    """Let a share of the writes of `nodes` fail, each by its own draw."""

    kind: ClassVar[str] = "failing_disk"
    impairs: ClassVar[bool] = True
    nodes: tuple[int, ...]
    share_ppm: int

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.fail_writes(node, self.share_ppm, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.fail_writes(node, self.share_ppm, on=False)
