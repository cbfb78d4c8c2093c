"""The reference's batches between gateways: collected, closed, carried.

Owns: open batches, one SimPy process a closed batch. Must not know: columns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from sim.engine.reference_parts import Job, Lost, Message, OpenBatch, at_priority
from sim.world.agents import draws
from sim.world.agents.kinds import CRASH
from sim.world.chance import mix

if TYPE_CHECKING:
    from sim.engine.reference import Reference

Steps = Generator[simpy.Event, Any, None]


class TransitReference:
    """All batches on their way between gateways, of the first leg or of the second."""

    def __init__(self, plane: Reference, priorities: tuple[int, int], *, second: bool) -> None:
        self.plane, self.p, self.env = plane, plane.p, plane.env
        self.second = second
        relay = plane.p.relay if second else None
        stations = plane.stations
        self.uplink, self.downlink = stations.uplink, stations.downlink
        self.bps = (self.p.uplink.bits_per_s, self.p.downlink.bits_per_s)
        if relay is not None:
            self.uplink, self.downlink = stations.relay_uplink, stations.relay_downlink
            self.bps = (relay.uplink.bits_per_s, relay.downlink.bits_per_s)
        self.delay = draws.RELAY_DELAY if second else draws.TRANSIT_DELAY
        self.adding, self.timing = priorities
        self.open: dict[tuple[int, int], OpenBatch] = {}
        self.joining: list[tuple[Message, int, simpy.Event]] = []

    def join(self, m: Message, gateway: int, host: int) -> simpy.Event:
        event = self.env.event()
        if not self.joining:
            at_priority(self.env, self.adding).callbacks.append(lambda _: self._instant())
        m.gateway = gateway
        self.joining.append((m, host, event))
        return event

    def _instant(self) -> None:
        joining, self.joining = self.joining, []
        limits = self.p.batch
        for m, host, event in sorted(joining, key=lambda j: (j[0].ident, j[0].attempt)):
            pair = (m.gateway, host)
            batch = self.open.get(pair)
            if batch is None:
                batch = self.open[pair] = OpenBatch(m, self.p.batch_header_bytes)
                timer = at_priority(self.env, self.timing, limits.age_ns)
                timer.callbacks.append(lambda _, b=batch, w=pair: self._close(w, b))
            batch.add(event, self.plane.wire_bytes(m))
            if len(batch.members) >= limits.count or batch.size_bytes >= limits.size_bytes:
                self._close(pair, batch)

    def _close(self, pair: tuple[int, int], batch: OpenBatch) -> None:
        if self.open.get(pair) is batch:
            del self.open[pair]
            self.env.process(self._carry(pair, batch))

    def _carry(self, pair: tuple[int, int], batch: OpenBatch) -> Steps:
        gateway, host = pair
        m, attempt = batch.first.ident, batch.attempt
        bits = batch.size_bytes * 8 * 10**9
        try:
            up = -(-bits // self.bps[0])
            yield self.uplink[gateway].serve(Job(m, attempt, up, batch))
            self.plane.ledgers.batch(batch, self.env.now, self.second, (gateway, host))
            yield from self.plane.hop(gateway, host, m, attempt, self.delay)
            down = -(-bits // self.bps[1])
            yield self.downlink[host].serve(Job(m, attempt, down, batch))
        except Lost as loss:
            for event in batch.members:
                event.fail(Lost(loss.reason))
        else:
            for event in batch.members:
                event.succeed()

    def next_hop(self, gateway: int, host: int, attempt: int) -> int:
        """Return where a message leaves the first leg: at `host`, or where it enters its region."""
        region = self.p.node_region
        if self.p.relay is None or region[gateway] == region[host]:
            return host
        entries = [g for g in self.p.gateways if region[g] == region[host]]
        key = self.plane.keys[draws.ENTRY]
        first = draws.scaled(mix(key, gateway, region[host]), len(entries)) + attempt
        turn = [entries[(first + i) % len(entries)] for i in range(len(entries))]
        up = [entry for entry in turn if not self.plane.registry.known_down[entry]]
        if up and up[0] != turn[0]:
            self.plane.ledgers.note("entered_elsewhere")
        return up[0] if up else turn[0]

    def crash(self, node: int) -> None:
        """Lose the open batches of a gateway."""
        for pair in [pair for pair in self.open if pair[0] == node]:
            for event in self.open.pop(pair).members:
                event.fail(Lost(CRASH))
