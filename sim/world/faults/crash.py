"""Crash: validators stop, and come back with what they had persisted.

A crash keeps (last voted view, high certificate, last timeout) and the blocks, and loses what
waited, was in service or had not left. Shows in: commits of that validator while it is down (none),
messages lost as `receiver_down` and `sender_down`; above 1 - q of the weight the chain halts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class Crash(Fault):
    """Stop `nodes`, and start them again: what they had persisted they still know."""

    kind: ClassVar[str] = "crash"
    nodes: tuple[int, ...]

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.crash(node)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.restart(node, amnesia=False)
