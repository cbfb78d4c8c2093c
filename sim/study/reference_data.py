"""The small data that the notebooks read, and how it is made: `python -m sim.study.reference_data`.

Owns: which runs and studies there are, and what is kept of each so that all together stay small.
Must not know: what notebooks show. A run keeps its manifest, whose digest the tests find again by
running its scenario; what takes minutes to find again (capacity) is compared by its scenario.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sim.record.runs import Run, open_run
from sim.record.store import write_frame
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.study import baselines, dht
from sim.study.capacity import Plan as CapacityPlan
from sim.study.capacity import measure_capacity
from sim.study.phase import frame, phase_diagram
from sim.study.sweep import Workers, run_study
from sim.study.validation.worlds import growths

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks" / "data"
ONE = Workers(count=1)
SEED = 1
PHASE_VALIDATORS = 10
CAPACITY = "capacity"
_ALWAYS = ("result.json",)
_WHOLE = ("manifest.json", "scenario.yaml", "runs.parquet", "summary.json", "DONE")


@dataclass(frozen=True, slots=True)
class Reference:
    """A run or study. `scenario`: from the repository's root; `tables`: what is kept of it."""

    scenario: str
    tables: tuple[str, ...] = ()

    def load(self) -> Scenario:
        return load_scenario(ROOT / self.scenario)


def _threat(name: str, *tables: str) -> Reference:
    return Reference(f"scenarios/threats/{name}.yaml", tables)


RUNS: dict[str, Reference] = {
    "first_run": Reference(
        "scenarios/smoke.yaml",
        ("blocks", "epochs", "traffic", "latency", "stations", "validators", "levels"),
    ),
    "split": _threat("split_above_each_limit", "blocks", "forks", "evidence"),
    "sybil_additive": _threat("sybil_additive", "validators", "faults"),
    "sybil_stake_multiplied": _threat("sybil_stake_multiplied", "validators", "faults"),
    "double_voting": _threat("double_voting", "epochs", "levels", "validators", "blocks", "faults"),
    "equivocation": _threat("equivocation"),
    "withheld_votes": _threat("withheld_votes"),
    "timeout_spam": _threat("timeout_spam"),
    "slow_leaders": _threat("slow_leaders"),
    "lazy_votes": _threat("lazy_votes"),
    "invalid_signature_flood": _threat("invalid_signature_flood"),
    "registry_storm": Reference("scenarios/registry_storm.yaml", ("registry", "latency")),
    "sensitivity": Reference("notebooks/data/sensitivity.yaml"),
}


def phase() -> pl.DataFrame:
    """Simulate the phase diagram of ten validators, both outcomes, three runs a cell."""
    cells = [
        cell
        for outcome in ("safety_violated", "halted")
        for cell in phase_diagram(outcome, PHASE_VALIDATORS, runs=3, seed=SEED)
    ]
    return frame(cells)


def depth() -> pl.DataFrame:
    """Measure lookups' depth in id spaces of 2^10 to 2^13."""
    return dht.depth(dht.Plan(nodes=1 << 13, lookups=5_000, replicates=3, seed=SEED))


def hierarchy() -> pl.DataFrame:
    """Measure flat against hierarchical tables of 10,000 nodes."""
    return dht.hierarchy(dht.Plan(nodes=10_000, lookups=5_000, replicates=4, seed=SEED))


def protocols() -> pl.DataFrame:
    """Measure messages, bytes and latency a block of all protocols, 4 to 64 validators."""
    plan = baselines.Plan(sizes=(4, 8, 16, 32, 64), seed=SEED)
    return pl.DataFrame(list(baselines.compare(plan)))


FRAMES: dict[str, Callable[[], pl.DataFrame]] = {
    "phase": phase,
    "dht_depth": depth,
    "dht_hierarchy": hierarchy,
    "baselines": protocols,
    "growth": growths,
}


def simulate(name: str, out: Path, workers: Workers = ONE) -> Run:
    """Run a reference again, below `out`."""
    return open_run(run_study(RUNS[name].load(), out, workers=workers).path)


def keep(run: Run, name: str, folder: Path) -> None:
    """Put what is kept of a run into `folder`/`name`, in place of what was there."""
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in _WHOLE:
        shutil.copy(run.path / file, target / file)
    wanted = [*_ALWAYS, *(f"{table}.parquet" for table in RUNS[name].tables)]
    for place in run.replicates():
        source = run.folder(*place)
        inside = target / source.relative_to(run.path)
        inside.mkdir(parents=True)
        for file in wanted:
            if (source / file).is_file():
                shutil.copy(source / file, inside / file)


def find_capacity(folder: Path, workers: Workers = ONE) -> None:
    """Search the capacity of the main job and keep its tables: about ten minutes of CPU."""
    scenario = load_scenario(ROOT / "scenarios" / "million_agents.yaml")
    plan = CapacityPlan(
        of="load", replicates=1, duration_ns=scenario.duration_ns, precision_ppm=150_000
    )
    with tempfile.TemporaryDirectory() as out:
        found = measure_capacity(scenario, plan, out, workers=workers)
        keep_capacity(found.path, folder)


def keep_capacity(source: Path, folder: Path) -> None:
    """Copy a search without its trials."""
    target = folder / CAPACITY
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.suffix in (".json", ".yaml", ".parquet") or file.name == "DONE":
            shutil.copy(file, target / file.name)


def main(names: Sequence[str]) -> None:
    """Make the references that are named, or all of them."""
    known = [*RUNS, *FRAMES, CAPACITY]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: know {', '.join(known)}")
    for name in names or known:
        if name in RUNS:
            with tempfile.TemporaryDirectory() as out:
                keep(simulate(name, Path(out)), name, FOLDER)
        elif name in FRAMES:
            write_frame(FOLDER / f"{name}.parquet", FRAMES[name]())
        else:
            find_capacity(FOLDER)
        print(f"made {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
