"""The reference's transaction batches: collected, sent to all validators, pulled, committed.

Owns: one object a batch. Must not know: columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import simpy

from sim.engine.reference_lanes import DOWN, UP
from sim.engine.reference_parts import Lost, Message, at_priority
from sim.protocol.types import PayloadRef
from sim.world.agents import draws
from sim.world.agents.kinds import CRASH, GRID_NS, NEVER, PPM
from sim.world.chance import mix

if TYPE_CHECKING:
    from sim.engine.reference import Reference


@dataclass(eq=False, slots=True)
class TransactionBatch:
    """A range of one gateway's transactions and where it is held since when."""

    gateway: int
    size_bytes: int
    members: list[tuple[Message, simpy.Event]] = field(default_factory=list)
    first: int = -1
    before: TransactionBatch | None = None
    order: list[int] = field(default_factory=list)
    sender: list[int] = field(default_factory=list)
    depart_ns: list[int] = field(default_factory=list)
    held_ns: list[int] = field(default_factory=list)
    handed: list[bool] = field(default_factory=list)
    committed_ns: int = NEVER

    @property
    def ref(self) -> PayloadRef:
        last = self.first + len(self.members) - 1
        return PayloadRef(self.gateway, self.first, last, self.size_bytes)

    @property
    def uid(self) -> int:
        return self.gateway << 40 | self.first


