"""Carry out the fault timetable: what begins and ends when, on validators and on the agent plane.

Owns the present state of crashes, slowdowns, throttles and cuts. Overlapping faults of one kind on
one validator count once each: it is up again when every crash has ended, and the strongest slowdown
or throttle of those in force applies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simpy.events import URGENT

from sim.engine.loop import Loop
from sim.engine.node import Node
from sim.engine.plane_faults import PlaneFaults
from sim.world.faults import Fault

_WHOLE = 1_000_000


class Entry(NamedTuple):
    """One fault of the timetable. `flap_ns`: it ends and begins in turns of that length."""

    place: int
    fault: Fault
    at_ns: int
    until_ns: int | None
    flap_ns: int | None = None


def turns(entry: Entry, duration_ns: int) -> list[tuple[int, bool]]:
    """Return when a fault begins (True) and ends (False), in order; a flapping one many times."""
    end = duration_ns if entry.until_ns is None else entry.until_ns
    if entry.flap_ns is None:
        return [(entry.at_ns, True)] + ([] if entry.until_ns is None else [(end, False)])
    found = []
    at, begins = entry.at_ns, True
    while at < end:
        found.append((at, begins))
        at, begins = at + entry.flap_ns, not begins
    return found if begins else [*found, (end, False)]


def touches(entries: list[Entry], duration_ns: int) -> list[int]:
    """Return every time at which a fault changes something."""
    return [when_ns for entry in entries for when_ns, _ in turns(entry, duration_ns)]


class Timetable:
    """The faults of a run, as events of its loop; the `Target` that they act on."""

    def __init__(
        self,
        *,
        env: Loop,
        nodes: list[Node],
        plane: PlaneFaults | None,
        revive: Callable[[Node, bool], None],
        revoke: Callable[[Node], None],
        record: Callable[[int, Fault, str], None],
        healed: Callable[[int], None],
    ) -> None:
        self.env = env
        self.nodes = nodes
        self._plane = plane
        self._revive = revive
        self._revoke = revoke
        self._record = record
        self._healed = healed
        self._crashes = [0] * len(nodes)
        self._forgot = [False] * len(nodes)
        self._slow: dict[int, list[int]] = {}
        self._throttled: dict[int, list[int]] = {}
        self._rates = [node.links[0].bits_per_s for node in nodes]

    def schedule(self, entries: list[Entry], duration_ns: int) -> None:
        """Put the beginning and end of each fault into the loop, before what happens then."""
        for entry in entries:
            for when_ns, begins in turns(entry, duration_ns):
                self._at(when_ns, entry, begins=begins)

    def _at(self, when_ns: int, entry: Entry, *, begins: bool) -> None:
        self.env.at(when_ns, self._due, (entry, begins), URGENT)

    def _due(self, due: tuple[Entry, bool]) -> None:
        entry, begins = due
        self._record(entry.place, entry.fault, "begin" if begins else "end")
        if begins:
            entry.fault.begin(self)
        else:
            entry.fault.end(self)
            self._healed(self.env.now)

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
        self._revoke(victim)
        victim.cpu.clear(now)
        victim.links[0].consensus.clear(now)
        victim.links[1].consensus.clear(now)
        if self._plane is not None:
            self._plane.gateway(node, False, now)

    def restart(self, node: int, *, amnesia: bool) -> None:
        self._crashes[node] -= 1
        victim = self.nodes[node]
        if amnesia:
            victim.persisted = None
            self._forgot[node] = True
        if self._crashes[node]:
            return
        # Whichever of overlapping crashes ends last: what one of them has wiped stays wiped.
        amnesia, self._forgot[node] = self._forgot[node], False
        victim.up = True
        if self._plane is not None:
            self._plane.gateway(node, True, self.env.now)
        self._revive(victim, amnesia)

    def slow(self, node: int, factor_ppm: int, *, on: bool) -> None:
        factor = _strongest(self._slow, node, factor_ppm, on, max)
        self.nodes[node].cpu.set_slowdown(factor)
        if self._plane is not None:
            self._plane.slow(node, factor, self.env.now)

    def throttle(self, node: int, left_ppm: int, *, on: bool) -> None:
        left = _strongest(self._throttled, node, left_ppm, on, min)
        for link in self.nodes[node].links:
            link.set_rate(max(2, self._rates[node] * left // _WHOLE))
        if self._plane is not None:
            self._plane.throttle(node, left, self.env.now)


def _strongest(
    table: dict[int, list[int]],
    node: int,
    value: int,
    on: bool,
    choose: Callable[[list[int]], int],
) -> int:
    """Put `value` in force on `node`, or end it; return the strongest of those in force."""
    in_force = table.setdefault(node, [])
    if on:
        in_force.append(value)
    else:
        in_force.remove(value)
    return choose(in_force) if in_force else _WHOLE
