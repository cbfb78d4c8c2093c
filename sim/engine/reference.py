"""The agent plane with one SimPy process a message: readable, slow, the standard of exactness.

Owns: a second program for the semantics of `sim/world/agents/README.md`, with the interface of
`sim.world.agents.plane.AgentPlane`. It shares parameters, workload, population and keyed draws with
the columns, and nothing of how they are solved.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from sim.engine.reference_lanes import MeterReference
from sim.engine.reference_parts import (
    Cache,
    Clock,
    Job,
    Ledgers,
    Links,
    Lost,
    Message,
    Query,
    at_priority,
)
from sim.engine.reference_payload import PayloadReference
from sim.engine.reference_registry import RegistryReference
from sim.engine.reference_sessions import SessionsReference
from sim.engine.reference_stations import (
    BATCH,
    BATCH_TIMER,
    CACHE,
    COPIES,
    DESK,
    FAULTS,
    PAYLOAD,
    PAYLOAD_TIMER,
    REBATCH,
    REBATCH_TIMER,
    STORE,
    StationsReference,
)
from sim.engine.reference_transit import TransitReference
from sim.protocol.types import PayloadRef
from sim.world.agents import draws, kinds
from sim.world.agents.changes import (
    Attack,
    Change,
    Disconnect,
    LinkChange,
    LinkRates,
    NodeDown,
    NodeUp,
    ShardLoss,
    Surge,
    Throttle,
)
from sim.world.agents.draws import below, jittered, scaled
from sim.world.agents.kinds import (
    DELIVERED,
    FINAL_REASONS,
    GRID_NS,
    MESSAGE,
    PPM,
    TRANSACTION,
)
from sim.world.agents.parameters import ClosedLoop, PlaneParameters, Traffic
from sim.world.agents.population import affine, draw_population
from sim.world.agents.tables import RETRIED, STORED, Counters, Drained
from sim.world.agents.workload import Workload
from sim.world.chance import Chance, mix
from sim.world.network.tables import NetworkTables

Steps = Generator[simpy.Event, Any, None]


class Reference:
    """Solve the agent plane message by message. Same calls, same answers as `AgentPlane`."""

    def __init__(self, parameters: PlaneParameters, network: NetworkTables, chance: Chance) -> None:
        self.p = parameters
        self.env = Clock()
        self.network, self.chance = network, chance
        self.purposes = keys = draws.keys_of(chance)
        self.keys = [int(k) for k in keys]
        self.people = draw_population(parameters, network, keys)
        self.workload = Workload(parameters, self.people, keys, chance)
        nodes = range(len(parameters.node_region))
        self.links = Links(parameters, network)
        self.ledgers = Ledgers(parameters, self.keys[draws.SAMPLE])
        self.traffic: dict[int, Traffic] = {t.kind: t for t in parameters.traffic}
        self.down = [False for _ in nodes]
        self.meter = MeterReference(len(nodes)) if parameters.metered else None
        self.stations = StationsReference(self.env, self.ledgers, parameters, self.down, self.meter)
        for one in self.stations.ingress:
            one.admit = self._admit
        self.credit_ns = [0 for _ in nodes]
        self.caches = [Cache(self.env, CACHE, self._resolve_instant) for _ in nodes]
        self.storing: list[tuple[Message, int, simpy.Event]] = []
        self.stored: dict[int, list[tuple[Message, int, int, simpy.Event]]] = {}
        self.registry = RegistryReference(self, DESK)
        self.transit = TransitReference(self, (BATCH, BATCH_TIMER), second=False)
        self.onward = TransitReference(self, (REBATCH, REBATCH_TIMER), second=True)
        self.payload = PayloadReference(self, (PAYLOAD, PAYLOAD_TIMER, COPIES))
        self.next_cell = 0
        self.sessions = SessionsReference(self)
        self._start_loops()

    # -- the engine's calls -------------------------------------------------------------------

    def advance(self, now_ns: int, horizon_ns: int | None = None) -> None:
        """Run everything up to and including `now_ns`. The reference never runs ahead."""
        while self.next_cell * GRID_NS < now_ns:
            start_ns = self.next_cell * GRID_NS
            self._run_to(start_ns)
            self.registry.publish(start_ns)
            cell = self.workload.cell(self.next_cell)
            rows = zip(*(column.tolist() for column in cell[1:]), strict=True)
            for ident, (time_ns, kind, source, target, size) in enumerate(rows, cell.first):
                message = Message(ident, kind, source, target, size, time_ns)
                self.env.process(self.drawn(message))
            self.next_cell += 1
        self._run_to(now_ns)
        if now_ns % GRID_NS == 0:
            self.registry.publish(now_ns)

    def apply(self, change: Change) -> None:
        """Let a fault act after everything at the present instant."""
        match change:
            case NodeDown(node):
                self._crash(node)
            case NodeUp(node):
                self.down[node] = False
            case Throttle():
                self.stations.throttle(change.node, change.service_ppm, change.links_ppm)
                self.payload.throttle(change.node, change.service_ppm, change.links_ppm)
            case LinkRates():
                self.stations.set_rates(change.uplink_ppm, change.downlink_ppm)
                self.payload.set_rates(change.uplink_ppm, change.downlink_ppm)
            case LinkChange():
                self.links.change(change)
                self.registry.links_changed(change)
            case Disconnect():
                self.sessions.disconnect(change)
            case Surge():
                self.workload.surge(change)
            case ShardLoss():
                self.registry.lose_shards(change)
            case Attack(place, on):
                self.workload.attack(place, on)
                self.registry.attack(place, on)
        # Let the processes that lost something notice it.
        self._run_to(self.env.now)

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        return self.payload.new_refs(validator, now_ns)

    def held_ns(self, validator: int, refs: tuple[PayloadRef, ...]) -> int | None:
        return self.payload.held_ns(validator, refs)

    def pull(self, validator: int, ref: PayloadRef, now_ns: int) -> int | None:
        return self.payload.pull(validator, ref, now_ns)

    def commit(self, refs: tuple[PayloadRef, ...], now_ns: int) -> None:
        for ref in refs:
            for message in self.payload.commit(ref, now_ns):
                self.finish(message, DELIVERED)

    def take_use(self) -> list[list[int]]:
        assert self.meter is not None
        return self.meter.take(self.env.now)

    def drain(self, final: bool = False) -> Drained:
        return self.ledgers.drain(None if final else (self.env.now - 1) // kinds.SECOND_NS)

    def counters(self) -> Counters:
        stored = [0] * len(kinds.KINDS)
        for rows in self.stored.values():
            for message, *_ in rows:
                stored[message.kind] += 1
        return self.ledgers.counters(stored)

    # -- time ---------------------------------------------------------------------------------

    def _run_to(self, now_ns: int) -> None:
        """Run to the end of an instant: SimPy's own `until` would stop before it."""
        end = at_priority(self.env, FAULTS, now_ns - self.env.now)
        self.env.run(until=end)

    def online(self, agent: int) -> bool:
        return bool(self.people.session[agent] & 1)

    def _number(self, agent: int) -> int:
        number = int(self.people.sequence[agent])
        self.people.sequence[agent] += 1
        return number

    # -- workload -----------------------------------------------------------------------------

    def drawn(self, message: Message) -> Steps:
        yield self.env.timeout(message.created_ns - self.env.now)
        if self.online(message.source):
            yield from self._life(message)

    def _start_loops(self) -> None:
        traffic = self.traffic.get(TRANSACTION)
        if traffic is None or not isinstance(traffic.arrivals, ClosedLoop):
            return
        self.think_table = list(draws.exponential_table(traffic.arrivals.think_ns))
        order = affine(self.keys[draws.POPULATION], 5, self.p.agents)
        loops = self.p.agents * traffic.arrivals.share_ppm // PPM
        for place in range(loops):
            agent = (place - order.offset) * order.inverse % order.modulus
            self.env.process(self._loop(agent, traffic.size_bytes))

    def _loop(self, agent: int, size: int) -> Steps:
        """Think, submit, wait for the commit or the last failure; for ever."""
        key = self.keys[draws.THINK]
        while True:
            number = self._number(agent)
            yield self.env.timeout(draws.think_ns(self.think_table, key, agent, number))
            if self.online(agent):
                ident = kinds.LOOP_ID_BIT | agent << kinds.ID_INDEX_BITS | number
                message = Message(ident, TRANSACTION, agent, -1, size, self.env.now)
                message.over = self.env.event()
                self.env.process(self._life(message))
                yield message.over

    # -- one message --------------------------------------------------------------------------

    def _life(self, m: Message) -> Steps:
        m.source_region = m.target_region = int(self.people.region[m.source])
        if m.kind in (MESSAGE, kinds.LOOKUP_ID):
            m.target_region = int(self.people.region[m.target])
        self.ledgers.offer(m, self.env.now)
        while True:
            m.sent_ns = self.env.now
            m.lease_ns = int(self.people.lease_until_ns[m.source])
            try:
                yield from self._attempt(m)
                return
            except Lost as loss:
                reason = m.reason = loss.reason
            if reason in FINAL_REASONS or m.attempt + 1 >= self.p.retries.attempts:
                self.finish(m, reason)
                return
            due_ns = max(m.sent_ns + self._wait_ns(m), self.env.now + GRID_NS)
            self.ledgers.count(m, self.env.now, RETRIED, reason)
            m.attempt += 1
            yield self.env.timeout(due_ns - self.env.now)
            if not self.online(m.source):
                self.finish(m, kinds.SENDER_OFFLINE)
                return

    def _wait_ns(self, m: Message) -> int:
        retries = self.p.retries
        wait = retries.timeout_ns
        for _ in range(m.attempt):
            wait = min(wait * retries.backoff_ppm // PPM, retries.max_ns)
        bits = mix(self.keys[draws.RETRY], m.ident, m.attempt)
        return min(wait, retries.max_ns) + (bits % retries.jitter_ns if retries.jitter_ns else 0)

    def finish(self, m: Message, outcome: int) -> None:
        self.ledgers.finish(m, self.env.now, outcome)
        if m.over is not None:
            m.over.succeed()

    def _attempt(self, m: Message) -> Steps:
        second = self.people.secondary if m.attempt % 2 else self.people.home
        gateway = int(second[m.source])
        yield from self._access(m, draws.ACCESS_LOSS_DRAW, draws.ACCESS_DELAY, m.source)
        yield self.stations.ingress[gateway].serve(Job(m.ident, m.attempt, self._work(m), m))
        if self.registry.watched:
            yield self.registry.pass_desk(m, gateway)
        if m.kind == TRANSACTION:
            yield self.payload.join(gateway, m)
        elif m.kind == MESSAGE:
            host = int(second[m.target])
            if host != gateway:
                yield from self._locate(gateway, m)
                host = m.host
                if host == gateway:
                    # A stale answer: this very gateway was the agent's, and knows that it moved.
                    raise Lost(kinds.MOVED)
                hop = self.transit.next_hop(gateway, host, m.attempt)
                yield self.transit.join(m, gateway, hop)
                if hop != host:
                    self.ledgers.note("relayed")
                    yield self.stations.relay[hop].serve(self._relay_job(m))
                    yield self.onward.join(m, hop, host)
            elif not self._registered(m.target):
                raise Lost(kinds.UNKNOWN_TARGET)
            yield from self._deliver(m, host)
        else:
            yield from self._locate(gateway, m)
            yield self.stations.egress[gateway].serve(self._egress_job(m))
            if not self.online(m.source):
                raise Lost(kinds.REQUESTER_OFFLINE)
            yield from self._access(m, draws.LAST_LOSS, draws.LAST_DELAY, m.source)
            self.finish(m, DELIVERED)

    def _deliver(self, m: Message, host: int) -> Steps:
        while True:
            yield self.stations.egress[host].serve(self._egress_job(m))
            serving = (int(self.people.home[m.target]), int(self.people.secondary[m.target]))
            if self.p.directory.re_home and host not in serving:
                raise Lost(kinds.MOVED)
            if self.online(m.target):
                break
            yield self._store(m, host)
            yield self.env.timeout(self.p.store.release_delay_ns)
        yield from self._access(m, draws.LAST_LOSS, draws.LAST_DELAY, m.target)
        self.finish(m, DELIVERED)

    def _access(self, m: Message, loss: int, delay: int, agent: int) -> Steps:
        last_mile = self.p.access[int(self.people.access[agent])]
        if below(mix(self.keys[loss], m.ident, m.attempt), last_mile.loss_ppb):
            raise Lost(kinds.ACCESS_LOSS)
        bits = mix(self.keys[delay], m.ident, m.attempt)
        median, spread = last_mile.median_ns, last_mile.spread_ns
        yield self.env.timeout(jittered(median, spread, self.links.shape, bits))

    def _work(self, m: Message) -> int:
        return self.p.ingress.work_ns + self.p.ingress.per_kib_ns * m.size // 1024

    def _egress_job(self, m: Message) -> Job:
        work = self.p.egress.work_ns + self.p.egress.per_kib_ns * m.size // 1024
        return Job(m.ident, m.attempt, work, m)

    def _relay_job(self, m: Message) -> Job:
        assert self.p.relay is not None
        station = self.p.relay.station
        return Job(m.ident, m.attempt, station.work_ns + station.per_kib_ns * m.size // 1024, m)

    def wire_bytes(self, m: Message) -> int:
        """Bytes of a message inside a batch: signatures do not compress."""
        t = self.traffic[m.kind]
        body = m.size - t.signature_bytes
        return -(-body * t.ratio_ppm // PPM) + t.signature_bytes

    def _registered(self, agent: int) -> bool:
        return self.env.now < int(self.people.lease_until_ns[agent])

    def _admit(self, job: Job, node: int) -> int | None:
        """Decide at arrival: registered, then the gateway's token bucket (GCRA)."""
        m = job.owner
        if m.kind != kinds.REGISTRATION and self.env.now >= m.lease_ns:
            return kinds.NOT_REGISTERED
        step = max(1, 10**18 // self.p.admission_rate_nhz)
        credit = max(self.credit_ns[node], self.env.now)
        if credit - self.env.now > step * (self.p.admission_burst - 1):
            return kinds.RATE_LIMITED
        self.credit_ns[node] = credit + step
        return None

    # -- resolve ------------------------------------------------------------------------------

    def _locate(self, gateway: int, m: Message) -> Steps:
        """Wait for the location or the registry's answer; unknown receivers end a message."""
        query: Query = yield self.caches[gateway].ask(m, gateway)
        if m.kind == MESSAGE and not query.found:
            raise Lost(kinds.UNKNOWN_TARGET)
        m.host = query.secondary if m.attempt % 2 else query.home

    def _resolve_instant(self, asked: list[tuple[Message, int, simpy.Event]]) -> None:
        directory, now = self.p.directory, self.env.now
        for m, gateway, event in asked:
            cache = self.caches[gateway]
            cached = m.kind in (MESSAGE, kinds.LOOKUP_ID, kinds.LOOKUP_CAPABILITY)
            key = m.target + (self.p.agents if m.kind == kinds.LOOKUP_CAPABILITY else 0)
            place = -1
            if cached and directory.cache_slots:
                place = scaled(mix(self.keys[draws.CACHE], key), directory.cache_slots)
                entry = cache.entries.get(place)
                if entry is not None and entry.key == key and m.reason != kinds.MOVED:
                    if now < min(entry.asked_ns + directory.cache_ttl_ns, entry.failed_ns):
                        if entry.answered:
                            self.ledgers.note("cache_hit")
                            event.succeed(entry)
                        else:
                            self.ledgers.note("cache_joined")
                            entry.waiting.append(event)
                        continue
                    self.ledgers.note("cache_expired")
            query = Query(key if cached else m.source, m, now)
            query.waiting.append(event)
            cache.live.append(query)
            if place >= 0:
                cache.entries[place] = query
            self.env.process(self.registry.query(query, gateway))

    def hop(self, a: int, b: int, ident: int, attempt: int, delay: int) -> Steps:
        """Cross a link: its verdict now, then its delay. The loss key follows the delay's."""
        yield self.env.timeout(self.crossing_ns(a, b, ident, attempt, delay))

    def crossing_ns(self, a: int, b: int, ident: int, attempt: int, delay: int) -> int:
        """Return how long a transmission that begins now takes; raises Lost."""
        keys = self.keys
        reason = self.links.verdict(a, b, mix(keys[delay + 1], ident, attempt))
        if reason is not None:
            raise Lost(reason)
        return self.links.delay_ns(a, b, mix(keys[delay], ident, attempt))

    # -- store-and-forward --------------------------------------------------------------------

    def _store(self, m: Message, host: int) -> simpy.Event:
        event = self.env.event()
        if not self.storing:
            at_priority(self.env, STORE).callbacks.append(lambda _: self._store_instant())
        self.storing.append((m, host, event))
        return event

    def _store_instant(self) -> None:
        storing, self.storing = self.storing, []
        for m, host, event in sorted(storing, key=lambda j: (j[0].ident, j[0].attempt)):
            rows = self.stored.setdefault(m.target, [])
            if len(rows) >= self.p.store.messages_per_agent:
                event.fail(Lost(kinds.STORE_FULL))
            else:
                rows.append((m, host, self.env.now, event))
                self.ledgers.count(m, self.env.now, STORED, -1)

    # -- faults -------------------------------------------------------------------------------

    def _crash(self, node: int) -> None:
        if not self.down[node]:
            self.registry.down_since_ns[node] = self.env.now
        self.down[node] = True
        if self.meter is not None:
            self.meter.crash(node, self.env.now)
        self.stations.crash(node)
        self.caches[node].crash()
        self.transit.crash(node)
        self.onward.crash(node)
        self.payload.crash(node)
        self.registry.crash(node)
