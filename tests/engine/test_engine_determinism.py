"""The same scenario and seed give the same digests: everywhere, and for nothing less."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sim.engine import run as engine_run
from sim.engine.run import run
from sim.record.runs import open_run
from sim.scenario.load import load_scenario
from tests.engine.worlds import BUSY, Ran, ran, scenario, scenario_text, written

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from sim.engine.run import run
from sim.scenario.load import load_scenario
print(run(load_scenario(sys.argv[1]), sys.argv[2]).digest)
"""


def digest_elsewhere(path: Path, out: Path, hash_seed: str) -> str:
    """Run a scenario in a process of its own, as a user would, and return its digest."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(tmp_path_factory.mktemp("busy"), **BUSY)


def test_fresh_processes_agree_under_any_hash_seed(busy: Ran, tmp_path: Path) -> None:
    path = written(tmp_path, scenario_text(**BUSY))
    found = [digest_elsewhere(path, tmp_path / seed, seed) for seed in ("0", "4242")]
    assert found == [busy.digest, busy.digest]


def test_the_busy_world_is_busy(busy: Ran) -> None:
    """Equal digests say little about a run in which nothing happened."""
    assert busy.metric("blocks_committed") >= 20
    assert busy.metric("epochs") >= 3
    assert busy.metric("offenders_punished") == 1
    assert busy.metric("operations_committed") == 2
    assert busy.metric("timeouts") > 0
    assert busy.metric("transactions_committed") > 50
    assert busy.metric("messages_delivered") > 200
    assert busy.frame("samples").height > 200
    assert busy.dropped().keys() >= {"receiver_down", "duplicate"}


def test_another_seed_is_another_run(busy: Ran, tmp_path: Path) -> None:
    other = ran(tmp_path, **BUSY | {"seed": 2})
    assert other.digest != busy.digest
    changed = _differing(busy, other)
    assert {"blocks", "commits", "traffic", "validators"} <= changed


@pytest.mark.parametrize("tick_ns", [7_000_001, 10_000_000_000])
def test_looking_at_the_progress_changes_nothing(
    busy: Ran, tmp_path: Path, tick_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_run, "TICK_NS", tick_ns)
    seen: list[int] = []
    asked = scenario(tmp_path, **BUSY)
    again = run(asked, tmp_path / "out", progress=lambda p: seen.append(p.simulated_ns))
    assert len(seen) == 2 + (4_000_000_000 - 1) // tick_ns
    assert seen[-1] == 4_000_000_000
    assert again.digest == busy.digest


def test_results_say_nothing_of_where_and_when(busy: Ran, tmp_path: Path) -> None:
    """Replicate 0 of a longer series is the run that stood alone, in another directory."""
    series = ran(tmp_path / "elsewhere", **BUSY | {"replicates": 2})
    first, second = series.outcome.results
    assert first.digest == busy.outcome.results[0].digest
    assert second.digest != first.digest


def test_a_replicate_depends_on_its_number_and_seed_only(tmp_path: Path) -> None:
    """Points of a sweep share each replicate's chance: the same replicate of the same world."""
    plain = ran(tmp_path / "plain", **BUSY | {"replicates": 3})
    swept = ran(
        tmp_path / "swept",
        **BUSY | {"replicates": 3, "sweep": {"grid": {"consensus.store_blocks": [1024, 2048]}}},
    )
    of_plain = [result.digest for result in plain.outcome.results]
    of_swept = [result.digest for result in swept.outcome.results]
    assert len(set(of_plain)) == 3
    assert of_swept == of_plain * 2


def test_the_manifest_holds_the_digest(busy: Ran) -> None:
    assert open_run(busy.outcome.path).digest == busy.digest


def test_the_written_scenario_runs_to_the_same_digest(busy: Ran, tmp_path: Path) -> None:
    resolved = load_scenario(busy.outcome.path / "scenario.yaml")
    assert run(resolved, tmp_path).digest == busy.digest


def _differing(one: Ran, other: Ran) -> set[str]:
    of_one, of_other = one.run.digests(), other.run.digests()
    names: set[Any] = {key[2] for key in of_one if of_one[key] != of_other[key]}
    return names
