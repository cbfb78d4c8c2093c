"""A sweep of 5 x 5 points and 20 replicates: how busy it keeps the cores, and what kills cost it.

Busy is what the kernel says of each worker's main thread (`schedstat`): time on a core plus time
that it was ready and waited for one. On a machine that others use too, neither wall clock nor CPU
time alone would tell a worker that idles from one that has to queue.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sim.record.runs import open_run
from sim.study.sweep import Workers, resume_study, run_study
from tests.study.studies import kill, start, study, study_file, wait_until, whole_units, workers_of

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux schedstat"),
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


def busy_ns(pid: int) -> int:
    """Time that a process's main thread ran or was ready to, since it began."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    return int(ran) + int(waited)


def test_a_sweep_keeps_both_cores_busy_and_survives_kills(tmp_path: Path) -> None:
    path, folder = study_file(tmp_path, **SECTIONS), tmp_path / "out" / "study"
    process = start("run", path, "--out", tmp_path / "out", "--workers", 2)
    try:
        wait_until(lambda: len(whole_units(folder)) >= 20, 300)
        workers = [worker.pid for worker in workers_of(process)]
        before, since = sum(map(busy_ns, workers)), time.monotonic_ns()
        wait_until(lambda: len(whole_units(folder)) >= 150, 900)
        wall_ns = time.monotonic_ns() - since
        share = (sum(map(busy_ns, workers)) - before) / (wall_ns * len(workers))
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
        f"\n{UNITS} runs on 2 workers: each busy {share:.1%} of the time (load "
        f"{os.getloadavg()[0]:.1f}); {kept} kept after the parent was killed, then slots had work "
        f"{supervision['occupancy_ppm'] / 10_000:.1f} % of the time; digest {outcome.digest[:16]}"
    )
    assert outcome.state == "complete"
    assert supervision["units_kept"] == kept
    assert len(outcome.results) == UNITS
    assert outcome.digest == serial.digest
    assert share > 0.85
