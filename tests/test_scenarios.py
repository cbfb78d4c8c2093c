"""The committed scenarios run to the verdict that they expect, and what READMEs name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim import load_scenario, open_run, run

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("smoke", "seven_nodes", "thousand_agents")
MILLION = ("million_agents", "million_agents_dht", "million_agents_under_fire")
DIRECTORY = ("registry_storm", "churn", "flat_vs_hierarchical", "dht_million", "entry_gateways")


@pytest.mark.parametrize("name", QUICK)
def test_the_scenario_meets_what_it_expects(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(ROOT / "scenarios" / f"{name}.yaml"), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence
    assert outcome.exit_code == 0
    opened = open_run(outcome.path)
    assert opened.state == "complete"
    assert opened.digest == outcome.digest


@pytest.mark.slow
@pytest.mark.parametrize("name", MILLION)
def test_the_main_job_is_met(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(ROOT / "scenarios" / f"{name}.yaml"), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence


@pytest.mark.slow
@pytest.mark.parametrize("name", DIRECTORY)
def test_the_scenario_of_the_directory_is_met(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(ROOT / "scenarios" / f"{name}.yaml"), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence


def test_every_scenario_is_of_a_kind_that_is_run() -> None:
    found = {path.stem for path in (ROOT / "scenarios").glob("*.yaml")}
    assert found == {*QUICK, *DIRECTORY, *MILLION}


@pytest.mark.parametrize("readme", ["tests/README.md", "sim/README.md"])
def test_files_named_in_a_readme_exist(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    named = re.findall(r"\b(?:tests|scenarios|sim)/[\w/]+\.(?:py|yaml|md)\b", text)
    assert named
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_thirteen_areas_have_a_row_each() -> None:
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    areas = re.findall(r"^\| ((?:consensus|scale|compliance|deployment|e2e)/\w+) \|", text, re.M)
    assert len(areas) == len(set(areas)) == 13


def test_the_readme_has_the_two_commands_that_ci_and_newcomers_use() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[0].endswith("creto-sim run scenarios/million_agents.yaml")
    assert "pytest" in commands[1]
    assert len(lines) <= 150
