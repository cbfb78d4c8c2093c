"""Carry out the fault timetable: what begins and ends when, on validators and on the agent plane.

Owns the present state of crashes, slowdowns, throttles and cuts. Overlapping faults of one kind on
one validator count once each: it is up again when every crash has ended, and the strongest slowdown
or throttle of those in force applies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import simpy
from simpy.events import URGENT

from sim.engine.node import Node
from sim.protocol.events import Restarted
from sim.world.faults import Fault

_WHOLE = 1_000_000


class PlaneFaults(Protocol):
    """What faults do to the agent plane; gateways are named by their validator."""

    def gateway(self, validator: int, up: bool) -> None: ...

    def slow(self, validator: int, factor_ppm: int) -> None: ...

    def throttle(self, validator: int, left_ppm: int) -> None: ...

    def cut(self, groups: tuple[tuple[int, ...], ...], one_way: bool, on: bool) -> None: ...


class Entry(NamedTuple):
    """One fault of the timetable. `flap_ns`: it ends and begins in turns of that length."""

    index: int
    fault: Fault
    at_ns: int
    until_ns: int | None
    flap_ns: int | None = None


class Cut:
    """Groups of validators that do not reach one another."""

    __slots__ = ("group_of", "one_way")

    def __init__(self, groups: tuple[tuple[int, ...], ...], nodes: int, one_way: bool) -> None:
        rest = len(groups)
        self.group_of = [rest] * nodes
        for number, group in enumerate(groups):
            for node in group:
                self.group_of[node] = number
        self.one_way = one_way

    def severs(self, source: int, target: int) -> bool:
        """Tell whether a message from `source` to `target` is lost."""
        a, b = self.group_of[source], self.group_of[target]
        return a < b if self.one_way else a != b


class Timetable:
    """The faults of a run, as events of its loop; the `Target` that they act on."""

    def __init__(
        self,
        *,
        env: simpy.Environment,
        nodes: list[Node],
        cuts: dict[int, Cut],
        plane: PlaneFaults | None,
        revive: Callable[[Node, Restarted], None],
        record: Callable[[int, Fault, str], None],
    ) -> None:
        self.env = env
        self.nodes = nodes
        self.cuts = cuts
        self._plane = plane
        self._revive = revive
        self._record = record
        self._crashes = [0] * len(nodes)
        self._slow: dict[int, list[int]] = {}
        self._throttled: dict[int, list[int]] = {}
        self._rates = [node.links[0].bits_per_s for node in nodes]
        self._groups: dict[int, tuple[tuple[int, ...], ...]] = {}
        self._tokens = 0
        self.healed_ns = 0
        """When the last fault ended."""

    def schedule(self, entries: list[Entry], duration_ns: int) -> None:
        """Put the beginning and end of each fault into the loop, before what happens then."""
        for entry in entries:
            end = duration_ns if entry.until_ns is None else entry.until_ns
            if entry.flap_ns is None:
                self._at(entry.at_ns, entry, begins=True)
                if entry.until_ns is not None:
                    self._at(end, entry, begins=False)
                continue
            at, begins = entry.at_ns, True
            while at < end:
                self._at(at, entry, begins=begins)
                at, begins = at + entry.flap_ns, not begins
            if not begins:
                self._at(end, entry, begins=False)

    def _at(self, when_ns: int, entry: Entry, *, begins: bool) -> None:
        event = simpy.Event(self.env)
        event._ok = True
        event._value = (entry, begins)
        event.callbacks = [self._due]
        self.env.schedule(event, URGENT, when_ns - self.env.now)

    def _due(self, event: simpy.Event) -> None:
        entry, begins = event._value
        self._record(entry.index, entry.fault, "begin" if begins else "end")
        if begins:
            entry.fault.begin(self)
        else:
            entry.fault.end(self)
            self.healed_ns = self.env.now

    # -- Target -------------------------------------------------------------------------------

    def crash(self, node: int) -> None:
        self._crashes[node] += 1
        if self._crashes[node] > 1:
            return
        victim = self.nodes[node]
        victim.up = False
        victim.life += 1
        victim.timers.clear()
        victim.relayed.clear()
        victim.verified.clear()
        now = self.env.now
        victim.cpu.clear(now)
        victim.links[0].consensus.clear(now)
        victim.links[1].consensus.clear(now)
        if self._plane is not None:
            self._plane.gateway(node, False)

    def restart(self, node: int, *, amnesia: bool) -> None:
        self._crashes[node] -= 1
        victim = self.nodes[node]
        if amnesia:
            victim.persisted = None
        if self._crashes[node]:
            return
        victim.up = True
        if self._plane is not None:
            self._plane.gateway(node, True)
        self._revive(victim, Restarted(victim.persisted))

    def slow(self, node: int, factor_ppm: int) -> None:
        factor = _strongest(self._slow, node, factor_ppm, max)
        self.nodes[node].cpu.set_slowdown(factor)
        if self._plane is not None:
            self._plane.slow(node, factor)

    def throttle(self, node: int, left_ppm: int) -> None:
        left = _strongest(self._throttled, node, left_ppm, min)
        for link in self.nodes[node].links:
            link.set_rate(max(2, self._rates[node] * left // _WHOLE))
        if self._plane is not None:
            self._plane.throttle(node, left)

    def separate(self, groups: tuple[tuple[int, ...], ...], *, one_way: bool) -> int:
        self._tokens += 1
        self.cuts[self._tokens] = Cut(groups, len(self.nodes), one_way)
        self._groups[self._tokens] = groups
        if self._plane is not None:
            self._plane.cut(groups, one_way, True)
        return self._tokens

    def join(self, token: int) -> None:
        cut = self.cuts.pop(token)
        groups = self._groups.pop(token)
        if self._plane is not None:
            self._plane.cut(groups, cut.one_way, False)


def _strongest(
    table: dict[int, list[int]], node: int, value: int, choose: Callable[[list[int]], int]
) -> int:
    """Add `value` to what is in force on `node` (10**6 ends the latest one); return the effect."""
    in_force = table.setdefault(node, [])
    if value == _WHOLE:
        if in_force:
            in_force.pop()
    else:
        in_force.append(value)
    return choose(in_force) if in_force else _WHOLE
