"""How many units may run at once on this machine: cores, and memory that is there.

Owns: that answer, before the first unit and after each. Must not know: how units are run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sim.scenario.estimate import least_memory_bytes, machine_memory_bytes
from sim.scenario.model import Scenario

OVER_LEAST = 5.0
"""Memory of a run over the least that it needs, before any has run: `scenarios/million_agents.yaml`
takes 946 MiB (README.md), where its process and its agents' columns are 210."""


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
    """How many units fit into memory: by a rule of thumb first, by what units took later.

    What is learned is the ratio of memory taken to the least that the unit's scenario needs, so
    that small points of a sweep tell of large ones.
    """

    def __init__(self, scenarios: Sequence[Scenario], available_bytes: int) -> None:
        self.least_bytes = max(least_memory_bytes(scenario) for scenario in scenarios)
        self.available_bytes = available_bytes
        self._ratio = 0.0

    def saw(self, scenario: Scenario, peak_bytes: int) -> None:
        """Take note of the memory that a unit's process took."""
        self._ratio = max(self._ratio, peak_bytes / least_memory_bytes(scenario))

    def units(self) -> int:
        """Return how many units fit now; at least one, which may then fail by itself."""
        each = self.least_bytes * (self._ratio or OVER_LEAST)
        return max(1, int(self.available_bytes / each))

    def most(self) -> int:
        """Return how many units could ever fit."""
        return max(1, self.available_bytes // self.least_bytes)
