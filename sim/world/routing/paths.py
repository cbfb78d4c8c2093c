"""Lookups to be read: the kernels' twin, with tables as lists and no trick.

Owns: the same model as `kernels`, told plainly; the SimPy reference of the agent plane and tests
use it. Must not know: how the kernels avoid to store tables.

Every bucket of a node is written out, contacts are sorted by distance over the whole table, who is
closest is found by looking at everybody. The same bundle gives the same lookup to the nanosecond.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.world.chance import interpolate, mix
from sim.world.routing.nodes import (
    AGENT_KEY,
    CAPABILITY_KEY,
    HOP_DRAW,
    SHORTLIST_FACTOR,
    Bundle,
)
from sim.world.routing.parameters import (
    FOUND,
    HONEST,
    NOT_FOUND,
    POISON,
    POISONED,
    REGION,
    TIMED_OUT,
    WORLD,
)
from sim.world.routing.plain_tables import PlainTables


@dataclass(slots=True)
class Lookup:
    """What a lookup, or one path of it, came to; the fields of `nodes.LOOKUP`."""

    depth: int = 0
    rounds: int = 0
    rpcs: int = 0
    messages: int = 0
    bytes: int = 0
    crossings: int = 0
    timeouts: int = 0
    delay_ns: int = 0
    back_ns: int = 0
    owner: int = -1
    host: int = -1
    outcome: int = TIMED_OUT
    ring: int = WORLD


@dataclass(slots=True)
class _Heard:
    """A node on a shortlist."""

    node: int
    depth: int
    status: str = "unasked"
    arrive_ns: int = 0


@dataclass(slots=True)
class _Flight:
    """A question under way."""

    finish_ns: int
    number: int
    entry: _Heard
    wave: int
    answered: bool


class Paths(PlainTables):
    """Lookups over a bundle, as it is at the time of the call."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.shape = bundle.shape.tolist()
        self._owner: dict[int, int] = {}

    def route(
        self, source: int, key: int, home_region: int, t_ns: int, ident: int, attempt: int
    ) -> Lookup:
        """Look `key` up; see `kernels.route`."""
        c = self.c
        at_home = c.inner != WORLD and home_region == self.region[source]
        goal = REGION if at_home else WORLD
        self._owner = {}
        self.aimed = key in self.bundle.aims.tolist()
        whole = Lookup()
        for number in range(c.disjoint_paths):
            run = _Run(self, source, key, goal, t_ns, (ident, attempt, number))
            path = run.iterative() if c.iterative else run.recursive()
            whole = path if number == 0 else _combined(whole, path)
        if whole.outcome in (POISONED, TIMED_OUT):
            whole.owner = -1
        whole.host = int(self.bundle.node["host"][whole.owner]) if whole.owner >= 0 else -1
        return whole

    def closest(self, ring: int, key: int) -> int:
        """Return the live node of a ring that is closest to `key`; -1 without any."""
        alive = [node for node in self.members(ring) if self.up(node)]
        return min(alive, key=lambda node: self.ids[node] ^ key, default=-1)

    def agent_key(self, agent: int) -> int:
        """Return the key of an agent."""
        if self.c.agents:
            return self.ids[int(self.bundle.node_of[agent])]
        return self._short(mix(int(self.bundle.draw[AGENT_KEY]), agent))

    def capability_key(self, capability: int) -> int:
        """Return the key of a capability."""
        return self._short(mix(int(self.bundle.draw[CAPABILITY_KEY]), capability))

    def _short(self, bits: int) -> int:
        shift = 64 - int(self.c.id_bits)
        return bits >> shift << shift

    # -- paths ----------------------------------------------------------------------------------

    def message_ns(self, a: int, b: int, ident: int, number: int) -> int:
        """Draw the delay of a message from node a to node b."""
        x, y = self.bundle.node[a], self.bundle.node[b]
        drawn = interpolate(self.shape, mix(int(self.bundle.draw[HOP_DRAW]), ident, number))
        median_ns = int(self.bundle.median_ns[x["site"], y["site"]])
        spread_ns = int(self.bundle.spread_ns[x["site"], y["site"]])
        wire_ns = max(1, median_ns + (spread_ns * drawn >> 20))
        return wire_ns + int(x["access_ns"]) + int(y["access_ns"])

    def taken(self, node: int, path: int) -> bool:
        """Say whether a node belongs to another path of the running lookup."""
        return self._owner.get(node, path) != path

    def owned(self) -> dict[int, int]:
        """Return the path of each node that belongs to one."""
        return self._owner


