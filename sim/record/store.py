"""Files that are whole or not there: atomic writes, part files, canonical tables.

Owns: how bytes reach the disk (temporary name, fsync, rename, fsync of the folder) and how part
files become one sorted table in bounded memory. Must not know: runs, manifests, metrics.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from sim.record.canonical import canonical
from sim.record.digests import TableDigest, TableHash
from sim.record.tables import Table

PIECE_ROWS = 1 << 20
"""Most rows that are sorted at once: about 100 MB for the widest table."""


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; replaces what was there."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        _publish(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a Parquet file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        frame.write_parquet(temporary, compression="zstd", statistics=True)
        _publish(temporary, path)
    except Exception:  # Polars reports a full disk as its own kind of error
        temporary.unlink(missing_ok=True)
        raise


def canonical_pieces(
    table: Table, rows: pl.LazyFrame, piece_rows: int = PIECE_ROWS
) -> Iterator[pl.DataFrame]:
    """Yield the canonical table in order, at most about `piece_rows` source rows at once.

    The range of the first column is halved until a piece fits; rows that share its value stay
    together, however many they are.
    """
    lead = next(column for column in table.columns if not column.wall)
    if lead.dtype not in ("int", "uint"):
        yield canonical(table, rows)
        return
    name = pl.col(lead.name)
    low, high, total = rows.select(low=name.min(), high=name.max(), total=pl.len()).collect().row(0)
    pending = [(low, high, total)] if total else []
    while pending:
        low, high, total = pending.pop()
        inside = rows.filter(name.is_between(pl.lit(low, lead.storage), pl.lit(high, lead.storage)))
        if total <= piece_rows or low == high:
            if total:
                yield canonical(table, inside)
            continue
        middle = low + (high - low) // 2
        below = inside.filter(name <= pl.lit(middle, lead.storage)).select(pl.len())
        count = int(below.collect().item())
        pending.append((middle + 1, high, total - count))
        pending.append((low, middle, count))


def write_table(
    path: Path, table: Table, rows: pl.LazyFrame, piece_rows: int = PIECE_ROWS
) -> TableDigest:
    """Write rows in canonical order and return their digest.

    `path` becomes one Parquet file, or a folder of them where the table took several pieces;
    either way it appears at once, whole. Nothing is written for a table without rows.
    """
    hasher = TableHash(table)
    staging = path.with_name(f".{path.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        for number, piece in enumerate(canonical_pieces(table, rows, piece_rows)):
            if piece.is_empty():
                continue
            hasher.update(piece)
            write_frame(staging / f"{number:06d}.parquet", piece)
        written = sorted(staging.iterdir())
        if len(written) == 1:
            os.replace(written[0], path)
        elif written:
            os.replace(staging, path)
        if written:
            sync_folder(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return hasher.result()
