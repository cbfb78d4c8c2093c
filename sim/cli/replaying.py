"""`replay`: a stretch of a run once more; compared, as a cluster view, messages and a picture.

Owns: what a user types for it and how it is shown. Must not know: how a stretch is run or read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.cli.outcome import FAILED, MET, UsageError
from sim.cli.screen import console, progress_of
from sim.scenario.quantities import DURATION, QuantityError

if TYPE_CHECKING:
    from sim.record.runs import Run
    from sim.study.replay import Sameness, Stretch
    from sim.study.replay_events import Scene

Asked: TypeAlias = tuple[str | None, str | None, int | None, int | None]
"""From, to, point, replicate, as typed."""

EVENTS = 60
"""Lines of the cluster view that are printed; a longer stretch is cut, and says so."""
_BESIDE = 40
"""Validators whose glyphs stand in the line of the event; more have lines of their own."""


def replay_run(
    path: Path, asked: Asked, detail: str, validators: str | None, rows: int, png: bool
) -> int:
    """Replay, compare, show; return 0 where both runs agree, 1 where they differ."""
    if detail not in ("blocks", "messages"):
        raise UsageError(f"--detail {detail}: blocks or messages")
    # Polars and the engine load when they are needed.
    from sim.record.runs import open_run
    from sim.study.replay import replay, sameness

    run = open_run(path)
    stretch = _stretch(run, asked)
    screen = console()
    screen.print(
        f"replaying {_when(stretch.from_ns)} to {_when(stretch.to_ns)} of {path}",
        markup=False,
        soft_wrap=True,
    )
    with progress_of(screen) as report:
        outcome = replay(
            run,
            stretch,
            detail="messages" if detail == "messages" else "blocks",
            progress=report,
            command=["creto-sim", *sys.argv[1:]],
        )
    if outcome.state != "complete":
        screen.print(f"{outcome.state}: {outcome.path}", markup=False, soft_wrap=True)
        return outcome.exit_code
    replayed = open_run(outcome.path)
    same = sameness(run, replayed)
    if detail == "messages":
        _show(screen, replayed, stretch, validators, rows, png)
    _tell_sameness(screen, run, same)
    screen.print(str(outcome.path), markup=False, soft_wrap=True)
    return FAILED if same.different else MET


def _stretch(run: Run, asked: Asked) -> Stretch:
    from sim.study.replay import Stretch, first_violation

    begin, end, point, replicate = asked
    if (begin is None) != (end is None):
        raise UsageError("a stretch has two ends: give both --from and --to")
    if begin is None or end is None:
        found = first_violation(run, point=point, replicate=replicate)
        if found is None:
            raise UsageError("no violation is recorded there: say which stretch, --from and --to")
        return found
    return Stretch(point or 0, replicate or 0, _instant("--from", begin), _instant("--to", end))


def _instant(option: str, text: str) -> int:
    try:
        return DURATION.parse(text)
    except QuantityError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def _when(time_ns: int) -> str:
    return f"{time_ns / 1e9:.6f} s"


def chosen(text: str | None, there: int) -> tuple[int, ...]:
    """Return the validators that `0,3,10-14` names, in that order; all for None."""
    if text is None:
        return tuple(range(there))
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None:
            raise UsageError(f"--validators {text}: identities and ranges, as in 0,3,10-14")
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= there or first > last:
            raise UsageError(f"--validators {part.strip()}: there are 0 to {there - 1}")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def _show(
    screen: Console, replayed: Run, stretch: Stretch, validators: str | None, rows: int, png: bool
) -> None:
    from sim.study.replay_events import scene

    shown = scene(replayed, stretch)
    nodes = chosen(validators, shown.validators)
    _cluster(screen, shown, nodes)
    _messages(screen, shown, nodes, rows)
    _picture(screen, replayed, shown, nodes if validators is not None else None, png)


def _cluster(screen: Console, shown: Scene, nodes: Sequence[int]) -> None:
    """Print one line an event, one glyph a validator."""
    from sim.study.replay_events import GLYPHS, cluster_lines

    lines = cluster_lines(shown, nodes)
    beside = len(nodes) <= _BESIDE
    legend = "  ".join(f"{glyph} {state.replace('_', ' ')}" for state, glyph in GLYPHS.items())
    screen.print(Text(f"validators {_ids(nodes)}: {legend}", style="dim"))
    for line in lines[:EVENTS]:
        head = f"{line.time_ns / 1e9:11.6f} e{line.place[0]:<2} v{line.place[1]:<4}"
        if beside:
            text = Text(f"{head} {line.glyphs}  {line.text}", no_wrap=True, overflow="ellipsis")
            screen.print(text)
            continue
        screen.print(Text(f"{head} {line.text}", no_wrap=True, overflow="ellipsis"))
        room = max(10, (screen.width - 4) // 10 * 10)
        for start in range(0, len(line.glyphs), room):
            strip = line.glyphs[start : start + room]
            screen.print(Text(f"    {strip}", style="dim"), soft_wrap=True)
    if len(lines) > EVENTS:
        screen.print(Text(f"{len(lines) - EVENTS} more events: a shorter stretch shows them"))


def _ids(nodes: Sequence[int]) -> str:
    if len(nodes) > 1 and tuple(nodes) == tuple(range(nodes[0], nodes[-1] + 1)):
        return f"{nodes[0]} to {nodes[-1]}"
    return ", ".join(map(str, nodes))


def _messages(screen: Console, shown: Scene, nodes: Sequence[int], rows: int) -> None:
    import polars as pl

    mine = shown.messages.filter(
        pl.col("source").is_in(list(nodes)) | pl.col("destination").is_in(list(nodes))
    )
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), expand=False)
    for head, side in (
        ("sent (s)", "right"),
        ("from", "right"),
        ("to", "right"),
        ("kind", "left"),
        ("view", "right"),
        ("bytes", "right"),
        ("delay (ms)", "right"),
        ("verdict", "left"),
    ):
        table.add_column(head, justify="right" if side == "right" else "left", no_wrap=True)
    for r in mine.head(rows).iter_rows(named=True):
        table.add_row(
            f"{r['sent_ns'] / 1e9:.6f}",
            str(r["source"]),
            str(r["destination"]),
            r["kind"].replace("_", " "),
            "" if r["view"] < 0 else str(r["view"]),
            f"{r['size_bytes']:,}",
            f"{(r['ended_ns'] - r['sent_ns']) / 1e6:.3f}",
            " ".join(w for w in (r["outcome"], r["reason"]) if w).replace("_", " "),
        )
    if rows:
        screen.print(table)
    counts = mine.group_by("outcome").len().sort("outcome").rows()
    words = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in counts)
    more = f", {min(rows, mine.height):,} shown" if rows < mine.height else ""
    screen.print(f"{mine.height:,} messages under way in it: {words or 'none'}{more}")


def _picture(
    screen: Console, replayed: Run, shown: Scene, nodes: Sequence[int] | None, png: bool
) -> None:
    from sim.study.spacetime import draw, save

    try:
        figure = draw(shown, int(replayed.manifest["seed"]), nodes)
        for file in save(figure, replayed.path, png=png):
            screen.print(f"wrote {file}", markup=False, soft_wrap=True)
    except (ModuleNotFoundError, ValueError) as error:
        screen.print(f"no picture: {error}", markup=False, soft_wrap=True)


def _tell_sameness(screen: Console, run: Run, same: Sameness) -> None:
    from sim.record.machine import versions

    if same.different:
        for line in same.different:
            screen.print(f"runs differ: {line}", markup=False, soft_wrap=True)
        then, now = run.manifest["versions"], versions()
        for name in sorted({**then, **now}):
            if then.get(name) != now.get(name):
                screen.print(f"made with another version of {name}", markup=False, soft_wrap=True)
        return
    if same.left_out:
        line = f"not compared, for rows have no time: {', '.join(same.left_out)}"
        screen.print(line, markup=False, soft_wrap=True)
    screen.print(
        f"exact: {same.rows:,} rows of {same.tables} tables in the stretch are those of the run",
        markup=False,
        soft_wrap=True,
    )
