"""Outages of places: all validators that run there stop, or nobody outside reaches them.

Owns: what the outages of a zone, a region and a provider have in common. Must not know: which
validators run where.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.faults import Fault, Span, Target
from sim.world.faults.partition import cuts
from sim.world.network.links import Group, LinkRule


@dataclass(frozen=True, slots=True)
class Outage(Fault):
    """Strike `nodes`, all that run in `place`.

    `cut_off`: they go on and reach one another, but nobody outside; else they crash, and come back
    with what they had persisted.
    """

    nodes: tuple[int, ...]
    place: str
    cut_off: bool

    @property
    def target(self) -> str:
        return self.place

    def rules(self, spans: tuple[Span, ...], flap_ns: int | None) -> tuple[LinkRule, ...]:
        return cuts([Group(nodes=self.nodes)], spans, flap_ns) if self.cut_off else ()

    def begin(self, target: Target) -> None:
        if not self.cut_off:
            for node in self.nodes:
                target.crash(node)

    def end(self, target: Target) -> None:
        if not self.cut_off:
            for node in self.nodes:
                target.restart(node, amnesia=False)
