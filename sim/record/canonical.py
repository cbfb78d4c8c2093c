"""Canonical form: rows of one key merged, then sorted by every column that is not wall-clock.

Owns: the one order in which tables are stored and hashed. It depends on the multiset of rows only:
not on their order, on part files or on slices. Columns of small range are packed into one integer
first, which sorts several times faster than the columns one by one and in the same order.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from sim.record.tables import Column, Table

_KEY_BITS = 63
_KEY = "(key)"
_REDUCE = {"sum": np.add, "min": np.minimum, "max": np.maximum}


def canonical(table: Table, rows: pl.LazyFrame) -> pl.DataFrame:
    """Return the rows in canonical form."""
    frame = rows.select(table.names).collect()
    if frame.is_empty():
        return frame
    by = [c for c in table.columns if not c.wall and (c.merge == "key" or not table.additive)]
    labels = [c.name for c in by if c.dtype == "label"]
    frame = frame.with_columns(_ranked(frame.get_column(name)) for name in labels)
    key = _packed(frame, by)
    if key is None:
        frame = _merged_by_columns(table, frame).sort([c.name for c in by])
    else:
        frame = frame.with_columns(key.alias(_KEY)).sort(_KEY)
        frame = _merged_in_order(table, frame).drop(_KEY) if table.additive else frame.drop(_KEY)
    return frame.select(table.names).cast(dict.fromkeys(labels, pl.String))


def _ranked(words: pl.Series) -> pl.Series:
    """Code words by their rank among those that occur: Python and UTF-8 order agree."""
    return words.cast(pl.Enum(sorted(words.unique().to_list())))


def _packed(frame: pl.DataFrame, columns: list[Column]) -> pl.Expr | None:
    """Return one integer that orders like `columns`, or None where that takes too many bits."""
    if any(column.dtype == "id" for column in columns):
        return None
    lows, highs = (
        frame.select(getattr(pl.col(c.name).to_physical(), side)() for c in columns).row(0)
        for side in ("min", "max")
    )
    widths = [(high - low).bit_length() for low, high in zip(lows, highs, strict=True)]
    if sum(widths) > _KEY_BITS:
        return None
    key = pl.lit(0, pl.Int64)
    for column, low, width in zip(columns, lows, widths, strict=True):
        if width:
            codes = pl.col(column.name).to_physical()
            wide = codes if column.dtype in ("int", "uint") else codes.cast(pl.Int64)
            key = key * (1 << width) + (wide - low).cast(pl.Int64)
    return key


def _merged_by_columns(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    if not table.additive:
        return frame
    reduce = {"sum": pl.Expr.sum, "min": pl.Expr.min, "max": pl.Expr.max}
    return frame.group_by(table.keys).agg(
        reduce[c.merge](pl.col(c.name)) for c in table.columns if c.merge != "key"
    )


def _merged_in_order(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Merge neighbours of one key; `frame` is sorted by it."""
    key = frame.get_column(_KEY).to_numpy()
    first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    if first.size == frame.height:
        return frame
    return frame[first].with_columns(
        pl.Series(c.name, _REDUCE[c.merge].reduceat(frame.get_column(c.name).to_numpy(), first))
        for c in table.columns
        if c.merge != "key"
    )
