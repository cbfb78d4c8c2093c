"""Crash: validators stop; with `amnesia` they come back without what they had persisted.

A crash keeps (last voted view, high certificate, last timeout); an amnesia crash does not, and can
therefore vote twice in a view without knowing: enough of them break safety.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.faults import Target


@dataclass(frozen=True, slots=True)
class Crash:
    nodes: tuple[int, ...]
    amnesia: bool = False

    @property
    def kind(self) -> str:
        return "amnesia_crash" if self.amnesia else "crash"

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.crash(node)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.restart(node, amnesia=self.amnesia)
