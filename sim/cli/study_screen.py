"""How studies look on a terminal: progress over all units, tables of points and of differences.

Owns: number formats of metrics and intervals. Must not know: how a study is run or reckoned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sim.cli.screen import PLAIN_EVERY_S, clock

if TYPE_CHECKING:
    from sim.study.compare import Comparison
    from sim.study.overview import PointRow
    from sim.study.statistics.intervals import Interval
    from sim.study.sweep import StudyProgress
    from sim.study.swept import Study

ROWS = 40
"""Points that a table shows; all of them are in the datasets."""
WIDE = 200
"""Most columns of a table that goes to a file."""
_SCALES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")),
}


def amount(value: float, unit: str, digits: int = 5) -> str:
    """Return a figure with a few digits, and a unit in which it reads well."""
    for scale, name in _SCALES.get(unit, ()):
        if abs(value) >= scale:
            return f"{value / scale:.{digits}g} {name}"
    if unit in _SCALES:
        return f"{value:.{digits}g} {_SCALES[unit][-1][1]}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"


def interval(value: Interval, unit: str) -> str:
    """Return an estimate with half the width of its interval, or alone where it has none."""
    if value.n < 2:
        return amount(value.estimate, unit)
    return f"{amount(value.estimate, unit)} ± {amount(value.half_width, unit, 2)}"


def _show(screen: Console, table: Table) -> None:
    """Print a table; where there is no terminal, as wide as it is."""
    if not screen.is_terminal:
        screen = Console(file=screen.file, width=WIDE, highlight=False)
    screen.print(table)


def percent(share: float) -> str:
    """Return `95 %`."""
    return f"{share * 100:.4g} %"


def settings_text(settings: Sequence[tuple[str, str]]) -> str:
    """Return what a point varies; the last part of each path is enough to tell."""
    return ", ".join(f"{_last(path)} {value}" for path, value in settings) or "-"


def settings_cell(settings: Sequence[tuple[str, str]]) -> Text:
    """Return the words of `settings_text` as they are: lists in brackets are no markup."""
    return Text(settings_text(settings))


def _last(path: str) -> str:
    """Return the last part of a path, with its list's where it is a place in one."""
    parts = path.split(".")
    return ".".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])


def progress_line(progress: StudyProgress, elapsed_s: float) -> str:
    """Return one line over all units: ended, time left, workers, what failed."""
    ended = progress.done + progress.failed
    fresh = ended - progress.kept
    left = "starting"
    if fresh > 0:
        left = f"{clock((progress.units - ended) * elapsed_s / fresh)} left"
    points = sum(has >= wanted for has, wanted in progress.by_point)
    parts = [
        f"{ended}/{progress.units} runs",
        f"{points}/{progress.points} points" if progress.points > 1 else "",
        left,
        f"{len(progress.in_hand)}/{progress.workers} workers busy",
        f"{progress.kept} kept" if progress.kept else "",
        f"{progress.failed} failed" if progress.failed else "",
        f"{progress.broken} workers replaced" if progress.broken else "",
    ]
    return "  ".join(part for part in parts if part)


def supervision_line(supervision: Mapping[str, int]) -> str:
    """Return one line on the workers of a study that has ended: how many, how busy, what they cost.

    Busy is a worker that has a run in hand.
    """
    count, died = supervision["workers"], supervision["workers_died"]
    parts = [
        f"{count} worker{'s' if count > 1 else ''}, busy "
        f"{supervision['occupancy_ppm'] / 10_000:.1f} % of the time",
        f"{supervision['units_run']:,} runs here",
        f"{supervision['units_kept']:,} kept" if supervision["units_kept"] else "",
        f"{died} worker{'s' if died > 1 else ''} replaced" if died else "",
        f"{supervision['units_overdue']} over time" if supervision["units_overdue"] else "",
    ]
    return ", ".join(part for part in parts if part)


@contextmanager
def study_progress(screen: Console) -> Iterator[Callable[[StudyProgress], None]]:
    """Show a study's progress while the context lasts: live, or a plain line now and then."""
    started = time.monotonic()
    if not screen.is_terminal:
        yield _Plain(screen, started)
        return
    with Live(Text("starting workers ..."), console=screen, transient=True) as live:
        yield lambda progress: live.update(_picture(progress, time.monotonic() - started))


class _Plain:
    """A line every few seconds, and one when all have ended."""

    def __init__(self, screen: Console, started: float) -> None:
        self.screen = screen
        self.started = started
        self.last = started

    def __call__(self, progress: StudyProgress) -> None:
        now = time.monotonic()
        all_ended = progress.done + progress.failed >= progress.units
        if all_ended or now - self.last >= PLAIN_EVERY_S:
            self.last = now
            line = progress_line(progress, now - self.started)
            self.screen.print(line, soft_wrap=True, markup=False)


def _picture(progress: StudyProgress, elapsed_s: float) -> Group:
    """Return a bar over all, and a line for each unit in hand with how far its point is."""
    ended = progress.done + progress.failed
    table = Table.grid(padding=(0, 2))
    for each in progress.in_hand:
        has, wanted = progress.by_point[each.point]
        share = f"{each.simulated_ns / 1e9:.1f} of {each.duration_ns / 1e9:g} s"
        table.add_row(
            f"point {each.point}, replicate {each.replicate}",
            share,
            f"{each.elapsed_s:.0f} s",
            Text(f"point has {has} of {wanted}", style="dim"),
        )
    bar = ProgressBar(total=max(1, progress.units), completed=ended, width=60)
    return Group(Text(progress_line(progress, elapsed_s), no_wrap=True), bar, table)


