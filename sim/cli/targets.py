"""`targets`: the performance table of the source document, found row by row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.cli.looking import load
from sim.cli.outcome import UsageError
from sim.cli.screen import COLOURS, console, progress_of
from sim.cli.study_screen import amount

if TYPE_CHECKING:
    from sim.record.runs import Run
    from sim.study.targets import Row


def measure_targets(
    scenario: str, topology: str, run: Path | None, skip_agents: bool, out: Path
) -> int:
    """Find every row; exit 1 where one is missed, 3 where one is open."""
    # Numba and Polars load when they are needed.
    from sim.study import targets

    if run is not None and skip_agents:
        raise UsageError("--run and --skip-agents: one or the other")
    asked = None if skip_agents or run is not None else load(scenario)
    recovering = load(topology)
    screen = console()
    rows: list[Row] = []

    def take(found: Iterable[Row]) -> None:
        for row in found:
            rows.append(row)
            line = f"  {row.target}, {row.part}: {_found(row)} {row.verdict}"
            screen.print(Text(line, style="dim"), soft_wrap=True)

    for measure in targets.MEASURED:
        take(measure())
    taken = _agents_run(screen, run, asked, out)
    take(targets.agent_rows(taken))
    take(targets.recovery_rows(recovering))
    show(screen, rows)
    for file in targets.write(rows, out / "targets", taken):
        screen.print(f"wrote {file}", soft_wrap=True, markup=False)
    return targets.exit_code(rows)


def _agents_run(screen: Console, run: Path | None, asked: object, out: Path) -> Run | None:
    """Open the run that is given, or make the one that is asked for."""
    from sim.record.runs import open_run
    from sim.scenario.model import Scenario

    if run is not None:
        return open_run(run.resolve())
    if not isinstance(asked, Scenario):
        return None
    from sim.engine.run import run as simulate

    with progress_of(screen) as progress:
        return open_run(simulate(asked, out, progress=progress).path)


def show(screen: Console, rows: Iterable[Row]) -> None:
    """Print the table."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("target")
    table.add_column("part")
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("how", no_wrap=True)
    if screen.width >= 100:
        table.add_column("what", style="dim")
    last = ""
    for row in rows:
        verdict = Text(row.verdict, style=COLOURS.get(row.verdict, ""))
        limit = _value(row, row.limit)
        cells = ["" if row.target == last else row.target, row.part, limit, _found(row)]
        wide = [Text(row.note)] if screen.width >= 100 else []
        table.add_row(*cells, verdict, row.kind, *wide)
        last = row.target
    screen.print(table)


def _found(row: Row) -> str:
    return "-" if row.value is None else _value(row, row.value)


def _value(row: Row, value: int) -> str:
    if row.unit == "agents":
        return f"{value:,}"
    minutes, rest = divmod(value, 60 * 10**9)
    return f"{minutes} min" if minutes and not rest else amount(value, "ns", 3)
