"""What a run will need at least, before it starts.

Owns: lower bounds of memory from the scenario's sizes, so that what is refused could not have run.
Must not know: how the parts are built; it reads the widths of the agents' columns from their types.
"""

from __future__ import annotations

import os
import typing
from functools import cache

import numpy as np

from sim.scenario.model import Scenario

PROCESS_BYTES = 160 << 20
"""Python with the libraries of a run loaded: 165 to 190 MiB resident (CPython 3.11, x86-64)."""


@cache
def agent_bytes() -> int:
    """Return the bytes of one agent: the widths of all columns of the population."""
    from sim.world.agents.population import Population

    total = 0
    for hint in typing.get_type_hints(Population).values():
        arguments = typing.get_args(hint)
        if typing.get_origin(hint) is np.ndarray and len(arguments) == 2:
            (scalar,) = typing.get_args(arguments[1])
            if isinstance(scalar, type) and issubclass(scalar, np.generic):
                total += np.dtype(scalar).itemsize
    return total


def least_memory_bytes(scenario: Scenario) -> int:
    """Return the memory that a run needs at the very least: the process and its agents.

    Messages under way, validators and tables come on top; they are bounded and far smaller at the
    sizes where memory runs out.
    """
    agents = 0 if scenario.agents is None else scenario.agents.count
    return PROCESS_BYTES + agents * agent_bytes()


def machine_memory_bytes() -> int:
    """Return the physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_shortage(scenario: Scenario, available_bytes: int) -> str | None:
    """Say why no run of `scenario` fits into `available_bytes`, or return None."""
    largest = max((point.scenario for point in scenario.points()), key=least_memory_bytes)
    needed = least_memory_bytes(largest)
    if needed <= available_bytes:
        return None
    agents = 0 if largest.agents is None else largest.agents.count
    return (
        f"agents.count: {agents:,} agents need at least {needed / 2**30:.1f} GiB, this machine has "
        f"{available_bytes / 2**30:.1f} GiB: run fewer agents, or a larger machine"
    )
