"""Digests of tables and of whole runs, and where two runs first differ.

Owns: what the bytes of a digest are. A table's digest covers its name, its columns and its rows in
canonical order (rows of one key merged, then sorted by every column): it does not depend on part
files, on slices or on the order of appends. Wall-clock columns are left out. Each column is hashed
on its own, so that a table may be fed in pieces.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import polars as pl

from sim.protocol.types import digest
from sim.record.canonical import canonical
from sim.record.tables import Column, Table


class TableDigest(NamedTuple):
    """Rows in canonical form, and the digest over them (64 hex digits)."""

    rows: int
    digest: str


class TableHash:
    """Digest of one table, fed with canonical pieces in order."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = [c for c in table.columns if not c.wall]
        self._hashes = {c.name: hashlib.sha256() for c in self._columns}
        self._runs: dict[str, tuple[str, int]] = {}
        self._rows = 0

    def update(self, piece: pl.DataFrame) -> None:
        """Add rows; pieces must continue the canonical order."""
        self._rows += piece.height
        for column in self._columns:
            values = piece.get_column(column.name)
            if column.dtype == "label":
                self._update_runs(column.name, values)
            else:
                self._hashes[column.name].update(_bytes(column, values))

    def _update_runs(self, name: str, words: pl.Series) -> None:
        """Hash words as runs, which sorted tables are full of; the last one stays open."""
        runs = words.rle().struct.unnest()
        closed = bytearray()
        word, length = self._runs.get(name, ("", 0))
        for count, other in zip(runs["len"].to_list(), runs["value"].to_list(), strict=True):
            if other == word:
                length += count
            else:
                closed += _run_bytes(word, length)
                word, length = other, count
        self._runs[name] = (word, length)
        self._hashes[name].update(closed)

    def result(self) -> TableDigest:
        """Return rows and digest; the last call."""
        for name, (word, length) in self._runs.items():
            self._hashes[name].update(_run_bytes(word, length))
        content = tuple(
            (c.name, c.dtype, c.values, self._hashes[c.name].digest()) for c in self._columns
        )
        return TableDigest(self._rows, digest("table", self._table.name, self._rows, content).hex())


def _run_bytes(word: str, length: int) -> bytes:
    text = word.encode()
    return b"" if length == 0 else struct.pack("<qq", length, len(text)) + text


def _bytes(column: Column, values: pl.Series) -> bytes:
    if column.dtype == "id":
        return "".join(values.to_list()).encode()  # 64 digits each
    if column.dtype == "uint":
        return bytes(values.to_numpy().astype("<u8").tobytes())
    return bytes(values.to_physical().cast(pl.Int64).to_numpy().astype("<i8").tobytes())


def digest_rows(table: Table, rows: pl.LazyFrame) -> TableDigest:
    """Digest rows in any order."""
    hasher = TableHash(table)
    hasher.update(canonical(table, rows))
    return hasher.result()


def replicate_digest(tables: Mapping[str, str]) -> str:
    """Digest over table digests, by table name."""
    return digest("replicate", tuple((name, tables[name]) for name in sorted(tables))).hex()


def run_digest(replicates: Iterable[tuple[int, int, str]]) -> str:
    """Digest over (point, replicate, digest), in that order."""
    return digest("run", tuple(sorted(replicates))).hex()
