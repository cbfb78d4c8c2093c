"""`timeline`: from attack to alert, proof, level, punishment and recovery, a row a run.

Owns: what is typed for it, the table, its file. Must not know: what the instants mean.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sim.cli.outcome import FAILED, MET, UsageError
from sim.cli.screen import console
from sim.record.runs import Run, open_run
from sim.record.store import write_frame
from sim.study.timeline import courses

_TIMES = (
    ("attack", "attack_ns"),
    ("alert", "alerted_ns"),
    ("proof", "detected_ns"),
    ("level", "level_ns"),
    ("punished", "punished_ns"),
    ("out", "excluded_ns"),
    ("worst gap", "longest_gap_ns"),
    ("recovered", "recovered_ns"),
)
"""Head and column of each instant in the terminal's table."""
_NAMES_FROM = 100
"""Columns of a terminal from which on the first alert is named."""


def show_timelines(runs: Sequence[Path], threats: Path | None, out: Path, file: Path | None) -> int:
    """Show the courses of runs, or run every scenario of a folder and show theirs."""
    if bool(runs) == (threats is not None):
        raise UsageError("name runs, or --threats with a folder of scenarios")
    screen = console()
    missed: list[str] = []
    if threats is None:
        found = [open_run(path) for path in runs]
    else:
        found = _run_all(screen, threats, out, missed)
    frame = timelines(found)
    _table(screen, frame)
    target = file or out / "timeline.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_frame(target, frame)
    screen.print(f"wrote {target}", markup=False, soft_wrap=True)
    for name in missed:
        screen.print(f"not as it expects: {name}", markup=False, soft_wrap=True)
    return FAILED if missed else MET


def timelines(runs: Sequence[Run]) -> pl.DataFrame:
    """Return the courses of runs with the scenario's name and the point's settings before them."""
    frames = []
    for run in runs:
        found = courses(run)
        words = [", ".join(f"{path}={value}" for path, value in point) for point in run.settings]
        settings = [words[point] for point in found["point"]]
        frames.append(
            found.select(
                pl.lit(str(run.manifest["scenario"]["name"])).alias("scenario"),
                pl.Series("settings", settings, dtype=pl.String),
                pl.all(),
            )
        )
    return pl.concat(frames)


def _run_all(screen: Console, folder: Path, out: Path, missed: list[str]) -> list[Run]:
    """Run every scenario of a folder; note those whose verdict is not what they expect."""
    from sim.cli.looking import load
    from sim.engine.run import run

    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UsageError(f"{folder}: no scenarios there; name a folder that has some")
    # All are read before the first is run: a mistake in the last would cost the others' time.
    scenarios = [load(str(file)) for file in files]
    found = []
    for file, scenario in zip(files, scenarios, strict=True):
        outcome = run(scenario, out, command=["creto-sim", *sys.argv[1:]])
        line = f"{file.stem}: {outcome.verdict.outcome}, {outcome.cpu_ns / 1e9:.1f} s of CPU"
        screen.print(line, markup=False, soft_wrap=True)
        if outcome.state == "interrupted":
            raise KeyboardInterrupt
        if outcome.exit_code:
            missed.append(file.stem)
        found.append(open_run(outcome.path))
    return found


def _table(screen: Console, frame: pl.DataFrame) -> None:
    named = screen.width >= _NAMES_FROM
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("scenario", overflow="fold", ratio=1)
    for head, _ in _TIMES:
        table.add_column(head, justify="right")
    if named:
        table.add_column("first alerts", overflow="fold", ratio=1)
    for row in frame.iter_rows(named=True):
        name = row["scenario"].replace("_", " ")
        if frame.filter(pl.col("scenario") == row["scenario"])["point"].n_unique() > 1:
            name += f" {row['point']}"
        if row["replicate"]:
            name += f" r{row['replicate']}"
        cells = [_seconds(row[column]) for _, column in _TIMES]
        table.add_row(name, *cells, *([row["alert"].replace("_", " ")] if named else []))
    screen.print(table)
    for line in (
        "s after the attack began (attack: after the start of the run); -: it never came to that",
        "alert: first rule that fired; proof: first accusation; out: the guilty have no vote",
        "recovered: end of the last stall, 0 without one",
    ):
        screen.print(line, markup=False, style="dim")


def _seconds(time_ns: int | None) -> str:
    return "-" if time_ns is None else f"{time_ns / 1e9:.2f}"
