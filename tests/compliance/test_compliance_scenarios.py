"""The scenarios of compliance run to the answers they expect, and are listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim import load_scenario, run

FOLDER = Path(__file__).resolve().parents[2] / "scenarios" / "compliance"
FILES = sorted(FOLDER.glob("*.yaml"))
COMMENT = "# yaml-language-server: $schema=../../sim/scenario/schema.json"
LONG = ("breach_with_late_awareness", "export_of_ten_thousand_subjects")
"""Three days of simulated time; ten thousand exports: 20 and 7 s of CPU."""
CASES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
    for path in FILES
]


@pytest.mark.parametrize("path", CASES)
def test_the_scenario_has_the_expected_answer(path: Path, tmp_path: Path) -> None:
    outcome = run(load_scenario(path), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_scenario_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    again = tmp_path / path.name
    again.write_text(scenario.to_yaml(), encoding="utf-8")
    assert load_scenario(again) == scenario
    assert path.read_text(encoding="utf-8").splitlines()[0] == COMMENT
    assert "Expected: " in scenario.question


def test_every_scenario_is_in_the_table_of_its_folder() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| (\w+) \|", text, re.M)[1:]
    assert sorted(named) == [path.stem for path in FILES]
