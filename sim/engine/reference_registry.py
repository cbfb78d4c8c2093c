"""The reference's registry: who holds a record, what it answers, what a crash takes with it.

Owns: hosts of shards, versions of records, one SimPy process a question, the desk at which
gateways limit registrations and move agents. Must not know: columns.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy

from sim.engine.reference_dht import DhtReference
from sim.engine.reference_parts import Job, Lost, Message, Query, at_priority
from sim.world.agents import draws, kinds
from sim.world.agents.build import registration_limits
from sim.world.agents.changes import LinkChange, ShardLoss
from sim.world.agents.draws import jittered, scaled
from sim.world.agents.kinds import GRID_NS, NEVER, RE_HOME, WRITING
from sim.world.agents.owned import lies_of
from sim.world.agents.parameters import DENY, STALE_LIE
from sim.world.agents.population import Neighbours
from sim.world.agents.tables import (
    FAILED_QUORUM,
    LIMITED,
    LOST_WRITE,
    MOVED_IN,
    RE_HOMED,
    READ,
    ROUTE_FOUND,
    STALE,
    TAKEN_OVER,
    WRITE,
)
from sim.world.chance import mix
from sim.world.registry.limits import ADMITTED, RegistrationMeter
from sim.world.registry.placement import Placement, coordinator, hand_over, place, repaired
from sim.world.registry.quorum import DOWN_NS, quorum_wait_ns

if TYPE_CHECKING:
    from sim.engine.reference import Reference

Steps = Generator[simpy.Event, Any, None]
EVERYONE = -1


@dataclass(eq=False, slots=True)
class Record:
    """The newest version of an agent's record, and the one before it."""

    coordinator: int = EVERYONE
    """Node that wrote it; EVERYONE: all replicas have it."""
    written_ns: int = 0
    version: int = 0
    missed: int = 0
    """Bitmap of the places in the shard's row whose copy a blocked link held back."""
    confirmed: tuple[int, ...] = ()
    """Nodes that had it when it was acknowledged."""
    before: tuple[int, int, int] = (0, 0, 0)
    """Lease, home and secondary of the version before."""


@dataclass(eq=False, slots=True)
class Write:
    """An acknowledged write that is not in force yet."""

    time_ns: int
    query: Query
    node: int
    missed: int
    confirmed: tuple[int, ...]


