"""The reference's stations: one of each class at every node, throttled, lent to, crashed together.

Owns: which classes there are, their lines and limits, and the order of stages inside an instant.
Must not know: what they serve, columns.
"""

from __future__ import annotations

from sim.engine.reference_lanes import DOWN, UP, MeterReference
from sim.engine.reference_parts import Clock, Ledgers, Station
from sim.world.agents import kinds
from sim.world.agents.parameters import Link, PlaneParameters
from sim.world.agents.parameters import Station as Workers

# Order inside an instant; SimPy's own events have 0 (urgent) and 1 (normal).
INGRESS, DESK, CACHE, SHARD, BATCH, BATCH_TIMER, UPLINK, DOWNLINK = range(11, 19)
RELAY, REBATCH, REBATCH_TIMER, RELAY_UPLINK, RELAY_DOWNLINK, EGRESS, STORE = range(19, 26)
PAYLOAD, PAYLOAD_TIMER, COPIES, FAULTS = range(26, 30)


class StationsReference:
    """All stations, by class and node; without relays, theirs are idle for ever."""

    def __init__(
        self,
        env: Clock,
        ledgers: Ledgers,
        p: PlaneParameters,
        down: list[bool],
        meter: MeterReference | None,
    ) -> None:
        self._built = (env, ledgers, down)
        self._nodes = range(len(p.node_region))
        onward = (p.ingress, p.uplink, p.downlink)
        if p.relay is not None:
            onward = (p.relay.station, p.relay.uplink, p.relay.downlink)
        make = self._class
        self.ingress = make("ingress", INGRESS, p.ingress, kinds.INGRESS_FULL)
        self.shard = make("shard", SHARD, p.directory.station, kinds.LOOKUP_FAILED)
        self.uplink = make("uplink", UPLINK, p.uplink, kinds.UPLINK_FULL)
        self.downlink = make("downlink", DOWNLINK, p.downlink, kinds.DOWNLINK_FULL)
        self.egress = make("egress", EGRESS, p.egress, kinds.EGRESS_FULL)
        self.relay = make("relay", RELAY, onward[0], kinds.RELAY_FULL)
        self.relay_uplink = make("relay_uplink", RELAY_UPLINK, onward[1], kinds.UPLINK_FULL)
        self.relay_downlink = make("relay_downlink", RELAY_DOWNLINK, onward[2], kinds.DOWNLINK_FULL)
        self._ups = (self.uplink, self.relay_uplink)
        self._downs = (self.downlink, self.relay_downlink)
        self._workers = (self.ingress, self.shard, self.egress, self.relay)
        for way, links in ((UP, self._ups), (DOWN, self._downs)):
            for station in (*links[0], *links[1]):
                station.meter, station.way = meter, way

    def _class(self, name: str, priority: int, what: Workers | Link, full: int) -> list[Station]:
        env, ledgers, down = self._built
        return [
            Station(
                env,
                ledgers,
                place=kinds.STATIONS.index(name),
                node=node,
                priority=priority,
                servers=what.servers if isinstance(what, Workers) else 1,
                limit=what.queue,
                full=full,
                down=down,
            )
            for node in self._nodes
        ]

    def throttle(self, node: int, service_ppm: int, links_ppm: int) -> None:
        """Stretch a node's services and transmissions, from the next start."""
        for workers in self._workers:
            workers[node].factor_ppm = service_ppm
        for links in (*self._ups, *self._downs):
            links[node].factor_ppm = links[node].reserved_ppm = links_ppm

    def set_rates(self, uplink_ppm: tuple[int, ...], downlink_ppm: tuple[int, ...]) -> None:
        """Stretch or shorten transmissions by node and direction, from the next start."""
        for way, rates in ((self._ups, uplink_ppm), (self._downs, downlink_ppm)):
            for links in way:
                for node, ppm in enumerate(rates):
                    links[node].factor_ppm = ppm

    def crash(self, node: int) -> None:
        """Lose what waits and is served at a node."""
        for stations in (*self._workers, *self._ups, *self._downs):
            stations[node].crash()
