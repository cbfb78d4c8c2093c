"""Records of one registry in memory: found by identity, listed by capability and region.

Owns: the columns and their indices as one mutable thing, records by shard, ends of leases.
Must not know: replicas, limits, hosts, who may write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.world.chance import I64, U64
from sim.world.registry import columns
from sim.world.registry.columns import NEVER_NS, Record
from sim.world.registry.index import kernels
from sim.world.registry.placement import shard_of, shards_of

ANY_TIME_NS = -1
"""As `alive_at_ns`: whatever the lease."""
Table = dict[str, NDArray[Any]]


class RecordStore:
    """Newest records. A row is where one is kept; it stays the same until it is freed."""

    def __init__(self, *, capabilities: int, regions: int, shards: int, shard_key: int) -> None:
        self.capabilities, self.regions = capabilities, regions
        self.by_shard: I64 = np.zeros(shards, dtype=np.int64)
        """Records by shard."""
        self._shard_key = shard_key
        self._columns = columns.empty_columns(capabilities, regions)
        self._earliest_end_ns = NEVER_NS

    def __len__(self) -> int:
        return int(self.by_shard.sum())

    def shard_of(self, ident: int) -> int:
        return shard_of(self._shard_key, ident, len(self.by_shard))

    def row_of(self, ident: int) -> int:
        """Return the row of an identity, or -1. Raises ValueError for what is none."""
        if not 0 <= ident < 1 << 64:
            raise ValueError(f"identity {ident} does not exist: 0 to 2**64 - 1")
        return int(kernels.row_of(self._columns, np.uint64(ident)))

    def record(self, row: int) -> Record | None:
        """Return what a row holds; row -1 holds nothing."""
        return columns.record_at(self._columns, row) if row >= 0 else None

    def ident(self, row: int) -> int:
        return int(self._columns.ident[row])

    def next_version(self, row: int) -> int:
        return int(self._columns.version[row]) + 1

    def take_row(self, ident: int) -> int:
        """Return a fresh row, without a record, for an identity that has none."""
        self._columns = columns.with_a_free_row(self._columns)
        return int(kernels.new_row(self._columns, np.uint64(ident)))

    def free_row(self, row: int) -> None:
        """Forget the identity of a row that holds no record."""
        kernels.free_row(self._columns, row)

    def put(self, row: int, new: Record | None) -> None:
        """Make a row hold a record, or none; a lease of 0 is none, of a known version."""
        c = self._columns
        holds = new is not None and new.lease_until_ns > 0
        listed = int(c.place[row]) != kernels.UNLISTED
        stays = new is not None and (
            int(c.capability[row]) == new.capability and int(c.region[row]) == new.region
        )
        if listed and not (holds and stays):
            kernels.unlist_row(c, row)
        c.lease_until_ns[row] = 0
        if new is not None:
            c.home[row], c.region[row], c.capability[row] = new.home, new.region, new.capability
            c.version[row], c.lease_until_ns[row] = new.version, new.lease_until_ns
            if holds:
                self._earliest_end_ns = min(self._earliest_end_ns, new.lease_until_ns)
            if holds and not (listed and stays) and not kernels.list_row(c, row):
                self._columns = columns.with_room_to_list(c)
                kernels.list_row(self._columns, row)
        if holds != listed:
            self.by_shard[self.shard_of(int(c.ident[row]))] += int(holds) - int(listed)

    def drop_ended(self, now_ns: int) -> tuple[I64, U64]:
        """Forget records whose lease has ended by `now_ns`; return their rows and identities."""
        c = self._columns
        if now_ns < self._earliest_end_ns:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
        ended = np.empty(int(c.tally[kernels.ROWS]), dtype=np.int64)
        ended = ended[: int(kernels.ended_leases(c, now_ns, ended))].copy()
        idents = c.ident[ended]
        kernels.drop_rows(c, ended, len(ended))
        shards = shards_of(self._shard_key, idents, len(self.by_shard))
        self.by_shard -= np.bincount(shards, minlength=len(self.by_shard))
        self._earliest_end_ns = int(kernels.earliest_end(c, NEVER_NS))
        return ended, idents

    def get_many(self, idents: Sequence[int] | NDArray[Any]) -> Table:
        """Return columns of `Record` in the order asked; `known` says which are registered.

        The others are 0.
        """
        c, asked = self._columns, np.asarray(idents, dtype=np.uint64)
        found = np.empty(len(asked), dtype=np.int64)
        kernels.rows_of(c, asked, found)
        place = np.maximum(found, 0)
        known = (found >= 0) & (c.lease_until_ns[place] > 0)
        answer: Table = {"known": known, "ident": asked}
        for name in Record._fields[1:]:
            column = getattr(c, name)
            answer[name] = np.where(known, column[place], column.dtype.type(0))
        return answer

    def find(
        self, capability: int, region: int | None, limit: int, alive_at_ns: int, turn: int
    ) -> U64:
        """Return up to `limit` identities; see `AgentRegistry.find`."""
        c = self._columns
        first, last = self._segments(capability, region)
        out = np.empty(min(limit, int(c.tally[kernels.ROWS])), dtype=np.int64)
        found = int(kernels.collect(c, first, last, alive_at_ns, turn, out))
        return c.ident[out[:found]]

    def count(self, capability: int | None, region: int | None, alive_at_ns: int) -> int:
        """Count records by capability, region, both or neither."""
        whole = (0, len(self._columns.size) - 1)
        if capability is not None:
            spans = [self._segments(capability, region)]
        elif region is None:
            spans = [whole]
        else:
            spans = [self._segments(one, region) for one in range(self.capabilities)]
        return sum(int(kernels.count_listed(self._columns, *span, alive_at_ns)) for span in spans)

    def load(self, table: Table) -> None:
        """Fill an empty store; raise ValueError for an identity twice, or if it is not empty."""
        if int(self._columns.tally[kernels.ROWS]):
            raise ValueError("load into an empty registry; this one has held records")
        leases = table["lease_until_ns"]
        self._columns = columns.loaded(self.capabilities, self.regions, table)
        shards = shards_of(self._shard_key, table["ident"], len(self.by_shard))
        self.by_shard += np.bincount(shards, minlength=len(self.by_shard))
        self._earliest_end_ns = int(leases.min(initial=NEVER_NS))

    def table(self) -> Table:
        """Return all records as columns of `Record`, in the order of identities."""
        c = self._columns
        used = np.flatnonzero(c.lease_until_ns[: int(c.tally[kernels.ROWS])])
        used = used[np.argsort(c.ident[used], kind="stable")]
        return {name: getattr(c, name)[used] for name in Record._fields}

    def size_bytes(self) -> int:
        """Return the bytes of all columns and indices."""
        return columns.bytes_of_columns(self._columns)

    def capacity(self) -> int:
        """Return how many records fit before the columns grow."""
        return len(self._columns.ident)

    def _segments(self, capability: int, region: int | None) -> tuple[int, int]:
        first = capability * self.regions
        if region is None:
            return first, first + self.regions - 1
        return first + region, first + region
