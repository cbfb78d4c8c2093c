"""`fuzz` and `shrink`: search a scenario that breaks an invariant, and make it small."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from sim.cli.outcome import FAILED, INCONCLUSIVE, MET, UsageError
from sim.cli.screen import PLAIN_EVERY_S, clock, console

if TYPE_CHECKING:
    from sim.study.fuzz.campaign import Failure, FuzzProgress, Search

INTERRUPTED = 130


def fuzz(
    seed: int,
    runs: int | None,
    minutes: float | None,
    first: int,
    workers: int | None,
    out: Path,
    most_failures: int,
) -> int:
    """Search; return 0 where nothing broke, 1 where something did, 3 where a worker failed."""
    from sim.study.fuzz.campaign import search
    from sim.study.slots import ExecutorLost

    if runs is None and minutes is None:
        raise UsageError("a search needs a budget: --runs 1000, or --minutes 5")
    screen = console()
    try:
        with fuzz_progress(screen, minutes) as progress:
            found = search(
                seed,
                runs=runs,
                minutes=minutes,
                first=first,
                workers=workers,
                most_failures=most_failures,
                out=out,
                progress=progress,
            )
    except ExecutorLost as error:
        raise UsageError(str(error)) from None
    _tell(screen, found)
    if found.tally.failed:
        return FAILED
    if found.interrupted:
        return INTERRUPTED
    return INCONCLUSIVE if found.errors or not found.tally.runs else MET


def print_scenario(seed: int, number: int) -> int:
    """Print the scenario `number` of `seed` as a file would hold it."""
    from sim.study.fuzz.draw import draw
    from sim.study.fuzz.text import scenario_text

    print(scenario_text(draw(seed, number)), end="")
    return MET


def shrink_file(file: Path, out: Path | None, monitor: str | None) -> int:
    """Shrink the scenario in `file`; write the smallest beside it, or to `out`."""
    from sim.scenario.load import load_scenario
    from sim.scenario.resolved import to_plain
    from sim.study.fuzz.campaign import reduced, save
    from sim.study.fuzz.probe import probe

    plain: dict[str, Any] = to_plain(load_scenario(file))
    found = probe(plain)
    if not found.breaches:
        raise UsageError(f"{file}: nothing breaks that should hold; there is nothing to shrink")
    if monitor is not None and monitor not in found.monitors:
        raise UsageError(f"{file}: {monitor} holds; what breaks: {', '.join(found.monitors)}")
    small = reduced(plain, monitor or found.monitors[0])
    path = save(small, out or file.with_name(f"{file.stem}_small.yaml"))
    screen = console()
    line = f"{small.monitor}: {small.lines} lines, {small.probes} runs to get there"
    screen.print(line, soft_wrap=True, markup=False)
    screen.print(str(path), soft_wrap=True, markup=False)
    return MET


def progress_line(progress: FuzzProgress, minutes: float | None) -> str:
    """Return one line: scenarios, rate, time left, what broke."""
    done, elapsed_s = progress.tally.runs, progress.elapsed_s
    budget = "" if progress.runs is None else f"/{progress.runs:,}"
    left = "starting"
    if done and progress.runs is not None:
        left = f"{clock((progress.runs - done) * elapsed_s / done)} left"
    elif done and minutes is not None:
        left = f"{clock(60 * minutes - elapsed_s)} left"
    parts = [
        f"{done:,}{budget} scenarios",
        f"{done / elapsed_s:.1f}/s" if elapsed_s > 0 else "",
        left,
        f"{progress.workers} workers" if progress.workers > 1 else "",
        f"{progress.tally.over} above the limits",
        f"{progress.tally.failed} failed" if progress.tally.failed else "none failed",
        "shrinking" if progress.shrinking else "",
    ]
    return "  ".join(part for part in parts if part)


@contextmanager
def fuzz_progress(
    screen: Console, minutes: float | None
) -> Iterator[Callable[[FuzzProgress], None]]:
    """Show a search's progress while the context lasts; a plain line now and then elsewhere."""
    last = time.monotonic()
    if screen.is_terminal:
        with screen.status(Text("starting workers ..."), spinner="dots") as status:
            yield lambda p: status.update(Text(progress_line(p, minutes), no_wrap=True))
        return

    def plain(progress: FuzzProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY_S:
            last = time.monotonic()
            screen.print(progress_line(progress, minutes), soft_wrap=True, markup=False)

    yield plain


def _tell(screen: Console, found: Search) -> None:
    tally = found.tally

    def say(text: str, style: str = "") -> None:
        screen.print(Text(text, style=style), soft_wrap=True)

    for failure in found.failures:
        _tell_failure(say, failure)
    for error in found.errors:
        say(f"no result: {error}", "magenta")
    if tally.below:
        say(bound_line(found), "bold red" if tally.failed_below else "bold green")
    if tally.over:
        say(
            f"{tally.over:,} above the limits: {tally.conflicts:,} with conflicting commits, "
            f"{tally.failed - tally.failed_below:,} in which something else broke"
        )
    rate = f"{tally.runs_per_cpu_minute:,.0f} scenarios a CPU-minute"
    say(f"seed {found.seed}, {found.wall_s:,.1f} s wall clock, {rate}", "dim")


def bound_line(found: Search) -> str:
    """Say how many below the limits were violated, and what that bounds."""
    tally = found.tally
    counts = f"{tally.failed_below:,} of {tally.below:,} scenarios below the limits violated"
    if not tally.failed_below:
        return f"{counts}: below {_percent(found.bound_ppm)} at 95 % confidence (exact binomial)"
    low, high = found.interval_ppm
    return f"{counts}: {_percent(low)} to {_percent(high)} at 95 % confidence (exact binomial)"


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.3g} %"


def _tell_failure(say: Callable[..., None], failure: Failure) -> None:
    others = [breach.monitor for breach in failure.breaches if breach.monitor != failure.monitor]
    also = f" (also {', '.join(others)})" if others else ""
    say(f"scenario {failure.number}: {failure.monitor}{also}", "bold red")
    for breach in failure.breaches[:1]:
        say(f"  {breach.text}")
    if failure.probes:
        say(f"  shrunk to {failure.lines} lines in {failure.probes} runs")
    if failure.path is not None:
        say(f"  creto-sim run {failure.path}")
