"""Pictures of a study: metrics against what is varied, shares of runs that met, what matters.

Owns: what is drawn of `sim.study.swept`, in the house style of `sim.study.figures`. Every figure
says its seed, its number of replicates and the kind of its intervals. Must not know: HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from sim.record.summary import Metric
from sim.study.figures import COLOURS, FAINT, style
from sim.study.statistics.intervals import Interval, proportion_interval
from sim.study.statistics.sensitivity import sobol_of
from sim.study.swept import Axis, Study, against_first, path_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

MOST_LINES = 6
"""Curves of one figure that stay apart."""
MOST_BARS = 16
"""Rows of one figure that can be read."""
_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")),
    "ppm": ((1e4, "%"),),
}


def curves(study: Study, metric: Metric) -> Figure | None:
    """Draw a metric's means with intervals against the longest axis, a curve a value of the next.

    Of further axes the first value is shown, which the title says. None without an axis.
    """
    if not study.axes or all(row.means[metric.name] is None for row in study.rows):
        return None
    order = sorted(range(len(study.axes)), key=lambda i: -len(study.axes[i].texts))
    along = order[0]
    across = order[1] if len(order) > 1 else None
    scale, unit = _scale(study, metric)
    with style():
        figure, axes = _figure(study)
        places = _places(study.axes[along])
        lines = range(len(study.axes[across].texts)) if across is not None else range(1)
        for rank, colour in zip(lines[:MOST_LINES], COLOURS, strict=False):
            points = []
            for step in range(len(places)):
                ranks = [0] * len(study.axes)
                ranks[along] = step
                if across is not None:
                    ranks[across] = rank
                mean = study.mean(ranks, metric)
                if mean is not None:
                    points.append((places[step], mean))
            label = None
            if across is not None:
                label = f"{study.axes[across].name} {study.axes[across].texts[rank]}"
            _curve(axes, points, scale, colour, label)
        _along(axes, study.axes[along], places)
        _room(axes)
        axes.set_ylabel(_label(metric, unit))
        fixed = [f"{study.axes[i].name} {study.axes[i].texts[0]}" for i in order[2:]]
        axes.set_title(_title(metric) + (f" ({', '.join(fixed)})" if fixed else ""))
        if across is not None:
            axes.legend(loc="best", fontsize=6.5)
    return figure


def heat_map(study: Study, metric: Metric) -> Figure | None:
    """Draw the means over a grid of two settings; None for any other sweep."""
    if len(study.axes) != 2 or any(len(axis.texts) < 2 for axis in study.axes):
        return None
    down, along = study.axes
    if len(down.texts) > MOST_BARS or len(along.texts) > MOST_BARS:
        return None
    grid = np.full((len(down.texts), len(along.texts)), np.nan)
    for row, column in np.ndindex(*grid.shape):
        mean = study.mean((row, column), metric)
        if mean is not None:
            grid[row, column] = mean.estimate
    if np.isnan(grid).all():
        return None
    scale, unit = _scale(study, metric)
    grid /= scale
    with style():
        figure, axes = _figure(study)
        image = axes.imshow(grid, cmap="cividis", aspect="auto", origin="lower")
        middle = (np.nanmax(grid) + np.nanmin(grid)) / 2
        for (row, column), value in np.ndenumerate(grid):
            text = "-" if isnan(value) else f"{value:.3g}"
            colour = "black" if isnan(value) or value >= middle else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
        axes.set_xticks(range(len(along.texts)), along.texts, rotation=_slant(along))
        axes.set_yticks(range(len(down.texts)), down.texts)
        axes.grid(visible=False)
        axes.set_xlabel(along.name)
        axes.set_ylabel(down.name)
        axes.set_title(_label(metric, unit, _title(metric)))
        figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
    return figure


def met(study: Study) -> Figure | None:
    """Draw the share of runs that met their expectations, with exact binomial intervals."""
    rows = [row for row in study.rows if row.replicates][:MOST_BARS]
    if len(rows) < 2:
        return None
    with style():
        figure, axes = _figure(study, height=max(2.2, 0.9 + 0.2 * len(rows)))
        places = np.arange(len(rows))[::-1]
        for place, row in zip(places, rows, strict=True):
            found = proportion_interval(
                row.verdicts.get("met", 0), row.replicates, study.confidence
            )
            low, high = found.lower * 100, found.upper * 100
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=2, alpha=0.45)
            axes.plot(found.estimate * 100, place, "o", color=COLOURS[0], ms=4)
        axes.set_yticks(places, [_cut(study.words(row.point)) for row in rows], fontsize=6.5)
        axes.set_xlim(-3, 103)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlabel("runs that met what they expect (%)")
        axes.set_title("Verdicts" + _left_out(len(study.rows), len(rows)))
    return figure


def differences(study: Study, metric: Metric) -> Figure | None:
    """Draw paired differences of all points to the first one; None with a single point."""
    rows = against_first(study, metric)[:MOST_BARS]
    if not rows or not any(row.difference.estimate for row in rows):
        return None
    scale, unit = _scale(study, metric)
    with style():
        figure, axes = _figure(study, height=max(2.2, 0.9 + 0.2 * len(rows)))
        places = np.arange(len(rows))[::-1]
        for place, row in zip(places, rows, strict=True):
            colour = COLOURS[1] if row.clear else COLOURS[6]
            ends = [row.difference.lower / scale, row.difference.upper / scale]
            if not isnan(ends[0]):
                axes.plot(ends, [place, place], color=colour, linewidth=2, alpha=0.45)
            axes.plot(row.difference.estimate / scale, place, "o", color=colour, ms=4)
        axes.axvline(0, color=FAINT, linewidth=0.8)
        axes.set_yticks(places, [_cut(study.words(row.point)) for row in rows], fontsize=6.5)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlabel(_label(metric, unit, "difference to the first point, paired"))
        axes.set_title(_title(metric))
        axes.xaxis.set_major_locator(_few_ticks())
    return figure


def sensitivity(study: Study, metric: Metric) -> Figure:
    """Draw first and total Sobol indices of every setting, the one that matters most first.

    RunError where the study has no Sobol sweep, or is not whole.
    """
    found = sobol_of(study.run, metric.name, study.confidence)
    found.sort(key=lambda row: -row.total.estimate)
    with style():
        figure, axes = _figure(study, height=max(2.2, 1.1 + 0.35 * len(found)))
        places = np.arange(len(found))[::-1]
        parts = (
            ("total, interactions included", 0.18, COLOURS[0]),
            ("by itself", -0.18, COLOURS[4]),
        )
        for name, shift, colour in parts:
            for place, row in zip(places, found, strict=True):
                index = row.total if shift > 0 else row.first
                label = name if place == places[0] else None
                axes.barh(place + shift, index.estimate, 0.32, color=colour, label=label)
                axes.plot(
                    [index.lower, index.upper], [place + shift] * 2, color=FAINT, linewidth=1.2
                )
        axes.set_yticks(places, [path_name(row.path) for row in found])
        axes.axvline(0, color=FAINT, linewidth=0.8)
        axes.set_xlim(right=max(1.05, axes.get_xlim()[1]))
        axes.set_xlabel("share of the variance")
        axes.set_title(f"What matters for {_title(metric)}")
        axes.legend(loc="lower right", fontsize=6.5)
    return figure


def _figure(study: Study, height: float = 2.9) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    foot = 0.14 / height
    engine = ConstrainedLayoutEngine(rect=(0, foot, 1, 1 - foot))
    figure = Figure(figsize=(4.7, height), layout=engine)
    figure.text(0.99, 0.04 / height, study.caption, fontsize=5.5, ha="right", alpha=0.7)
    return figure, figure.subplots()


def _curve(
    axes: Axes,
    points: Sequence[tuple[float, Interval]],
    scale: float,
    colour: str,
    label: str | None,
) -> None:
    points = sorted(points, key=lambda point: point[0])
    x = [place for place, _ in points]
    axes.plot(x, [m.estimate / scale for _, m in points], "o-", ms=3, color=colour, label=label)
    sure = [(place, m) for place, m in points if not isnan(m.lower)]
    axes.fill_between(
        [place for place, _ in sure],
        [m.lower / scale for _, m in sure],
        [m.upper / scale for _, m in sure],
        color=colour,
        alpha=0.2,
        linewidth=0,
    )


def _places(axis: Axis) -> list[float]:
    return (
        list(axis.numbers)
        if axis.numbers is not None
        else [float(i) for i in range(len(axis.texts))]
    )


def _along(axes: Axes, axis: Axis, places: Sequence[float]) -> None:
    """Label the x axis; values that span two decades are drawn on a logarithmic scale."""
    if axis.numbers is None:
        slant = _slant(axis)
        side = "right" if slant else "center"
        axes.set_xticks(places, axis.texts, rotation=slant, ha=side, rotation_mode="anchor")
        axes.set_xlabel(axis.name)
        return
    ordered = sorted(places)
    if ordered[0] > 0 and ordered[-1] / ordered[0] >= 100:
        axes.set_xscale("log")
    elif len(ordered) <= 8 and _apart(ordered):
        axes.set_xticks(ordered, [f"{place:.4g}" for place in ordered])
    axes.set_xlabel(axis.label)


def _apart(ordered: Sequence[float]) -> bool:
    """Whether ticks at all values leave room for their numbers."""
    least = (ordered[-1] - ordered[0]) / 11
    return all(b - a >= least for a, b in pairwise(ordered))


def _room(axes: Axes) -> None:
    low, high = axes.get_ylim()
    if low > 0 and low < 0.5 * high:
        low = 0
    axes.set_ylim(low, high + 0.12 * (high - low))


def _slant(axis: Axis) -> int:
    return 30 if max(len(text) for text in axis.texts) * len(axis.texts) > 40 else 0


def _few_ticks() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _scale(study: Study, metric: Metric) -> tuple[float, str]:
    """Return a unit in which a metric's means read well, and its size."""
    scales = _SCALES.get(metric.unit)
    if scales is None:
        return 1.0, "" if metric.unit in ("count", "level") else metric.unit
    means = [row.means[metric.name] for row in study.rows]
    largest = max((abs(mean.estimate) for mean in means if mean is not None), default=0.0)
    return next((pair for pair in scales if pair[0] <= largest), scales[-1])


def _title(metric: Metric) -> str:
    name = metric.name.removesuffix("_ns").removesuffix("_ppm").removesuffix("_bytes")
    return name.replace("_", " ")


def _label(metric: Metric, unit: str, name: str | None = None) -> str:
    return f"{name or _title(metric)} ({unit})" if unit else name or _title(metric)


def _cut(words: str) -> str:
    return words if len(words) <= 44 else f"{words[:41]}..."


def _left_out(whole: int, shown: int) -> str:
    return f" (first {shown} of {whole} points)" if whole > shown else ""
