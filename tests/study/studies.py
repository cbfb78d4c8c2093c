"""Small studies for the tests: a cluster of four or seven, half a second of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from tests.engine.worlds import scenario_text, written

ROOT = Path(__file__).resolve().parent.parent.parent


def study(folder: Path, **sections: Any) -> Scenario:
    """Load a study: `sections` over the base of the engine's tests."""
    return load_scenario(study_file(folder, **sections))


def study_file(folder: Path, **sections: Any) -> Path:
    """Write a study's scenario where a process can load it."""
    whole = {"duration": "500 ms", "expect": [{"safety": "held"}], **sections}
    return written(folder, scenario_text(**whole), "study")


def command_line(*words: object) -> list[str]:
    """Return the command for a process of its own."""
    return [sys.executable, "-m", "sim", *(str(word) for word in words)]


def start(*words: object) -> subprocess.Popen[str]:
    """Start `creto-sim` in a process group of its own."""
    return subprocess.Popen(
        command_line(*words),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition; fail where it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def whole_units(folder: Path) -> list[Path]:
    """Return the result files of a study, or of the one study of a scenario, in order."""
    runs = [path for path in folder.glob("*/") if (path / "manifest.json").exists()]
    (run,) = [path for path in runs if not path.is_symlink()] or [folder]
    # Not by `**`: folders that come and go under a live study would break it.
    return sorted(
        [*run.glob("replicate=*/result.json"), *run.glob("point=*/replicate=*/result.json")]
    )


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the worker processes of a study: the spawned children that simulate."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def kill(process: psutil.Process | subprocess.Popen[str]) -> None:
    """End one process, which a test started, without warning."""
    os.kill(process.pid, signal.SIGKILL)
