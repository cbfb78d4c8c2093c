"""The same study on a Dask cluster: the same digests, nothing lost, clear words where it cannot.

One cluster on loopback for all tests, of two worker processes with one thread each.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.record.runs import open_run
from sim.study.slots import ExecutorLost, dask_slots
from sim.study.supervise import Limits, supervise
from sim.study.sweep import Workers, resume_study, run_study
from tests.study.studies import start, study, study_file
from tests.study.tasks import Task, work
from tests.study.test_study_supervision import Listed

distributed = pytest.importorskip(
    "distributed", reason="needs the extra `cluster`: pip install 'creto-sim[cluster]'"
)
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning", "default::DeprecationWarning")
"""Sockets that the cluster closes at its leisure are not ours."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler and two workers, which are processes of their own."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    ) as running:
        yield running


def test_a_cluster_gives_the_digests_of_one_process(cluster: Any, tmp_path: Path) -> None:
    scenario = study(tmp_path, replicates=3, sweep={"grid": {"validators.count": [4, 7]}})
    workers = Workers(scheduler=cluster.scheduler_address)
    there = run_study(scenario, tmp_path / "cluster", workers=workers)
    here = run_study(scenario, tmp_path / "here", workers=Workers(count=0))
    assert there.state == "complete"
    assert there.digest == here.digest
    assert open_run(there.path).summary["supervision"]["workers"] == 2


def test_a_unit_over_its_time_fails_and_is_resumed_elsewhere(cluster: Any, tmp_path: Path) -> None:
    scenario = study(tmp_path, sweep={"grid": {"duration": ["500 ms", "5 min"]}})
    workers = Workers(scheduler=cluster.scheduler_address, time_limit_s=1.0)
    outcome = run_study(scenario, tmp_path / "out", workers=workers)
    assert outcome.state == "failed"
    states = {result.point: result.state for result in outcome.results}
    assert states == {0: "complete", 1: "failed"}
    resumed = resume_study(outcome.path, workers=Workers(count=0))
    assert resumed.state == "complete"
    assert open_run(outcome.path).summary["supervision"]["units_kept"] == 1


def test_a_killed_worker_loses_no_task(cluster: Any) -> None:
    slots, close = dask_slots(cluster.scheduler_address)
    source = Listed([Task(n, "wait") for n in range(12)])
    killed: list[int] = []

    def look(supervisor: Any) -> None:
        if source.results and not killed:
            killed.append(next(iter(source.results.values())))
            os.kill(killed[0], signal.SIGKILL)

    try:
        supervise(source, slots, work, limits=Limits(), look=look)
    finally:
        close()
    assert sorted(source.results) == list(range(12))
    assert killed
    assert not source.reasons


@pytest.mark.slow
def test_the_command_takes_a_scheduler(cluster: Any, tmp_path: Path) -> None:
    path = study_file(tmp_path, replicates=2)
    process = start(
        *("run", path, "--out", tmp_path / "out", "--quiet"),
        *("--scheduler", cluster.scheduler_address),
    )
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0, said
    run = open_run(said.splitlines()[-1])
    assert run.summary["supervision"]["workers"] == 2
    assert len(run.replicates()) == 2


def test_nobody_at_the_address_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ExecutorLost, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        dask_slots("tcp://127.0.0.1:9", timeout_s=1)
    assert not (tmp_path / "out").exists()
