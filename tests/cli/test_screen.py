"""How a run looks: right at 80 and at 120 columns, plain where there is no terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from sim.cli import screen
from sim.engine.run import Progress, RunOutcome
from sim.monitor.verdict import Line, Verdict
from sim.scenario.load import load_scenario

ROOT = Path(__file__).parents[2]
PROGRESS = Progress(
    point=0,
    points=1,
    replicate=1,
    replicates=4,
    simulated_ns=15_000_000_000,
    duration_ns=60_000_000_000,
    blocks=153,
    transactions=123_456,
    messages=12_345_678,
)


def _console(width: int, *, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    made = Console(file=text, width=width, force_terminal=terminal, color_system=None)
    return made, text


def _outcome(state: str = "complete") -> RunOutcome:
    lines = (
        Line("safety held", "met", "no invariant broke"),
        Line("commit_latency_p99 at most 10 s", "missed", "11.2346 s"),
        Line("agreement holds", "violated", "two blocks at height 31, " + "ab" * 64),
    )
    return RunOutcome(Path("results/x"), state, Verdict("violated", lines), "f" * 64)


@pytest.mark.parametrize("width", [80, 120])
def test_banner_and_verdict_fit_the_terminal(width: int) -> None:
    made, text = _console(width, terminal=True)
    scenario = load_scenario(ROOT / "scenarios" / "million_agents.yaml")
    screen.banner(made, scenario, "150 validators in 14 regions, " * 4, ["weights.cap: " * 9])
    screen.verdict(made, _outcome())
    lines = text.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    whole = " ".join(text.getvalue().replace("│", " ").split())
    assert scenario.question in whole
    assert "violated" in whole
    assert "11.2346 s" in whole
    assert lines[0].startswith("╭─ A million agents on 150 validators")


def test_without_a_terminal_there_are_plain_whole_lines() -> None:
    made, text = _console(80, terminal=False)
    scenario = load_scenario(ROOT / "scenarios" / "smoke.yaml")
    screen.banner(made, scenario, "facts " * 30, ["take care " * 20])
    screen.verdict(made, _outcome("interrupted"))
    lines = text.getvalue().splitlines()
    assert lines[0] == f"{scenario.title}: {'facts ' * 30}"
    assert lines[1] == f"warning: {'take care ' * 20}"
    assert "missed: commit_latency_p99 at most 10 s: 11.2346 s" in lines
    assert "verdict: interrupted" in lines


def test_the_status_line_counts_all_replicates() -> None:
    # One whole run and a quarter of the second: 75 s in 25 s, 165 s to go.
    line = screen.status_line(PROGRESS, 25.0)
    assert line == "run 2/4  15.0 of 60 s  3.0x  55 s left  153 blocks  123k tx  12.3M msg"
    assert "starting" in screen.status_line(PROGRESS, 0.0)


def test_plain_progress_is_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("sim.cli.screen.time.monotonic", lambda: now[0])
    made, text = _console(80, terminal=False)
    with screen.progress_of(made) as report:
        for second in range(12):
            now[0] = 100.0 + second
            report(PROGRESS)
    assert len(text.getvalue().splitlines()) == 2


def test_the_status_line_is_one_line_however_long() -> None:
    made, text = _console(40, terminal=True)
    with screen.progress_of(made) as report:
        report(PROGRESS)
    shown = [line for line in text.getvalue().splitlines() if "run 2/4" in line]
    assert shown
    # Spinner, space, text cut to the width; colours and cursor moves take no columns.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown[0]).replace("\r", "")
    assert len(plain) <= 40


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (99_949, "99.9k"),
        (123_456, "123k"),
        (10**10, "10.0G"),
    ],
)
def test_counts_are_compact(count: int, text: str) -> None:
    assert screen.compact(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (200, "3:20"), (7_500, "2:05:00")]
)
def test_times_left(seconds: float, text: str) -> None:
    assert screen.clock(seconds) == text
