"""Ways in which a run ends early, and what each leaves on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sim.engine.run import run
from sim.engine.world import World
from sim.monitor.verdict import EXIT_CODES
from sim.record.runs import Run, open_run
from tests.engine.worlds import SECOND, ran, scenario, scenario_text, written

ROOT = Path(__file__).parents[2]
LONG: dict[str, Any] = {
    "duration": "10 min",
    "validators": {"count": 10},
    "consensus": {"min_block_interval": None},
}

PROGRAM = """
import sys
import sim.engine.run
from sim.engine.run import run
from sim.scenario.load import load_scenario

if len(sys.argv) > 3:
    sim.engine.run.TICK_NS = int(sys.argv[3])

def tell(progress):
    if progress.simulated_ns or len(sys.argv) > 3:
        print("at", progress.simulated_ns, flush=True)

outcome = run(
    load_scenario(sys.argv[1]),
    sys.argv[2],
    started=lambda path: print("path", path, flush=True),
    progress=tell,
    command=["creto-sim", "run", sys.argv[1]],
)
print("state", outcome.state, flush=True)
sys.exit(outcome.exit_code)
"""


@contextmanager
def running(folder: Path, *tick_ns: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a run in a process of its own; yield it once it has simulated something.

    With a tick of its own, yield it as the first slice begins.
    """
    path = written(folder, scenario_text(**LONG))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), str(folder / "results"), *tick_ns],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline().split(maxsplit=1)
        assert first[0] == "path"
        assert process.stdout.readline().startswith("at ")
        yield process, Path(first[1].strip())
    finally:
        process.kill()
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_ctrl_c_finishes_the_slice_and_flushes(tmp_path: Path) -> None:
    with running(tmp_path) as (process, path):
        assert open_run(path).state == "running"
        process.send_signal(signal.SIGINT)
        code, output = ended(process)
    assert code == 130
    assert output.splitlines()[-1] == "state interrupted"
    done = open_run(path)
    assert done.state == "interrupted"
    assert done.verdict == "inconclusive"
    row = done.table("runs").collect().row(0, named=True)
    assert row["state"] == "interrupted"
    assert 0 < row["simulated_ns"] < 600 * SECOND
    assert row["simulated_ns"] % 250_000_000 == 0
    blocks = done.table("blocks").collect()
    assert blocks.height > 5
    assert blocks["proposed_ns"].max() <= row["simulated_ns"]  # type: ignore[operator]
    assert (path / "DONE").read_text().split() == ["interrupted", done.digest]
    # What was simulated is what a shorter run would have simulated.
    again = ran(tmp_path / "again", **LONG | {"duration": f"{row['simulated_ns']} ns"})
    assert again.run.digests() == done.digests()


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    """Not at the end of the slice, which is ten simulated minutes away; what is held is kept."""
    with running(tmp_path, str(600 * SECOND)) as (process, path):
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        code, _ = ended(process)
    assert code not in (0, 3)
    done = open_run(path)
    assert done.state == "interrupted"
    assert done.manifest["error"].startswith("KeyboardInterrupt")
    assert done.table("views").collect().height > 10
    assert (path / "DONE").read_text().startswith("interrupted")


def test_a_killed_run_is_readable_and_said_to_be_dead(tmp_path: Path) -> None:
    with running(tmp_path) as (process, path):
        assert open_run(path).state == "running"
        process.kill()
        process.wait(timeout=30)
    done = open_run(path)
    assert done.state == "died"
    assert done.manifest["state"] == "running"
    assert done.digest is None
    assert done.verdict == "inconclusive"
    assert not (path / "DONE").exists()
    assert done.scenario_text.startswith("schema")
    for name in done.tables():
        if name != "runs":
            done.table(name).collect()


def test_earlier_runs_stay_untouched(tmp_path: Path) -> None:
    first = ran(tmp_path, duration="1 s")
    before = _content(first.outcome.path)
    with running(tmp_path) as (process, path):
        process.kill()
        process.wait(timeout=30)
    second = ran(tmp_path, duration="1 s")
    assert len({first.outcome.path, path, second.outcome.path}) == 3
    assert _content(first.outcome.path) == before
    assert second.digest == first.digest
    latest = first.outcome.path.parent / "latest"
    assert latest.resolve() == second.outcome.path.resolve()


def test_an_error_inside_a_run_leaves_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(world: World, until_ns: int) -> None:
        if until_ns > 2 * SECOND:
            raise ZeroDivisionError(f"planted at {tmp_path}/secret/file")
        world.env.run(until=until_ns + 1)

    monkeypatch.setattr(World, "advance", broken)
    started: list[Path] = []
    with pytest.raises(ZeroDivisionError, match="planted"):
        run(scenario(tmp_path), tmp_path / "results", started=started.append)
    done = open_run(started[0])
    assert done.state == "failed"
    assert done.verdict == "inconclusive"
    assert done.manifest["error"].startswith("ZeroDivisionError: planted")
    assert str(tmp_path) not in json.dumps(done.manifest)
    assert done.table("views").collect().height > 20
    assert done.table("runs").collect().height == 0


def test_an_error_in_the_second_replicate_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, calls = World.advance, []

    def broken(world: World, until_ns: int) -> None:
        calls.append(until_ns)
        if len(calls) > 6:
            raise RuntimeError("planted")
        advance(world, until_ns)

    monkeypatch.setattr(World, "advance", broken)
    started: list[Path] = []
    with pytest.raises(RuntimeError):
        run(
            scenario(tmp_path, duration="1 s", replicates=2),
            tmp_path / "results",
            started=started.append,
        )
    done = open_run(started[0])
    assert done.state == "failed"
    assert done.table("runs").collect()["state"].to_list() == ["complete"]
    assert done.replicates() == ((0, 0), (0, 1))


def test_the_handler_of_ctrl_c_is_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    ran(tmp_path, duration="1 s")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_refused_root_starts_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "results"
    blocked.write_text("a file where the root should be")
    with pytest.raises(OSError):
        run(scenario(tmp_path), blocked)
    assert blocked.read_text() == "a file where the root should be"


def test_exit_codes(tmp_path: Path) -> None:
    met = ran(tmp_path / "met", duration="1 s")
    missed = ran(
        tmp_path / "missed",
        duration="1 s",
        expect=[{"metric": "blocks_committed", "at_least": 10_000}],
    )
    assert (met.outcome.exit_code, missed.outcome.exit_code) == (0, 1)
    assert EXIT_CODES["inconclusive"] == 3


def _content(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_a_run_directory_names_no_absolute_path(tmp_path: Path) -> None:
    done: Run = ran(tmp_path, duration="1 s").run
    for name, content in _content(done.path).items():
        assert str(tmp_path).encode() not in content, name
