"""Count validators' messages by second, kind and region pair, without an object a message."""

from __future__ import annotations

from sim.protocol.messages import Message
from sim.record.recorder import Sink

_SECOND = 1_000_000_000


def kind_of(message_type: type) -> str:
    """Name a consensus message in tables: its class in snake case."""
    name = message_type.__name__.removesuffix("Message")
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class Meter:
    """Cells of [messages, bytes] by (outcome, reason, kind, region pair) of the running second."""

    __slots__ = ("_cells", "_kinds", "_names", "_recorder", "_regions", "delivered")

    def __init__(self, recorder: Sink, regions: tuple[str, ...]) -> None:
        self._recorder = recorder
        self._names = regions
        self._regions = len(regions)
        self._kinds: dict[type, str] = {}
        self._cells: dict[tuple[str, str, type, int], list[int]] = {}
        self.delivered = 0

    def count(
        self, outcome: str, reason: str, message: Message, source: int, target: int, size: int
    ) -> None:
        """Add one message of `size` bytes between two regions to the running second."""
        if outcome == "delivered":
            self.delivered += 1
        key = (outcome, reason, type(message), source * self._regions + target)
        cell = self._cells.get(key)
        if cell is None:
            self._cells[key] = [1, size]
        else:
            cell[0] += 1
            cell[1] += size

    def close_second(self, now_ns: int) -> None:
        """Write the second that ends at `now_ns` (its last instant is now_ns - 1)."""
        second = (now_ns - 1) // _SECOND
        rows: dict[str, list[object]] = {name: [] for name in _COLUMNS}
        for (outcome, reason, type_, pair), (messages, size) in self._cells.items():
            kind = self._kinds.get(type_)
            if kind is None:
                kind = self._kinds[type_] = kind_of(type_)
            source, target = divmod(pair, self._regions)
            values = (
                second,
                "consensus",
                kind,
                self._names[source],
                self._names[target],
                outcome,
                reason,
                messages,
                size,
            )
            for name, value in zip(_COLUMNS, values, strict=True):
                rows[name].append(value)
        if self._cells:
            self._recorder.append("traffic", rows)
            self._cells.clear()


_COLUMNS = (
    "second",
    "lane",
    "kind",
    "source_region",
    "destination_region",
    "outcome",
    "reason",
    "messages",
    "bytes",
)