class PayloadReference:
    """All transaction batches of a run."""

    def __init__(self, plane: Reference, priorities: tuple[int, int, int]) -> None:
        self.plane, self.p, self.env = plane, plane.p.dissemination, plane.env
        self.adding, self.timing, self.copying = priorities
        self.nodes = len(plane.p.node_region)
        self.open: dict[int, TransactionBatch] = {}
        self.joining: list[tuple[Message, int, simpy.Event]] = []
        self.closing: list[TransactionBatch] = []
        self.batches: list[TransactionBatch] = []
        self.by_first: dict[tuple[int, int], TransactionBatch] = {}
        self.newest: dict[int, TransactionBatch] = {}
        self.next_number = [0] * self.nodes
        self.up_free = [0] * self.nodes
        self.down_free = [0] * self.nodes
        self.verify_free = [0] * self.nodes
        self.pull_up_free = [0] * self.nodes
        self.pull_down_free = [0] * self.nodes
        self.service_ppm = [PPM] * self.nodes
        self.links_ppm = [[PPM] * self.nodes, [PPM] * self.nodes]

    def throttle(self, node: int, service_ppm: int, links_ppm: int) -> None:
        self.service_ppm[node] = service_ppm
        self.links_ppm[UP][node] = self.links_ppm[DOWN][node] = links_ppm

    def set_rates(self, uplink_ppm: tuple[int, ...], downlink_ppm: tuple[int, ...]) -> None:
        self.links_ppm = [list(uplink_ppm), list(downlink_ppm)]

    # -- collecting ---------------------------------------------------------------------------

    def join(self, gateway: int, m: Message) -> simpy.Event:
        """Return an event that succeeds at the close and fails if the gateway crashes before."""
        event = self.env.event()
        if not self.joining:
            at_priority(self.env, self.adding).callbacks.append(lambda _: self._instant())
        self.joining.append((m, gateway, event))
        return event

    def _instant(self) -> None:
        joining, self.joining = self.joining, []
        limits = self.p.batch
        for m, gateway, event in sorted(joining, key=lambda j: (j[0].ident, j[0].attempt)):
            batch = self.open.get(gateway)
            if batch is None:
                batch = self.open[gateway] = TransactionBatch(gateway, self.p.header_bytes)
                timer = at_priority(self.env, self.timing, limits.age_ns)
                timer.callbacks.append(lambda _, b=batch: self._close(b))
            batch.members.append((m, event))
            batch.size_bytes += self.plane.wire_bytes(m)
            if len(batch.members) >= limits.count or batch.size_bytes >= limits.size_bytes:
                self._close(batch)

    def _close(self, batch: TransactionBatch) -> None:
        gateway = batch.gateway
        if self.open.get(gateway) is not batch:
            return
        del self.open[gateway]
        batch.first = self.next_number[gateway]
        self.next_number[gateway] += len(batch.members)
        if not self.closing:
            at_priority(self.env, self.copying).callbacks.append(lambda _: self._copy_all())
        self.closing.append(batch)
        for _, event in batch.members:
            event.succeed()

    # -- dissemination ------------------------------------------------------------------------

    def _copy_all(self) -> None:
        closing, self.closing = self.closing, []
        for batch in sorted(closing, key=lambda b: (b.gateway, b.first)):
            self._copy(batch)
            batch.before = self.newest.get(batch.gateway)
            if batch.before is not None:
                for v, earlier in enumerate(batch.before.held_ns):
                    if earlier != NEVER:
                        batch.held_ns[v] = max(batch.held_ns[v], earlier)
            self.newest[batch.gateway] = batch
            self.batches.append(batch)
            self.by_first[batch.gateway, batch.first] = batch

    def _copy(self, batch: TransactionBatch) -> None:
        """Fix when each validator holds the batch; reserve its stations."""
        keys, links, root, uid = self.plane.keys, self.plane.links, batch.gateway, batch.uid
        others = [v for v in range(self.nodes) if v != root]
        for last in range(self.nodes - 1, 1, -1):
            place = draws.scaled(mix(keys[draws.COPY_ORDER], uid, last), last)
            others[last - 1], others[place] = others[place], others[last - 1]
        batch.order = [root, *others]
        received = [NEVER] * self.nodes
        batch.sender, batch.depart_ns = [-1] * self.nodes, [NEVER] * self.nodes
        received[root] = self.env.now
        cell = (self.env.now - 1) // GRID_NS
        for place in range(1, self.nodes):
            v = batch.order[place]
            s = batch.order[(place - 1) // self.p.fanout if self.p.fanout else 0]
            if received[s] == NEVER:
                continue
            leave = self._pass(UP, s, max(received[s], self.up_free[s]), batch, cell)
            self.up_free[s] = batch.depart_ns[v] = leave
            batch.sender[v] = s
            lost = links.verdict(s, v, mix(keys[draws.COPY_LOSS], uid, v)) is not None
            if lost or self.plane.down[v]:
                self.plane.ledgers.note("copy_lost")
                continue
            arrive = leave + links.delay_ns(s, v, mix(keys[draws.COPY_DELAY], uid, v))
            begin = max(arrive, self.down_free[v])
            received[v] = self.down_free[v] = self._pass(DOWN, v, begin, batch, cell)
        batch.held_ns = [self._verified(v, received[v], batch) for v in range(self.nodes)]
        batch.handed = [False] * self.nodes

    def _verified(self, v: int, received_ns: int, batch: TransactionBatch) -> int:
        if received_ns == NEVER:
            return NEVER
        start = max(received_ns, self.verify_free[v])
        self.verify_free[v] = start + self._verify_ns(v, len(batch.members))
        return self.verify_free[v]

    def _pass(self, way: int, node: int, begin_ns: int, batch: TransactionBatch, cell: int) -> int:
        """Reserve a link from `begin_ns` on; return when the batch is through."""
        bps = self.p.downlink_bps if way == DOWN else self.p.uplink_bps
        whole = -(-batch.size_bytes * 8 * 10**9 // bps)
        end_ns = begin_ns + max(1, whole * self.links_ppm[way][node] // PPM)
        if self.plane.meter is not None:
            self.plane.meter.reserve(way, node, begin_ns, end_ns, batch.size_bytes, cell)
        return end_ns

    def _verify_ns(self, node: int, count: int) -> int:
        whole = -(-count // self.p.workers) * self.p.verify_ns
        return max(1, whole * self.service_ppm[node] // PPM)

    def crash(self, node: int) -> None:
        """Lose the open batch, and copies that had not left or were not held."""
        batch = self.open.pop(node, None)
        for _, event in batch.members if batch else ():
            event.fail(Lost(CRASH))
        now = self.env.now
        for closed in self.batches:
            lost = set()
            for v in closed.order[1:]:
                unsent = closed.depart_ns[v] > now and (
                    closed.sender[v] == node or closed.sender[v] in lost
                )
                if closed.held_ns[v] != NEVER and (
                    unsent or (v == node and closed.held_ns[v] > now)
                ):
                    lost.add(v)
                    closed.held_ns[v] = NEVER
                    self.plane.ledgers.note("copy_revoked")
        self.up_free[node] = self.down_free[node] = self.verify_free[node] = 0

    # -- validators ask -----------------------------------------------------------------------

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        refs = []
        for batch in self.batches:
            if batch.handed[validator] or batch.committed_ns != NEVER:
                continue
            before = batch.before
            whole = before is None or before.handed[validator] or before.committed_ns != NEVER
            if whole and batch.held_ns[validator] <= now_ns:
                batch.handed[validator] = True
                refs.append(batch.ref)
        return tuple(refs)

    def held_ns(self, validator: int, refs: tuple[PayloadRef, ...]) -> int | None:
        latest = max((self._find(ref).held_ns[validator] for ref in refs), default=0)
        return None if latest == NEVER else latest

    def pull(self, validator: int, ref: PayloadRef, now_ns: int) -> int | None:
        batch, links = self._find(ref), self.plane.links
        if batch.held_ns[validator] != NEVER:
            return batch.held_ns[validator]
        me = links.region[validator]
        holders = []
        for u in range(self.nodes):
            blocked = [links.changed.get(pair) for pair in ((validator, u), (u, validator))]
            cut = any(change and change.blocked for change in blocked)
            if batch.held_ns[u] <= now_ns and not self.plane.down[u] and not cut:
                it = links.region[u]
                holders.append((links.median[me][it] + links.median[it][me], u))
        if not holders:
            return None
        holder = min(holders)[1]
        key, uid, n = self.plane.keys[draws.COPY_DELAY], batch.uid, self.nodes
        at = now_ns + links.delay_ns(validator, holder, mix(key, uid, n + validator))
        cell = now_ns // GRID_NS
        at = self._pass(UP, holder, max(at, self.pull_up_free[holder]), batch, cell)
        self.pull_up_free[holder] = at
        at += links.delay_ns(holder, validator, mix(key, uid, 2 * n + validator))
        at = self._pass(DOWN, validator, max(at, self.pull_down_free[validator]), batch, cell)
        self.pull_down_free[validator] = at
        batch.held_ns[validator] = at + self._verify_ns(validator, len(batch.members))
        batch.sender[validator], batch.depart_ns[validator] = -1, 0
        self.plane.ledgers.note("pulled")
        return batch.held_ns[validator]

    def commit(self, ref: PayloadRef, now_ns: int) -> list[Message]:
        batch = self._find(ref)
        if batch.committed_ns != NEVER:
            raise ValueError(f"{ref} was committed before, at {batch.committed_ns} ns")
        batch.committed_ns = now_ns
        return [m for m, _ in batch.members]

    def _find(self, ref: PayloadRef) -> TransactionBatch:
        batch = self.by_first.get((ref.gateway, ref.first))
        if batch is None or batch.ref != ref:
            raise ValueError(f"{ref} is no batch of this run")
        return batch
