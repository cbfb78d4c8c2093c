"""From what callers hold (arrays, lists, rows, codes, bytes) to the stored dtypes, checked.

Owns: the dtype checks at append and the words for what fails them. Errors name the table, the
column, the value and what would be accepted. Must not know: buffers, files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from sim.record.tables import Column, Table

Vocabularies = Mapping[str, Sequence[str]]


class RecordError(ValueError):
    """Rows that do not fit the column dictionary."""


def frame_of(table: Table, columns: Mapping[str, Any], vocabularies: Vocabularies) -> pl.DataFrame:
    """Build a checked frame from columns; a scalar int or str stands for a whole column.

    `columns` must have exactly the table's names. Integers come as lists or integer arrays, ids as
    bytes of 32 or 64 hex digits, words as words or as integer codes of their vocabulary. Values are
    copied. Raises RecordError.
    """
    if columns.keys() != set(table.names):
        missing = [name for name in table.names if name not in columns]
        unknown = [name for name in columns if name not in table.names]
        raise RecordError(f"table {table.name!r}: missing {missing}, unknown {unknown}")
    lengths = {len(values) for values in columns.values() if not isinstance(values, int | str)}
    lengths -= {1} if len(lengths) > 1 else set()
    if len(lengths) != 1:
        seen = {n: len(v) for n, v in columns.items() if not isinstance(v, int | str)}
        raise RecordError(f"table {table.name!r}: columns of one length wanted, not {seen}")
    length = lengths.pop()
    series = []
    for column in table.columns:
        values = columns[column.name]
        if isinstance(values, int | str):
            values = [values] * length
        elif len(values) != length:
            raise RecordError(f"table {table.name!r}: column {column.name!r} has 1 of {length}")
        series.append(_series(table, column, values, vocabularies))
    return pl.DataFrame(series)


def _series(table: Table, column: Column, values: Any, vocabularies: Vocabularies) -> pl.Series:
    if column.dtype in ("int", "uint"):
        return _integers(table, column, values)
    if column.dtype == "id":
        return pl.Series(column.name, [_id(table, column, v) for v in values], dtype=pl.String)
    return _words(table, column, values, vocabularies)


def _fail(table: Table, column: Column, problem: str) -> RecordError:
    return RecordError(f"table {table.name!r}, column {column.name!r}: {problem}")


def _integers(table: Table, column: Column, values: Any) -> pl.Series:
    wanted = np.int64 if column.dtype == "int" else np.uint64
    if isinstance(values, np.ndarray):
        array = values
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise _fail(table, column, f"a flat integer array wanted, not {array.dtype}")
        limits = np.iinfo(wanted)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise _fail(table, column, f"{array.min()} to {array.max()} do not fit {limits.dtype}")
        return pl.Series(column.name, array.astype(wanted))
    for value in values:
        if type(value) is not int and not isinstance(value, np.integer):
            raise _fail(table, column, f"an integer wanted, not {value!r}")
    try:
        return pl.Series(column.name, np.array(values, dtype=wanted))
    except OverflowError:
        worst = max(values, key=abs)
        raise _fail(table, column, f"{worst} does not fit {np.dtype(wanted)}") from None


def _id(table: Table, column: Column, value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else value
    if not isinstance(text, str) or len(text) != 64:
        raise _fail(table, column, f"32 bytes or 64 hex digits wanted, not {value!r}")
    return text


def _words(table: Table, column: Column, values: Any, vocabularies: Vocabularies) -> pl.Series:
    words: Sequence[str] = column.values or vocabularies.get(column.vocabulary, ())
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        if not words:
            raise _fail(table, column, "integer codes need a vocabulary, and there is none")
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < len(words):
            problem = f"codes {values.min()} to {values.max()} outside 0 to {len(words) - 1}"
            raise _fail(table, column, problem)
        series = pl.Series(column.name, words, dtype=pl.String).gather(values.astype(np.uint32))
        return series.cast(column.storage)
    out = []
    for value in values:
        word = value
        if type(value) is int and words and 0 <= value < len(words):
            word = words[value]
        if not isinstance(word, str):
            raise _fail(table, column, f"a word wanted, not {value!r}")
        if column.values and word not in column.values:
            raise _fail(table, column, f"one of {list(column.values)} wanted, not {value!r}")
        out.append(word)
    return pl.Series(column.name, out, dtype=column.storage)


class RowCheck:
    """The fast check of one row: types by position, ids, words against their vocabulary."""

    __slots__ = ("_enums", "_ids", "_names", "_types", "table")

    def __init__(self, table: Table) -> None:
        self.table = table
        self._names = table.names
        self._types = [int if c.dtype in ("int", "uint") else str for c in table.columns]
        self._ids = [place for place, c in enumerate(table.columns) if c.dtype == "id"]
        self._enums = [
            (place, frozenset(c.values)) for place, c in enumerate(table.columns) if c.values
        ]

    def row(self, values: Mapping[str, Any], vocabularies: Vocabularies) -> Sequence[Any]:
        """Return the values in stored order, or raise RecordError."""
        if len(values) == len(self._names):
            try:
                row = [values[name] for name in self._names]
            except KeyError:
                row = []
            if row and self._fits(row):
                return row
        # Codes and NumPy integers take the slow way, and so does every error.
        return frame_of(self.table, {n: _one(v) for n, v in values.items()}, vocabularies).row(0)

    def _fits(self, row: list[Any]) -> bool:
        for place in self._ids:
            value = row[place]
            if type(value) is bytes:
                row[place] = value = value.hex()
            if type(value) is not str or len(value) != 64:
                return False
        if list(map(type, row)) != self._types:
            return False
        return all(row[place] in words for place, words in self._enums)

    def frame(self, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
        """Build a frame from checked rows; RecordError for an integer that does not fit."""
        columns = [list(values) for values in zip(*rows, strict=True)]
        try:
            return pl.DataFrame(
                [
                    pl.Series(column.name, values, dtype=column.storage)
                    for column, values in zip(self.table.columns, columns, strict=True)
                ]
            )
        except (OverflowError, TypeError, pl.exceptions.PolarsError):
            return frame_of(self.table, dict(zip(self._names, columns, strict=True)), {})


def _one(value: Any) -> Any:
    return np.array([value]) if isinstance(value, np.integer) else [value]
