"""What a report shows of a study: points with intervals, figures over them, pairs, what failed.

Owns: the section on a study, as values for the template. Must not know: what a single run shows.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from sim.record.runs import Run, RunError
from sim.record.summary import METRICS
from sim.scenario.quantities import DURATION, SHARE, SIZE
from sim.study import figures, study_figures
from sim.study.overview import PointRow
from sim.study.statistics.intervals import Interval
from sim.study.swept import Study, against_first, is_sobol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 40
"""Points that the page lists; `runs.parquet` has all."""
_UNITS = {metric.name: metric.unit for metric in METRICS}
_DIMENSIONS = {"ns": DURATION, "bytes": SIZE, "ppm": SHARE}


def quantity(name: str, value: float | None) -> str:
    """Format a metric with its unit, for people."""
    if value is None:
        return "nothing to measure"
    if isnan(value):
        return "unknown"
    dimension = _DIMENSIONS.get(_UNITS.get(name, "count"))
    if dimension is not None:
        return dimension.approximate(round(value), 4)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def study_section(run: Run) -> dict[str, Any] | None:
    """Return what the template shows of a study; None for one run of one point."""
    study = Study(run)
    if len(study.rows) < 2 and study.rows[0].replicates + study.rows[0].missing < 2:
        return None
    failures = [
        (f"point {point}, replicate {number}", why)
        for (point, number), why in sorted(study.results.damaged.items())
    ]
    if "error" in run.manifest:
        failures.append(("the study", str(run.manifest["error"])))
    drawn, silent = _indices(study) if is_sobol(study) else (_figures(study), "")
    return {
        "caption": study.caption,
        "metrics": [_name(metric.name) for metric in study.metrics],
        "points": [_point(study, row) for row in study.rows[:POINTS]],
        "more": max(0, len(study.rows) - POINTS),
        "pairs": [] if is_sobol(study) else _pairs(study),
        "first": _settings(study.rows[0]),
        "figures": [figures.svg(figure) for figure in drawn],
        "failures": failures,
        "silent": silent,
    }


def _figures(study: Study) -> list[Figure]:
    drawn = []
    for metric in study.metrics:
        drawn.append(study_figures.curves(study, metric))
        drawn.append(study_figures.heat_map(study, metric))
        drawn.append(study_figures.differences(study, metric))
    drawn.append(study_figures.met(study))
    return [figure for figure in drawn if figure is not None]


def _indices(study: Study) -> tuple[list[Figure], str]:
    """Return the figures of a Sobol sweep, and which metrics have no indices, and why."""
    drawn, silent = [], []
    for metric in study.metrics:
        try:
            drawn.append(study_figures.sensitivity(study, metric))
        except RunError as error:
            silent.append(f"{_name(metric.name)}: {error}")
    return drawn, "; ".join(silent)


def _point(study: Study, row: PointRow) -> dict[str, Any]:
    verdicts = ", ".join(f"{count} {word}" for word, count in sorted(row.verdicts.items()))
    return {
        "point": _settings(row),
        "verdicts": verdicts or "none whole",
        "bad": any(word in row.verdicts for word in ("violated", "missed")),
        "runs": f"{row.replicates}" + (f" (-{row.missing})" if row.missing else ""),
        "values": [_interval(m.name, row.means[m.name]) for m in study.metrics],
    }


def _pairs(study: Study) -> list[dict[str, Any]]:
    """Return a row a point with its paired differences to the first one."""
    rows: dict[int, dict[str, Any]] = {}
    for place, metric in enumerate(study.metrics):
        for found in against_first(study, metric):
            empty = {
                "point": _settings(study.rows[found.point]),
                "values": [("-", False)] * len(study.metrics),
            }
            row = rows.setdefault(found.point, empty)
            row["values"][place] = (_interval(metric.name, found.difference, "+"), found.clear)
    return [rows[point] for point in sorted(rows)][: POINTS - 1]


def _interval(name: str, value: Interval | None, sign: str = "") -> str:
    if value is None:
        return "-"
    estimate = quantity(name, abs(value.estimate))
    sign = "-" if value.estimate < 0 else sign if value.estimate > 0 else ""
    half = "" if isnan(value.half_width) else f" ± {quantity(name, value.half_width)}"
    return f"{sign}{estimate}{half}"


def _settings(row: PointRow) -> str:
    return ", ".join(f"{k} = {v}" for k, v in row.settings) or "all"


def _name(name: str) -> str:
    return name.removesuffix("_ns").removesuffix("_ppm").replace("_", " ")
