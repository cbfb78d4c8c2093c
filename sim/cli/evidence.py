"""`evidence`: what a run shows for which control, as a table and as Parquet."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sim.cli.outcome import MET, UsageError
from sim.cli.screen import console
from sim.record.runs import open_run
from sim.study.evidence import DISCLAIMER, FRAMEWORKS, LEVELS, Line, summary, write_evidence

STYLES = {"shown": "green", "contradicted": "red", "not in this run": "yellow"}


def show_evidence(path: Path, framework: str | None, out: Path | None) -> int:
    """Write the evidence of a run; print one framework's controls, or the counts of all."""
    if framework is not None and framework not in FRAMEWORKS:
        raise UsageError(f"{framework}: know {', '.join(FRAMEWORKS)}")
    written, lines = write_evidence(open_run(path), out)
    screen = console()
    if framework is None:
        screen.print(_counts(lines))
    else:
        screen.print(_controls([line for line in lines if line.framework == framework]))
    screen.print(DISCLAIMER, style="dim", markup=False)
    screen.print(f"wrote {written}", markup=False, soft_wrap=True)
    return MET


def _counts(lines: list[Line]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("framework", no_wrap=True)
    heads = ("controls", *LEVELS, "shown", "against", "absent")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in summary(lines):
        figures = [row["controls"], *(row[level] for level in LEVELS)]
        figures += [row["shown"], row["contradicted"], row["not_in_this_run"]]
        table.add_row(row["framework"], *map(str, figures))
    return table


def _controls(lines: list[Line]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("control", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("in this run", min_width=12)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("mechanism; proof; limit", ratio=1)
    for line in lines:
        parts = [line.mechanism, line.proof, f"not: {line.limit}" if line.limit else ""]
        said = "; ".join(part for part in parts if part)
        shown = Text(line.shown, style=STYLES.get(line.shown, "dim"))
        table.add_row(line.control, line.level, shown, f"{line.rows:,}", Text(said))
    return table
