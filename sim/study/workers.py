"""How many units may run at once on this machine: cores, and memory that is there.

Owns: that answer, before the first unit and after each. Must not know: how units are run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sim.scenario.estimate import least_memory_bytes, machine_memory_bytes
from sim.scenario.model import Scenario

OVER_LEAST = 2
"""Memory of a run over the least that its columns need: `scenarios/million_agents.yaml` takes 946
MiB (README.md) where 410 MiB are certain, seven validators without agents 175 where 160 are."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory_bytes() -> int:
    """Return the memory that is free here, the limit of a container included."""
    free = machine_memory_bytes()
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return free
    return min(free, max(0, limit - used))


class MemoryBudget:
    """How many units fit into memory: by estimate first, by the largest one seen later."""

    def __init__(self, scenarios: Sequence[Scenario], available_bytes: int) -> None:
        largest = max(least_memory_bytes(scenario) for scenario in scenarios)
        self.available_bytes = available_bytes
        self.unit_bytes = OVER_LEAST * largest
        self._seen_bytes = 0

    def saw(self, peak_bytes: int) -> None:
        """Take note of the memory that the process of a unit took."""
        self._seen_bytes = max(self._seen_bytes, peak_bytes)

    def units(self) -> int:
        """Return how many units fit; at least one, which may then fail by itself."""
        each = max(self.unit_bytes, self._seen_bytes)
        return max(1, self.available_bytes // each)
