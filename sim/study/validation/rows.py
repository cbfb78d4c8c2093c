"""What a comparison with theory is: one row a case, and when a row holds.

Owns: the columns, the band. Must not know: what is compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

SIGMAS = 4.5
"""Standard errors within which a figure agrees: beyond it lies one case of 150,000."""
COLUMNS = {
    "part": pl.String,
    "case": pl.String,
    "x": pl.Float64,
    "expected": pl.Float64,
    "found": pl.Float64,
    "error": pl.Float64,
    "slack": pl.Float64,
    "n": pl.Int64,
}


class Compared(NamedTuple):
    """A figure beside what it should be, both in the unit that `part` names.

    `x`: where it stands on the figure's axis; `error`: standard error of `found`, 0 where nothing
    is random; `slack`: a known difference, stated where the row is made; `n`: draws, jobs, trials.
    """

    part: str
    case: str
    x: float
    expected: float
    found: float
    error: float
    n: int
    slack: float = 0.0


def frame(rows: Iterable[Compared]) -> pl.DataFrame:
    """Return rows as columns, in their order."""
    return pl.DataFrame([row._asdict() for row in rows], schema=COLUMNS)


def judged(data: pl.DataFrame) -> pl.DataFrame:
    """Add `off`, the distance in standard errors (0 without error), and `holds`."""
    apart = (pl.col("found") - pl.col("expected")).abs()
    random = pl.col("error") > 0
    return data.with_columns(
        off=pl.when(random)
        .then((pl.col("found") - pl.col("expected")) / pl.col("error"))
        .otherwise(0.0),
        holds=apart <= SIGMAS * pl.col("error") + pl.col("slack"),
    )


def table(*frames: pl.DataFrame) -> pl.DataFrame:
    """Return one row a part: cases, those that hold, the furthest off, the widest band.

    `band`: the widest band over what is expected, in per cent: how sharp the comparison is.
    """
    band = (SIGMAS * pl.col("error") + pl.col("slack")) / pl.col("expected").abs() * 100
    return (
        judged(pl.concat(frames))
        .group_by("part", maintain_order=True)
        .agg(
            cases=pl.len(),
            hold=pl.col("holds").sum(),
            furthest=pl.col("off").abs().max().round(2),
            band=band.max().round(2),
        )
    )
