"""A sweep of 5 x 5 points and 20 replicates: how busy it keeps the cores, and what kills cost it.

Busy is a worker, at an instant, with a thread that the kernel has on a core or ready for one (state
R in `/proc`): on a machine that others use too, neither wall clock nor CPU time would tell a worker
that idles from one that has to queue. Who waits for the disk, the parent or for nothing is idle.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sim.record.runs import open_run
from sim.study.sweep import Workers, resume_study, run_study
from tests.study.studies import kill, start, study, study_file, wait_until, whole_units, workers_of

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc"),
]

SECTIONS = {
    "duration": "1 s",
    "replicates": 20,
    "record": {"detail": "rounds"},
    "sweep": {
        "grid": {
            "validators.count": [4, 5, 6, 7, 8],
            "consensus.min_block_interval": ["30 ms", "40 ms", "50 ms", "60 ms", "70 ms"],
        }
    },
}
UNITS = 500


def runnable(pid: int) -> bool:
    """Whether some thread of a process runs, or would if it had a core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            after_name = (thread / "stat").read_text(encoding="ascii").rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if after_name.split()[0] == "R":
            return True
    return False


def busy_share(pids: list[int], ended: Callable[[], bool]) -> tuple[float, int]:
    """Look at processes every 20 ms until `ended`; return how often one was busy, and the looks."""
    busy = looks = 0
    while not ended():
        busy += sum(runnable(pid) for pid in pids)
        looks += len(pids)
        time.sleep(0.02)
    return busy / looks, looks


def test_a_sweep_keeps_both_cores_busy_and_survives_kills(tmp_path: Path) -> None:
    path, folder = study_file(tmp_path, **SECTIONS), tmp_path / "out" / "study"
    process = start("run", path, "--out", tmp_path / "out", "--workers", 2)
    try:
        wait_until(lambda: len(whole_units(folder)) >= 20, 300)
        workers = [worker.pid for worker in workers_of(process)]
        share, looks = busy_share(workers, lambda: len(whole_units(folder)) >= 150)
        kill(workers_of(process)[0])
        wait_until(lambda: len(whole_units(folder)) >= 200, 900)
        assert len(workers_of(process)) == 2
    finally:
        kill(process)
        process.communicate(timeout=60)
    (run_path,) = (each for each in folder.iterdir() if each.name != "latest")
    assert open_run(run_path).state == "died"
    kept = len(whole_units(run_path))
    outcome = resume_study(run_path, workers=Workers(count=2))
    supervision = open_run(run_path).summary["supervision"]
    serial = run_study(study(tmp_path, **SECTIONS), tmp_path / "serial", workers=Workers(count=0))
    print(
        f"\n{UNITS} runs on 2 workers: busy in {share:.1%} of {looks} looks (load "
        f"{os.getloadavg()[0]:.1f}); {kept} kept after the parent was killed, then slots had work "
        f"{supervision['occupancy_ppm'] / 10_000:.1f} % of the time; digest {outcome.digest[:16]}"
    )
    assert outcome.state == "complete"
    assert supervision["units_kept"] == kept
    assert len(outcome.results) == UNITS
    assert outcome.digest == serial.digest
    assert share > 0.85
