"""Pictures of latency between regions: the middle and the tail of every pair.

Owns: how they look, in the house style of `figures`. Must not know: HTML, where figures go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.record.histogram import bucket_edges
from sim.study.figures import RunData, figure_of, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_REGIONS = 24
"""Rows and columns that can still be read."""
NUMBERED = 16
"""Regions up to which each cell says its figure."""


def region_medians(data: RunData) -> Figure | None:
    """Draw the median latency of direct messages for each pair of regions."""
    return _pairs(data, 50, "Median latency of messages (ms)")


def region_tails(data: RunData) -> Figure | None:
    """Draw the latency that 99 % of direct messages keep, for each pair of regions."""
    return _pairs(data, 99, "Latency of messages, 99th percentile (ms)")


def pair_quantiles(data: RunData, percent: int) -> pl.DataFrame:
    """Return source, target and a quantile: the upper end of its bucket, 32 an octave."""
    pair = ("source_region", "destination_region")
    return (
        data.table("latency")
        .filter(pl.col("kind") == "message")
        .group_by(*pair, "bucket")
        .agg(pl.col("count").sum())
        .sort("bucket")
        .with_columns(
            below=pl.col("count").cum_sum().over(*pair), whole=pl.col("count").sum().over(*pair)
        )
        .filter(100 * pl.col("below") >= percent * pl.col("whole"))
        .group_by(*pair)
        .agg(pl.col("bucket").min())
        .collect()
        .with_columns(
            latency_ns=pl.col("bucket").map_elements(
                lambda bucket: bucket_edges(int(bucket))[1], return_dtype=pl.Int64
            )
        )
        .drop("bucket")
        .sort(*pair)
    )


def _pairs(data: RunData, percent: int, title: str) -> Figure | None:
    if not data.has("latency"):
        return None
    rows = pair_quantiles(data, percent)
    regions = sorted({*rows["source_region"].to_list(), *rows["destination_region"].to_list()})
    if not 2 <= len(regions) <= MOST_REGIONS:
        return None
    place = {region: i for i, region in enumerate(regions)}
    grid = np.full((len(regions), len(regions)), np.nan)
    for source, target, latency_ns in rows.iter_rows():
        grid[place[source], place[target]] = latency_ns / 1e6
    with style():
        figure, (axis,) = figure_of(data, size=(4.7, 4.2))
        image = axis.imshow(grid, cmap="cividis", aspect="auto")
        middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
        if len(regions) <= NUMBERED:
            for (row, column), value in np.ndenumerate(grid):
                if not np.isnan(value):
                    colour = "white" if value < middle else "black"
                    axis.text(
                        column, row, f"{value:.0f}", ha="center", va="center", fontsize=5.5,
                        color=colour,
                    )  # fmt: skip
        names = [region.split(":")[-1] for region in regions]
        axis.set_xticks(range(len(regions)), names, rotation=90, fontsize=6)
        axis.set_yticks(range(len(regions)), names, fontsize=6)
        axis.grid(visible=False)
        axis.set_xlabel("receiver's region")
        axis.set_ylabel("sender's region")
        axis.set_title(title)
        figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02)
    return figure
