"""Count validators' messages by second, kind and region pair, without an object a message."""

from __future__ import annotations

from sim.protocol.messages import Message
from sim.record.recorder import Sink

_SECOND = 1_000_000_000


def kind_of(message_type: type) -> str:
    """Name a consensus message in tables: its class in snake case."""
    name = message_type.__name__.removesuffix("Message")
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class Flow:
    """One kind of message in the running second, by region pair (source * regions + target)."""

    __slots__ = ("delivered", "delivered_bytes", "name", "offered", "offered_bytes")

    def __init__(self, name: str, pairs: int) -> None:
        self.name = name
        self.offered = [0] * pairs
        self.offered_bytes = [0] * pairs
        self.delivered = [0] * pairs
        self.delivered_bytes = [0] * pairs


class Meter:
    """The flows of all kinds. The transport counts in the flow's lists itself: it is its hot path.

    `delivered`: messages handed to cores in the whole run, up to the last closed second.
    """

    __slots__ = ("_closed", "_flows", "_lost", "_names", "_recorder", "delivered", "regions")

    def __init__(self, recorder: Sink, regions: tuple[str, ...]) -> None:
        self._recorder = recorder
        self._names = regions
        self.regions = len(regions)
        self._flows: dict[type, Flow] = {}
        self._lost: dict[tuple[str, type, int], list[int]] = {}
        self.delivered = 0
        self._closed = (0, 0)
        """Messages and bytes offered in the seconds that are closed."""

    def offered(self) -> tuple[int, int]:
        """Return how many messages, and bytes, have been sent in the whole run until now."""
        messages, size = self._closed
        for flow in self._flows.values():
            messages += sum(flow.offered)
            size += sum(flow.offered_bytes)
        return messages, size

    def flow(self, message: Message) -> Flow:
        """Return the flow of a message's kind."""
        found = self._flows.get(type(message))
        if found is None:
            found = self._flows[type(message)] = Flow(
                kind_of(type(message)), self.regions * self.regions
            )
        return found

    def lost(self, reason: str, message: Message, pair: int, size_bytes: int) -> None:
        """Count one message that was lost."""
        cell = self._lost.setdefault((reason, type(message), pair), [0, 0])
        cell[0] += 1
        cell[1] += size_bytes

    def close_second(self, now_ns: int) -> None:
        """Write the second that ends with `now_ns`, that instant included."""
        second = (now_ns - 1) // _SECOND
        rows: list[tuple[object, ...]] = []
        busy = [flow for flow in self._flows.values() if any(flow.offered) or any(flow.delivered)]
        for flow in busy:
            self.delivered += sum(flow.delivered)
            sides = (
                ("offered", flow.offered, flow.offered_bytes),
                ("delivered", flow.delivered, flow.delivered_bytes),
            )
            for outcome, messages, sizes in sides:
                for pair, count in enumerate(messages):
                    if count:
                        rows.append(
                            self._row(second, flow.name, pair, outcome, "", count, sizes[pair])
                        )
        for (reason, kind, pair), (count, size) in self._lost.items():
            rows.append(self._row(second, kind_of(kind), pair, "dropped", reason, count, size))
        self._recorder.append_rows("traffic", _COLUMNS, rows)
        self._closed = self.offered()
        for flow in busy:
            for counts in (
                flow.offered,
                flow.offered_bytes,
                flow.delivered,
                flow.delivered_bytes,
            ):
                # In place: messages on their way hold the flow.
                counts[:] = [0] * len(counts)
        self._lost.clear()

    def _row(
        self, second: int, kind: str, pair: int, outcome: str, reason: str, n: int, size: int
    ) -> tuple[object, ...]:
        source, target = divmod(pair, self.regions)
        names = self._names
        return (second, "consensus", kind, names[source], names[target], outcome, reason, n, size)


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
