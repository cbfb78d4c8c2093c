"""Compiled steps on the registry's columns: a hash index by identity, lists by capability.

Owns: how rows are found, added, removed and listed. Rows are indices into the columns.
Must not know: replicas, limits, who asks.

Identities: open addressing with linear probing, at most half full; a removal shifts back what
follows, so there are no tombstones (Knuth, The Art of Computer Programming 3, 6.4, algorithm R).
Capabilities: one segment of a shared pool for each (capability, region), compressed sparse rows
with room at the end of each; a full segment moves to the end of the pool with twice its room.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.kernels import compiled, inlined, mix64

_KEY = np.uint64(0x6372_6574_6F2D_6964)
"""Any constant: it spreads identities over the hash table, it decides nothing."""

UNLISTED = -2
"""`place` of a row in use that no list holds. Of a free row it is the next free row, or -1."""

ROWS, FREE, POOLED = range(3)
"""Columns of `tally`: rows ever used, first free row or -1, entries of the pool taken."""


@inlined
def home_bucket(ident: Any, mask: Any) -> Any:
    """Return the bucket where probing for an identity starts."""
    return np.int64(mix64(_KEY, ident, 0) & np.uint64(mask))


@compiled
def row_of(c: Any, ident: Any) -> int:
    """Return the row of an identity, or -1."""
    mask = len(c.buckets) - 1
    bucket = home_bucket(ident, mask)
    while True:
        row = c.buckets[bucket]
        if row < 0:
            return -1
        if c.ident[row] == ident:
            return int(row)
        bucket = (bucket + 1) & mask


@compiled
def rows_of(c: Any, idents: Any, rows: Any) -> None:
    """Look up many identities."""
    for i in range(len(idents)):
        rows[i] = row_of(c, idents[i])


@compiled
def enter(c: Any, row: int) -> None:
    """Put a row whose identity is set, and is new, into the hash index."""
    mask = len(c.buckets) - 1
    bucket = home_bucket(c.ident[row], mask)
    while c.buckets[bucket] >= 0:
        bucket = (bucket + 1) & mask
    c.buckets[bucket] = row


@compiled
def enter_all(c: Any, rows: int) -> int:
    """Enter rows 0 .. rows - 1; return the first whose identity was there already, or -1."""
    for row in range(rows):
        if row_of(c, c.ident[row]) >= 0:
            return row
        enter(c, row)
    return -1


@compiled
def new_row(c: Any, ident: Any) -> int:
    """Take a row for a new identity and enter it; the caller has made room."""
    row = c.tally[FREE]
    if row >= 0:
        c.tally[FREE] = c.place[row]
    else:
        row = c.tally[ROWS]
        c.tally[ROWS] = row + 1
    c.ident[row] = ident
    c.lease_until_ns[row] = 0
    c.version[row] = 0
    c.place[row] = UNLISTED
    enter(c, row)
    return int(row)


@compiled
def free_row(c: Any, row: int) -> None:
    """Take an unlisted row out of the hash index and put it on the free chain."""
    mask = len(c.buckets) - 1
    hole = home_bucket(c.ident[row], mask)
    while c.buckets[hole] != row:
        hole = (hole + 1) & mask
    bucket = hole
    while True:
        bucket = (bucket + 1) & mask
        other = c.buckets[bucket]
        if other < 0:
            break
        start = home_bucket(c.ident[other], mask)
        if ((bucket - start) & mask) >= ((bucket - hole) & mask):
            c.buckets[hole] = other
            hole = bucket
    c.buckets[hole] = -1
    c.lease_until_ns[row] = 0
    c.place[row] = c.tally[FREE]
    c.tally[FREE] = row


@inlined
def segment_of(c: Any, row: int) -> Any:
    """Return the segment of a row's capability and region."""
    return np.int64(c.capability[row]) * c.regions[0] + np.int64(c.region[row])


