"""Partition: validators are cut into groups that do not reach one another; one-way, flapping.

What it does is link rules with times of their own; it begins and ends for the record only. Shows
in: messages lost as `link_rule`; no commits on a side without quorum, some on a side with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Span
from sim.world.network.links import FOREVER_NS, Group, LinkRule, partition


@dataclass(frozen=True, slots=True)
class Partition(Fault):
    """Cut `groups` from one another; validators in none are together as one more group.

    `one_way`: only what an earlier group sends to a later one is lost.
    """

    kind: ClassVar[str] = "partition"
    groups: tuple[tuple[int, ...], ...]
    one_way: bool = False

    @property
    def nodes(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(sorted(node for group in self.groups for node in group))

    def rules(self, spans: tuple[Span, ...], flap_ns: int | None) -> tuple[LinkRule, ...]:
        sides = [Group(nodes=group) for group in self.groups]
        if len(sides) > 1:
            sides.append(Group(nodes=self.nodes, outside=True))
        return cuts(sides, spans, flap_ns, one_way=self.one_way)


def cuts(
    sides: Sequence[Group], spans: tuple[Span, ...], flap_ns: int | None, *, one_way: bool = False
) -> tuple[LinkRule, ...]:
    """Return the rules that part `sides` in each span; cut and healed take turns of `flap_ns`."""
    return tuple(
        rule
        for at_ns, until_ns in spans
        for rule in partition(
            sides,
            start_ns=at_ns,
            end_ns=FOREVER_NS if until_ns is None else until_ns,
            one_way=one_way,
            period_ns=0 if flap_ns is None else 2 * flap_ns,
            active_ns=0 if flap_ns is None else flap_ns,
        )
    )
