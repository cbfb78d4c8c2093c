"""What a column and a table are, and short ways to state one.

Owns: dtypes, how rows of one key merge, levels of detail. Must not know: which tables there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

Dtype = Literal["int", "uint", "id", "enum", "label"]
Merge = Literal["key", "sum", "min", "max"]

DETAILS: tuple[str, ...] = ("rounds", "blocks", "messages")
"""Levels of detail, least first; each keeps what the ones before it keep."""

NO_ID = "0" * 64
"""Stands for the absence of a 32-byte id."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `merge` says what becomes of it when rows of one key meet."""

    name: str
    dtype: Dtype
    meaning: str
    values: tuple[str, ...] = ()
    """The whole vocabulary of an `enum`, in the order of its integer codes."""
    vocabulary: str = ""
    """Which of the recorder's vocabularies turns integer codes of a `label` into words."""
    merge: Merge = "key"
    wall: bool = False
    """Measured on the machine that ran: never part of a digest."""

    @property
    def storage(self) -> Any:
        """The Polars dtype that is stored."""
        if self.dtype == "enum":
            return pl.Enum(self.values)
        return {"int": pl.Int64, "uint": pl.UInt64, "id": pl.String, "label": pl.String}[self.dtype]


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in stored order, and the least detail that keeps it."""

    name: str
    meaning: str
    detail: str
    columns: tuple[Column, ...]
    optional: bool = False
    """Of a part that a scenario may leave out: without rows it is in no digest."""
    span: tuple[str, str] = ("time_ns", "time_ns")
    """The columns that say when a row began and ended. A table that only a window keeps must have
    them: a row belongs to the window that its span meets."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def additive(self) -> bool:
        """Whether rows of one key are merged, so that slices and part files cannot show."""
        return any(column.merge != "key" for column in self.columns)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.merge == "key" and not c.wall)

    @property
    def schema(self) -> dict[str, Any]:
        return {column.name: column.storage for column in self.columns}

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name!r} has no column {name!r}; it has {list(self.names)}")

    def kept_at(self, detail: str) -> bool:
        """Whether a run of this detail keeps the table, from its first row to its last."""
        return DETAILS.index(self.detail) <= DETAILS.index(detail)


def int_column(name: str, meaning: str) -> Column:
    return Column(name, "int", meaning)


def sum_column(name: str, meaning: str) -> Column:
    return Column(name, "int", meaning, merge="sum")


def id_column(name: str, meaning: str) -> Column:
    return Column(name, "id", meaning)


def enum_column(name: str, values: str, meaning: str) -> Column:
    return Column(name, "enum", meaning, tuple(values.split()))


def label_column(name: str, meaning: str, vocabulary: str = "") -> Column:
    return Column(name, "label", meaning, vocabulary=vocabulary)


def wall_column(name: str, meaning: str) -> Column:
    return Column(name, "int", meaning, wall=True)
