"""The plane's accounts: sums of the running second, rows of the seconds that are over.

Owns: how sums become rows and totals. Must not know: how messages are solved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.kernels import take_latencies
from sim.world.agents.kinds import DELIVERED, KINDS, STATIONS
from sim.world.agents.state import (
    COLUMNS,
    DELIVERED_COLUMN,
    DROPPED_COLUMN,
    LOOKUP_SUMS,
    OFFERED_COLUMN,
    RETRIED_COLUMN,
    RETURNS,
    STORED_COLUMN,
    Books,
    World,
)
from sim.world.agents.stations.kernels import sums_of
from sim.world.agents.tables import (
    BATCHES,
    BUCKETS,
    DELIVERED_OUTCOME,
    DROPPED,
    LATENCY,
    LOOKUP_LATENCY,
    LOOKUPS,
    LOST_WRITE,
    OFFERED,
    REGISTRY,
    RETRIED,
    ROUTE_FOUND,
    SAMPLES,
    STATION,
    STORED,
    TRAFFIC,
    Counters,
    Drained,
)
from sim.world.chance import I64

_OUTCOME = np.full(COLUMNS, RETRIED, dtype=np.int64)
_OUTCOME[[OFFERED_COLUMN, DELIVERED_COLUMN, STORED_COLUMN]] = (OFFERED, DELIVERED_OUTCOME, STORED)
_OUTCOME[DROPPED_COLUMN:] = DROPPED
_REASON = np.full(COLUMNS, -1, dtype=np.int64)
_REASON[RETRIED_COLUMN:DROPPED_COLUMN] = np.arange(DELIVERED)
_REASON[DROPPED_COLUMN:] = np.arange(DELIVERED)
_SUMS = LOOKUPS[-LOOKUP_SUMS:]


class Ledger:
    """Rows not yet handed out, and totals since the start."""

    def __init__(self, world: World) -> None:
        self.second = 0
        """The second that is being summed."""
        self.lost_writes = np.zeros(len(world.down), dtype=np.int64)
        """Acknowledged writes lost by node, up to the last second that was closed."""
        self._totals = np.zeros((len(KINDS), COLUMNS), dtype=np.int64)
        self._scratch = np.empty((len(LATENCY), 0), dtype=np.int64)
        self._rows: tuple[list[I64], ...] = tuple([] for _ in Drained._fields)
        """By table: int64[columns, rows] of each second."""

    def close_second(self, world: World, second: int) -> None:
        """Turn the sums of `second` into rows and start again from zero."""
        if second < 0:
            return
        books = world.books
        traffic, latency, stations, samples, lookups, answered, events, batches = self._rows
        delivered = np.ascontiguousarray(books.traffic[:, :, :, DELIVERED_COLUMN, 0])
        latency.append(self._met(books, 0, delivered, second))
        (kind, source, target, column), sums = _taken(books.traffic)
        np.add.at(self._totals, (kind, column), sums[0])
        outcome, reason = _OUTCOME[column], _REASON[column]
        traffic.append(_rows(second, kind, source, target, outcome, reason, *sums))
        for place, name in enumerate(STATIONS):
            served = sums_of(getattr(world, name))
            busy, sums = _taken(served, np.any(served, axis=1))
            stations.append(_rows(second, place, *busy, *sums))
        count = int(books.tally[0])
        samples.append(books.samples[:count].T.copy())
        books.tally[0] = 0
        _sum_lookups(books, int(world.constants[0]["query_bytes"]))
        asked, sums = _taken(books.lookups)
        lookups.append(_rows(second, *asked, *sums))
        answered.append(self._met(books, 1, books.answered, second))
        books.answered[:] = 0
        self.lost_writes += books.registry[:, LOST_WRITE, 0]
        event, sums = _taken(books.registry)
        events.append(_rows(second, *event, *sums))
        sent, sums = _taken(books.batches)
        batches.append(_rows(second, *sent, *sums))
        self.second = second + 1

    def _met(self, books: Books, table: int, counts: I64, second: int) -> I64:
        """Take the latencies of a second out of a table; `counts` by kind and pair of regions."""
        room = min(int(counts.sum()), int(np.count_nonzero(counts)) * BUCKETS)
        if self._scratch.shape[1] < room:
            self._scratch = np.empty((len(LATENCY), room * 3 // 2), dtype=np.int64)
        latency = (books.latency, books.answers)[table].reshape(*counts.shape, BUCKETS)
        octaves = books.octaves[table, : counts.size].reshape(counts.shape)
        uncounted, places = int(books.uncounted[table]), books.pending[table]
        count = take_latencies(latency, counts, octaves, places, uncounted, self._scratch)
        books.uncounted[table] = 0
        self._scratch[0, :count] = second
        return self._scratch[:, :count].copy()

    def drain(self) -> Drained:
        """Hand out the rows of closed seconds and forget them."""
        names = (TRAFFIC, LATENCY, STATION, SAMPLES, LOOKUPS, LOOKUP_LATENCY, REGISTRY, BATCHES)
        tables = [_table(n, rows) for n, rows in zip(names, self._rows, strict=True)]
        self._rows = tuple([] for _ in names)
        return Drained(*tables)

    def counters(self, world: World) -> Counters:
        sums = self._totals + world.books.traffic[..., 0].sum(axis=(1, 2))
        offered, delivered = sums[:, OFFERED_COLUMN], sums[:, DELIVERED_COLUMN]
        dropped = sums[:, DROPPED_COLUMN:].sum(axis=1)
        stored = world.books.kept
        m = world.m
        left, fresh = m.left.tolist()
        under_way = np.ones(fresh, dtype=np.bool_)
        under_way[m.free[:left]] = False
        lines = world.lines
        not_offered = lines.due[RETURNS, : int(lines.size[RETURNS])]["slot"]
        under_way[not_offered] = False
        live = np.bincount(m.row["kind"][:fresh][under_way], minlength=len(KINDS))
        return Counters(
            _ints(offered),
            _ints(delivered),
            _ints(stored),
            _ints(live - stored),
            _ints(dropped),
            _ints(sums[:, DROPPED_COLUMN:].sum(axis=0)),
            int(sums[:, RETRIED_COLUMN:DROPPED_COLUMN].sum()),
        )

    def memory_bytes(self) -> int:
        return sum(part.nbytes for table in self._rows for part in table)


def _sum_lookups(books: Books, query_bytes: int) -> None:
    """Enter what was asked without a DHT: a hop, a round, a call and a message for each question,
    but none where a gateway's own host answers."""
    sums, sent = books.lookups[..., ROUTE_FOUND, :], books.asked[..., 0] - books.asked[..., 1]
    sums[..., _SUMS.index("lookups")] += books.asked[..., 0]
    for column in ("depth", "rounds", "rpcs", "messages"):
        sums[..., _SUMS.index(column)] += sent
    sums[..., _SUMS.index("bytes")] += sent * query_bytes
    between = ~np.eye(sent.shape[1], dtype=np.bool_)
    sums[..., _SUMS.index("crossings")] += sent * between
    books.asked[:] = 0


def _taken(table: I64, met: NDArray[Any] | None = None) -> tuple[tuple[NDArray[np.intp], ...], I64]:
    """Take what is not zero out of a table of sums, int64[.., sums].

    `met`: by entry, whether any sum is; if not given the first sum tells. Returns the entries'
    indices, and int64[sums, entries].
    """
    flat = table.reshape(-1, table.shape[-1])
    places = np.flatnonzero(flat[:, 0] if met is None else met)
    sums = np.ascontiguousarray(flat[places].T)
    flat[places] = 0
    return np.unravel_index(places, table.shape[:-1]), sums


def _rows(second: int, *columns: Any) -> I64:
    count = max((len(c) for c in columns if isinstance(c, np.ndarray)), default=0)
    table = np.empty((len(columns) + 1, count), dtype=np.int64)
    for row, column in zip(table, (second, *columns), strict=True):
        row[:] = column
    return table


def _table(names: tuple[str, ...], parts: list[I64]) -> dict[str, I64]:
    if not parts:
        return {name: np.empty(0, dtype=np.int64) for name in names}
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return dict(zip(names, whole, strict=True))


def _ints(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)
