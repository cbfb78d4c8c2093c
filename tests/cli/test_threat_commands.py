"""`timeline` and `phase`: what they print and write, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from sim.cli.main import app
from sim.study.phase import Cell, frame
from sim.study.phase_figure import draw
from tests.adversaries.effects import owned
from tests.engine.worlds import ran, scenario_text, written


def call(*args: object, columns: int = 80) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": str(columns)})


def test_the_timeline_of_runs(tmp_path: Path) -> None:
    done = ran(
        tmp_path,
        name="silence",
        duration="8 s",
        validators={"count": 7},
        adversaries=[owned("silent", 1, 3, 5, start="2 s", end="6 s")],
    )
    told = call("timeline", done.run.path, "--file", tmp_path / "t.parquet")
    assert told.exit_code == 0, told.output
    (row,) = pl.read_parquet(tmp_path / "t.parquet").to_dicts()
    assert row["scenario"] == "silence"
    assert row["attack_ns"] == 2_000_000_000
    assert row["alerted_ns"] >= 0
    lines = [line for line in told.stdout.splitlines() if line.strip().startswith("silence")]
    assert len(lines) == 1
    assert f"{row['recovered_ns'] / 1e9:.2f}" in lines[0]
    assert max(len(ln) for ln in told.stdout.splitlines() if "wrote" not in ln) <= 80
    wide = call("timeline", done.run.path, "--file", tmp_path / "u.parquet", columns=120)
    assert "first alerts" in wide.stdout


def test_the_timeline_of_a_folder_runs_it_first(tmp_path: Path) -> None:
    folder = tmp_path / "threats"
    attack = [owned("silent", 3, start="500 ms")]
    good = scenario_text(duration="2 s", adversaries=attack)
    bad = scenario_text(
        duration="2 s",
        adversaries=attack,
        expect=[{"metric": "blocks_committed", "at_least": 1_000}],
    )
    written(folder, good, "one")
    written(folder, bad, "two")
    told = call("timeline", "--threats", folder, "--out", tmp_path / "results")
    assert told.exit_code == 1, told.output
    assert "not as it expects: two" in told.stdout
    table = pl.read_parquet(tmp_path / "results" / "timeline.parquet")
    assert table["scenario"].to_list() == ["one", "two"]
    assert (tmp_path / "results" / "one").is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "name runs, or --threats"), (("--threats", "."), "no scenarios there")],
)
def test_what_has_no_timeline_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = call("timeline", *arguments)
    assert told.exit_code == 2
    assert words in told.output


def test_the_phase_diagram_is_simulated_and_drawn(tmp_path: Path) -> None:
    told = call("phase", "--validators", "4", "--runs", "1", "--out", tmp_path)
    assert told.exit_code == 0, told.output
    table = pl.read_parquet(tmp_path / "phase.parquet")
    # Nought to two Byzantine of four, three levels, two outcomes.
    assert table.height == 18
    assert (table["hits"] == table["expected"]).all()
    assert {"phase.svg", "phase.png"} <= {file.name for file in tmp_path.iterdir()}
    assert "9 of 9 cells as the votes count" in told.stdout
    assert max(len(ln) for ln in told.stdout.splitlines() if "wrote" not in ln) <= 80
    few = call("phase", "--validators", "3")
    assert few.exit_code == 2
    assert "from 4 to 200" in few.output


def test_points_and_intervals_of_the_picture_are_those_of_the_cells() -> None:
    cells = [
        Cell(outcome, level, 10, byzantine, 20, 20 if byzantine > 3 else 1)
        for outcome in ("safety_violated", "halted")
        for level in (0, 1, 2)
        for byzantine in range(9)
    ]
    figure = draw(frame(cells), 1)
    left, right = figure.axes
    assert left.get_title(loc="left") != right.get_title(loc="left")
    bars = left.containers
    assert [bar.get_label() for bar in bars] == ["67 %", "75 %", "82 %"]
    points = bars[0].lines[0].get_ydata()
    assert list(points) == [5.0] * 4 + [100.0] * 5
