"""The compiled core gives what the sources give; made by the command, in a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCENARIO = """\
schema: creto-sim/1
title: Sixteen validators, one of them dishonest, one crashes
question: Do machine code and sources give the same datasets?
seed: 11
duration: 12 s
network: {bandwidth: 10 Gbit/s}
validators:
  count: 16
  placement: [aws:us-gov-west-1, az:usgovvirginia, aws:eu-west-2]
consensus: {timer_base: 500 ms, epoch_blocks: 8, dissemination: {kind: gossip, fanout: 6}}
operations:
  - {kind: top_up, at: 2 s, validator: 3, amount: 1000}
  - {kind: unbond, at: 3 s, validator: 4, amount: 1000}
faults:
  - {kind: crash, nodes: {ids: [7]}, at: 3 s, until: 7 s}
  - {kind: partition, groups: [{ids: [0, 1, 2]}, {ids: [3, 4, 6]}], at: 8 s, until: 9 s}
adversaries:
  - {kind: equivocate, nodes: {ids: [5]}}
expect:
  - safety: held
"""
SUITES = ("protocol", "traces", "paper", "live", "engine", "monitor")
INTERPRETED_ONLY = (
    # They change the core from outside, stand in the place of its parts, or look into its modules.
    "tests/protocol/test_planted_bugs.py",
    "tests/monitor/test_vote_safety.py",
    "tests/live/test_live_parity.py",
    "tests/engine/test_engine_crypto.py",
    "tests/engine/test_engine_memory.py",
    "tests/engine/test_engine_fields.py::test_every_parameter_of_the_protocol_is_read",
    "tests/monitor/test_monitors.py::test_memory_is_bounded",
    "tests/monitor/test_consequences.py",
    "tests/engine/test_engine_baselines.py::test_memory_does_not_grow_with_the_chain",
    "tests/paper/test_hotstuff_clique.py::test_a_decision_takes_what_the_formula_says",
)


def environment(cache: Path, compiled: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NUMBA_CACHE_DIR": str(cache),
        "CRETO_SIM_COMPILED": compiled,
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the compiled core."""
    cache = tmp_path_factory.mktemp("cache")
    ended = subprocess.run(
        [sys.executable, "-m", "sim", "compile"],
        env=environment(cache, "1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "compiled in" in ended.stdout
    return cache


def manifest(cache: Path, folder: Path, compiled: str) -> dict[str, object]:
    """Run the scenario in a process of its own; return the manifest."""
    scenario = folder / f"same-{compiled}.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    arguments = ["run", str(scenario), "--quiet", "--detail", "messages", "--out", str(folder)]
    ended = subprocess.run(
        [sys.executable, "-m", "sim", *arguments],
        env=environment(cache, compiled),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    path = Path(ended.stdout.splitlines()[-1]) / "manifest.json"
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_digests_are_those_of_the_sources(built: Path, tmp_path: Path) -> None:
    fast = manifest(built, tmp_path, "1")
    slow = manifest(built, tmp_path, "0")
    assert str(fast["platform"]["core"]).startswith("compiled by mypyc")  # type: ignore[index]
    assert slow["platform"]["core"] == "interpreted"  # type: ignore[index]
    assert fast["digest"] == slow["digest"]


@pytest.mark.parametrize("suite", SUITES)
def test_suites_pass_on_machine_code(built: Path, suite: str) -> None:
    ignored = [f"--deselect={test}" for test in INTERPRETED_ONLY]
    quick = ["-q", "-m", "not slow and not benchmark", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *quick, *ignored, f"tests/{suite}"],
        cwd=ROOT,
        env=environment(built, "1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
