"""What a metric is, and the plain ways to measure one from tables.

Owns: `Metric`, counts of rows and sums of columns. Must not know: which metrics there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

Tables: TypeAlias = Callable[[str], pl.LazyFrame]
"""Give a table by name: `lambda name: run.table(name, point=0, replicate=0)`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `measure` takes the tables; None where the engine hands the figure in."""

    name: str
    unit: str
    meaning: str
    measure: Callable[[Tables], int | None] | None
    part: str = ""
    """The optional part of a scenario that it speaks of; without it there is nothing to measure."""


def one(frame: pl.LazyFrame, expression: pl.Expr) -> int | None:
    """Measure one expression over a frame; None of nothing."""
    value = frame.select(expression).collect().item()
    return None if value is None else int(value)


def count_rows(table: str, *conditions: pl.Expr) -> Callable[[Tables], int | None]:
    """Return how to count the rows of a table that meet all conditions."""
    return lambda tables: one(tables(table).filter(*conditions), pl.len())


def total(table: str, column: str, *conditions: pl.Expr) -> Callable[[Tables], int | None]:
    """Return how to add a column up over the rows that meet all conditions."""
    return lambda tables: one(tables(table).filter(*conditions), pl.col(column).sum())
