"""Amnesia crash: validators stop, and come back without what they had persisted.

Who has forgotten what it voted for can vote again in a view without knowing. Shows in: commits of
heights that this validator had committed before (it begins at genesis); enough of them break safety
as double voters would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class AmnesiaCrash(Fault):
    """Stop `nodes`, and start them again from genesis: votes and certificates are forgotten."""

    kind: ClassVar[str] = "amnesia_crash"
    nodes: tuple[int, ...]

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.crash(node)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.restart(node, amnesia=True)
