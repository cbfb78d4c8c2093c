"""Fifteen bugs are planted one by one; the search alone finds each and shrinks it to a few lines.

Workers plant the bug before their first task; the search knows nothing of it. Which monitor catches
what is in `plants.PLANTS`. What was saved is run alone, in a process with the bug and in one
without: it fails there, and holds here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.scenario.load import load_scenario
from sim.scenario.resolved import to_plain
from sim.study.fuzz.campaign import search
from sim.study.fuzz.probe import probe
from tests.fuzz.plants import PLANTS, planted

LINES = 15
"""Most lines of YAML of a shrunk scenario, comments apart."""
QUICK = ("quorum off by one",)
ROOT = Path(__file__).resolve().parents[2]

RUN_PLANTED = """
import sys
from tests.fuzz.plants import plant
plant(sys.argv[1])
from sim.cli.main import app
app(["run", *sys.argv[2:]])
"""


def found_and_shrunk(name: str, out: Path) -> None:
    """Search with the bug planted; check what is found, and that the file alone reproduces it."""
    bug = PLANTS[name]
    found = search(1, runs=bug.runs, workers=1, most_failures=1, out=out, warm=planted(name))
    caught = [each for each in found.failures if each.monitor in bug.caught_by]
    assert caught, f"{found.tally.runs} scenarios: {[each.monitor for each in found.failures]}"
    for failure in caught:
        assert failure.path is not None
        assert failure.lines <= LINES, failure.path.read_text(encoding="utf-8")
        assert failure.monitor not in probe(to_plain(load_scenario(failure.path))).monitors
    path, monitor = caught[0].path, caught[0].monitor
    ran = subprocess.run(
        [sys.executable, "-c", RUN_PLANTED, name, str(path), "--out", str(out / "runs")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CRETO_SIM_COMPILED": "0"},
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    asked = "a commit within" if monitor == "liveness" else monitor
    assert asked in ran.stdout
    assert "violated" in ran.stdout


@pytest.mark.parametrize("name", QUICK)
def test_the_search_finds_a_planted_bug(name: str, tmp_path: Path) -> None:
    found_and_shrunk(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PLANTS if name not in QUICK])
def test_the_search_finds_every_planted_bug(name: str, tmp_path: Path) -> None:
    found_and_shrunk(name, tmp_path)


def test_there_are_ten_bugs_of_the_protocol_and_five_around_it() -> None:
    from tests.protocol.test_planted_bugs import BUGS

    assert len(BUGS) == 10
    assert set(BUGS) < set(PLANTS)
    assert len(PLANTS) == 15
