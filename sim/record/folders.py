"""Folders of runs: a new one for each run, and `latest` beside them.

Owns: their making. Must not know: what is in one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sim.record.store import sync_folder


def fresh_folder(parent: Path, stem: str) -> Path:
    """Make a folder that was not there; a second run in one second gets a number."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10_000):
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        sync_folder(parent)
        return path
    raise FileExistsError(f"{parent.name}: 9,999 runs of one scenario in one second")


def point_latest(path: Path) -> None:
    """Let `latest` beside the run name it; a file system without links does without."""
    link = path.parent / "latest"
    temporary = path.parent / f".latest.{path.name}"
    with contextlib.suppress(OSError):
        temporary.symlink_to(path.name, target_is_directory=True)
        os.replace(temporary, link)
