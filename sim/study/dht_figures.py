"""Curves and short tables of the lookup studies, with intervals over replicates.

Owns: what is drawn of `sim.study.dht` and what is printed. Must not know: how it is measured.
Intervals are Student's over replicates, at 95 %; with one replicate there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sim.study.figures import COLOURS, FAINT, INK, style
from sim.study.shown import Shown
from sim.study.statistics.intervals import Interval, mean_interval, paired_interval
from sim.world.routing.parameters import (
    DROP,
    HIERARCHICAL,
    ITERATIVE,
    KADEMLIA,
    KINDS,
    MALICE,
    POISON,
    RECURSIVE,
    STYLES,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MS = 1e6
DRAWN_PATHS = (1, 2, 4, 8)


def curve(data: pl.DataFrame, x: str, value: pl.Expr) -> list[tuple[float, Interval]]:
    """Return the mean of `value` over replicates with its interval, for each `x`."""
    shown = data.select(pl.col(x), value.alias("value")).sort(x)
    return [
        (float(name[0]), mean_interval(rows["value"].to_numpy()))
        for name, rows in shown.group_by(x, maintain_order=True)
    ]


def per_lookup(column: str) -> pl.Expr:
    """Return a column's mean a lookup."""
    return pl.col(column) / pl.col("lookups")


SUCCESS = per_lookup("found") * 100
DELAY_MS = pl.col("delay_ns") / pl.max_horizontal(pl.col("found"), 1) / MS


def plus_minus(interval: Interval, digits: int = 2) -> str:
    """Write a mean and half the width of its interval."""
    if isnan(interval.lower):
        return f"{interval.estimate:,.{digits}f}"
    return f"{interval.estimate:,.{digits}f} ± {interval.half_width:.{digits}f}"


def plot(axes: Axes, points: Sequence[tuple[float, Interval]], colour: str, label: str) -> None:
    """Draw a curve with its band."""
    x = [point[0] for point in points]
    axes.plot(x, [i.estimate for _, i in points], "o-", ms=2.5, color=colour, label=label)
    if not any(isnan(i.lower) for _, i in points):
        low, high = [i.lower for _, i in points], [i.upper for _, i in points]
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


# -- cost ---------------------------------------------------------------------------------------


def draw_cost(data: pl.DataFrame) -> Figure:
    """Draw CPU time a lookup and memory against the number of nodes."""
    figure, ((left, right),) = _panels(1, 2, (7.4, 2.9))
    for way, colour in ((RECURSIVE, COLOURS[0]), (ITERATIVE, COLOURS[1])):
        rows = data.filter(style=way).sort("nodes")
        n = rows["nodes"].to_numpy()
        us = rows["cpu_ns"].to_numpy() / rows["lookups"].to_numpy() / 1e3
        left.plot(n, us, "o-", ms=3, color=colour, label=STYLES[way])
        line = us[0] * np.log2(n) / log2(n[0])
        left.plot(n, line, ":", color=colour, lw=1, label=f"{STYLES[way]}: log n through the first")
    left.set(xscale="log", yscale="log", xlabel="nodes", ylabel="CPU time (µs a lookup)")
    left.set_title("Cost of a lookup")
    left.legend()
    rows = data.filter(style=RECURSIVE).sort("nodes")
    for column, label, colour in (
        ("peak_memory_bytes", "process, libraries included", COLOURS[2]),
        ("bundle_bytes", "arrays of the DHT", COLOURS[3]),
    ):
        mib = rows[column].to_numpy() / 2**20
        right.plot(rows["nodes"].to_numpy(), mib, "o-", ms=3, color=colour, label=label)
    right.set(xscale="log", yscale="log", xlabel="nodes", ylabel="memory (MiB)")
    right.set_title("Memory")
    right.legend()
    return figure


def show_cost(data: pl.DataFrame) -> Shown:
    rows = []
    for row in data.sort("style", "nodes").iter_rows(named=True):
        rate = row["lookups"] * 10**9 // row["cpu_ns"]
        rows.append(
            (
                f"{row['nodes']:,}",
                STYLES[row["style"]],
                f"{rate:,}",
                f"{row['cpu_ns'] / row['lookups'] / 1e3:.2f}",
                f"{row['cpu_ns'] / max(1, row['rpcs']):,.0f}",
                f"{row['depth'] / row['lookups']:.3f}",
                f"{row['rpcs'] / row['lookups']:.2f}",
                f"{row['bundle_bytes'] / 2**20:,.0f}",
                f"{row['peak_memory_bytes'] / 2**20:,.0f}",
            )
        )
    heads = ("nodes", "style", "lookups a CPU-s", "µs", "ns an RPC", "depth", "RPCs")
    return Shown("cost against nodes", (*heads, "arrays MiB", "peak MiB"), rows)


# -- depth --------------------------------------------------------------------------------------


