"""Parts of the reference: stations, caches, links and the books, one object a thing.

Owns: what a SimPy process of `sim.engine.reference` meets on its way.
Must not know: the order of stages, columns.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import simpy

from sim.engine.reference_lanes import MeterReference, Sending
from sim.world.agents import kinds
from sim.world.agents.changes import LinkChange
from sim.world.agents.draws import below, jittered, scaled
from sim.world.agents.kinds import DELIVERED, GATEWAY_DOWN, NEVER, PPB, PPM, SECOND_NS
from sim.world.agents.parameters import PlaneParameters
from sim.world.agents.tables import (
    BATCHES,
    DELIVERED_OUTCOME,
    DROPPED,
    LATENCY,
    LOOKUP_LATENCY,
    LOOKUPS,
    OFFERED,
    REGISTRY,
    REGISTRY_EVENTS,
    RETRIED,
    SAMPLES,
    STATION,
    TRAFFIC,
    Counters,
    Drained,
    bucket_of,
)
from sim.world.chance import I64, mix
from sim.world.network.tables import NetworkTables


class Clock(simpy.Environment):
    """A SimPy environment whose time is an integer number of nanoseconds."""

    @property
    def now(self) -> int:
        return int(self._now)


def at_priority(env: Clock, priority: int, delay_ns: int = 0) -> Any:
    """Return an event at this priority of a coming (or the present) instant."""
    event = simpy.Event(env)
    event._ok = True
    event._value = None
    env.schedule(event, priority=cast(Any, priority), delay=delay_ns)
    return event


class Lost(Exception):
    """An attempt ended here, with a reason of `kinds`."""

    def __init__(self, reason: int) -> None:
        # SimPy copies exceptions by their arguments.
        super().__init__(reason)
        self.reason = reason


@dataclass(eq=False, slots=True)
class Message:
    """One message through all its attempts."""

    ident: int
    kind: int
    source: int
    target: int
    size: int
    created_ns: int
    sent_ns: int = 0
    lease_ns: int = 0
    attempt: int = 0
    reason: int = 0
    """Why the attempt before this one was lost."""
    gateway: int = -1
    host: int = -1
    """The gateway at which the directory says that its receiver is."""
    source_region: int = 0
    target_region: int = 0
    over: Any = None
    """Event of a closed loop that waits for this message's end."""


@dataclass(eq=False, slots=True)
class Job:
    """What a station serves; `owner` is a message, a query or a batch."""

    ident: int
    attempt: int
    work_ns: int
    owner: Any
    arrived_ns: int = 0
    done: simpy.Event = None  # type: ignore[assignment]  # set by the station