class RegistryReference:
    """All replicas of all shards."""

    def __init__(self, plane: Reference, priority: int) -> None:
        self.plane, self.p, self.env = plane, plane.p, plane.env
        self.d = plane.p.directory
        self.priority = priority
        nodes = len(self.p.node_region)
        self.base: Placement = tuple((host,) for host in self.d.shards)
        if self.d.replicas > 1:
            args = (self.d.shards, self.p.gateways, self.p.node_region)
            self.base = place(*args, self.d.replicas)
        self.hosts = self.base
        self.known_down = [False] * nodes
        self.down_since_ns = [0] * nodes
        self.viewed_ns = 0
        self.meter = RegistrationMeter(registration_limits(self.d.limits), nodes)
        self.neighbours = Neighbours(self.p, plane.links.median)
        self.records = [Record() for _ in range(self.p.agents if self.d.recorded else 0)]
        self.moving: dict[int, None] = {}
        self.written: list[Write] = []
        self.confirming: list[tuple[int, simpy.Event]] = []
        self.arriving: list[tuple[Message, int, simpy.Event]] = []
        self.dht = DhtReference(plane) if self.d.dht else None
        self.attacks: dict[int, None] = {}
        self.lies = [0] * nodes

    # -- the desk -----------------------------------------------------------------------------

    @property
    def watched(self) -> bool:
        limits = self.d.limits
        return self.d.re_home or limits.gateway_rate_nhz > 0 or limits.rate_nhz > 0

    def pass_desk(self, m: Message, gateway: int) -> simpy.Event:
        """Return the event of a message's leave to go on from ingress."""
        event = self.env.event()
        if not self.arriving:
            at_priority(self.env, self.priority).callbacks.append(lambda _: self._desk_instant())
        self.arriving.append((m, gateway, event))
        return event

    def _desk_instant(self) -> None:
        arriving, self.arriving = self.arriving, []
        for m, gateway, event in sorted(arriving, key=lambda a: (a[0].ident, a[0].attempt)):
            self._consider_move(m, gateway)
            if m.kind == kinds.REGISTRATION:
                verdict = self.meter.admit(gateway, self.env.now)
                if verdict != ADMITTED:
                    self.plane.ledgers.registry(self.env.now, gateway, LIMITED)
                    event.fail(
                        Lost((kinds.GATEWAY_REGISTRATIONS, kinds.ALL_REGISTRATIONS)[verdict - 1])
                    )
                    continue
            event.succeed()

    def _consider_move(self, m: Message, gateway: int) -> None:
        """Move a sender whose home is known to be down to the gateway that it came to."""
        people, agent = self.plane.people, m.source
        if not self.d.re_home or agent in self.moving:
            return
        home, second = int(people.home[agent]), int(people.secondary[agent])
        if not self.known_down[home] or gateway != second or gateway == home:
            return
        if self.env.now < int(people.lease_until_ns[agent]):
            self.moving[agent] = None
            query = Query(agent, m, self.env.now)
            query.kind, query.ident = RE_HOME, m.ident | kinds.RE_HOME_ID_BIT
            self.plane.caches[gateway].live.append(query)
            self.env.process(self.query(query, gateway))

    # -- one question -------------------------------------------------------------------------

    def query(self, query: Query, gateway: int) -> Steps:
        """Take a question to its coordinator and the answer back."""
        ident, attempt, plane = query.ident, query.attempt, self.plane
        query.gateway = gateway
        asked_ns = self.env.now
        try:
            if self.dht is None:
                yield from self._hop(query, gateway)
            else:
                yield from self.dht.find(query, gateway)
            host = query.host
            yield plane.stations.shard[host].serve(Job(ident, attempt, self._work_ns(), query))
            yield from self._act(query, host)
            back_ns = 0
            if host != gateway:
                back_ns = plane.crossing_ns(host, gateway, ident, attempt, draws.ANSWER_DELAY)
            pair = (self.p.node_region[gateway], self.p.node_region[host])
            plane.ledgers.answer(query, self.env.now, pair, self.env.now + back_ns - asked_ns)
            yield self.env.timeout(back_ns)
        except Lost:
            query.failed_ns = max(query.asked_ns + self.d.timeout_ns, self.env.now + GRID_NS)
            yield self.env.timeout(query.failed_ns - self.env.now)
            if query.kind == RE_HOME:
                self.moving.pop(query.key, None)
            query.wake(Lost(kinds.LOOKUP_FAILED))
        else:
            query.wake(None)
        if query in plane.caches[gateway].live:
            plane.caches[gateway].live.remove(query)

    def _hop(self, query: Query, gateway: int) -> Steps:
        """Go straight to the coordinator."""
        query.host = host = self._coordinator(query.key, gateway, query.attempt)
        region, away = self.p.node_region, int(host != gateway)
        pair = (region[gateway], region[host])
        sums = (away, away, away, away, away * self.d.query_bytes, pair[0] != pair[1], 0)
        self.plane.ledgers.lookup(query, self.env.now, ROUTE_FOUND, pair, sums)
        if away:
            place = (query.ident, query.attempt, draws.QUERY_DELAY)
            yield from self.plane.hop(gateway, host, *place)

    def _work_ns(self) -> int:
        work = self.d.station
        return work.work_ns + work.per_kib_ns * self.d.query_bytes // 1024

    def shard_of(self, key: int) -> int:
        return scaled(mix(self.plane.keys[draws.SHARD], key), len(self.hosts))

    def _coordinator(self, key: int, gateway: int, attempt: int) -> int:
        row, links = self.hosts[self.shard_of(key)], self.plane.links
        here = self.p.node_region[gateway]
        away = [links.median[here][self.p.node_region[host]] for host in row]
        return coordinator(row, away, [self.known_down[host] for host in row], attempt)

    def _act(self, query: Query, host: int) -> Steps:
        """Read or write at the coordinator, whose service ends now, and wait for its quorum."""
        ledgers, writes = self.plane.ledgers, query.kind in WRITING
        ledgers.registry(self.env.now, host, WRITE if writes else READ)
        others = self._others(query.key, host)
        witnesses, wait_ns = [host], 0
        if self.d.quorum_writes if writes else self.d.quorum_reads:
            trips = [self._trip_ns(query, host, rank, node) for rank, node in others]
            waited = quorum_wait_ns(trips, self.d.replicas)
            if waited is None:
                ledgers.registry(self.env.now, host, FAILED_QUORUM)
                raise Lost(kinds.LOOKUP_FAILED)
            wait_ns = waited
            pairs = zip(others, trips, strict=True)
            witnesses += [node for (_, node), t in pairs if t != DOWN_NS and t <= wait_ns]
        if not writes and query.kind != kinds.LOOKUP_CAPABILITY:
            self._read(query, host, witnesses)
        if wait_ns:
            ledgers.note("quorum")
            yield self._confirmed(host, wait_ns)
        if writes:
            links = self.plane.links
            missed = [rank for rank, node in others if links.blocked(host, node)]
            held_back = sum(1 << rank for rank in missed)
            confirmed = tuple(witnesses[1:])
            self.written.append(Write(self.env.now, query, host, held_back, confirmed))

    def _others(self, key: int, node: int) -> list[tuple[int, int]]:
        """Return (place, host) of the copies besides a node's: in other regions than its own."""
        region = self.p.node_region
        row = enumerate(self.hosts[self.shard_of(key)])
        away = [(rank, host) for rank, host in row if region[host] != region[node]]
        return away[: self.d.replicas - 1]

    def _trip_ns(self, query: Query, host: int, rank: int, node: int) -> int:
        links, key = self.plane.links, self.plane.keys[draws.REPLICA_TRIP]
        blocked = links.blocked(host, node) or links.blocked(node, host)
        if self.plane.down[node] or blocked:
            return DOWN_NS
        ways = ((host, node), (node, host))
        place = query.attempt << 8 | rank << 1
        wire = [
            links.delay_ns(a, b, mix(key, query.ident, place + i)) for i, (a, b) in enumerate(ways)
        ]
        return sum(wire) + self._work_ns()

    def _confirmed(self, host: int, wait_ns: int) -> simpy.Event:
        event = self.env.event()
        entry = (host, event)
        self.confirming.append(entry)

        def over(_: Any) -> None:
            if entry in self.confirming:
                self.confirming.remove(entry)
                event.succeed()

        self.env.timeout(wait_ns).callbacks.append(over)
        return event

    def _read(self, query: Query, host: int, witnesses: list[int]) -> None:
        """Answer with the newest version that a witness has."""
        people, agent = self.plane.people, query.key
        lease, home, second = (
            int(column[agent]) for column in (people.lease_until_ns, people.home, people.secondary)
        )
        lie = self.lies[host]
        if self.d.recorded:
            newest = any(self._vouches(agent, node) for node in witnesses)
            # Without an older version there is none to show.
            if not newest and not (lie == STALE_LIE and self.records[agent].version == 0):
                lease, home, second = self.records[agent].before
                lease = 0 if lie == DENY else lease
                self.plane.ledgers.registry(self.env.now, host, STALE)
                self.plane.ledgers.note("lied" if lie else "lagged")
        elif lie:
            lease = 0
        query.found = self.env.now < lease
        query.home, query.secondary = home, second

    def _vouches(self, agent: int, node: int) -> bool:
        return not self.lies[node] and self._has_newest(agent, node)

    def _has_newest(self, agent: int, node: int) -> bool:
        record, plane = self.records[agent], self.plane
        if record.coordinator in (EVERYONE, node) or node in record.confirmed:
            return True
        row = self.hosts[self.shard_of(agent)]
        if node in row and record.missed >> row.index(node) & 1:
            return False
        bits = mix(plane.keys[draws.REPLICA_COPY], agent, record.version << 16 | node)
        a, b = self.p.node_region[record.coordinator], self.p.node_region[node]
        links = plane.links
        wire = jittered(links.median[a][b], links.spread[a][b], links.shape, bits)
        return self.env.now >= record.written_ns + self.d.replication_lag_ns + wire

    # -- grid boundaries ----------------------------------------------------------------------

    def publish(self, boundary_ns: int) -> None:
        """Put in force what was written up to this grid boundary, and look who is down."""
        if boundary_ns <= self.viewed_ns:
            return
        self.viewed_ns = boundary_ns
        writes, self.written = self.written, []
        for write in sorted(writes, key=lambda w: (w.time_ns, w.query.ident, w.query.attempt)):
            self._apply(write)
        self._view(boundary_ns)
        if self.dht is not None:
            self.dht.look(boundary_ns)

    def _apply(self, write: Write) -> None:
        query, people, agent = write.query, self.plane.people, write.query.key
        now = tuple(int(c[agent]) for c in (people.lease_until_ns, people.home, people.secondary))
        if self.d.recorded:
            record = self.records[agent]
            record.before = (now[0], now[1], now[2])
            record.coordinator, record.written_ns = write.node, write.time_ns
            record.version, record.missed = record.version + 1, write.missed
            record.confirmed = write.confirmed
        if query.kind == RE_HOME:
            region = int(people.region[agent])
            people.home[agent] = query.gateway
            people.secondary[agent] = self.neighbours.after(
                region, query.gateway, now[1], self.known_down
            )
            self.moving.pop(agent, None)
            self.plane.ledgers.registry(self.env.now, query.gateway, RE_HOMED)
        else:
            lease = self.d.lease_ns
            people.lease_until_ns[agent] = write.time_ns + lease if lease else NEVER

    def _view(self, boundary_ns: int) -> None:
        """Learn who is down for longer than the timeout; let others take over."""
        plane, timeout = self.plane, self.d.timeout_ns
        self.known_down, before = (
            [
                down and boundary_ns - since >= timeout
                for down, since in zip(plane.down, self.down_since_ns, strict=True)
            ],
            self.known_down,
        )
        if self.known_down == before or self.d.replicas == 1:
            return
        down = [node for node, known in enumerate(self.known_down) if known]
        p = self.p
        after = repaired(self.hosts, self.base, p.gateways, p.node_region, down=down)
        records = [0] * len(after)
        for agent, lease in enumerate(plane.people.lease_until_ns.tolist()):
            records[self.shard_of(agent)] += boundary_ns < lease
        for move in hand_over(self.hosts, after, records, self.d.record_bytes, down=down):
            plane.ledgers.registry(self.env.now, move.target, TAKEN_OVER)
            plane.ledgers.registry(
                self.env.now, move.target, MOVED_IN, move.records, move.size_bytes
            )
        changed = [old != new for old, new in zip(self.hosts, after, strict=True)]
        for agent, record in enumerate(self.records):
            if changed[self.shard_of(agent)]:
                record.missed, record.coordinator = 0, EVERYONE
        self.hosts = after

    # -- faults -------------------------------------------------------------------------------

    def crash(self, node: int) -> None:
        """Fail what waits for a quorum at a node, and lose what no other replica was sent."""
        for entry in [entry for entry in self.confirming if entry[0] == node]:
            self.confirming.remove(entry)
            entry[1].fail(Lost(kinds.CRASH))
        if self.d.replicas == 1:
            return
        gone = [w for w in self.written if w.node == node and self._alone(w, w.query.key)]
        for write in gone:
            self.written.remove(write)
            self.plane.ledgers.registry(self.env.now, node, LOST_WRITE)
            if write.query.kind == RE_HOME:
                self.moving.pop(write.query.key, None)
        for agent, record in enumerate(self.records):
            if record.coordinator == node and self._alone(record, agent):
                self._roll_back(agent)

    def _alone(self, written: Write | Record, agent: int) -> bool:
        """Say whether no copy has left: it waits out the lag, or every link is blocked."""
        if isinstance(written, Write):
            node, time_ns = written.node, written.time_ns
        else:
            node, time_ns = written.coordinator, written.written_ns
        others = [rank for rank, _ in self._others(agent, node)]
        waits = time_ns + self.d.replication_lag_ns > self.env.now
        return bool(others) and (waits or all(written.missed >> rank & 1 for rank in others))

    def attack(self, place: int, on: bool) -> None:
        """Let an assault begin or end."""
        self.attacks.pop(place, None)
        if on:
            self.attacks[place] = None
        if self.dht is not None:
            self.dht.attack(self.attacks)
        self.lies = lies_of(self.p.assaults, self.attacks, len(self.lies))

    def lose_shards(self, change: ShardLoss) -> None:
        """Let hosts lose their copies of shards; what others hold is made anew."""
        left = {
            shard: [host for host in self.hosts[shard] if host not in change.nodes]
            for shard in change.shards
            if any(host in change.nodes for host in self.hosts[shard])
        }
        for write in [w for w in self.written if self._lost_with(w, w.query.key, left, change)]:
            self.written.remove(write)
            self.plane.ledgers.registry(self.env.now, write.node, LOST_WRITE)
            if write.query.kind == RE_HOME:
                self.moving.pop(write.query.key, None)
        people = self.plane.people
        for agent in range(self.p.agents):
            shard = self.shard_of(agent)
            if left.get(shard) == []:
                if self.env.now < int(people.lease_until_ns[agent]):
                    self.plane.ledgers.registry(self.env.now, self.hosts[shard][0], LOST_WRITE)
                people.lease_until_ns[agent] = 0
                if self.records:
                    self.records[agent].coordinator, self.records[agent].missed = EVERYONE, 0
            elif self.records and self._lost_with(self.records[agent], agent, left, change):
                self._roll_back(agent)
        self._make_anew(left, change)

    def _lost_with(
        self,
        written: Write | Record,
        agent: int,
        left: dict[int, list[int]],
        change: ShardLoss,
    ) -> bool:
        """Say whether a write is lost where only the hosts in `left` keep their copies."""
        copies = left.get(self.shard_of(agent))
        if not copies:
            return copies is not None
        node = written.node if isinstance(written, Write) else written.coordinator
        return node in change.nodes and self._alone(written, agent)

    def _make_anew(self, left: dict[int, list[int]], change: ShardLoss) -> None:
        records = [0] * len(self.hosts)
        for agent, lease in enumerate(self.plane.people.lease_until_ns.tolist()):
            records[self.shard_of(agent)] += self.env.now < lease
        for shard, copies in left.items():
            for host in self.hosts[shard] if copies else ():
                if host in change.nodes:
                    size = records[shard] * self.d.record_bytes
                    self.plane.ledgers.registry(self.env.now, host, MOVED_IN, records[shard], size)
                    self.plane.ledgers.note("copied_anew")

    def _roll_back(self, agent: int) -> None:
        record, people = self.records[agent], self.plane.people
        self.plane.ledgers.registry(self.env.now, record.coordinator, LOST_WRITE)
        record.coordinator, record.missed = EVERYONE, 0
        lease, home, second = record.before
        people.lease_until_ns[agent] = lease
        people.home[agent], people.secondary[agent] = home, second

    def links_changed(self, change: LinkChange) -> None:
        """Send the copies that a blocked link held back, where it lets them through now."""
        if self.dht is not None:
            self.dht.nodes.cut(change)
        links = self.plane.links
        for write in self.written:
            write.missed = self._still_missed(write.missed, write.node, write.query.key, links)
        for agent, record in enumerate(self.records):
            if record.missed:
                node = record.coordinator
                record.missed = self._still_missed(record.missed, node, agent, links)

    def _still_missed(self, missed: int, node: int, agent: int, links: Any) -> int:
        row = self.hosts[self.shard_of(agent)]
        for rank, host in enumerate(row):
            if missed >> rank & 1 and not links.blocked(node, host):
                missed &= ~(1 << rank)
        return missed
