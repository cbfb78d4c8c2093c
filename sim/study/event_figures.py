"""What happened, and when: faults, attacks, forks, alerts, punishments on one time axis.

Owns: the lanes of that picture, and forks and alerts as short tables of a report. Must not know:
HTML, where figures go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from sim.study.figures import COLOURS, RunData, figure_of, stretches, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LANES = 28
"""Lanes of one figure that can be read; what began last is left out, and counted in the title."""
_NS = 1e9
_SEVERITIES = {"critical": COLOURS[1], "warning": COLOURS[4], "info": COLOURS[5]}
_ZOOM = 0.006
"""Least length of a bar, of the axis: a moment must be seen."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of the picture: `spans` are (from, to) in ns, equal ends for a moment."""

    group: str
    name: str
    colour: str
    spans: tuple[tuple[int, int], ...]

    @property
    def first_ns(self) -> int:
        return self.spans[0][0]


def lanes(data: RunData) -> list[Lane]:
    """Return what happened in a run: by group, in each by first time."""
    found = [*_disturbances(data), *_chain(data), *_alerts(data)]
    order = {name: place for place, name in enumerate(dict.fromkeys(lane.group for lane in found))}
    return sorted(found, key=lambda lane: (order[lane.group], lane.first_ns, lane.name))


def _disturbances(data: RunData) -> Iterator[Lane]:
    if not data.has("faults"):
        return
    rows = data.table("faults").sort("time_ns", "source", "index").collect()
    for (source, index), group in rows.group_by(["source", "index"], maintain_order=True):
        spans = stretches(group, data.scenario.duration_ns)
        colour = COLOURS[1] if source == "fault" else COLOURS[3]
        word = "faults" if source == "fault" else "attacks"
        if spans:
            yield Lane(word, f"{group['kind'][0]} {index}", colour, tuple(spans))


def _chain(data: RunData) -> Iterator[Lane]:
    """Yield moments of the chain: forks by kind, levels, punishments, broken invariants."""
    if data.has("forks"):
        rows = forks(data)
        for kind in rows["kind"].unique().sort().to_list():
            yield _moments("chain", f"fork: {kind}", COLOURS[0], rows.filter(kind=kind)["first_ns"])
        seen = data.table("forks").filter(pl.col("event") == "reconciled").collect()
        if seen.height:
            yield _moments("chain", "reconciled", COLOURS[2], seen["time_ns"])
    for table, name, colour in (
        ("levels", "level changes", COLOURS[2]),
        ("violations", "invariant broken", COLOURS[1]),
    ):
        if data.has(table):
            yield _moments("chain", name, colour, data.table(table).collect()["time_ns"])
    if data.has("evidence"):
        struck = data.table("evidence").filter(pl.col("event") == "punished").collect()
        if struck.height:
            yield _moments("chain", "punished", COLOURS[2], struck["time_ns"])


def _moments(group: str, name: str, colour: str, times_ns: pl.Series) -> Lane:
    times = times_ns.unique().sort().to_list()
    return Lane(group, name, colour, tuple((at, at) for at in times))


def _alerts(data: RunData) -> Iterator[Lane]:
    if not data.has("alerts"):
        return
    end = data.scenario.duration_ns
    rows = data.table("alerts").sort("fired_ns", "rule", "series").collect()
    for (rule, severity), group in rows.group_by(["rule", "severity"], maintain_order=True):
        ends = [end if at < 0 else at for at in group["resolved_ns"].to_list()]
        spans = tuple(zip(group["fired_ns"].to_list(), ends, strict=True))
        yield Lane("alerts", str(rule), _SEVERITIES[str(severity)], spans)


def events(data: RunData) -> Figure | None:
    """Draw faults, attacks, forks, levels, punishments and alerts over the time of the run.

    Bars are stretches, ticks moments. None where nothing happened.
    """
    found = lanes(data)
    if not found:
        return None
    shown = found
    if len(found) > MOST_LANES:
        kept = sorted(found, key=lambda lane: lane.first_ns)[:MOST_LANES]
        shown = [lane for lane in found if lane in kept]
    rest = len(found) - len(shown)
    with style():
        figure, (axis,) = figure_of(data, size=(4.7, max(1.6, 0.75 + 0.17 * len(shown))))
        least = data.seconds * _ZOOM
        for place, lane in enumerate(shown):
            bars = [(at / _NS, max(least, (to - at) / _NS)) for at, to in lane.spans]
            axis.broken_barh(bars, (place - 0.36, 0.72), color=lane.colour, linewidth=0)
        edges = [i for i in range(1, len(shown)) if shown[i].group != shown[i - 1].group]
        for edge in edges:
            axis.axhline(edge - 0.5, color=COLOURS[6], linewidth=0.6)
        axis.set_yticks(range(len(shown)), [lane.name for lane in shown], fontsize=6)
        axis.set_ylim(len(shown) - 0.4, -0.6)
        axis.set_xlim(0, data.seconds)
        axis.set_xlabel("simulated time (s)")
        axis.grid(visible=False, axis="y")
        groups = ", ".join(dict.fromkeys(lane.group for lane in shown)).capitalize()
        axis.set_title(f"{groups} over time" + (f" ({rest} more later)" if rest else ""))
    return figure


def forks(data: RunData) -> pl.DataFrame:
    """Return one row a fork: kind, when it was first seen, by how many, most branches."""
    return (
        data.table("forks")
        .filter(pl.col("event") == "forked")
        .group_by("kind", "parent", "first", "second")
        .agg(
            first_ns=pl.col("time_ns").min(),
            validators=pl.col("node").n_unique(),
            branches=pl.col("branches").max(),
        )
        .sort("first_ns", "kind", "first", "second")
        .collect()
    )


def fork_rows(data: RunData) -> list[dict[str, Any]]:
    """Return one row a kind of fork for a report, and one for reconciliations."""
    if not data.has("forks"):
        return []
    rows = (
        forks(data)
        .group_by("kind")
        .agg(
            count=pl.len(),
            first_ns=pl.col("first_ns").min(),
            last_ns=pl.col("first_ns").max(),
            validators=pl.col("validators").max(),
            branches=pl.col("branches").max(),
        )
        .sort("kind")
    )
    found = [{**row, "depth": 0, "returned": 0} for row in rows.iter_rows(named=True)]
    back = data.table("forks").filter(pl.col("event") == "reconciled").collect()
    if back.height:
        times: Sequence[int] = back["time_ns"].to_list()
        found.append(
            {
                "kind": "reconciled",
                "count": back.height,
                "first_ns": min(times),
                "last_ns": max(times),
                "validators": back["node"].n_unique(),
                "branches": 0,
                "depth": max(back["depth"].to_list()),
                "returned": sum(back["returned"].to_list()),
            }
        )
    return found


def alert_rows(data: RunData) -> list[dict[str, Any]]:
    """Return one row a rule that fired, for a report: how often, since when, how long in all."""
    if not data.has("alerts"):
        return []
    end = data.scenario.duration_ns
    over = pl.when(pl.col("resolved_ns") < 0).then(end).otherwise(pl.col("resolved_ns"))
    rows = (
        data.table("alerts")
        .group_by("rule", "severity", "metric")
        .agg(
            times=pl.len(),
            series=pl.col("series").n_unique(),
            first_ns=pl.col("fired_ns").min(),
            longest_ns=(over - pl.col("fired_ns")).max(),
            firing=(pl.col("resolved_ns") < 0).sum(),
        )
        .sort("first_ns", "rule")
        .collect()
    )
    return list(rows.iter_rows(named=True))
