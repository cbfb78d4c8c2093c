"""Pictures of the agents' registry in a run: what it was asked, what went wrong, who was hot.

Owns: how they look, in the house style of `figures`. Must not know: HTML, where figures go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.study.directory import hot_hosts
from sim.study.figures import COLOURS, RunData, figure_of, style
from sim.study.statistics.intervals import F64

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERVED = ("read", "write")
TROUBLE = {
    "limited": "registrations over a limit",
    "stale": "stale answers",
    "no_quorum": "no quorum",
    "lost_write": "lost writes",
}
"""What is drawn of what went wrong, by event."""


_TICKS = (0, 10, 1_000, 100_000, 10_000_000, 1_000_000_000)


def registry(data: RunData) -> Figure | None:
    """Draw reads, writes and refusals of the registry a second, and its load by host.

    None where nobody asked it.
    """
    if not data.has("registry"):
        return None
    rows = data.table("registry").collect()
    hosts = hot_hosts(data.run, data.point, data.replicate, len(rows))
    if not hosts:
        return None
    seconds = np.arange(data.seconds + 1)
    with style():
        figure, axes = figure_of(data, 2, sharex=False)
        top, bottom = axes
        names = {event: f"{event}s" for event in SERVED} | TROUBLE
        for (event, words), colour in zip(names.items(), COLOURS, strict=False):
            counts = _by_second(rows, event, data.seconds)
            if counts.any():
                top.stairs(counts, seconds, baseline=None, color=colour, lw=1.3, label=words)
        top.set_yscale("symlog", linthresh=1)
        top.set_ylim(0, top.get_ylim()[1] * 1_000)
        shown = [tick for tick in _TICKS if tick <= top.get_ylim()[1]]
        top.set_yticks(shown, [f"{tick:,}" for tick in shown])
        top.minorticks_off()
        top.set_xlim(0, data.seconds)
        top.set_xlabel("simulated time (s)")
        top.set_ylabel("a second")
        top.set_title("The registry, and its load by host")
        top.legend(loc="upper right", ncols=2, fontsize=6.5)
        share = np.array([host.share_ppm for host in hosts]) / 1e4
        ranks = np.arange(1, share.size + 1)
        bottom.bar(ranks, share, width=1.0, color=COLOURS[0], linewidth=0)
        bottom.axhline(100 / share.size, color=COLOURS[6], linewidth=0.8, linestyle="--")
        bottom.annotate(
            f"validator {hosts[0].node}: {share[0]:.2f} %; dashed: equal", (1, 1), (-4, -4),
            xycoords="axes fraction", textcoords="offset points", ha="right", va="top",
            fontsize=6.5,
        )  # fmt: skip
        bottom.set_ylim(0, share[0] * 1.35)
        bottom.locator_params(axis="x", integer=True)
        bottom.set_xlabel("host, by load")
        bottom.set_ylabel("operations (%)")
    return figure


def _by_second(rows: pl.DataFrame, event: str, seconds: int) -> F64:
    counts = np.zeros(seconds)
    chosen = rows.filter(pl.col("event") == event).group_by("second").agg(pl.col("count").sum())
    counts[chosen["second"].to_numpy()] = chosen["count"].to_numpy()
    return counts
