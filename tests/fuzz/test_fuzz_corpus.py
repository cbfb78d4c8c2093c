"""Scenarios that once failed: each broke something in the protocol, a monitor or the world."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import load_scenario, run
from sim.scenario.resolved import to_plain
from sim.study.fuzz.probe import probe

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.yaml"))


def test_there_is_a_corpus() -> None:
    assert CORPUS


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_failed_holds(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    found = probe(to_plain(scenario))
    assert not found.refused
    assert found.breaches == ()
    assert run(scenario, tmp_path).verdict.outcome == "met"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_it_says_what_it_once_broke(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert len(comments) >= 2, "where it comes from, and what was wrong"
    assert len(lines) - len(comments) <= 15
