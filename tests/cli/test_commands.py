"""The commands: what they print, what they write, and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sim.cli.main import app
from sim.record.runs import open_run
from sim.scenario.load import load_scenario

ROOT = Path(__file__).parents[2]
SMALL = """\
schema: creto-sim/1
title: Four validators
question: Do they commit?
seed: 5
duration: 1 s
network: {bandwidth: 10 Gbit/s}
validators: {count: 4, placement: [aws:us-gov-west-1]}
consensus: {timer_base: 500 ms, min_block_interval: 100 ms, epoch_blocks: 6}
expect:
  - safety: held
  - {metric: blocks_committed, at_least: 2}
"""
HEAVY = (
    "numpy",
    "numba",
    "polars",
    "pydantic",
    "ruamel",
    "simpy",
    "networkx",
    "sim.scenario.load",
    "sim.engine",
    "sim.record",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `scenarios/small.yaml`."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def call(here: Path) -> Callable[..., Result]:
    """Call the command line in that folder."""
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def _process(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sim", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_imports_nothing_heavy(here: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['creto-sim', '--help']\n"
        "from sim.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print('LOADED', *sorted(sys.modules))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = ended.stdout.rpartition("LOADED")[2].split()
    assert "sim.cli.main" in loaded
    # Typer's own command parser and rich's tables are all that help needs.
    assert [name for name in loaded if name.startswith(HEAVY)] == []
    assert len(loaded) < 600


@pytest.mark.parametrize(
    "command",
    ["run", "resume", "check", "show", "compare", "list", "verify", "bench", "calibrate", "schema"],
)
def test_every_command_has_help_with_an_example(call: Callable[..., Result], command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"Example: creto-sim {command}" in " ".join(result.stdout.split())
    assert command in call("--help").stdout


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["run"],
        ["run", "nothing_of_that_name"],
        ["run", "scenarios"],
        ["run", "small", "--detail", "everything"],
        ["run", "small", "--seed", "x"],
        ["run", "small", "--set", "seed"],
        ["check", "small", "nope"],
        ["list", "empty"],
        ["verify", "scenarios"],
        ["calibrate", "no/folder/costs.json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_writes_nothing(
    call: Callable[..., Result], here: Path, args: list[str]
) -> None:
    before = sorted(here.rglob("*"))
    result = call(*args)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert sorted(here.rglob("*")) == before


def test_a_wrong_scenario_gives_all_errors_and_writes_nothing(
    call: Callable[..., Result], here: Path
) -> None:
    file = here / "bad.yaml"
    file.write_text(SMALL.replace("seed: 5", "sed: 5").replace("1 s\n", "1\n", 1))
    result = call("run", "bad.yaml", "--set", "record.sample=3")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "bad.yaml:4:1: sed: `sed` is not known here; did you mean `seed`?",
        "bad.yaml:5:11: duration: 1 is a bare number; a duration needs a unit, such as `1 ms`",
        "--set:1:15: record.sample: 3 is a bare number; a share needs a unit, such as `3 %`",
        "creto-sim: 3 errors; nothing was run",
    ]
    assert not (here / "results").exists()


def test_run_prints_the_path_first_and_last(call: Callable[..., Result], here: Path) -> None:
    result = call("run", "small")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[0] == lines[-1]
    assert lines[0].startswith("results/small/")
    run = open_run(here / lines[0])
    assert (run.state, run.verdict) == ("complete", "met")
    assert any(line.startswith("met: blocks_committed at least 2") for line in lines)
    assert "verdict: met" in lines
    assert "\x1b" not in result.stdout


def test_options_of_run_take_effect(call: Callable[..., Result], here: Path) -> None:
    result = call(
        *("run", "scenarios/small.yaml", "--seed", 8, "--replicates", 2, "--detail", "rounds"),
        *("--out", "elsewhere", "--set", "duration=600 ms", "--set", "name=renamed", "--quiet"),
    )
    assert result.exit_code in (0, 1), result.output
    (line,) = result.stdout.splitlines()
    assert line.startswith("elsewhere/renamed/")
    run = open_run(here / line)
    assert run.detail == "rounds"
    assert len(run.replicates()) == 2
    scenario = load_scenario(here / line / "scenario.yaml")
    assert (scenario.seed, scenario.duration_ns) == (8, 600_000_000)
    assert not (here / "results").exists()


def test_exit_codes_follow_the_verdict(call: Callable[..., Result]) -> None:
    missed = call("run", "small", "--set", "expect.1.at_least=1000000", "-q")
    assert missed.exit_code == 1
    nothing = call(
        *("run", "small", "-q", "--set", "duration=100 ms"),
        *("--set", "expect=[{metric: block_latency_p50, at_most: 1 s}]"),
        *("--set", "consensus.min_block_interval=400 ms"),
    )
    assert nothing.exit_code == 3


def test_an_internal_error_is_70(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr("sim.engine.run.run", broken)
    result = call("run", "small")
    assert result.exit_code == 70
    assert "AssertionError: a bug" in result.stderr
    assert "internal error" in result.stderr


def test_a_full_disk_is_told_in_one_line(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device", "results/small")

    monkeypatch.setattr("sim.engine.run.run", full)
    result = call("run", "small")
    assert result.exit_code == 70
    assert result.stderr == "creto-sim: results/small: No space left on device\n"


def test_what_does_not_fit_into_memory_is_refused(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    agents = (
        "agents={count: 100000000, placement: [aws:us-gov-west-1], "
        "workload: {messages: {arrivals: {kind: poisson, rate: 1 /s}}}}"
    )
    monkeypatch.setattr("sim.cli.looking.machine_memory_bytes", lambda: 2 << 30)
    for command in ("run", "check"):
        result = call(command, "small", "--set", agents)
        assert result.exit_code == 2
        assert "100,000,000 agents need at least 4." in result.stderr
        assert "this machine has 2.0 GiB" in result.stderr
    monkeypatch.setattr("sim.cli.looking.machine_memory_bytes", lambda: 64 << 30)
    assert call("check", "small", "--set", agents).exit_code == 0
    assert not (here / "results").exists()


def test_ctrl_c_leaves_a_run_that_says_so(here: Path) -> None:
    command = [sys.executable, "-m", "sim", "run", "small", "--set", "duration=10 h"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline().strip()
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    rest, complaints = process.communicate(timeout=60)
    assert process.returncode == 130, complaints
    assert rest.splitlines()[-1] == first
    assert "verdict: interrupted" in rest.splitlines()
    assert open_run(here / first).state == "interrupted"


def test_check_says_what_a_run_will_be(call: Callable[..., Result]) -> None:
    result = call("check", "small", "scenarios/small.yaml")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first == second
    assert first.startswith("scenarios/small.yaml: ok: 4 validators in 1 region, 1 s simulated")
    assert "warning: weights.cap: 15 % cannot hold for 4 members" in result.stderr


def test_check_goes_on_after_a_bad_one(call: Callable[..., Result], here: Path) -> None:
    (here / "bad.yaml").write_text("title: on\n")
    result = call("check", "bad.yaml", "small")
    assert result.exit_code == 2
    assert "bad.yaml:1:8: `on` is a boolean" in result.stderr
    assert result.stdout.startswith("scenarios/small.yaml: ok")


def test_show_prints_what_loads_again(call: Callable[..., Result], here: Path) -> None:
    result = call("show", "small", "--seed", 9, "--set", "quorum.initial_level=2")
    assert result.exit_code == 0
    (here / "again.yaml").write_text(result.stdout)
    again = load_scenario(here / "again.yaml")
    assert again == load_scenario(
        here / "scenarios" / "small.yaml", ["quorum.initial_level=2"], seed=9
    )


def test_list_gives_every_question(call: Callable[..., Result], here: Path) -> None:
    (here / "scenarios" / "worse.yaml").write_text("title: 5\n")
    result = call("list")
    assert result.exit_code == 2
    assert "Do they commit?" in result.stdout
    assert "creto-sim check scenarios/worse.yaml" in " ".join(result.stdout.split())
    assert call("list", ROOT / "scenarios").exit_code == 0


def test_schema_prints_the_committed_schema(call: Callable[..., Result]) -> None:
    committed = (ROOT / "sim" / "scenario" / "schema.json").read_text(encoding="utf-8")
    assert call("schema").stdout == committed


def test_calibrate_writes_a_table_that_scenarios_take(
    call: Callable[..., Result], here: Path
) -> None:
    result = call("calibrate", "mine.json", "--samples", 20)
    assert result.exit_code == 0, result.output
    suites = json.loads((here / "mine.json").read_text())["suites"]
    assert suites["pqcrypto"]["verify_ns"] > 1_000
    assert "pqcrypto" in result.stdout
    assert call("check", "small", "--set", "crypto.costs=mine.json").exit_code == 0
    assert [path.name for path in here.glob(".mine*")] == []


def test_verify_runs_it_again(call: Callable[..., Result], here: Path) -> None:
    path = call("run", "small", "-q", "--set", "duration=500 ms").stdout.strip()
    result = call("verify", path)
    assert result.exit_code == 0, result.output
    assert f"every digest equal, {open_run(here / path).digest}" in result.stdout
    # The run that was compared with left nothing behind.
    assert [p.name for p in (here / "results" / "small").iterdir() if not p.is_symlink()] == [
        Path(path).name
    ]


def test_verify_finds_what_was_changed(call: Callable[..., Result], here: Path) -> None:
    path = call("run", "small", "-q", "--set", "duration=500 ms").stdout.strip()
    scenario = here / path / "scenario.yaml"
    before = scenario.read_text()
    scenario.write_text(before.replace("seed: 5", "seed: 6"))
    result = call("verify", path)
    assert result.exit_code == 1
    assert "runs differ: point 0, replicate 0, table" in result.stdout
    scenario.write_text(before)
    manifest = here / path / "manifest.json"
    text = manifest.read_text()
    digest = json.loads(text)["digests"][0]["tables"]["blocks"]["digest"]
    manifest.write_text(text.replace(digest, "0" * len(digest)))
    result = call("verify", path)
    assert result.exit_code == 1
    assert "file and manifest differ: point 0, replicate 0, table 'blocks'" in result.stdout


def test_python_m_sim_is_the_command(here: Path) -> None:
    assert "Usage" in _process("--help").stdout
    assert _process("check", "small").returncode == 0
    assert _process("check", "nope").returncode == 2
