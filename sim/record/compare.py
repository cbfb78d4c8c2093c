"""Where two runs differ: tables by digest, and the first row that is not the same.

Owns: the comparison behind `creto-sim verify`. It compares what the manifests say and shows the
rows of what differs; `check_digests` tells whether a run's files are still what its manifest says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import polars as pl

from sim.record.digests import TableDigest, digest_rows
from sim.record.runs import Run, RunError
from sim.record.tables import table_of

_PIECE = 1 << 18
UNREADABLE = "unreadable"
"""Stands for the digest of a file that is no Parquet file any more."""


@dataclass(frozen=True, slots=True)
class TableDifference:
    """One table of one replicate that differs; `row` counts from 0 in canonical order.

    A digest is None where that run has no such table; a row is None where that table has ended,
    and `row` is None where the rows as stored are equal (a file changed after the run).
    """

    point: int
    replicate: int
    table: str
    left_digest: str | None
    right_digest: str | None
    row: int | None = None
    left_row: Mapping[str, Any] | None = None
    right_row: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        place = f"point {self.point}, replicate {self.replicate}, table {self.table!r}"
        if self.left_digest is None or self.right_digest is None:
            return f"{place}: only in the {'right' if self.left_digest is None else 'left'} run"
        if self.right_digest == UNREADABLE:
            return f"{place}: the file cannot be read"
        if self.row is None:
            return f"{place}: digests differ, the rows as stored do not"
        return f"{place}, row {self.row}: {_words(self.left_row)} != {_words(self.right_row)}"


def _words(row: Mapping[str, Any] | None) -> str:
    return "no row" if row is None else ", ".join(f"{k}={v}" for k, v in row.items())


def compare_digests(left: Run, right: Run) -> list[TableDifference]:
    """List the tables that differ, by point, replicate and name; empty for equal runs.

    Runs of different detail differ in the tables that one of them does not keep.
    """
    ours, theirs = left.digests(), right.digests()
    differences = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key), theirs.get(key)
        if a == b:
            continue
        point, replicate, table = key
        found: tuple[int, Any, Any] | tuple[None, None, None] = (None, None, None)
        if a is not None and b is not None:
            found = _first_difference(left, right, point, replicate, table)
        differences.append(
            TableDifference(
                point,
                replicate,
                table,
                None if a is None else a.digest,
                None if b is None else b.digest,
                *found,
            )
        )
    return differences


def _rows(run: Run, point: int, replicate: int, name: str) -> Iterator[dict[str, Any]]:
    """Yield rows in stored, hence canonical, order, without wall-clock columns."""
    table = table_of(name)
    names = [column.name for column in table.columns if not column.wall]
    frame = run.table(name, point=point, replicate=replicate).select(names)
    start = 0
    while True:
        piece = frame.slice(start, _PIECE).collect()
        yield from piece.iter_rows(named=True)
        if piece.height < _PIECE:
            return
        start += _PIECE


def _first_difference(
    left: Run, right: Run, point: int, replicate: int, name: str
) -> tuple[int, Any, Any] | tuple[None, None, None]:
    pairs = zip_longest(_rows(left, point, replicate, name), _rows(right, point, replicate, name))
    for number, (a, b) in enumerate(pairs):
        if a != b:
            return number, a, b
    return None, None, None


def damaged_tables(
    run: Run, point: int, replicate: int, stated: Mapping[str, TableDigest]
) -> list[TableDifference]:
    """List the tables of a replicate whose files cannot be read or do not give what is stated."""
    wrong = []
    for name, digest in stated.items():
        table = table_of(name)
        try:
            rows = run.table(name, point=point, replicate=replicate).select(table.names)
            found = digest_rows(table, rows)
        except (OSError, RunError, pl.exceptions.PolarsError):
            wrong.append(TableDifference(point, replicate, name, digest.digest, UNREADABLE))
            continue
        if found != digest:
            wrong.append(TableDifference(point, replicate, name, digest.digest, found.digest))
    return wrong


def check_digests(run: Run) -> list[TableDifference]:
    """List the tables whose files do not give the digest that the manifest states."""
    by_place: dict[tuple[int, int], dict[str, TableDigest]] = {}
    for (point, replicate, name), stated in run.digests().items():
        by_place.setdefault((point, replicate), {})[name] = stated
    return [
        difference
        for (point, replicate), tables in by_place.items()
        for difference in damaged_tables(run, point, replicate, tables)
    ]
