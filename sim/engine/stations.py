"""Rows of the table `stations` for the validators' own lines and computers; servers of stations."""

from __future__ import annotations

from sim.engine.node import Node
from sim.record.recorder import Sink
from sim.scenario.agents import EntryGateway
from sim.scenario.model import Scenario

_SECOND = 1_000_000_000
_COLUMNS = (
    "second",
    "class",
    "lane",
    "station",
    "served",
    "busy_ns",
    "waited_ns",
    "queue_max",
    "dropped",
)


class StationMeter:
    """Differences of the stations' running sums from second to second."""

    def __init__(self, recorder: Sink, nodes: list[Node]) -> None:
        self._recorder = recorder
        self._stations = [
            (name, node.id, station)
            for node in nodes
            for name, station in (
                ("uplink", node.uplink),
                ("downlink", node.downlink),
                ("cpu", node.cpu),
            )
        ]
        self._before = [(0, 0, 0)] * len(self._stations)

    def close_second(self, now_ns: int) -> None:
        """Write the second that ends with `now_ns`; idle stations have no row."""
        second = (now_ns - 1) // _SECOND
        rows: list[tuple[object, ...]] = []
        for place, (name, node, station) in enumerate(self._stations):
            served, busy, waited = self._before[place]
            if station.served == served:
                continue
            sums = self._before[place] = (station.served, station.busy_ns, station.wait_ns)
            more = (sums[0] - served, sums[1] - busy, sums[2] - waited)
            rows.append((second, name, "consensus", node, *more, -1, 0))
        self._recorder.append_rows("stations", _COLUMNS, rows)


def servers_of(scenario: Scenario) -> dict[tuple[str, str], int]:
    """Return how many servers a station of a (class, lane) has."""
    found = {("cpu", "consensus"): scenario.validators.workers.consensus}
    for lane in ("consensus", "agents"):
        found["uplink", lane] = found["downlink", lane] = 1
    if scenario.agents is not None:
        found["ingress", "agents"] = scenario.agents.ingress.servers
        found["egress", "agents"] = scenario.agents.egress.servers
        hop = scenario.agents.next_hop
        found["relay", "agents"] = hop.servers if isinstance(hop, EntryGateway) else 1
        found["relay_uplink", "agents"] = found["relay_downlink", "agents"] = 1
        found["shard", "agents"] = scenario.agents.directory.servers
    return found