def draw_depth(data: pl.DataFrame) -> Figure:
    """Draw mean depth against size, over the exact expectation."""
    figure, ((left, right),) = _panels(1, 2, (7.4, 2.9))
    for (k,), rows in data.sort("k", "bits").group_by("k", maintain_order=True):
        colour = COLOURS[list(dict.fromkeys(data["k"].sort())).index(k) % len(COLOURS)]
        exact = rows.unique("bits", maintain_order=True)
        theory = exact["expected_micro"].to_numpy() / 1e6
        left.plot(exact["bits"].to_numpy(), theory, "-", color=colour, lw=1)
        points = curve(rows, "bits", per_lookup("depth"))
        left.plot([x for x, _ in points], [i.estimate for _, i in points], "o", ms=3, color=colour)
        left.plot([], [], "o-", color=colour, ms=3, label=f"k = {k}")
        error = per_lookup("depth") * 1e8 / pl.col("expected_micro") - 100
        plot(right, curve(rows, "bits", error), colour, f"k = {k}")
    left.set(xlabel="log2 nodes, full id space", ylabel="mean depth (hops)")
    left.set_title("Measured (dots) and exact (lines)")
    left.legend()
    right.axhspan(-0.5, 0.5, color=FAINT, alpha=0.12, lw=0)
    right.set(xlabel="log2 nodes, full id space", ylabel="measured less exact (%)", ylim=(-1, 1))
    right.set_title("Difference; shaded: 0.5 %")
    return figure


def show_depth(data: pl.DataFrame) -> Shown:
    rows = []
    for (bits, k), part in data.sort("bits", "k").group_by("bits", "k", maintain_order=True):
        if bits not in (data["bits"].min(), data["bits"].max()):
            continue
        exact = part["expected_micro"][0] / 1e6
        mean = curve(part, "k", per_lookup("depth"))[0][1]
        error = f"{(mean.estimate / exact - 1) * 100:+.3f} %"
        rows.append((f"2^{bits}", str(k), plus_minus(mean, 4), f"{exact:.4f}", error))
    return Shown("mean depth", ("nodes", "k", "measured", "exact", "difference"), rows)


# -- rings --------------------------------------------------------------------------------------

_RING_FIGURES = (
    ("crossings", "borders crossed a lookup", per_lookup("crossings")),
    ("delay", "delay to the owner (ms)", DELAY_MS),
    ("depth", "depth (hops)", per_lookup("depth")),
)


def draw_hierarchy(data: pl.DataFrame) -> Figure:
    """Draw crossings, delay and depth against the share of lookups for the own region."""
    figure, (panels,) = _panels(1, 3, (9.0, 2.9))
    for axes, (_, label, value) in zip(panels, _RING_FIGURES, strict=True):
        for kind in (KADEMLIA, HIERARCHICAL):
            points = curve(data.filter(kind=kind), "own_percent", value)
            plot(axes, points, COLOURS[kind], "flat" if kind == KADEMLIA else "rings")
        axes.set(xlabel="lookups drawn for the own region (%)", ylabel=label)
        axes.set_ylim(bottom=0)
    panels[0].set_title("Flat and in rings, the same traffic")
    panels[0].legend()
    return figure


def show_hierarchy(data: pl.DataFrame) -> Shown:
    rows = []
    for (percent,), part in data.sort("own_percent").group_by("own_percent", maintain_order=True):
        for name, _, value in _RING_FIGURES:
            of = part.sort("replicate").select("kind", value.alias("value"))
            flat, rings = (of.filter(kind=kind)["value"].to_numpy() for kind in range(len(KINDS)))
            change = paired_interval(flat, rings)
            rows.append(
                (
                    f"{percent} %",
                    name,
                    plus_minus(mean_interval(flat)),
                    plus_minus(mean_interval(rings)),
                    plus_minus(change),
                )
            )
        inside = part.filter(kind=HIERARCHICAL)["own_crossings"].sum()
        rows.append((f"{percent} %", "crossings, own region", "", f"{inside:,}", ""))
    heads = ("own region", "figure", "flat", "rings", "rings less flat, paired")
    return Shown("rings against flat tables", heads, rows)


# -- churn and attacks --------------------------------------------------------------------------


def draw_churn(data: pl.DataFrame) -> Figure:
    """Draw success and delay against the age at which tables are renewed, by paths."""
    figure, panels = _panels(2, 2, (7.4, 5.2))
    for row, way in zip(panels, (RECURSIVE, ITERATIVE), strict=True):
        for axes, label, value in zip(
            row,
            ("found (% of lookups)", "delay to the owner (s)"),
            (SUCCESS, DELAY_MS / 1e3),
            strict=True,
        ):
            for number, paths in enumerate(DRAWN_PATHS):
                points = curve(data.filter(style=way, paths=paths), "refresh_min", value)
                plot(axes, points, COLOURS[number], f"{paths} path{'s' * (paths > 1)}")
            axes.set(xscale="log", xlabel="refresh (min)", ylabel=label)
            axes.set_xticks(data["refresh_min"].unique().sort().to_list())
            axes.set_xticklabels([str(v) for v in data["refresh_min"].unique().sort()])
            axes.minorticks_off()
        row[0].set_title(f"Kad sessions, {STYLES[way]}")
        row[0].set_ylim(top=101)
        row[1].set_ylim(bottom=0)
    panels[0][1].legend()
    return figure


