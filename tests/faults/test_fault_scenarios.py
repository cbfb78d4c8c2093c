"""The fault scenarios run to the answers they expect, survive a round trip, and are listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim import load_scenario, run

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
FAULTS = sorted((SCENARIOS / "faults").glob("*.yaml"))
FILES = [*FAULTS, *sorted((SCENARIOS / "threats").glob("*.yaml"))]
COMMENT = "# yaml-language-server: $schema=../../sim/scenario/schema.json"


@pytest.mark.parametrize("path", FAULTS, ids=lambda path: path.stem)
def test_the_question_has_the_expected_answer(path: Path, tmp_path: Path) -> None:
    outcome = run(load_scenario(path), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence


@pytest.mark.parametrize("path", FAULTS, ids=lambda path: path.stem)
def test_the_scenario_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    again = tmp_path / path.name
    again.write_text(scenario.to_yaml(), encoding="utf-8")
    assert load_scenario(again) == scenario
    assert path.read_text(encoding="utf-8").splitlines()[0] == COMMENT
    assert "?" in scenario.question
    assert "Expected: " in scenario.question


def test_every_scenario_is_in_the_table_of_its_folder() -> None:
    text = (SCENARIOS / "faults" / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")][1:]
    assert {path.stem for path in FAULTS} <= set(re.findall(r"\w+", " ".join(rows)))
