"""Digests of tables and of whole runs, and where two runs first differ.

Owns: what the bytes of a digest are. A table's digest covers its name, its columns and its rows in
canonical order (rows of one key merged, then sorted by every column): it does not depend on part
files, on slices or on the order of appends. Wall-clock columns are left out. Each column is hashed
on its own, so that a table may be fed in pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import polars as pl

from sim.protocol.types import digest
from sim.record.tables import Table


class TableDigest(NamedTuple):
    """Rows in canonical form, and the digest over them (64 hex digits)."""

    rows: int
    digest: str


class TableHash:
    """Digest of one table, fed with canonical pieces in order."""

    def __init__(self, table: Table) -> None:
        self._columns = [c for c in table.columns if not c.wall]
        self._table = table
        self._hashes = {c.name: hashlib.sha256() for c in self._columns}
        self._lengths = {c.name: hashlib.sha256() for c in self._columns}
        self._rows = 0

    def update(self, piece: pl.DataFrame) -> None:
        """Add rows; pieces must continue the canonical order."""
        self._rows += piece.height
        for column in self._columns:
            values = piece.get_column(column.name)
            if column.dtype in ("id", "label"):
                lengths = values.str.len_bytes().cast(pl.Int64).to_numpy()
                self._lengths[column.name].update(lengths.astype("<i8").tobytes())
                self._hashes[column.name].update("".join(values.to_list()).encode())
            elif column.dtype == "uint":
                self._hashes[column.name].update(values.to_numpy().astype("<u8").tobytes())
            else:
                codes = values.to_physical().cast(pl.Int64).to_numpy()
                self._hashes[column.name].update(codes.astype("<i8").tobytes())

    def result(self) -> TableDigest:
        """Return rows and digest so far."""
        content = tuple(
            (
                c.name,
                c.dtype,
                c.values,
                self._lengths[c.name].digest(),
                self._hashes[c.name].digest(),
            )
            for c in self._columns
        )
        return TableDigest(self._rows, digest("table", self._table.name, self._rows, content).hex())


def digest_rows(table: Table, rows: pl.LazyFrame) -> TableDigest:
    """Digest rows in any order."""
    hasher = TableHash(table)
    hasher.update(table.canonical(rows).collect())
    return hasher.result()


def replicate_digest(tables: Mapping[str, str]) -> str:
    """Digest over table digests, by table name."""
    return digest("replicate", tuple((name, tables[name]) for name in sorted(tables))).hex()


def run_digest(replicates: Iterable[tuple[int, int, str]]) -> str:
    """Digest over (point, replicate, digest), in that order."""
    return digest("run", tuple(sorted(replicates))).hex()
