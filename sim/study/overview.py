"""What a run or a study came to, point by point: means with intervals, and what is missing.

Owns: reading the results of replicates back, whole or not, and the table over them. Must not know:
terminals, nor how replicates were run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sim.record.results import StoredResult, read_result
from sim.record.runs import Run, RunError
from sim.record.summary import METRICS, Metric
from sim.scenario.checks import MetricCheck, summary_name
from sim.scenario.model import Scenario
from sim.study.statistics.intervals import Interval, mean_interval, measured

Settings = tuple[tuple[str, str], ...]

HEADLINES = ("blocks_committed", "block_latency_p50_ns", "commit_latency_p50_ns")
"""Metrics that are shown where nobody asked for others."""


@dataclass(frozen=True, slots=True)
class Results:
    """Results of the replicates that are whole; `damaged`: the others that have a folder, why."""

    by_place: Mapping[tuple[int, int], StoredResult]
    damaged: Mapping[tuple[int, int], str]

    def values(self, point: int, metric: str) -> list[float | None]:
        """Return a metric of a point's whole replicates, in order; None: nothing to measure."""
        found: list[float | None] = []
        for (p, _), stored in sorted(self.by_place.items()):
            if p == point:
                value = stored.result.metrics.get(metric)
                found.append(None if value is None else float(value))
        return found


@dataclass(frozen=True, slots=True)
class PointRow:
    """One point. `verdicts`: how many replicates came to each; `missing`: replicates not whole.

    `means`: by metric; None where no replicate had anything to measure. `unmeasured`: replicates
    that had nothing, by metric; they are in no mean, so a mean speaks of the others only.
    """

    point: int
    settings: Settings
    replicates: int
    missing: int
    verdicts: Mapping[str, int]
    means: Mapping[str, Interval | None]
    unmeasured: Mapping[str, int]


def metric_of(name: str) -> Metric:
    """Look a metric up, with or without its unit; RunError with the names that there are."""
    for metric in METRICS:
        if name in (metric.name, metric.name.removesuffix("_ns").removesuffix("_ppm")):
            return metric
    raise RunError(f"no metric {name!r}; there are {', '.join(m.name for m in METRICS)}")


def metrics_asked(scenario: Scenario) -> list[str]:
    """Return the metrics that a scenario names, `until` before `expect`; else the headlines."""
    named = [] if scenario.until is None else [scenario.until.summary_name]
    named += [summary_name(check) for check in scenario.expect if isinstance(check, MetricCheck)]
    return list(dict.fromkeys(named)) or list(HEADLINES)


def results_of(run: Run) -> Results:
    """Read the results of a run's replicates; what is damaged or cut short is set apart."""
    by_place, damaged = {}, {}
    for place in run.replicates():
        try:
            stored = read_result(run.folder(*place))
        except RunError as error:
            damaged[place] = str(error)
            continue
        if stored is None:
            damaged[place] = "it never ended"
        elif stored.result.state != "complete":
            damaged[place] = f"it is {stored.result.state}"
        else:
            by_place[place] = stored
    return Results(by_place, damaged)


def overview(
    run: Run, metrics: Sequence[str] = HEADLINES, confidence: float = 0.95
) -> list[PointRow]:
    """Return a row for each point that the manifest names, in order, also of a run that died.

    Replicates of a point are independent, so means have t intervals; under `until` the number of
    replicates depended on them, which `sim.study.stopping` keeps from mattering.
    """
    names = [metric_of(name).name for name in metrics]
    results = results_of(run)
    wanted = int(run.manifest["replicates"])
    rows = []
    for point, settings in enumerate(run.settings):
        places = [place for place in sorted(results.by_place) if place[0] == point]
        verdicts: dict[str, int] = {}
        for place in places:
            verdict = results.by_place[place].result.verdict
            verdicts[verdict] = verdicts.get(verdict, 0) + 1
        means: dict[str, Interval | None] = {}
        unmeasured = {}
        for name in names:
            there, unmeasured[name] = measured(results.values(point, name))
            means[name] = mean_interval(there, confidence) if there else None
        most = max([wanted, *(number + 1 for p, number in places if p == point)])
        rows.append(
            PointRow(point, settings, len(places), most - len(places), verdicts, means, unmeasured)
        )
    return rows
