"""The registry's records as NumPy columns, and room for them to grow.

Owns: the layout of a record, the memory it takes, growth. Must not know: replicas, limits, reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.registry.index import kernels

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

NEVER_NS = 1 << 62
"""The end of a lease that does not end."""
_FIRST_ROWS = 64


class Record(NamedTuple):
    """What the registry knows of one agent. `version` counts its writes."""

    ident: int
    home: int
    region: int
    capability: int
    lease_until_ns: int
    version: int

    def alive_at(self, now_ns: int) -> bool:
        return now_ns < self.lease_until_ns


class Columns(NamedTuple):
    """Rows of records, a hash index over identities, lists by (capability, region).

    A row whose lease is 0 holds no record. Lists: `pool[start[s] : start[s] + size[s]]` are the
    rows of segment s = capability x regions + region.
    """

    ident: NDArray[np.uint64]
    lease_until_ns: I64
    home: NDArray[np.uint16]
    capability: NDArray[np.uint16]
    region: NDArray[np.uint8]
    version: NDArray[np.uint32]
    place: I32
    buckets: I32
    pool: I32
    start: I64
    size: I64
    room: I64
    tally: I64
    """[rows ever used, first free row or -1, entries of the pool taken]."""
    regions: I64
    """int64[1]."""


ROW_FIELDS = Columns._fields[:7]


def empty_columns(capabilities: int, regions: int, capacity: int = _FIRST_ROWS) -> Columns:
    """Return columns with room for `capacity` records before they grow."""
    segments = capabilities * regions
    zeros: Any = np.zeros
    return Columns(
        ident=zeros(capacity, dtype=np.uint64),
        lease_until_ns=zeros(capacity, dtype=np.int64),
        home=zeros(capacity, dtype=np.uint16),
        capability=zeros(capacity, dtype=np.uint16),
        region=zeros(capacity, dtype=np.uint8),
        version=zeros(capacity, dtype=np.uint32),
        place=zeros(capacity, dtype=np.int32),
        buckets=np.full(_buckets(capacity), -1, dtype=np.int32),
        pool=zeros(capacity + (capacity >> 2), dtype=np.int32),
        start=zeros(segments, dtype=np.int64),
        size=zeros(segments, dtype=np.int64),
        room=zeros(segments, dtype=np.int64),
        tally=np.array([0, -1, 0], dtype=np.int64),
        regions=np.array([regions], dtype=np.int64),
    )


def with_a_free_row(c: Columns) -> Columns:
    """Return columns in which one more row can be taken: twice as many when all are in use."""
    capacity = len(c.ident)
    if int(c.tally[kernels.FREE]) >= 0 or int(c.tally[kernels.ROWS]) < capacity:
        return c
    wider = {}
    for name in ROW_FIELDS:
        column = getattr(c, name)
        wider[name] = np.zeros(2 * capacity, dtype=column.dtype)
        wider[name][:capacity] = column
    grown = c._replace(**wider, buckets=np.full(_buckets(2 * capacity), -1, dtype=np.int32))
    kernels.enter_all(grown, capacity)
    return grown


def with_room_to_list(c: Columns) -> Columns:
    """Return columns whose lists are laid out anew, with a quarter of room in each.

    Half the records and the segments, and twice the widest list, fit behind them: so many moves of
    full lists lie between two such layouts that a record's share of the work is constant.
    """
    listed, widest = int(c.size.sum()), int(c.size.max(initial=0))
    spare = (listed >> 1) + 4 * len(c.size) + 3 * widest
    pool = np.zeros(listed + (listed >> 2) + spare, dtype=np.int32)
    relaid = c._replace(pool=pool, start=c.start.copy())
    kernels.relist(relaid, c.pool, c.start)
    return relaid


def loaded(capabilities: int, regions: int, columns: dict[str, NDArray[Any]]) -> Columns:
    """Return columns filled with whole records; raise ValueError for an identity given twice.

    `columns`: ident, lease_until_ns (all > 0), home, capability, region, version.
    """
    rows = len(columns["ident"])
    c = empty_columns(capabilities, regions, max(rows + (rows >> 3), _FIRST_ROWS))
    for name, column in columns.items():
        getattr(c, name)[:rows] = column
    twice = int(kernels.enter_all(c, rows))
    if twice >= 0:
        raise ValueError(f"agent {int(c.ident[twice])} is given twice; identities are unique")
    c.tally[kernels.ROWS] = rows
    kernels.list_all(c, rows)
    return c


def record_at(c: Columns, row: int) -> Record | None:
    """Return the record of a row, or None if it holds none."""
    lease_until_ns = int(c.lease_until_ns[row])
    if lease_until_ns == 0:
        return None
    return Record(
        int(c.ident[row]),
        int(c.home[row]),
        int(c.region[row]),
        int(c.capability[row]),
        lease_until_ns,
        int(c.version[row]),
    )


def bytes_of_columns(c: Columns) -> int:
    """Sum the bytes of all arrays."""
    return sum(array.nbytes for array in c)


def _buckets(capacity: int) -> int:
    """Return a power of two of at least twice the capacity."""
    return 1 << (2 * capacity - 1).bit_length()
