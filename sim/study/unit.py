"""One unit of a study: one replicate of one point, simulated by some worker into one folder.

Owns: what a worker is sent and does. A unit's folder appears whole, by one rename, with its
`result.json` inside; whatever a dying worker leaves lies in the study's staging folder. Must not
know: who else runs, nor how often a unit is tried.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from sim.engine.run import Place, Progress, Stop, replicate
from sim.record.results import StoredResult, read_result
from sim.record.store import sync_folder
from sim.scenario.model import Scenario

STAGING = ".staging"
"""Folder of a study for what is not whole yet."""
_REPORT_EVERY_S = 1.0


class UnitError(Exception):
    """A unit that has no result, and why; one text, so that it survives the way to the parent."""


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What a worker is sent. `study`: its directory, absolute; `folder`: the unit's, relative.

    Two units are equal only where they are one object, which is what supervision counts by.
    """

    scenario: Scenario
    place: Place
    study: Path
    folder: Path
    time_limit_s: float | None = None

    @property
    def name(self) -> str:
        return f"{self.place.point}-{self.place.replicate}"

    @property
    def progress_file(self) -> Path:
        """Where the worker says how far it is."""
        return self.study / STAGING / f"{self.name}.json"


def warm_up() -> None:
    """Set what is imported aside for good: each unit would search it for garbage again.

    This module imports all that units need, so that the first one does not pay for that either. A
    full collection takes 30 to 60 ms with the imports, a third of what four validators take for a
    simulated second.
    """
    gc.collect()
    gc.freeze()


def simulate_unit(unit: Unit) -> StoredResult:
    """Simulate, publish the folder, return its result.

    Raises OSError where the disk does not take it, UnitError for all else. A unit that was
    published before (its worker died between that and its answer) is returned as it is.
    """
    target = unit.study / unit.folder
    if not (unit.study / "manifest.json").is_file():
        raise OSError(
            errno.ENOENT,
            "this worker does not see the study's folder: put --out where all workers do",
            str(unit.study),
        )
    found = read_result(target)
    if found is not None:
        return found
    staging = unit.study / STAGING / f"{unit.name}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        replicate(unit.scenario, staging, unit.place, _Reporter(unit), Stop())
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging, target)
        sync_folder(target.parent)
        found = read_result(target)
        assert found is not None
    except (OSError, UnitError):
        raise
    except Exception as error:
        raise UnitError(_account(error)) from None
    finally:
        unit.progress_file.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
    return found


def _account(error: Exception) -> str:
    """Say what went wrong and where, in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = "/".join(Path(frame.filename).parts[-3:])
    return f"{type(error).__name__}: {error} ({where}:{frame.lineno})"


class _Reporter:
    """Write how far a unit is, once a second, and end it when its time is over."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.started = time.monotonic()
        self.last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        limit = self.unit.time_limit_s
        if limit is not None and now - self.started > limit:
            reached = progress.simulated_ns / 1e9
            raise UnitError(f"longer than its time limit, {limit:g} s: at {reached:g} s simulated")
        if now - self.last < _REPORT_EVERY_S:
            return
        self.last = now
        figures = {"simulated_ns": progress.simulated_ns, "duration_ns": progress.duration_ns}
        temporary = self.unit.progress_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(figures), encoding="utf-8")
        os.replace(temporary, self.unit.progress_file)


def simulated_ns_of(unit: Unit) -> int:
    """Return the simulated time that a running unit has reached, 0 where it has not said."""
    try:
        return int(json.loads(unit.progress_file.read_text(encoding="utf-8"))["simulated_ns"])
    except (OSError, ValueError, KeyError):
        return 0