class Station:
    """c servers, FIFO by (arrival, id, attempt), that can be throttled and can crash."""

    def __init__(
        self,
        env: Clock,
        ledgers: Ledgers,
        *,
        place: int,
        node: int,
        priority: int,
        servers: int,
        limit: int,
        full: int,
        down: list[bool],
    ) -> None:
        self.env, self.ledgers, self.place, self.node = env, ledgers, place, node
        self.priority, self.servers, self.limit, self.full = priority, servers, limit, full
        self.down = down
        self.factor_ppm = self.reserved_ppm = PPM
        """Length of a service now, and at the rate that is the lane's own."""
        self.meter: MeterReference | None = None
        self.way = 0
        self.admit: Callable[[Job, int], int | None] | None = None
        self.arriving: list[Job] = []
        self.waiting: deque[Job] = deque()
        self.serving: list[Job] = []
        self.called = False

    def serve(self, job: Job) -> simpy.Event:
        """Return the event of the job's end; it fails with Lost."""
        job.arrived_ns = self.env.now
        job.done = self.env.event()
        self.arriving.append(job)
        self._call()
        return job.done

    def _call(self) -> None:
        if not self.called:
            self.called = True
            at_priority(self.env, self.priority).callbacks.append(lambda _: self._instant())

    def _instant(self) -> None:
        self.called = False
        while self.waiting and len(self.serving) < self.servers:
            self._start(self.waiting.popleft())
        arriving, self.arriving = self.arriving, []
        for job in sorted(arriving, key=lambda j: (j.ident, j.attempt)):
            reason = self._refusal(job)
            if reason is not None:
                self.ledgers.station(self, dropped=1)
                job.done.fail(Lost(reason))
            elif not self.waiting and len(self.serving) < self.servers:
                self._start(job)
            else:
                self.ledgers.station(self, queue=len(self.waiting))
                self.waiting.append(job)
        if len(arriving) > 1:
            self.ledgers.note("simultaneous_arrivals")

    def _refusal(self, job: Job) -> int | None:
        if self.down[self.node]:
            return GATEWAY_DOWN
        reason = self.admit(job, self.node) if self.admit else None
        if reason is not None:
            return reason
        full = len(self.serving) >= self.servers or self.waiting
        if full and len(self.waiting) >= self.limit:
            self.ledgers.station(self, queue=len(self.waiting))
            return self.full
        return None

    def _start(self, job: Job) -> None:
        service_ns = max(1, job.work_ns * self.factor_ppm // PPM)
        waited_ns = self.env.now - job.arrived_ns
        self.ledgers.station(self, served=1, busy=service_ns, waited=waited_ns)
        if self.factor_ppm != PPM:
            self.ledgers.note("throttled")
        if self.meter is not None:
            whole_ns = max(1, job.work_ns * self.reserved_ppm // PPM)
            if service_ns < whole_ns:
                self.ledgers.note("borrowed")
            now, bits = self.env.now, job.owner.size_bytes * 8
            self.meter.sends(Sending(self.way, self.node, now, now + service_ns, bits))
        self.serving.append(job)
        self.env.timeout(service_ns).callbacks.append(lambda _: self._end(job))

    def _end(self, job: Job) -> None:
        if job in self.serving:
            self.serving.remove(job)
            job.done.succeed()
            self._call()

    def crash(self) -> None:
        """Lose what waits and what is in service."""
        if self.waiting:
            self.ledgers.note("crash_with_queue")
            self.ledgers.note(f"crash_with_queue_at_{kinds.STATIONS[self.place]}")
        for job in [*self.serving, *self.waiting]:
            self.ledgers.station(self, dropped=1)
            job.done.fail(Lost(kinds.CRASH))
        self.serving, self.waiting = [], deque()


class Query:
    """One question to the registry, and who waits for its answer."""

    def __init__(self, key: int, leader: Message, asked_ns: int) -> None:
        self.key, self.kind = key, leader.kind
        self.ident, self.attempt, self.asked_ns = leader.ident, leader.attempt, asked_ns
        self.waiting: list[simpy.Event] = []
        self.answered, self.found, self.failed_ns = False, True, NEVER
        self.source = leader.source
        self.gateway = self.host = self.home = self.secondary = -1
        """Who asks, who answers; where the answer says that the agent is."""

    def wake(self, failure: Lost | None) -> None:
        waiting, self.waiting = self.waiting, []
        self.answered = failure is None
        for event in waiting:
            if failure is None:
                event.succeed(self)
            else:
                event.fail(Lost(failure.reason))


class Cache:
    """A gateway's direct-mapped cache and its live queries."""

    def __init__(
        self,
        env: Clock,
        priority: int,
        decide: Callable[[list[tuple[Message, int, simpy.Event]]], None],
    ) -> None:
        self.env, self.priority, self.decide = env, priority, decide
        self.entries: dict[int, Query] = {}
        self.live: list[Query] = []
        self.asking: list[tuple[Message, int, simpy.Event]] = []

    def ask(self, message: Message, gateway: int) -> simpy.Event:
        if not self.asking:
            at_priority(self.env, self.priority).callbacks.append(lambda _: self._instant())
        event = self.env.event()
        self.asking.append((message, gateway, event))
        return event

    def _instant(self) -> None:
        asking, self.asking = self.asking, []
        self.decide(sorted(asking, key=lambda a: (a[0].ident, a[0].attempt)))

    def crash(self) -> None:
        for query in self.live:
            waiting, query.waiting = query.waiting, []
            for event in waiting:
                event.fail(Lost(kinds.CRASH))
        self.entries, self.live = {}, []


class OpenBatch:
    """Messages for one next hop; its identity is its first message's."""

    def __init__(self, first: Message, header_bytes: int) -> None:
        self.first, self.attempt = first, first.attempt
        self.size_bytes = header_bytes
        self.members: list[simpy.Event] = []

    def add(self, event: simpy.Event, wire_bytes: int) -> None:
        self.members.append(event)
        self.size_bytes += wire_bytes


class Links:
    """Links between nodes: the network tables and what faults add."""

    def __init__(self, parameters: PlaneParameters, network: NetworkTables) -> None:
        self.region = parameters.node_region
        self.median = network.median_ns.tolist()
        self.spread = network.spread_ns.tolist()
        self.loss = network.loss_ppb.tolist()
        self.shape = network.shape.tolist()
        self.changed: dict[tuple[int, int], LinkChange] = {}

    def change(self, change: LinkChange) -> None:
        for a in change.sources:
            for b in change.targets:
                self.changed[a, b] = change

    def blocked(self, a: int, b: int) -> bool:
        change = self.changed.get((a, b))
        return change is not None and change.blocked

    def verdict(self, a: int, b: int, bits: int) -> int | None:
        """Return why a transmission at this time is lost, or None."""
        change = self.changed.get((a, b))
        if change and change.blocked:
            return kinds.LINK_BLOCKED
        loss = self.loss[self.region[a]][self.region[b]]
        loss = min(PPB, loss + (change.extra_loss_ppb if change else 0))
        return kinds.LINK_LOSS if below(bits, loss) else None

    def delay_ns(self, a: int, b: int, bits: int) -> int:
        """Draw the delay of a transmission that begins now."""
        change = self.changed.get((a, b))
        r, s = self.region[a], self.region[b]
        extra = change.extra_delay_ns if change else 0
        return jittered(self.median[r][s], self.spread[r][s], self.shape, bits) + extra


def second_of(time_ns: int) -> int:
    """Second s is (s, s+1]."""
    return (time_ns - 1) // SECOND_NS


@dataclass(eq=False)
class Ledgers:
    """What happened, counted by second."""

    parameters: PlaneParameters
    sample_key: int
    traffic: Counter[tuple[int, ...]] = field(default_factory=Counter)
    latency: Counter[tuple[int, ...]] = field(default_factory=Counter)
    stations: dict[tuple[int, int, int], list[int]] = field(default_factory=dict)
    samples: list[tuple[int, ...]] = field(default_factory=list)
    totals: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    lookups: dict[tuple[int, ...], list[int]] = field(default_factory=dict)
    answers: Counter[tuple[int, ...]] = field(default_factory=Counter)
    events: dict[tuple[int, int, int], list[int]] = field(default_factory=dict)
    batches: dict[tuple[int, int, int, int], list[int]] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """Count something that a test wants to have seen."""
        self.notes[what] += 1

    def offer(self, m: Message, now_ns: int) -> None:
        self.count(m, now_ns, OFFERED, -1)

    def count(self, m: Message, now_ns: int, outcome: int, reason: int) -> None:
        place = (second_of(now_ns), m.kind, m.source_region, m.target_region, outcome, reason)
        self.traffic[(*place, 0)] += 1
        self.traffic[(*place, 1)] += m.size
        self.totals[m.kind, outcome, reason] += 1
        if reason >= 0:
            self.note(f"{kinds.REASONS[reason]}")

    def finish(self, m: Message, now_ns: int, outcome: int) -> None:
        if outcome == DELIVERED:
            self.count(m, now_ns, DELIVERED_OUTCOME, -1)
            bucket = bucket_of(now_ns - m.created_ns)
            where = (second_of(now_ns), m.kind, m.source_region, m.target_region)
            self.latency[(*where, bucket)] += 1
        else:
            self.count(m, now_ns, DROPPED, outcome)
        if scaled(mix(self.sample_key, m.ident), PPM) < self.parameters.sample_ppm:
            row = (m.ident, m.kind, m.source, m.target, m.source_region, m.target_region)
            self.samples.append((*row, m.created_ns, now_ns, outcome, m.attempt + 1, m.size))

    def batch(self, batch: OpenBatch, now_ns: int, second: bool, ends: tuple[int, int]) -> None:
        """Count a batch that its uplink has sent, where batches are counted."""
        if not self.parameters.count_batches:
            return
        source, target = (self.parameters.node_region[node] for node in ends)
        row = self.batches.setdefault((second_of(now_ns), int(second), source, target), [0, 0, 0])
        row[0] += 1
        row[1] += len(batch.members)
        row[2] += batch.size_bytes

    def station(
        self,
        at: Station,
        *,
        served: int = 0,
        busy: int = 0,
        waited: int = 0,
        queue: int = 0,
        dropped: int = 0,
    ) -> None:
        if not (served or busy or waited or queue or dropped):
            return
        place = (second_of(at.env.now), at.place, at.node)
        row = self.stations.setdefault(place, [0, 0, 0, 0, 0])
        row[0] += served
        row[1] += busy
        row[2] += waited
        row[3] = max(row[3], queue)
        row[4] += dropped

    def lookup(
        self, q: Query, now_ns: int, outcome: int, pair: tuple[int, int], sums: tuple[int, ...]
    ) -> None:
        """Count a question by the regions of asker and host; `sums` from `depth` on."""
        row = self.lookups.setdefault((second_of(now_ns), q.kind, *pair, outcome), [0] * 8)
        for i, value in enumerate((1, *sums)):
            row[i] += value

    def answer(self, q: Query, left_ns: int, pair: tuple[int, int], took_ns: int) -> None:
        self.answers[(second_of(left_ns), q.kind, *pair, bucket_of(took_ns))] += 1

    def registry(self, now_ns: int, node: int, event: int, count: int = 1, size: int = 0) -> None:
        """Count what happened at a host, or at a gateway that asks one."""
        if count == 0:
            return
        row = self.events.setdefault((second_of(now_ns), node, event), [0, 0])
        row[0] += count
        row[1] += size
        self.note(REGISTRY_EVENTS[event])

    def counters(self, stored: list[int]) -> Counters:
        def total(kind: int, outcome: int) -> int:
            return sum(n for (k, o, _), n in self.totals.items() if (k, o) == (kind, outcome))

        every = range(len(kinds.KINDS))
        offered = [total(k, OFFERED) for k in every]
        delivered = [total(k, DELIVERED_OUTCOME) for k in every]
        dropped = [total(k, DROPPED) for k in every]
        rest = [offered[k] - delivered[k] - dropped[k] - stored[k] for k in every]
        reasons = range(len(kinds.REASONS))
        return Counters(
            tuple(offered),
            tuple(delivered),
            tuple(stored),
            tuple(rest),
            tuple(dropped),
            tuple(sum(self.totals[k, DROPPED, r] for k in every) for r in reasons),
            sum(n for (_, o, _), n in self.totals.items() if o == RETRIED),
        )

    def drain(self, before_second: int | None) -> Drained:
        """Hand out and forget rows of seconds before `before_second` (None: all)."""

        def due(second: int) -> bool:
            return before_second is None or second < before_second

        places = sorted({place[:-1] for place in self.traffic if due(place[0])})
        traffic = [(*p, self.traffic.pop((*p, 0)), self.traffic.pop((*p, 1))) for p in places]
        buckets = sorted(place for place in self.latency if due(place[0]))
        latency = [(*place, self.latency.pop(place)) for place in buckets]
        met = sorted(place for place in self.stations if due(place[0]))
        loads = [(place, self.stations.pop(place)) for place in met]
        # Where somebody came first in line and nothing else happened there is nothing to tell.
        stations = [(*place, *load) for place, load in loads if any(load)]
        samples = sorted(row for row in self.samples if due(second_of(row[7])))
        self.samples = [row for row in self.samples if not due(second_of(row[7]))]
        asked = [(*p, *self.lookups.pop(p)) for p in sorted(self.lookups) if due(p[0])]
        answers = [(*p, self.answers.pop(p)) for p in sorted(self.answers) if due(p[0])]
        events = [(*p, *self.events.pop(p)) for p in sorted(self.events) if due(p[0])]
        sent = [(*p, *self.batches.pop(p)) for p in sorted(self.batches) if due(p[0])]
        return Drained(
            _columns(TRAFFIC, traffic),
            _columns(LATENCY, latency),
            _columns(STATION, stations),
            _columns(SAMPLES, samples),
            _columns(LOOKUPS, asked),
            _columns(LOOKUP_LATENCY, answers),
            _columns(REGISTRY, events),
            _columns(BATCHES, sent),
        )


def _columns(names: tuple[str, ...], rows: list[tuple[int, ...]]) -> dict[str, I64]:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(names))
    return {name: table[:, i] for i, name in enumerate(names)}
