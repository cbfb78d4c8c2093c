"""`run`, `resume`, `show`, `compare` of studies: what they print, their exit codes, bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import sim
from sim.cli.main import app
from sim.cli.study_screen import amount, progress_line, study_progress, supervision_line
from sim.record.runs import RunError, open_run
from sim.study.compare import compare
from sim.study.sweep import InHand, StudyProgress, Workers, run_study
from tests.study.studies import study, study_file

GRID = {"grid": {"validators.count": [4, 7]}}
SERIAL = ("--workers", 0)


@pytest.fixture
def call() -> Callable[..., Result]:
    """Call the command line."""
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def ran(folder: Path, out: str, **sections: Any) -> Path:
    return run_study(study(folder, **sections), folder / out, workers=Workers(count=0)).path


def test_a_sweep_runs_to_one_verdict_and_a_table(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    path = study_file(tmp_path, replicates=2, sweep=GRID)
    result = call("run", path, "--out", tmp_path / "out", *SERIAL)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == lines[-1]
    assert open_run(lines[0]).state == "complete"
    assert "4/4 runs  2/2 points" in result.stdout
    assert "4 of 4 runs met it: a run fails with a chance of at most 52.71 %" in result.stdout
    assert re.search(r"1 worker, busy \d+\.\d % of the time, 4 runs here\n", result.stdout)
    assert re.search(r"1 +count 7 +2 met +2 +\d+ ± ", result.stdout)


def test_quiet_prints_the_path_only(call: Callable[..., Result], tmp_path: Path) -> None:
    path = study_file(tmp_path, duration="200 ms", replicates=2)
    quiet = call("run", path, "--out", tmp_path / "out", "--quiet", *SERIAL)
    assert len(quiet.stdout.splitlines()) == 1
    assert open_run(quiet.stdout.strip()).state == "complete"


def test_show_tells_what_a_study_came_to_and_what_is_missing(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    path = ran(tmp_path, "out", replicates=3, sweep=GRID)
    whole = call("show", path, "--metric", "block_latency_p50", "--metric", "forks")
    assert whole.exit_code == 0, whole.output
    assert "complete, met" in whole.stdout
    assert re.search(r"0 +count 4 +3 met +3 +[\d.]+ ms ± [\d.]+ \w+ +0 ± 0", whole.stdout)
    assert "95 % interval" in whole.stdout
    assert "90 % interval" in call("show", path, "--confidence", 0.9).stdout

    (path / "DONE").unlink()
    (path / "point=001" / "replicate=002" / "result.json").unlink()
    dead = call("show", path)
    assert dead.exit_code == 0
    assert ": died, " in dead.stdout
    assert re.search(r"1 +count 7 +2 met +2 \(-1\)", dead.stdout)
    assert "point 1, replicate 2 is left out: it never ended" in dead.stdout
    assert f"creto-sim resume {path} runs what is missing" in dead.stdout
    resumed = call("resume", path, *SERIAL)
    assert resumed.exit_code == 0, resumed.output
    assert "5 kept" in resumed.stdout
    assert "nothing to resume" in call("resume", path, *SERIAL).stderr


def test_show_names_the_metrics_that_there_are(call: Callable[..., Result], tmp_path: Path) -> None:
    result = call("show", ran(tmp_path, "out", replicates=2), "--metric", "speed")
    assert result.exit_code == 2
    assert "no metric 'speed'; there are blocks_committed, " in result.stderr


def test_compare_shows_paired_differences(call: Callable[..., Result], tmp_path: Path) -> None:
    left = ran(tmp_path, "a", replicates=3, sweep=GRID)
    slower = {"min_block_interval": "80 ms"}
    right = ran(tmp_path, "b", replicates=4, sweep=GRID, consensus=slower)
    result = call("compare", left, right, "--metric", "blocks_committed", "--metric", "forks")
    assert result.exit_code == 0, result.output
    assert re.search(r"count 7 +blocks_committed +3 +\d+ +\d+ +-\d+ ± \S+ +-\d+", result.stdout)
    assert "6 pairs of replicates with the same chance" in result.stdout
    assert "2 metrics are equal in every pair and not shown" in result.stdout
    assert "2 replicates are whole on one side only" in result.stdout
    found = compare(open_run(left), open_run(right), ["blocks_committed"])
    means = {}
    for path in (left, right):
        rows = open_run(path).summary["replicates"]
        means[path] = [r["metrics"]["blocks_committed"] for r in rows if r["point"] == 0][:3]
    expected = sum(b - a for a, b in zip(means[left], means[right], strict=True)) / 3
    assert found.differences[0].difference.estimate == pytest.approx(expected)
    assert found.differences[0].clear == (found.differences[0].difference.upper < 0)


def test_runs_without_a_sweep_compare_too(call: Callable[..., Result], tmp_path: Path) -> None:
    left = ran(tmp_path, "a", duration="300 ms")
    right = ran(tmp_path, "b", duration="600 ms")
    result = call("compare", left, right)
    assert result.exit_code == 0
    assert "a single pair has no interval" in result.stdout
    assert "blocks_committed" in result.stdout
    same = call("compare", left, left)
    assert same.exit_code == 0
    assert re.search(r"\d+ metrics are equal in every pair", same.stdout)


def test_what_makes_no_pairs_is_refused(tmp_path: Path, call: Callable[..., Result]) -> None:
    left = ran(tmp_path, "a", duration="200 ms")
    other_seed = ran(tmp_path, "b", duration="200 ms", seed=2)
    result = call("compare", left, other_seed)
    assert result.exit_code == 2
    assert "seeds 1 and 2: replicates of one number share no chance" in result.stderr
    swept = ran(tmp_path, "c", duration="200 ms", sweep=GRID)
    with pytest.raises(
        RunError, match=r"no point in common: no sweep against validators\.count = 4"
    ):
        compare(open_run(left), open_run(swept))
    for file in swept.glob("**/result.json"):
        file.unlink()
    with pytest.raises(RunError, match="no replicate is whole on both sides"):
        compare(open_run(swept), open_run(swept))
    assert "no such directory" in call("compare", left, tmp_path / "nowhere").stderr


def test_verify_names_a_damaged_table(call: Callable[..., Result], tmp_path: Path) -> None:
    path = ran(tmp_path, "out", replicates=2)
    table = path / "replicate=001" / "blocks.parquet"
    table.write_bytes(table.read_bytes()[:100])
    result = call("verify", path)
    assert result.exit_code == 1
    assert "replicate 1, table 'blocks': the file cannot be read" in result.stdout
    # The magic is there, the inside is not.
    table.write_bytes(b"PAR1" + bytes(200) + b"PAR1")
    assert "table 'blocks': the file cannot be read" in call("verify", path).stdout


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"sweep": {"grid": {"validators.cuont": [4]}}}, "did you mean `count`?"),
        ({"sweep": {"grid": {}}}, "expected settings with lists of values"),
        ({"sweep": {"grid": {"validators.count": []}}}, "expected a list of values"),
        ({"sweep": {"grid": {"record.detail": ["rounds"]}}}, "cannot vary `record.detail`"),
        (
            {"until": {"metric": "forks", "relative_width": "5 %", "max_replicates": 40}},
            "needs a pilot of at least 30 replicates",
        ),
    ],
)
def test_bad_studies_are_refused_before_anything_is_written(
    call: Callable[..., Result], tmp_path: Path, sections: dict[str, Any], said: str
) -> None:
    path = study_file(tmp_path, **sections)
    result = call("run", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert said in result.stderr
    assert re.search(r"study\.yaml:\d+:\d+: ", result.stderr)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--time-limit", "5"], "--time-limit 5: "),
        (["--time-limit", "0 s"], "a run takes longer than no time"),
        (["--workers", "1", "--scheduler", "tcp://127.0.0.1:1"], "--scheduler and --workers"),
    ],
)
def test_bad_options_are_said_so(
    call: Callable[..., Result], tmp_path: Path, options: list[str], said: str
) -> None:
    result = call("run", study_file(tmp_path, replicates=2), "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_failed_unit_shows_in_the_exit_code(call: Callable[..., Result], tmp_path: Path) -> None:
    path = study_file(tmp_path, sweep={"grid": {"duration": ["200 ms", "2 h"]}})
    out = ("--out", tmp_path / "out")
    result = call("run", path, *out, *SERIAL, "--time-limit", "1 s")
    assert result.exit_code == 3
    assert "verdict: failed" in result.stdout
    assert "failed: point 1, replicate 0: UnitError: longer than its time limit" in result.stdout
    assert "to go on: creto-sim resume" in result.stdout


def test_a_single_run_has_a_time_limit_too(call: Callable[..., Result], tmp_path: Path) -> None:
    path = study_file(tmp_path, duration="2 h")
    result = call("run", path, "--out", tmp_path / "out", *SERIAL, "--time-limit", "500 ms")
    assert result.exit_code == 3
    assert "longer than its time limit, 0.5 s" in result.stdout


def test_the_api_has_studies(tmp_path: Path) -> None:
    outcome = sim.run_study(study(tmp_path, replicates=2), tmp_path, workers=Workers(count=0))
    assert json.loads((outcome.path / "summary.json").read_text())["verdict"] == "met"
    assert sim.resume_study is not None


def _progress(**changes: Any) -> StudyProgress:
    values: dict[str, Any] = {
        "points": 2,
        "units": 40,
        "done": 10,
        "failed": 1,
        "kept": 4,
        "by_point": ((20, 20), (1, 20)),
        "in_hand": [InHand(1, 1, 2_000_000_000, 10_000_000_000, 3.0)],
        "workers": 2,
        "broken": 1,
    }
    return StudyProgress(**(values | changes))


def test_the_progress_line_tells_time_left_from_what_was_run_here() -> None:
    # 11 ended of which 4 were kept: 7 in 70 s, so 29 take 290 s.
    assert progress_line(_progress(), 70.0) == (
        "11/40 runs  1/2 points  4:50 left  1/2 workers busy  4 kept  1 failed  1 workers replaced"
    )
    assert "starting" in progress_line(_progress(done=4, failed=0), 1.0)


def test_a_terminal_shows_what_each_worker_has_in_hand() -> None:
    screen = Console(force_terminal=True, width=100, record=True, color_system=None)
    with study_progress(screen) as show:
        show(_progress())
    text = screen.export_text()
    assert "point 1, replicate 1" in text
    assert "2.0 of 10 s" in text
    assert "point has 1 of 20" in text


def test_the_last_line_on_workers_tells_what_they_cost() -> None:
    spent = {
        "workers": 2,
        "occupancy_ppm": 997_127,
        "units_run": 1_500,
        "units_kept": 30,
        "workers_died": 1,
        "units_overdue": 2,
    }
    assert supervision_line(spent) == (
        "2 workers, busy 99.7 % of the time, 1,500 runs here, 30 kept, 1 worker replaced, "
        "2 over time"
    )


def test_amounts_read_well() -> None:
    assert amount(142_606_336, "ns") == "142.61 ms"
    assert amount(-4_500_000_000, "ns", 2) == "-4.5 s"
    assert amount(0, "ns") == "0 ns"
    assert amount(467_000, "bytes") == "467 kB"
    assert amount(1_234_567, "count") == "1,234,567"
    assert amount(0.25, "count") == "0.25"


def test_lists_among_the_settings_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from sim.cli.study_screen import settings_cell

    table = Table("settings")
    table.add_row(settings_cell((("faults.0.regions", "[az:uksouth]"),)))
    Console(width=80).print(table)
    assert "regions [az:uksouth]" in capsys.readouterr().out