def _combined(whole: Lookup, path: Lookup) -> Lookup:
    """Add a path to those before it."""

    def rank(lookup: Lookup) -> tuple[int, int]:
        if lookup.outcome == FOUND:
            return 0, lookup.delay_ns
        return (2 if lookup.outcome == TIMED_OUT else 1), -lookup.delay_ns

    best = path if rank(path) < rank(whole) else whole
    return replace(
        best,
        rpcs=whole.rpcs + path.rpcs,
        messages=whole.messages + path.messages,
        bytes=whole.bytes + path.bytes,
        crossings=whole.crossings + path.crossings,
        timeouts=whole.timeouts + path.timeouts,
        back_ns=max(whole.back_ns, path.back_ns),
    )


class _Late(Exception):
    """The deadline has passed."""


class _Run:
    """One path of one lookup."""

    def __init__(
        self,
        paths: Paths,
        source: int,
        key: int,
        goal: int,
        t_ns: int,
        draws: tuple[int, int, int],
    ) -> None:
        self.p, self.source, self.key, self.goal, self.t_ns = paths, source, key, goal, t_ns
        self.ident, attempt, self.path = draws
        self.number = attempt << 20 | self.path << 16
        self.deadline_ns = int(paths.c.deadline_ns)
        self.out = Lookup()
        self.shortlist: list[_Heard] = []

    def distance(self, node: int) -> int:
        return self.p.ids[node] ^ self.key

    def count_question(self, a: int, b: int) -> None:
        self.out.rpcs += 1
        self.out.messages += 1
        self.out.bytes += int(self.p.c.rpc_bytes)
        self.out.crossings += self.p.region[a] != self.p.region[b]

    # -- recursive ------------------------------------------------------------------------------

    def recursive(self) -> Lookup:
        """Forward from node to node, ring after ring."""
        p, out = self.p, self.out
        out.ring = int(p.c.inner)
        self.first = -1
        self.at = self.source
        try:
            poisoned = self.descend()
        except _Late:
            out.outcome = TIMED_OUT
        else:
            out.outcome = POISONED if poisoned else self.judge_end()
        out.owner = self.at
        out.rounds = min(1, out.rpcs)
        out.back_ns = out.delay_ns
        return out

    def descend(self) -> bool:
        """Go on until nobody is closer in the goal's ring; say whether a poisoner was met."""
        p, out = self.p, self.out
        while True:
            node = self.next_hop()
            if node is None:
                if out.ring == self.goal:
                    return False
                out.ring -= 1
                continue
            p.owned()[node] = self.path
            self.first = node if self.first < 0 else self.first
            self.at = node
            if p.malice(node) == POISON:
                liars = p.colluders(self.key, 1)
                if liars and liars[0] != node and p.reaches(node, liars[0]):
                    self.move(node, liars[0])
                return True

    def next_hop(self) -> int | None:
        """Forward to the closest contact that acknowledges and is closer than where we are."""
        x, out = self.at, self.out
        for node in sorted(self.p.table(x, out.ring, self.t_ns), key=self.distance):
            if self.distance(node) > self.distance(x):
                break
            if self.p.taken(node, self.path):
                continue
            if self.p.answers(x, node):
                self.move(x, node)
                self.check_deadline()
                return node
            self.count_question(x, node)
            out.timeouts += 1
            out.delay_ns += int(self.p.c.rpc_timeout_ns)
            self.check_deadline()
        return None

    def move(self, a: int, b: int) -> None:
        self.out.delay_ns += self.p.message_ns(a, b, self.ident, self.number + self.out.rpcs)
        self.count_question(a, b)
        self.out.depth += 1

    def check_deadline(self) -> None:
        if 0 < self.deadline_ns < self.out.delay_ns:
            raise _Late

    def judge_end(self) -> int:
        """Say what it is worth that the path ended where it did."""
        p, at = self.p, self.at
        if at not in (self.first, self.source):
            p.owned().pop(at, None)
        if at != self.source and p.malice(at) != HONEST:
            return POISONED
        return NOT_FOUND if p.closer(p.ring_of(at, self.out.ring), at, self.key) else FOUND

    # -- iterative ------------------------------------------------------------------------------

    def iterative(self) -> Lookup:
        """Ask oneself through, ring after ring."""
        p, out = self.p, self.out
        out.ring = int(p.c.inner)
        while True:
            self.begin_ring()
            self.run_ring()
            in_time = self.deadline_ns == 0 or out.back_ns <= self.deadline_ns
            if out.ring == self.goal or not in_time:
                break
            out.ring -= 1
        self.judge()
        whole = out.outcome == FOUND and out.ring == self.goal
        if not in_time and not (whole and out.delay_ns <= self.deadline_ns):
            out.outcome = TIMED_OUT
        return out

    def nearest(self, node: int) -> list[int]:
        """Return the k contacts of a node that are closest to the key."""
        table = self.p.table(node, self.out.ring, self.t_ns)
        return sorted(table, key=self.distance)[: int(self.p.c.k)]

    def begin_ring(self) -> None:
        p, paths = self.p, int(self.p.c.disjoint_paths)
        self.shortlist = [heard for heard in self.shortlist if heard.status != "silent"]
        for heard in self.shortlist:
            heard.status = "unasked"
        for place, node in enumerate(self.nearest(self.source)):
            if self.path == 0 and place % paths:
                p.owned().setdefault(node, place % paths)
            if place % paths == self.path and not p.taken(node, self.path):
                self.hear(node, 1)

    def hear(self, node: int, depth: int) -> None:
        if any(heard.node == node for heard in self.shortlist):
            return
        self.shortlist.append(_Heard(node, depth))
        self.shortlist.sort(key=lambda heard: self.distance(heard.node))
        del self.shortlist[SHORTLIST_FACTOR * int(self.p.c.k) :]

    def next_unasked(self) -> _Heard | None:
        hopeful = [heard for heard in self.shortlist if heard.status != "silent"]
        unasked = [h for h in hopeful[: int(self.p.c.k)] if h.status == "unasked"]
        return unasked[0] if unasked else None

    def run_ring(self) -> None:
        out, now_ns, wave = self.out, self.out.back_ns, self.out.rounds + 1
        flights: list[_Flight] = []
        while True:
            while len(flights) < self.p.c.alpha and (entry := self.next_unasked()):
                flights.append(self.ask(entry, now_ns, wave))
            if not flights or 0 < self.deadline_ns < now_ns:
                break
            flight = min(flights, key=lambda f: (f.finish_ns, f.number))
            flights.remove(flight)
            now_ns, wave = flight.finish_ns, flight.wave + 1
            status = "answered" if flight.answered else "silent"
            for heard in self.shortlist:
                if heard.node == flight.entry.node:
                    heard.status = status
            if flight.answered:
                self.learn(flight.entry)
            else:
                out.timeouts += 1
        out.back_ns = now_ns

    def ask(self, entry: _Heard, now_ns: int, wave: int) -> _Flight:
        p, out, node = self.p, self.out, entry.node
        entry.status = "asked"
        p.owned()[node] = self.path
        order, number = out.rpcs, self.number + 2 * out.rpcs
        self.count_question(self.source, node)
        out.rounds = max(out.rounds, wave)
        if not p.answers(self.source, node):
            return _Flight(now_ns + int(p.c.rpc_timeout_ns), order, entry, wave, False)
        entry.arrive_ns = now_ns + p.message_ns(self.source, node, self.ident, number)
        back_ns = p.message_ns(node, self.source, self.ident, number + 1)
        return _Flight(entry.arrive_ns + back_ns, order, entry, wave, True)

    def learn(self, entry: _Heard) -> None:
        p, out = self.p, self.out
        if p.malice(entry.node) == POISON:
            named = p.colluders(self.key, int(p.c.k))
        else:
            named = self.nearest(entry.node)
        out.messages += 1
        out.bytes += int(p.c.rpc_bytes) + len(named) * int(p.c.contact_bytes)
        out.crossings += p.region[self.source] != p.region[entry.node]
        for node in named:
            if node != self.source and not p.taken(node, self.path):
                self.hear(node, entry.depth + 1)

    def judge(self) -> None:
        """Find the closest honest node that answered, the asker included."""
        p, out = self.p, self.out
        ring = p.ring_of(self.source, out.ring)
        counts = p.c.disjoint_paths == 1 or not p.closer(ring, self.source, self.key)
        own = self.distance(self.source)
        nearer = [h for h in self.shortlist if not counts or self.distance(h.node) < own]
        answered = [h for h in nearer if h.status == "answered"]
        honest = [h for h in answered if p.malice(h.node) == HONEST]
        best = honest[0] if honest else _Heard(self.source, 0)
        out.owner, out.depth, out.delay_ns = best.node, best.depth, best.arrive_ns
        lied = bool(answered) and answered[0] is not best
        out.outcome = POISONED if lied else NOT_FOUND
        if (honest or counts) and p.closer(ring, out.owner, self.key) < p.c.k:
            out.outcome = FOUND
