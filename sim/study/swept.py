"""A study as figures need it: what is varied, in numbers where it has some; what points gave.

Owns: axes of a sweep with their units, the points along them, differences between the points of one
study. Must not know: how anything is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sim.record.runs import Run
from sim.record.summary import Metric
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.scenario.quantities import DIMENSIONS, Dimension, QuantityError
from sim.scenario.sweep import Grid, Sobol, Zip
from sim.scenario.validate import value_text
from sim.study.overview import PointRow, Results, metric_of, metrics_asked, overview, results_of
from sim.study.statistics.intervals import Interval, paired_interval

MOST_METRICS = 4
"""Metrics that a report draws, where nobody names them."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that varies. `numbers`: its values in `unit`; None where they are words."""

    path: str
    texts: tuple[str, ...]
    numbers: tuple[float, ...] | None
    unit: str

    @property
    def name(self) -> str:
        """The last part of the path, for people."""
        return path_name(self.path)

    @property
    def label(self) -> str:
        """Name and unit, for a figure's axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


class Study:
    """A study that has ended, or as much of it as is whole."""

    def __init__(self, run: Run, metrics: Sequence[str] = (), confidence: float = 0.95) -> None:
        self.run = run
        self.scenario: Scenario = load_scenario(run.path / "scenario.yaml")
        self.confidence = confidence
        names = metrics or metrics_asked(self.scenario)[:MOST_METRICS]
        self.metrics: tuple[Metric, ...] = tuple(metric_of(name) for name in names)
        self.results: Results = results_of(run)
        self.rows: list[PointRow] = overview(run, [m.name for m in self.metrics], confidence)
        self.axes: tuple[Axis, ...] = axes_of(self.scenario)

    @property
    def caption(self) -> str:
        """What every figure states: seed, replicates, kind of interval."""
        counts = sorted({row.replicates for row in self.rows})
        n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        percent = f"{self.confidence * 100:g} %"
        return f"seed {self.scenario.seed}, n = {n} a point, {percent} intervals"

    def words(self, point: int) -> str:
        """Return what sets a point apart, briefly; of a zip by what its first setting says."""
        paths = [axis.path for axis in self.axes] or list(dict(self.rows[point].settings))
        parts = []
        for path in paths:
            texts = brief([dict(each.settings)[path] for each in self.rows])
            parts.append(f"{path_name(path)} {texts[point]}")
        return ", ".join(parts)

    def mean(self, ranks: Sequence[int], metric: Metric) -> Interval | None:
        """Return the mean at a place of the grid, by the rank of each axis's value."""
        place = 0
        for axis, rank in zip(self.axes, ranks, strict=True):
            place = place * len(axis.texts) + rank
        return self.rows[place].means[metric.name]


def path_name(path: str) -> str:
    """Return the last part of a path, with its list's where it is a place: `insiders 0`."""
    parts = path.split(".")
    last = parts[-2:] if parts[-1].isdigit() else parts[-1:]
    return " ".join(last).replace("_", " ")


def brief(texts: Sequence[str]) -> list[str]:
    """Return values without what they share: of maps like `{kind: edit, at: 10 s}` `edit`.

    Unchanged where they are no flat maps, or would not be told apart.
    """
    inner = [text[1:-1] for text in texts]
    flat = all(
        text[:1] == "{" and text[-1:] == "}" and not set(inside) & set("{}[]")
        for text, inside in zip(texts, inner, strict=True)
    )
    if not flat:
        return list(texts)
    split = [inside.split(", ") for inside in inner]
    shared = set.intersection(*(set(parts) for parts in split))
    kept = [
        ", ".join(part.removeprefix("kind: ") for part in parts if part not in shared)
        for parts in split
    ]
    return kept if len(set(kept)) == len(set(texts)) and all(kept) else list(texts)


def axes_of(scenario: Scenario) -> tuple[Axis, ...]:
    """Return what a grid varies, axis by axis; of a zip its first setting; of the rest nothing."""
    sweep = scenario.sweep
    if isinstance(sweep, Grid):
        return tuple(axis(path, values) for path, values in sweep.axes)
    if isinstance(sweep, Zip):
        path, values = sweep.axes[0]
        return (axis(path, values),)
    return ()


def axis(path: str, values: Sequence[Any]) -> Axis:
    """Read an axis: quantities in the unit that suits the largest, numbers, or words."""
    texts = tuple(value_text(value) for value in values)
    if all(not isinstance(v, bool | str | list | dict) for v in values):
        return Axis(path, texts, tuple(float(v) for v in values), "")
    for dimension in DIMENSIONS:
        try:
            amounts = [dimension.parse(value) for value in values]
        except QuantityError:
            continue
        unit, scale = _unit(dimension, max(amounts))
        return Axis(path, texts, tuple(amount / scale for amount in amounts), unit)
    return Axis(path, tuple(brief(texts)), None, "")


def _unit(dimension: Dimension, largest: int) -> tuple[str, float]:
    """Return the largest decimal unit that does not exceed an amount, and its size."""
    scales = [
        (scale, unit) for unit, scale in dimension.units.items() if set(str(scale)) <= set("01/")
    ]
    fitting = [pair for pair in scales if pair[0] <= largest]
    scale, unit = max(fitting, default=min(scales))
    return unit, float(scale)


@dataclass(frozen=True, slots=True)
class Against:
    """A metric of one point less that of the first point, over replicates of the same number."""

    point: int
    settings: tuple[tuple[str, str], ...]
    metric: Metric
    first_mean: float
    difference: Interval

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.difference.lower > 0 or self.difference.upper < 0


def against_first(study: Study, metric: Metric) -> list[Against]:
    """Return paired differences of every other point to the first one, where both have a value."""
    found = []
    first = _by_number(study, 0, metric)
    for row in study.rows[1:]:
        other = _by_number(study, row.point, metric)
        both = [number for number in first if number in other]
        if not both:
            continue
        ours, theirs = [first[n] for n in both], [other[n] for n in both]
        difference = paired_interval(ours, theirs, study.confidence)
        mean = sum(ours) / len(ours)
        found.append(Against(row.point, row.settings, metric, mean, difference))
    return found


def _by_number(study: Study, point: int, metric: Metric) -> dict[int, float]:
    """Return a metric by replicate, where there was something to measure."""
    found = {}
    for (place, number), stored in sorted(study.results.by_place.items()):
        value = stored.result.metrics.get(metric.name)
        if place == point and value is not None:
            found[number] = float(value)
    return found


def is_sobol(study: Study) -> bool:
    """Tell whether the study has a design that Sobol indices can be read off."""
    return isinstance(study.scenario.sweep, Sobol)
