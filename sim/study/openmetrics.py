"""A run as OpenMetrics: what alert rules were shown each second, with time stamps.

Owns: the second run that yields the figures, the proof that it is the same run, and the text. Must
not know: how figures are measured, how rules are evaluated.

Figures are not kept by runs, because they follow from the scenario and the seed. Names, labels and
units are those that exported rules and dashboards ask for (`sim.monitor.alerts.exported_name`).
Source: OpenMetrics 1.0 (prometheus.io/docs/specs/om/open_metrics_spec).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sim.engine.run import Place, Progress, graceful, replicate
from sim.engine.world import World
from sim.monitor.alerts import GRID_NS, PREFIX, Sample, exported_name, exported_value
from sim.record.runs import Run, RunError
from sim.scenario.alerting import METRICS, Metric
from sim.scenario.alerts import rules_in_force
from sim.scenario.model import Scenario
from sim.study.replay import recorded_scenario

NO_VALUE = "NaN"
"""Of a gauge in a second in which there was nothing to state; no comparison with it holds."""
_UNITS = {"duration": "seconds", "share": "ratio"}


@dataclass(frozen=True, slots=True)
class Series:
    """One metric under one value of its label: what it was, second by second."""

    metric: Metric
    series: str
    values: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What rules were shown in a replicate. `ends_ns`: of its seconds; `silent`: metrics that the
    scenario has and this run had nothing to say of."""

    ends_ns: tuple[int, ...]
    series: tuple[Series, ...]
    silent: tuple[Metric, ...]


def metrics_of(scenario: Scenario) -> tuple[Metric, ...]:
    """Return the metrics of the parts that a scenario has."""
    there = {
        "": True,
        "agents": scenario.agents is not None,
        "compliance": scenario.compliance is not None,
        "clouds": scenario.clouds is not None,
    }
    return tuple(metric for metric in METRICS if there[metric.part])


def figures(
    run: Run,
    *,
    point: int = 0,
    number: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Figures:
    """Simulate a replicate of `run` again and return what its rules were shown.

    Raises RunError where the run is not complete, evaluates no rules, or comes out otherwise here
    and now: other versions, other machine.
    """
    scenario = recorded_scenario(run)
    points = scenario.points()
    if run.state != "complete" or run.replay_of is not None:
        raise RunError(f"{run.path.name}: only a whole run that is complete has all its figures")
    if (point, number) not in run.replicates():
        raise RunError(f"{run.path.name}: no replicate {number} of point {point}")
    one = points[point].scenario
    if not rules_in_force(one.alerts):
        raise RunError(
            f"{run.path.name}: its scenario switches alert rules off, so nothing is measured each "
            "second: run it with `--set alerts.enabled=true`"
        )
    shown: list[tuple[int, dict[str, dict[str, int]]]] = []

    def keep(now_ns: int, sample: Sample) -> None:
        shown.append((now_ns, {metric: dict(values) for metric, values in sample.items()}))

    def listen(world: World) -> None:
        assert world.alerts is not None
        world.alerts.shown = keep

    place = Place(point, len(points), number, scenario.replicates)
    with tempfile.TemporaryDirectory(prefix="creto-sim-metrics-") as folder, graceful() as stop:
        result, _ = replicate(one, Path(folder) / "run", place, progress, stop, built=listen)
    if result.state != "complete":
        raise KeyboardInterrupt
    kept = {name: d for (p, n, name), d in run.digests().items() if (p, n) == (point, number)}
    other = [name for name in kept if result.tables.get(name) != kept[name]]
    if other:
        raise RunError(
            f"{run.path.name}: run again it comes out otherwise ({', '.join(sorted(other))}), so "
            "its figures can't be had here: see creto-sim verify"
        )
    return _arranged(one, shown)


def _arranged(
    scenario: Scenario, shown: Sequence[tuple[int, dict[str, dict[str, int]]]]
) -> Figures:
    """Turn seconds into series; a counter is nought until it is first heard of."""
    series, silent = [], []
    for metric in metrics_of(scenario):
        labels = dict.fromkeys(_labels(scenario, metric))
        for _, sample in shown:
            labels.update(dict.fromkeys(sample.get(metric.name, ())))
        for label in sorted(labels):
            last: int | None = 0 if metric.counter else None
            values = []
            for _, sample in shown:
                value = sample.get(metric.name, {}).get(label, last)
                last = value if metric.counter else None
                values.append(value)
            series.append(Series(metric, label, tuple(values)))
        if not labels:
            silent.append(metric)
    return Figures(tuple(now_ns for now_ns, _ in shown), tuple(series), tuple(silent))


def _labels(scenario: Scenario, metric: Metric) -> Iterator[str]:
    """Yield the series of a counter that are there from the start: those that rules ask for."""
    if not metric.counter:
        return
    if not metric.label:
        yield ""
    for rule in rules_in_force(scenario.alerts):
        if rule.metric == metric.name:
            yield from rule.series


def exposition(found: Figures, started: datetime) -> str:
    """Write figures as OpenMetrics text; the run's first instant is `started`."""
    begin_ns = round(started.timestamp()) * GRID_NS
    stamps = [exported_value("duration", begin_ns + end_ns) for end_ns in found.ends_ns]
    lines: list[str] = []
    last = ""
    for each in found.series:
        metric = each.metric
        if metric.name != last:
            lines += _head(metric, "")
            last = metric.name
        name = exported_name(metric.name)
        label = f'{{{metric.label}="{each.series}"}}' if metric.label else ""
        for stamp, value in zip(stamps, each.values, strict=True):
            text = NO_VALUE if value is None else exported_value(metric.dimension, value)
            lines.append(f"{name}{label} {text} {stamp}")
    for metric in found.silent:
        lines += _head(metric, " (nothing of it in this run)")
    return "\n".join([*lines, "# EOF", ""])


def _head(metric: Metric, note: str) -> list[str]:
    name = exported_name(metric.name).removesuffix("_total") if metric.counter else ""
    family = name or exported_name(metric.name)
    kind = "counter" if metric.counter else "gauge"
    lines = [f"# TYPE {family} {kind}"]
    if metric.dimension in _UNITS:
        lines.append(f"# UNIT {family} {_UNITS[metric.dimension]}")
    return [*lines, f"# HELP {family} {metric.meaning}{note}"]


def names_in(expression: str) -> tuple[str, ...]:
    """Return the metrics that a query of a rule or a panel names, in order, each once."""
    import re

    return tuple(dict.fromkeys(re.findall(rf"\b{PREFIX}[a-z0-9_]+", expression)))
