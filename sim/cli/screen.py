"""How a run looks on a terminal: banner, one status line, verdict table; plain lines elsewhere.

Owns: widths, colours, number formats. Must not know: how a run is made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sim.engine.run import Progress, RunOutcome
    from sim.scenario.model import Scenario

WIDEST = 110
"""Lines longer than this are hard to read, whatever the terminal is."""
PLAIN_EVERY_S = 5.0
"""Wall-clock time between two plain progress lines, seconds."""
COLOURS = {"met": "green", "missed": "yellow", "violated": "red", "inconclusive": "magenta"}


class Report(Protocol):
    """What shows progress."""

    def __call__(self, progress: Progress) -> None: ...


def console() -> Console:
    """Return the console of standard output, not wider than is readable."""
    found = Console(highlight=False, soft_wrap=False)
    if found.width > WIDEST:
        found.width = WIDEST
    return found


def banner(screen: Console, scenario: Scenario, facts: str, warnings: list[str]) -> None:
    """Print what is about to run, in a box; on no terminal, as plain lines."""
    if not screen.is_terminal:
        screen.print(f"{scenario.title}: {facts}", soft_wrap=True, markup=False)
        for warning in warnings:
            screen.print(f"warning: {warning}", soft_wrap=True, markup=False)
        return
    body: list[Text] = [Text(scenario.question), Text(), Text(facts, style="dim")]
    body += [Text(f"warning: {warning}", style="yellow") for warning in warnings]
    title = Text(scenario.title, style="bold")
    screen.print(Panel(Group(*body), title=title, title_align="left", box=ROUNDED, padding=(0, 1)))


@contextmanager
def progress_of(screen: Console) -> Iterator[Report]:
    """Show progress while the context lasts."""
    started = time.monotonic()
    if not screen.is_terminal:
        yield _Plain(screen, started)
        return
    with screen.status(Text("building ..."), spinner="dots") as status:
        yield _Line(status, started)


class _Line:
    """One line that changes in place."""

    def __init__(self, status: Status, started: float) -> None:
        self.status = status
        self.started = started

    def __call__(self, progress: Progress) -> None:
        line = status_line(progress, time.monotonic() - self.started)
        self.status.update(Text(line, no_wrap=True))


class _Plain:
    """A line every few seconds, and at the end of each replicate."""

    def __init__(self, screen: Console, started: float) -> None:
        self.screen = screen
        self.started = started
        self.last = started

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        ended = progress.simulated_ns >= progress.duration_ns
        if ended or now - self.last >= PLAIN_EVERY_S:
            self.last = now
            line = status_line(progress, now - self.started)
            self.screen.print(line, soft_wrap=True, markup=False)


def status_line(progress: Progress, elapsed_s: float) -> str:
    """Return simulated time, rate, time left and counts.

    The rate is simulated over wall-clock time, all replicates so far counted.
    """
    runs = progress.points * progress.replicates
    before = progress.point * progress.replicates + progress.replicate
    simulated = (before * progress.duration_ns + progress.simulated_ns) / 1e9
    whole = runs * progress.duration_ns / 1e9
    rate = simulated / elapsed_s if elapsed_s > 0 else 0.0
    left = f"{clock((whole - simulated) / rate)} left" if rate > 0 else "starting"
    which = f"run {before + 1}/{runs}  " if runs > 1 else ""
    here, total = progress.simulated_ns / 1e9, progress.duration_ns / 1e9
    counts = (
        f"{compact(progress.blocks)} blocks  {compact(progress.transactions)} tx  "
        f"{compact(progress.messages)} msg"
    )
    return f"{which}{here:.1f} of {total:g} s  {rate:.1f}x  {left}  {counts}"


def compact(count: int) -> str:
    """Return a count in at most five characters: 999, 12.3k, 1.2M."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= limit:
            value = count / limit
            return f"{value:.1f}{unit}" if value < 100 else f"{value:.0f}{unit}"
    return str(count)


def clock(seconds: float) -> str:
    """Return a time left: 45 s, 3:20, 2:05:00."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def verdict(screen: Console, outcome: RunOutcome) -> None:
    """Print the verdict, line by line, and what the run took."""
    word = outcome.verdict.outcome if outcome.state == "complete" else outcome.state
    colour = COLOURS.get(word, "magenta")
    if screen.is_terminal:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1), expand=False)
        table.add_column("", no_wrap=True)
        table.add_column("expected", ratio=1)
        table.add_column("found", ratio=1)
        for line in outcome.verdict.lines:
            mark = Text(line.outcome, style=COLOURS.get(line.outcome, ""))
            table.add_row(mark, line.expectation, line.found)
        screen.print(table)
        screen.print(Text(f"verdict: {word}", style=f"bold {colour}"))
    else:
        for line in outcome.verdict.lines:
            screen.print(str(line), soft_wrap=True, markup=False)
        screen.print(f"verdict: {word}", markup=False)
    peak = max((result.peak_memory_bytes for result in outcome.results), default=0)
    taken = (
        f"{outcome.wall_ns / 1e9:.1f} s wall clock, {outcome.cpu_ns / 1e9:.1f} s of CPU, "
        f"{peak / 2**20:,.0f} MiB at most, digest {outcome.digest[:16]}"
    )
    screen.print(Text(taken, style="dim"), soft_wrap=True)
