"""Scenarios that once failed: each broke something in the protocol, a monitor or the world."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import load_scenario, run
from sim.scenario.resolved import to_plain
from sim.study.fuzz.probe import probe

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").glob("*.yaml"))
KNOWN = sorted((HERE / "known").glob("*.yaml"))
"""What fails still, and why: each says so in its first lines. Mended ones go into the corpus."""


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


@pytest.mark.xfail(reason="a limit of the protocol, stated in the file")
@pytest.mark.parametrize("path", KNOWN, ids=lambda path: path.stem)
def test_what_is_known_to_fail(path: Path) -> None:
    found = probe(to_plain(load_scenario(path)))
    assert not found.refused
    assert found.breaches == ()
