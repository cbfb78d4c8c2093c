"""How many runs fit into memory, and the first compilation, which is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.record.runs import open_run
from sim.scenario.estimate import least_memory_bytes
from sim.study import sweep
from sim.study.sweep import StudyProgress, Workers, run_study
from sim.study.workers import OVER_LEAST, MemoryBudget, available_memory_bytes, cores
from tests.study.studies import study

GIB = 1 << 30


def test_memory_bounds_what_runs_at_once(tmp_path: Path) -> None:
    small = study(tmp_path)
    least = least_memory_bytes(small)
    budget = MemoryBudget([small], 10 * least)
    assert budget.units() == int(10 / OVER_LEAST)
    assert budget.most() == 10
    budget.saw(small, 2 * least)
    assert budget.units() == 5
    budget.saw(small, 4 * least)
    budget.saw(small, 2 * least)
    assert budget.units() == 2
    budget.saw(small, 100 * least)
    assert budget.units() == 1


def test_small_points_tell_of_large_ones(tmp_path: Path) -> None:
    agents = {"placement": ["aws:us-gov-west-1"], "workload": {}}
    agents["workload"] = {"messages": {"arrivals": {"kind": "poisson", "rate": "1 /s"}}}
    small = study(tmp_path)
    large = study(tmp_path, agents={"count": 10_000_000, **agents})
    budget = MemoryBudget([small, large], 4 * least_memory_bytes(large))
    budget.saw(small, 2 * least_memory_bytes(small))
    assert budget.units() == 2


def test_this_machine_has_memory_and_cores() -> None:
    assert cores() >= 1
    assert GIB // 16 < available_memory_bytes() < 1 << 50


def test_runs_wait_where_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = study(tmp_path, replicates=4)
    monkeypatch.setattr(sweep, "available_memory_bytes", lambda: least_memory_bytes(scenario))
    seen: list[StudyProgress] = []
    outcome = run_study(scenario, tmp_path / "out", workers=Workers(count=2), progress=seen.append)
    assert outcome.state == "complete"
    assert max(len(each.in_hand) for each in seen) == 1
    monkeypatch.setattr(sweep, "available_memory_bytes", lambda: 64 * GIB)
    run_study(scenario, tmp_path / "out", workers=Workers(count=2), progress=seen.append)
    assert max(len(each.in_hand) for each in seen) == 2


def test_one_worker_compiles_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[bool] = []
    monkeypatch.setattr(sweep, "_compiles", lambda scenario: not compiled)
    in_hand: list[tuple[int, int]] = []

    def look(progress: StudyProgress) -> None:
        in_hand.append((progress.done, len(progress.in_hand)))

    outcome = run_study(
        study(tmp_path, replicates=5), tmp_path / "out", workers=Workers(count=2), progress=look
    )
    assert open_run(outcome.path).summary["supervision"]["workers"] == 2
    assert max(hand for done, hand in in_hand if done == 0) == 1
    assert max(hand for done, hand in in_hand if done > 0) == 2
