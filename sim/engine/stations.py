"""Rows of the table `stations` for the validators' own lines and computers, second by second."""

from __future__ import annotations

from sim.engine.node import Node
from sim.record.recorder import Sink

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
            before = self._before[place]
            sums = (station.served, station.busy_ns, station.wait_ns)
            if sums[0] == before[0]:
                continue
            self._before[place] = sums
            served, busy, waited = (a - b for a, b in zip(sums, before, strict=True))
            rows.append((second, name, "consensus", node, served, busy, waited, -1, 0))
        self._recorder.append_rows("stations", _COLUMNS, rows)