def show_churn(data: pl.DataFrame) -> Shown:
    rows = []
    keys = ("style", "refresh_min", "paths")
    wanted = data.filter(pl.col("paths").is_in([1, 8])).sort(*keys)
    for (way, refresh, paths), part in wanted.group_by(*keys, maintain_order=True):
        stale = mean_interval((part["stale_ppm"] / 1e4).to_numpy())
        rows.append(
            (
                STYLES[int(str(way))],
                f"{refresh} min",
                str(paths),
                f"{stale.estimate:.1f}",
                plus_minus(curve(part, "paths", SUCCESS)[0][1], 1),
                plus_minus(curve(part, "paths", DELAY_MS)[0][1], 0),
                plus_minus(curve(part, "paths", per_lookup("timeouts"))[0][1]),
            )
        )
    heads = ("style", "refresh", "paths", "stale %", "found %", "delay ms", "timeouts")
    return Shown("lookups under churn", heads, rows)


def draw_attack(data: pl.DataFrame) -> Figure:
    """Draw success and delay against the share of malicious nodes, by paths."""
    figure, panels = _panels(2, 4, (12.0, 5.2))
    for column, (way, malice) in enumerate(
        (way, malice) for way in (RECURSIVE, ITERATIVE) for malice in (POISON, DROP)
    ):
        part = data.filter(style=way, malice=malice)
        for number, paths in enumerate(DRAWN_PATHS):
            of, label = part.filter(paths=paths), f"{paths} path{'s' * (paths > 1)}"
            plot(panels[0][column], curve(of, "malicious_percent", SUCCESS), COLOURS[number], label)
            seconds = curve(of.filter(pl.col("found") > 0), "malicious_percent", DELAY_MS / 1e3)
            plot(panels[1][column], seconds, COLOURS[number], label)
        if (way, malice) == (RECURSIVE, POISON):
            of = part.filter(paths=1)
            theory = curve(of, "malicious_percent", pl.col("expected_ppm") / 1e4)
            x, y = [x for x, _ in theory], [i.estimate for _, i in theory]
            panels[0][column].plot(x, y, "--", color=INK, lw=1, label="1 path, theory")
        panels[0][column].set_title(f"{STYLES[way]}, {MALICE[malice]}")
        panels[0][column].set(ylim=(0, 102), ylabel="found (% of lookups)")
        panels[1][column].set(xlabel="malicious nodes (%)", ylabel="delay where found (s)")
        panels[1][column].set_ylim(bottom=0)
    panels[0][0].legend()
    return figure


def show_attack(data: pl.DataFrame) -> Shown:
    rows = []
    keys = ("style", "malice", "malicious_percent")
    wanted = data.filter(pl.col("malicious_percent").is_in([10, 20, 30, 50])).sort(*keys)
    for (way, malice, percent), part in wanted.group_by(*keys, maintain_order=True):
        by_paths = [
            plus_minus(curve(part.filter(paths=paths), "paths", SUCCESS)[0][1], 1)
            for paths in DRAWN_PATHS
        ]
        single = part.filter(paths=1)
        theory = curve(single, "paths", pl.col("expected_ppm") / 1e4)[0][1].estimate
        covered = (way, malice) == (RECURSIVE, POISON)
        names = STYLES[int(str(way))], MALICE[int(str(malice))], f"{percent} %"
        rows.append((*names, *by_paths, f"{theory:.1f}" if covered else ""))
    heads = ("style", "nodes", "share", *(f"{d} path{'s' * (d > 1)}" for d in DRAWN_PATHS))
    return Shown("found (%) among malicious nodes", (*heads, "1 path, theory"), rows)


DRAW = {
    "cost": draw_cost,
    "depth": draw_depth,
    "hierarchy": draw_hierarchy,
    "churn": draw_churn,
    "attack": draw_attack,
}
SHOW = {
    "cost": show_cost,
    "depth": show_depth,
    "hierarchy": show_hierarchy,
    "churn": show_churn,
    "attack": show_attack,
}


def drawn(name: str, data: pl.DataFrame) -> Figure:
    """Draw a study's figure, with the number of worlds behind each point in its caption."""
    with style():
        figure = DRAW[name](data)
        worlds = data["replicate"].n_unique()
        figure.supxlabel(f"n = {worlds} worlds a point", fontsize=5.5, x=0.99, ha="right")
    return figure


def save(name: str, data: pl.DataFrame, folder: Path) -> list[Path]:
    """Draw a study's figure to SVG and PNG in `folder`; return the files.

    Raises ModuleNotFoundError, saying what to install, without matplotlib.
    """
    files = [folder / f"dht_{name}.{kind}" for kind in ("svg", "png")]
    figure = drawn(name, data)
    with style():
        for file in files:
            figure.savefig(file, dpi=160, facecolor="white", transparent=False)
    return files
