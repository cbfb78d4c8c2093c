"""`phase`: the phase diagram of safety and liveness, simulated beside theory."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sim.cli.outcome import FAILED, MET, UsageError
from sim.cli.screen import console
from sim.record.store import write_frame
from sim.study.phase import Cell, Outcome, frame, phase_diagram
from sim.study.phase_figure import OUTCOMES, save

LEAST, MOST = 4, 200


def show_phase(validators: int, runs: int, seed: int, workers: int, out: Path) -> int:
    """Simulate every cell of both diagrams; return 0 where all agree with theory."""
    if not LEAST <= validators <= MOST:
        raise UsageError(f"--validators {validators}: from {LEAST} to {MOST}")
    screen = console()
    cells: list[Cell] = []
    with ExitStack() as stack:
        executor = None
        if workers > 1:
            pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
            executor = stack.enter_context(pool)
        for outcome in OUTCOMES:
            found = phase_diagram(outcome, validators, runs=runs, seed=seed, executor=executor)
            agreeing = sum(cell.agrees for cell in found)
            line = f"{OUTCOMES[outcome]}: {agreeing} of {len(found)} cells as the votes count"
            screen.print(line, markup=False, soft_wrap=True)
            cells += found
    data = frame(cells)
    screen.print(_table(data))
    out.mkdir(parents=True, exist_ok=True)
    file = out / "phase.parquet"
    write_frame(file, data)
    files = [file]
    try:
        files += save(data, seed, out)
    except ModuleNotFoundError as error:
        screen.print(f"no picture: {error}", markup=False, soft_wrap=True)
    for file in files:
        screen.print(f"wrote {file}", markup=False, soft_wrap=True)
    return MET if all(cell.agrees for cell in cells) else FAILED


def _table(data: pl.DataFrame) -> Table:
    """Return one row a level: where it turns, in theory and in runs."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), expand=False)
    for head in (
        "outcome",
        "level",
        "line (%)",
        "count says from",
        "runs say from",
        "interval (%)",
    ):
        table.add_column(head, justify="left" if head == "outcome" else "right")
    for (outcome, level), part in data.group_by(["outcome", "level"], maintain_order=True):
        of = part.sort("byzantine")
        table.add_row(
            OUTCOMES[_outcome(outcome)],
            str(level),
            f"{of['line_ppm'][0] / 1e4:.0f}",
            _first(of, "expected"),
            _first(of, "hits"),
            f"0 to {of['high_ppm'].min() / 1e4:.1f}, {of['low_ppm'].max() / 1e4:.1f} to 100",  # type: ignore[operator]
        )
    return table


def _outcome(name: object) -> Outcome:
    return "safety_violated" if name == "safety_violated" else "halted"


def _first(part: pl.DataFrame, column: str) -> str:
    """Return the least Byzantine count from which on all of `column` is there, with its share."""
    whole = part["runs"] if column == "hits" else pl.Series([1] * part.height)
    for place in range(part.height):
        if (part[column][place:] == whole[place:]).all():
            count, share = part["byzantine"][place], part["share_ppm"][place] / 1e4
            return f"{count} ({share:.0f} %)"
    return "never"
