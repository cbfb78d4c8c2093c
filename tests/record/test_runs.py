"""Run directories: first file to last, and what each way of ending leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim.record.digests import replicate_digest, run_digest
from sim.record.recorder import Recorder
from sim.record.runs import (
    ReplicateResult,
    RunError,
    RunWriter,
    open_run,
    portable,
    replicate_folder,
)

DIGEST = "ab12cd34" * 8
VIEW: dict[str, Any] = {"node": 3, "epoch": 0, "view": 1, "reason": "timeout"}


def start(root: Path, **other: Any) -> RunWriter:
    settings: dict[str, Any] = {
        "scenario_name": "seven nodes",
        "scenario_text": "schema: creto-sim/1\n",
        "scenario_digest": DIGEST,
        "seed": 2**64 - 1,
        "detail": "blocks",
        "command": ["/opt/venv/bin/creto-sim", "run", "/home/someone/x.yaml", "--out=/var/out"],
    }
    return RunWriter.start(root, **settings | other)


def record(writer: RunWriter, point: int = 0, replicate: int = 0, rows: int = 2) -> ReplicateResult:
    recorder = Recorder(writer.replicate_path(point, replicate))
    for i in range(rows):
        recorder.append_row("views", time_ns=i + 10 * replicate + 100 * point, **VIEW)
    result = ReplicateResult(
        point, replicate, "complete", "met", 5, recorder.close(), {"blocks_committed": 4}, ["fine"]
    )
    writer.add(result)
    return result


def test_the_manifest_comes_first_and_done_last(tmp_path: Path) -> None:
    writer = start(tmp_path)
    path = writer.path
    assert path.parent == tmp_path / "seven_nodes"
    assert path.name.endswith("-ab12cd34")
    run = open_run(path)
    assert run.state == "running"
    assert run.manifest["command"] == ["creto-sim", "run", "x.yaml", "--out=out"]
    with pytest.raises(RunError, match="no summary yet, the run is running"):
        _ = run.summary
    result = record(writer)
    total = writer.finish("complete", summary={"question": "?"}, verdict="met")
    run = open_run(path)
    assert (run.state, run.verdict, run.digest) == ("complete", "met", total)
    assert total == run_digest([(0, 0, result.digest)])
    assert result.digest == replicate_digest({n: t.digest for n, t in result.tables.items()})
    assert run.digests()[0, 0, "views"] == result.tables["views"]
    assert run.scenario_text == "schema: creto-sim/1\n"
    assert run.summary["replicates"][0]["metrics"] == {"blocks_committed": 4}
    assert run.manifest["wall_ns"] > 0
    assert run.manifest["peak_memory_bytes"] > 10**6
    names = sorted(p.name for p in path.iterdir())
    assert names == [
        "DONE",
        "manifest.json",
        "replicate=000",
        "runs.parquet",
        "scenario.yaml",
        "summary.json",
    ]
    assert (path / "DONE").read_text() == f"complete {total}\n"
    assert open_run(tmp_path / "seven_nodes" / "latest").digest == total
    newest = max(path.rglob("*"), key=lambda p: p.stat().st_mtime_ns)
    assert newest.name == "DONE"


def test_no_absolute_path_in_any_file(tmp_path: Path) -> None:
    writer = start(tmp_path)
    record(writer)
    writer.finish("failed", error=OSError(28, "No space left on device", str(tmp_path / "x")))
    for file in sorted(writer.path.rglob("*")):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes(), file.name
            assert b"/home/someone" not in file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/a/b/c.yaml", "c.yaml"),
        ("out=/a/b", "out=b"),
        ("scenarios/x.yaml", "scenarios/x.yaml"),
        ("cannot write '/a/b c/d.txt': full", "cannot write 'b c/d.txt': full"),
        ("C:\\Users\\x\\y.yaml", "y.yaml"),
        ("3/4 of https://example.org/a/b", "3/4 of https://example.org/a/b"),
        ("5 Gbit/s", "5 Gbit/s"),
    ],
)
def test_portable_texts(text: str, left: str) -> None:
    assert portable(text) == left


def test_runs_never_overwrite_one_another(tmp_path: Path) -> None:
    paths = [start(tmp_path).path for _ in range(4)]
    assert len(set(paths)) == 4
    assert all((path / "manifest.json").exists() for path in paths)


def test_points_and_replicates_are_columns(tmp_path: Path) -> None:
    writer = start(tmp_path, points=2, replicates=2)
    for point in range(2):
        for replicate in range(2):
            record(writer, point, replicate)
    writer.finish("complete", verdict="met")
    run = open_run(writer.path)
    assert run.replicates() == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert (run.path / replicate_folder(1, 0) / "views.parquet").exists()
    views = run.table("views").collect()
    assert views.columns[:3] == ["point", "replicate", "time_ns"]
    assert views["time_ns"].to_list() == [0, 1, 10, 11, 100, 101, 110, 111]
    one = run.table("views", point=1, replicate=0).collect()
    assert one["time_ns"].to_list() == [100, 101]
    runs = run.table("runs", point=1).collect()
    assert runs.select("point", "replicate", "seed", "verdict").rows() == [
        (1, 0, 2**64 - 1, "met"),
        (1, 1, 2**64 - 1, "met"),
    ]


def test_a_table_without_rows_is_empty_and_typed(tmp_path: Path) -> None:
    writer = start(tmp_path)
    record(writer)
    writer.finish("complete")
    run = open_run(writer.path)
    forks = run.table("forks").collect()
    assert forks.height == 0
    assert isinstance(forks.schema["kind"], pl.Enum)
    with pytest.raises(RunError, match="run it with --detail messages"):
        run.table("samples")
    with pytest.raises(KeyError, match="no table 'vews'"):
        run.table("vews")
    assert "samples" not in run.tables()


def test_open_run_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such directory"):
        open_run(tmp_path / "nothing")
    writer = start(tmp_path)
    with pytest.raises(RunError, match=f"no manifest.json; it holds the runs.*{writer.path.name}"):
        open_run(writer.path.parent)
    (writer.path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="not JSON"):
        open_run(writer.path)
    (writer.path / "manifest.json").write_text(json.dumps({"schema": "other/9"}))
    with pytest.raises(RunError, match=r"schema 'other/9'; this version reads 'creto-sim-run/1'"):
        open_run(writer.path)


@pytest.mark.parametrize("state", ["complete", "interrupted", "failed"])
def test_each_ending_is_told(tmp_path: Path, state: str) -> None:
    writer = start(tmp_path)
    writer.finish(state, error="at sea" if state == "failed" else None)
    run = open_run(writer.path)
    assert run.state == state
    assert run.manifest.get("error") == ("at sea" if state == "failed" else None)
    with pytest.raises(ValueError, match="state is one of"):
        writer.finish("done")


def _child(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(
        """
        import os, resource, signal, sys
        from pathlib import Path
        import numpy as np
        from sim.record.recorder import Recorder
        from sim.record.runs import RunWriter
        writer = RunWriter.start(Path(sys.argv[1]), scenario_name="s", scenario_text="a: b\\n",
                                 scenario_digest="ab" * 32, seed=1, detail="blocks", command=[])
        print(writer.path, flush=True)
        recorder = Recorder(writer.replicate_path(0, 0), buffer_rows=50)
        views = dict(node=3, epoch=0, view=1, reason="timeout")
        """
    ) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_a_killed_run_is_seen_to_have_died(tmp_path: Path) -> None:
    child = _child(
        tmp_path,
        """
        for i in range(120):
            recorder.append_row("views", time_ns=i, **views)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert child.returncode == -9
    run = open_run(child.stdout.strip())
    assert run.state == "died"
    assert run.manifest["state"] == "running"
    assert not (run.path / "DONE").exists()
    # What had been flushed is there, and nothing else.
    assert run.table("views").collect()["time_ns"].to_list() == list(range(100))