@compiled
def list_row(c: Any, row: int) -> bool:
    """Append an unlisted row to its list; False: the pool lacks room, nothing is done."""
    segment = segment_of(c, row)
    start, size, room = c.start[segment], c.size[segment], c.room[segment]
    if size == room:
        room = max(4, 2 * room)
        fresh = c.tally[POOLED]
        if fresh + room > len(c.pool):
            return False
        for i in range(size):
            moved = c.pool[start + i]
            c.pool[fresh + i] = moved
            c.place[moved] = fresh + i
        c.tally[POOLED] = fresh + room
        c.start[segment], c.room[segment] = fresh, room
        start = fresh
    c.pool[start + size] = row
    c.place[row] = start + size
    c.size[segment] = size + 1
    return True


@compiled
def unlist_row(c: Any, row: int) -> None:
    """Take a row out of its list; the list's last one takes its place."""
    segment = segment_of(c, row)
    last = c.start[segment] + c.size[segment] - 1
    moved = c.pool[last]
    c.pool[c.place[row]] = moved
    c.place[moved] = c.place[row]
    c.place[row] = UNLISTED
    c.size[segment] -= 1


@compiled
def drop_rows(c: Any, dropped: Any, count: int) -> None:
    """Take listed rows out of their lists and of the index."""
    for i in range(count):
        unlist_row(c, dropped[i])
        free_row(c, dropped[i])


@compiled
def lay_out(c: Any) -> None:
    """Give each segment room for its `size` and a quarter more, one after another, from 0."""
    start = 0
    for segment in range(len(c.start)):
        size = c.size[segment]
        c.start[segment] = start
        c.room[segment] = size + (size >> 2)
        start += c.room[segment]
    c.tally[POOLED] = start


@compiled
def list_all(c: Any, rows: int) -> None:
    """List rows 0 .. rows - 1 into empty segments, in row order."""
    c.size[:] = 0
    for row in range(rows):
        c.size[segment_of(c, row)] += 1
    lay_out(c)
    c.size[:] = 0
    for row in range(rows):
        segment = segment_of(c, row)
        place = c.start[segment] + c.size[segment]
        c.pool[place] = row
        c.place[row] = place
        c.size[segment] += 1


@compiled
def relist(c: Any, pool: Any, start: Any) -> None:
    """Copy all lists, in their order, out of an old pool with its `start`s into the new one."""
    lay_out(c)
    for segment in range(len(c.start)):
        for i in range(c.size[segment]):
            row = pool[start[segment] + i]
            place = c.start[segment] + i
            c.pool[place] = row
            c.place[row] = place


@compiled
def collect(c: Any, first: int, last: int, alive_at_ns: int, turn: int, out: Any) -> int:
    """Fill `out` with rows of segments first .. last whose lease outlasts a time; return how many.

    The lists follow one another and are read round from place `turn` modulo their length.
    """
    total = 0
    for segment in range(first, last + 1):
        total += c.size[segment]
    if total == 0:
        return 0
    skip = turn % total
    segment = first
    while skip >= c.size[segment]:
        skip -= c.size[segment]
        segment += 1
    found = 0
    for _ in range(total):
        if found == len(out):
            break
        while skip >= c.size[segment]:
            skip = 0
            segment = segment + 1 if segment < last else first
        row = c.pool[c.start[segment] + skip]
        if c.lease_until_ns[row] > alive_at_ns:
            out[found] = row
            found += 1
        skip += 1
    return found


@compiled
def count_listed(c: Any, first: int, last: int, alive_at_ns: int) -> int:
    """Count rows of segments first .. last whose lease outlasts a time; below 0: all."""
    total = 0
    for segment in range(first, last + 1):
        if alive_at_ns < 0:
            total += c.size[segment]
            continue
        for place in range(c.start[segment], c.start[segment] + c.size[segment]):
            total += c.lease_until_ns[c.pool[place]] > alive_at_ns
    return total


@compiled
def ended_leases(c: Any, now_ns: int, out: Any) -> int:
    """Fill `out` with listed rows whose lease has ended; return how many."""
    found = 0
    for row in range(c.tally[ROWS]):
        if 0 < c.lease_until_ns[row] <= now_ns:
            out[found] = row
            found += 1
    return found


@compiled
def earliest_end(c: Any, never_ns: int) -> int:
    """Return the earliest end of a lease."""
    earliest = never_ns
    for row in range(c.tally[ROWS]):
        lease = c.lease_until_ns[row]
        if 0 < lease < earliest:
            earliest = lease
    return int(earliest)
