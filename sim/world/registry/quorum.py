"""How many replicas must agree, and how long their agreement takes.

Owns: the size of a quorum and the wait for it, for one question and for many.
Must not know: where replicas are, how round trips are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.world.registry import kernels

I64 = NDArray[np.int64]

DOWN_NS = -1
"""In a row of round trips: the replica is down and does not answer."""


def quorum_size(replicas: int) -> int:
    """Return floor(r / 2) + 1: any two quorums of r replicas share one."""
    if replicas < 1:
        raise ValueError(f"replicas: {replicas}; a shard has one or more")
    return replicas // 2 + 1


def quorum_wait_ns(round_trips_ns: Sequence[int], replicas: int) -> int | None:
    """Return how long a coordinator waits for its quorum, or None if it never meets.

    It counts itself, so it waits for the q - 1 fastest answers of the others: the (q - 1)-th
    smallest of `round_trips_ns` (service at the replica included), which has a figure for each
    other replica, `DOWN_NS` for one that is down. `replicas`: r, whether up or not.
    """
    needed = quorum_size(replicas) - 1
    if needed == 0:
        return 0
    answers = sorted(trip for trip in round_trips_ns if trip != DOWN_NS)
    return answers[needed - 1] if len(answers) >= needed else None


def quorum_waits_ns(round_trips_ns: I64, replicas: int) -> I64:
    """Answer `quorum_wait_ns` for each row of int64[n, others]; -1 where no quorum meets."""
    trips = np.array(round_trips_ns, dtype=np.int64, order="C")
    waits = np.zeros(len(trips), dtype=np.int64)
    kernels.quorum_waits(trips, quorum_size(replicas) - 1, waits)
    return waits
