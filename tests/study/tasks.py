"""Work for supervised workers: what goes well, and what does not. Importable by a fresh process."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """`act`: what the worker does before it answers with `number`."""

    number: int
    act: str = "answer"
    mark: Path | None = None


def work(task: Task) -> tuple[int, int]:
    """Return the number and the worker's process id, or misbehave."""
    if task.act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.act == "die once":
        assert task.mark is not None
        if not task.mark.exists():
            task.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if task.act == "hang":
        time.sleep(600)
    if task.act == "wait":
        time.sleep(0.3)
    if task.act == "raise":
        raise ValueError(f"number {task.number} is refused")
    if task.act == "disk full":
        raise OSError(28, "No space left on device", "somewhere")
    return task.number, os.getpid()