def test_a_full_disk_is_told_by_the_manifest(tmp_path: Path) -> None:
    # The largest file this process may write stands for a full disk: a real error from the system.
    earlier = start(tmp_path)
    record(earlier)
    earlier.finish("complete")
    before = {p: p.read_bytes() for p in sorted(earlier.path.rglob("*")) if p.is_file()}
    child = _child(
        tmp_path,
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))
        rng = np.random.default_rng(1)
        try:
            for i in range(50):
                recorder.append("views", views | {"time_ns": rng.integers(0, 2**62, 50_000)})
        except Exception as error:
            writer.finish("failed", error=error)
            sys.exit(9)
        """,
    )
    assert child.returncode == 9, child.stderr
    run = open_run(child.stdout.strip())
    assert run.state == "failed"
    assert "File too large" in run.manifest["error"]
    assert str(tmp_path) not in run.manifest["error"]
    assert not list(run.path.rglob("*.tmp"))
    assert {p: p.read_bytes() for p in sorted(earlier.path.rglob("*")) if p.is_file()} == before


def test_a_disk_that_is_full_to_the_last_byte_still_takes_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(tmp_path)

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.record.runs.write_frame", no_space)
    writer.finish("failed", error=OSError(28, "No space left on device"))
    run = open_run(writer.path)
    assert run.state == "failed"
    assert not (run.path / "DONE").exists()
    assert "No space left" in run.manifest["error"]
    # An orderly end does not hide the same error.
    other = start(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        other.finish("complete", verdict="met")
    told = open_run(other.path)
    assert (told.state, told.verdict) == ("failed", "inconclusive")
    assert told.manifest["error"] == "OSError: [Errno 28] No space left on device"


def test_a_run_that_cannot_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.record.runs.hold_lock", no_space)
    with pytest.raises(OSError, match="No space left"):
        start(tmp_path)
    assert list((tmp_path / "seven_nodes").iterdir()) == []


def test_an_error_in_the_run_is_the_one_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(tmp_path)

    def run() -> None:
        with Recorder(writer.replicate_path(0, 0)) as recorder:
            recorder.append_row("views", time_ns=4, **VIEW)
            raise ZeroDivisionError("the bug itself")

    with pytest.raises(ZeroDivisionError, match="the bug itself") as caught:
        run()
    writer.finish("failed", error=caught.value)
    told = open_run(writer.path)
    assert told.manifest["error"] == "ZeroDivisionError: the bug itself"
    assert told.table("views").collect()["time_ns"].to_list() == [4]
    # Nor does a disk that refuses the last flush take its place.
    monkeypatch.setattr("sim.record.recorder.write_frame", lambda *_: 1 // 0)
    other = Recorder(tmp_path / "other")
    other.append_row("views", time_ns=4, **VIEW)
    other.__exit__(ValueError, ValueError("first"), None)
