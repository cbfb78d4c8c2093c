"""Studies: the same digests on any workers, nothing lost to a kill, resumed to the same end."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from sim.cli.main import app
from sim.engine.run import RunOutcome, run
from sim.record.machine import lock_is_held
from sim.record.runs import RunError, open_run
from sim.study.overview import overview, results_of
from sim.study.sweep import StudyProgress, Workers, resume_study, run_study
from sim.study.unit import STAGING
from tests.study.studies import kill, start, study, study_file, wait_until, whole_units, workers_of

GRID = {"grid": {"validators.count": [4, 7]}}
SERIAL = Workers(count=0)


def test_pool_and_serial_and_plain_runs_give_one_digest(tmp_path: Path) -> None:
    scenario = study(tmp_path, replicates=2, sweep=GRID)
    plain = run(scenario, tmp_path / "plain")
    serial = run_study(scenario, tmp_path / "serial", workers=SERIAL)
    pool = run_study(scenario, tmp_path / "pool", workers=Workers(count=2))
    assert plain.digest == serial.digest == pool.digest
    assert pool.state == "complete"
    assert pool.verdict == plain.verdict == serial.verdict
    assert len(pool.results) == 4
    left, right = open_run(plain.path), open_run(pool.path)
    assert left.digests() == right.digests()
    assert left.settings == right.settings
    assert right.summary["supervision"]["workers"] == 2
    assert not (pool.path / STAGING).exists()
    assert {p.name for p in pool.path.iterdir()} == {p.name for p in plain.path.iterdir()}


def test_points_share_the_chance_of_their_replicates(tmp_path: Path) -> None:
    sweep = {"grid": {"consensus.store_blocks": [1024, 2048]}}
    done = run_study(study(tmp_path, replicates=2, sweep=sweep), tmp_path, workers=SERIAL)
    digests = {(r.point, r.replicate): r.digest for r in done.results}
    assert digests[0, 0] == digests[1, 0]
    assert digests[0, 1] == digests[1, 1]
    assert digests[0, 0] != digests[0, 1]


def test_progress_tells_of_every_point(tmp_path: Path) -> None:
    seen: list[StudyProgress] = []
    scenario = study(tmp_path, replicates=2, sweep=GRID)
    run_study(scenario, tmp_path / "out", workers=Workers(count=2), progress=seen.append)
    assert seen[0].units == 4
    assert seen[0].workers == 2
    assert any(each.in_hand for each in seen)
    assert seen[-1].by_point == ((2, 2),) * 2
    assert (seen[-1].done, seen[-1].failed, seen[-1].in_hand) == (4, 0, [])


def _failed_unit(outcome: RunOutcome, reason: str) -> None:
    assert outcome.state == "failed"
    assert outcome.exit_code == 3
    states = {(r.point, r.replicate): r.state for r in outcome.results}
    assert states == {(0, 0): "complete", (1, 0): "failed"}
    opened = open_run(outcome.path)
    assert reason in opened.manifest["error"]
    assert opened.table("runs").collect().get_column("state").to_list() == ["complete", "failed"]
    assert opened.table("blocks", point=0).collect().height > 0


def test_a_unit_over_its_time_fails_alone_and_resumes(tmp_path: Path) -> None:
    sweep = {"grid": {"duration": ["500 ms", "2 h"]}}
    scenario = study(tmp_path, sweep=sweep)
    outcome = run_study(scenario, tmp_path / "out", workers=Workers(count=0, time_limit_s=1.5))
    _failed_unit(outcome, "point 1, replicate 0: UnitError: longer than its time limit, 1.5 s: at")


def test_interrupted_units_are_given_up_and_resumed(tmp_path: Path) -> None:
    path = study_file(tmp_path, replicates=9, sweep=GRID)
    process = start("run", path, "--out", tmp_path / "out", "--workers", 2)
    try:
        folder = tmp_path / "out" / "study"
        wait_until(lambda: len(whole_units(folder)) >= 2)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, said
    left = open_run(folder / "latest")
    assert left.state == "interrupted"
    assert f"creto-sim resume {tmp_path}" in said
    kept = len(results_of(left).by_place)
    assert 2 <= kept < 18
    assert left.table("runs").collect().height == kept
    outcome = resume_study(left.path, workers=SERIAL)
    assert outcome.state == "complete"
    assert open_run(outcome.path).summary["supervision"]["units_kept"] == kept


def test_a_killed_worker_costs_no_point_and_a_killed_parent_no_result(tmp_path: Path) -> None:
    scenario_path = study_file(tmp_path, replicates=7, sweep=GRID)
    scenario = study(tmp_path, replicates=7, sweep=GRID)
    folder = tmp_path / "out" / "study"
    process = start("run", scenario_path, "--out", tmp_path / "out", "--workers", 2)
    try:
        wait_until(lambda: len(whole_units(folder)) >= 2)
        kill(workers_of(process)[0])
        had = len(whole_units(folder))
        wait_until(lambda: len(whole_units(folder)) >= had + 3)
        orphans = workers_of(process)
        assert len(orphans) == 2
    finally:
        kill(process)
        process.communicate(timeout=30)
    (path,) = (each for each in folder.iterdir() if each.name != "latest")
    wait_until(lambda: not any(orphan.is_running() for orphan in orphans), 20)
    dead = open_run(path)
    assert dead.state == "died"
    rows = overview(dead)
    assert sum(row.replicates for row in rows) == len(whole_units(path))
    assert sum(row.missing for row in rows) == 14 - len(whole_units(path))
    before = {file: file.stat().st_mtime_ns for file in whole_units(path)}

    resumed = resume_study(path, workers=Workers(count=2))
    assert resumed.state == "complete"
    assert resumed.digest == run_study(scenario, tmp_path / "again", workers=SERIAL).digest
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(whole_units(path)) == 14
    with pytest.raises(RunError, match="is complete; there is nothing to resume"):
        resume_study(path)


def _dead_study(tmp_path: Path, replicates: int = 2) -> Path:
    """Return a study as its process would have left it, killed before the last word."""
    scenario = study(tmp_path, replicates=replicates, sweep=GRID)
    outcome = run_study(scenario, tmp_path / "out", workers=SERIAL)
    (outcome.path / "DONE").unlink()
    (outcome.path / "RUNNING").write_bytes(bytes(64))
    manifest = json.loads((outcome.path / "manifest.json").read_text())
    for key in ("digest", "digests", "verdict", "finished_utc"):
        del manifest[key]
    manifest["state"] = "running"
    (outcome.path / "manifest.json").write_text(json.dumps(manifest))
    return outcome.path


def test_a_resume_keeps_what_is_whole_and_of_this_scenario_only(tmp_path: Path) -> None:
    path = _dead_study(tmp_path, 3)
    expected = run(study(tmp_path, replicates=3, sweep=GRID), tmp_path / "plain").digest
    units = [path / f"point=00{p}" / f"replicate=00{r}" for p in range(2) for r in range(3)]
    # One table cut short, one result lost, one of another point, one whose tables say otherwise.
    blocks = units[0] / "blocks.parquet"
    blocks.write_bytes(blocks.read_bytes()[:-40])
    (units[1] / "result.json").unlink()
    shutil.rmtree(units[3])
    shutil.copytree(units[2], units[3])
    damaged = units[4] / "result.json"
    damaged.write_text(damaged.read_text().replace('"digest": "', '"digest": "0'))
    outcome = resume_study(path, workers=SERIAL)
    assert outcome.digest == expected
    assert open_run(path).summary["supervision"]["units_kept"] == 2
    assert open_run(path).manifest["resumed_utc"]


def test_a_running_study_is_left_alone(tmp_path: Path) -> None:
    path = study_file(tmp_path, duration="100 s", replicates=2)
    process = start("run", path, "--out", tmp_path / "out", "--workers", 1)
    try:
        folder = tmp_path / "out" / "study"
        wait_until(lambda: any(folder.glob("*/RUNNING")))
        (found,) = (each for each in folder.iterdir() if each.name != "latest")
        wait_until(lambda: lock_is_held(found / "RUNNING"))
        with pytest.raises(RunError, match="is running; there is nothing to resume"):
            resume_study(found, workers=SERIAL)
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_a_study_of_another_version_is_refused_but_can_be_read(tmp_path: Path) -> None:
    path = _dead_study(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["versions"]["numpy"] = "1.0"
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="made with another version of numpy"):
        resume_study(path, workers=SERIAL)
    assert [row.replicates for row in overview(open_run(path))] == [2, 2]
    manifest["schema"] = "creto-sim-run/0"
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="schema 'creto-sim-run/0'; this version reads"):
        open_run(path)


def test_an_edited_scenario_is_not_resumed(tmp_path: Path) -> None:
    path = _dead_study(tmp_path)
    text = (path / "scenario.yaml").read_text()
    (path / "scenario.yaml").write_text(text.replace("seed: 1", "seed: 2"))
    with pytest.raises(RunError, match="not the scenario of the manifest"):
        resume_study(path, workers=SERIAL)


def test_what_a_damaged_study_still_tells(tmp_path: Path) -> None:
    path = _dead_study(tmp_path)
    broken = path / "point=001" / "replicate=001"
    (broken / "blocks.parquet").write_bytes(b"PAR1 and then nothing")
    (path / "point=000" / "replicate=000" / "result.json").write_text("{")
    opened = open_run(path)
    assert opened.state == "died"
    with pytest.raises(RunError, match=r"replicate=001/blocks.parquet: no whole Parquet file"):
        opened.table("blocks").collect()
    assert opened.table("blocks", point=1, replicate=0).collect().height > 0
    results = results_of(opened)
    assert list(results.damaged) == [(0, 0)]
    assert "not JSON" in results.damaged[0, 0]
    assert [row.missing for row in overview(opened)] == [1, 0]
    (path / "summary.json").unlink()
    with pytest.raises(RunError, match="no summary yet, the run is died"):
        _ = opened.summary


def test_until_adds_replicates_where_they_are_needed(tmp_path: Path) -> None:
    until = {"metric": "block_latency_p50", "relative_width": "4 %", "max_replicates": 36}
    sections = {
        "replicates": 30,
        "until": until,
        "network": {"bandwidth": "1 Gbit/s"},
        "validators": {"count": 4, "placement": ["aws:us-gov-west-1", "aws:us-gov-east-1"]},
        "record": {"detail": "rounds"},
        "duration": "200 ms",
    }
    scenario = study(tmp_path, **sections)
    outcome = run_study(scenario, tmp_path / "out", workers=SERIAL)
    rows = overview(open_run(outcome.path), ["block_latency_p50"])
    for row in rows:
        mean = row.means["block_latency_p50_ns"]
        assert mean is not None
        assert row.replicates == mean.n
        assert mean.relative_width <= 0.04 or mean.n == 36
        assert mean.n >= 30
    with pytest.raises(ValueError, match="`until` takes a study"):
        run(scenario, tmp_path / "never")


def test_the_command_is_there() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {"run", "resume", "compare", "show"} <= names