def point_table(
    screen: Console, rows: Sequence[PointRow], units: Mapping[str, str], confidence: float
) -> None:
    """Print one row a point: settings, verdicts, replicates, means with intervals."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), expand=False)
    table.add_column("point", justify="right")
    table.add_column("settings")
    table.add_column("verdicts")
    table.add_column("runs", justify="right")
    for name in units:
        table.add_column(name, justify="right")
    for row in rows[:ROWS]:
        verdicts = ", ".join(f"{count} {word}" for word, count in sorted(row.verdicts.items()))
        runs = f"{row.replicates}" + (f" (-{row.missing})" if row.missing else "")
        cells = [_mean(row, name, unit) for name, unit in units.items()]
        table.add_row(f"{row.point}", settings_cell(row.settings), verdicts or "none", runs, *cells)
    _show(screen, table)
    notes = [f"mean ± half of the {percent(confidence)} interval (Student's t) over replicates"]
    if any(row.missing for row in rows):
        notes.append("(-n): replicates that are not whole")
    if any(row.unmeasured[name] and row.means[name] for row in rows for name in units):
        notes.append("[n]: replicates with a value, where not all had one; the others are left out")
    if len(rows) > ROWS:
        notes.append(f"{len(rows) - ROWS} more points in the datasets")
    for note in notes:
        screen.print(Text(note, style="dim"), soft_wrap=True)


def _mean(row: PointRow, name: str, unit: str) -> str:
    mean = row.means[name]
    if mean is None:
        return "-"
    flag = f" [{mean.n}]" if row.unmeasured[name] else ""
    return interval(mean, unit) + flag


def difference_table(screen: Console, found: Comparison, confidence: float) -> None:
    """Print one row a point and metric whose pairs are not all equal."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), expand=False)
    several = len({row.settings for row in found.differences}) > 1
    if several:
        table.add_column("settings")
    for name in ("metric", "pairs", "A", "B", "B - A", "relative"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for row in found.differences:
        unit = row.metric.unit
        relative = "" if row.relative is None else f"{row.relative * 100:+.3g} %"
        pairs = f"{row.difference.n}" + (f" (-{row.unmeasured})" if row.unmeasured else "")
        cells: list[str | Text] = [
            row.metric.name,
            pairs,
            amount(row.left_mean, unit),
            amount(row.right_mean, unit),
            interval(row.difference, unit),
            relative,
        ]
        if several:
            cells.insert(0, settings_cell(row.settings))
        table.add_row(*cells, style="bold" if row.clear else "")
    if found.differences:
        _show(screen, table)
    for note in _comparison_notes(found, confidence):
        screen.print(Text(note, style="dim"), soft_wrap=True)


def index_table(screen: Console, study: Study, confidence: float) -> None:
    """Print the Sobol indices of each metric: a row a setting, the one that matters most first."""
    from sim.record.runs import RunError
    from sim.study.statistics.sensitivity import sobol_of

    table = Table(box=SIMPLE_HEAD, padding=(0, 1), expand=False)
    for name in ("metric", "setting"):
        table.add_column(name)
    for name in ("by itself", "in all"):
        table.add_column(name, justify="right")
    for metric in study.metrics:
        try:
            found = sobol_of(study.run, metric.name, confidence)
        except RunError as error:
            screen.print(Text(f"{metric.name}: {error}", style="dim"), soft_wrap=True)
            continue
        for rank, row in enumerate(sorted(found, key=lambda each: -each.total.estimate)):
            cells = [f"{i.estimate:.2f} ± {i.half_width:.2f}" for i in (row.first, row.total)]
            table.add_row(metric.name if not rank else "", row.path, *cells)
    _show(screen, table)
    note = (
        "share of the metric's variance that a setting explains by itself, and takes part in "
        f"(Sobol), ± half of the {percent(confidence)} bootstrap interval"
    )
    screen.print(Text(note, style="dim"), soft_wrap=True)


def _comparison_notes(found: Comparison, confidence: float) -> list[str]:
    shown = [row for row in found.differences if row.difference.n > 1]
    notes = [
        f"{found.pairs} pairs of replicates with the same chance; B - A with half of the "
        f"{percent(confidence)} interval (Student's t)"
    ]
    if shown:
        missed = len(shown) * (1 - confidence)
        notes.append(
            f"bold: the interval leaves 0 out; of {len(shown)} intervals about {missed:.1f} miss "
            "by chance"
        )
    if len(shown) < len(found.differences):
        notes.append("a single pair has no interval: run both with more --replicates")
    if found.equal:
        notes.append(f"{found.equal} metrics are equal in every pair and not shown")
    if found.unpaired:
        notes.append(f"{found.unpaired} replicates are whole on one side only and left out")
    only = [("A", found.left_only), ("B", found.right_only)]
    notes += [f"{len(points)} points are in {side} only" for side, points in only if points]
    if any(row.unmeasured for row in found.differences):
        notes.append("(-n): pairs where one side had nothing to measure; they are left out")
    return notes
