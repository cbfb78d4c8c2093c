"""`verify`: show that a run's datasets are what its scenario and seed give, whoever runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sim.cli.outcome import FAILED, INCONCLUSIVE, INTERNAL, MET, complain
from sim.record.compare import check_digests, compare_digests
from sim.record.machine import versions
from sim.record.runs import Run, open_run

HASH_SEED = "4211"
"""PYTHONHASHSEED of the second run: fixed, and unlike the usual random or zero one."""


def verify_run(path: Path) -> int:
    """Compare a run with its files and with a second run; return the exit code."""
    run = open_run(path)
    if run.replay_of is not None:
        complain(f"{path}: a replay, compared with its run when it was made; verify that run")
        return INCONCLUSIVE
    if run.state != "complete":
        complain(f"{path}: the run is {run.state}; only a complete run can be verified")
        return INCONCLUSIVE
    changed = check_digests(run)
    for difference in changed:
        print(f"file and manifest differ: {difference}")
    if changed:
        return FAILED
    other = _other_versions(run)
    for line in other:
        print(f"made with other versions: {line}")
    rows = sum(table.rows for table in run.digests().values())
    print(f"{len(run.digests())} tables, {rows:,} rows: files are what the manifest says")
    with tempfile.TemporaryDirectory(prefix="creto-sim-verify-") as folder:
        again = _run_again(run, Path(folder))
        if again is None:
            return INTERNAL
        differences = compare_digests(run, again)
        for difference in differences:
            print(f"runs differ: {difference}")
        if differences:
            # Equal digests are promised for equal versions only.
            return INCONCLUSIVE if other else FAILED
    print(f"run again in a fresh process: every digest equal, {run.digest}")
    return MET


def _other_versions(run: Run) -> list[str]:
    """Return what differs between the versions that made `run` and those here."""
    then, now = run.manifest["versions"], versions()
    return [
        f"{name} {then.get(name, 'none')[:16]}, here {now.get(name, 'none')[:16]}"
        for name in sorted({**then, **now})
        if then.get(name) != now.get(name)
    ]


def _run_again(run: Run, folder: Path) -> Run | None:
    """Run the scenario of `run` in another process, under another hash seed."""
    scenario = folder / "scenario.yaml"
    scenario.write_text(run.scenario_text, encoding="utf-8")
    command = [sys.executable, "-m", "sim", "run", str(scenario), "--quiet", "--out", str(folder)]
    environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = ended.stdout.splitlines()
    if not lines or not Path(lines[-1]).is_dir():
        complain(f"the second run failed with exit code {ended.returncode}:\n{ended.stderr}")
        return None
    return open_run(lines[-1])
