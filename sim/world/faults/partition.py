"""Partition: validators are cut into groups that do not reach one another; one-way if asked.

What it does is link rules with times of their own; it begins and ends for the record only.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.faults import Target
from sim.world.network.links import FOREVER_NS, Group, LinkRule, partition


@dataclass(frozen=True, slots=True)
class Partition:
    """`groups`: who stays together; validators in none are together as one more group."""

    groups: tuple[tuple[int, ...], ...]
    one_way: bool = False

    @property
    def kind(self) -> str:
        return "partition"

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(sorted(node for group in self.groups for node in group))

    def rules(self, at_ns: int, until_ns: int | None, flap_ns: int | None) -> tuple[LinkRule, ...]:
        """Return the link rules of the cut; `flap_ns`: cut and healed take turns that long."""
        sides = [Group(nodes=group) for group in self.groups]
        if len(sides) > 1:
            sides.append(Group(nodes=self.nodes, outside=True))
        return partition(
            sides,
            start_ns=at_ns,
            end_ns=FOREVER_NS if until_ns is None else until_ns,
            one_way=self.one_way,
            period_ns=0 if flap_ns is None else 2 * flap_ns,
            active_ns=0 if flap_ns is None else flap_ns,
        )

    def begin(self, target: Target) -> None:
        return

    def end(self, target: Target) -> None:
        return
