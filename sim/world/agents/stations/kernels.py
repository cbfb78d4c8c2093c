"""c-server FIFO stations: jobs arrive in order, start, wait or are refused, and end.

Owns: stations' lines, servers and sums. A job is a row with arrival_ns, work_ns and following; what
ends within the slice is handed to the caller at once, so that it can be taken further while its row
is in the processor's cache. Must not know: what jobs are, what follows a service.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sim.world.chance import I64
from sim.world.kernels import PPM, TIME_SHIFT, inlined, passed, push, records

STATION = np.dtype(
    [
        ("servers", np.int64),
        ("waiting", np.int64),
        ("limit", np.int64),
        ("factor_ppm", np.int64),
        ("served", np.int64),
        ("busy_ns", np.int64),
        ("waited_ns", np.int64),
        ("queue_max", np.int64),
        ("dropped", np.int64),
        ("head", np.int32),
        ("tail", np.int32),
    ],
    align=True,
)
"""One c-server FIFO station; its line is linked through the jobs' `following`, oldest at `head`."""


class Stations(NamedTuple):
    """Stations of one class: state[S], and their servers' free times int64[S, c], each a heap."""

    state: Any
    free_ns: I64


def sums_of(stations: Stations) -> I64:
    """Return a view of the stations' sums, int64[S, 5], in the order of `tables.STATION`."""
    words = np.asarray(stations.state).view(np.int64).reshape(len(stations.state), -1)
    first = int(STATION.fields["served"][1]) // words.itemsize  # type: ignore[index]
    return words[:, first : first + 5]


class Ends(NamedTuple):
    """Where the ends of services go: to `keys` if they fall in the slice, else to a line."""

    keys: I64
    lines: Any
    line: int
    station: int
    t0: int
    t1: int


def idle_stations(count: int, servers: int, limit: int) -> Stations:
    """Return `count` idle stations."""
    state = records(np.zeros(count, dtype=STATION))
    state["servers"], state["limit"], state["factor_ppm"] = servers, limit, PPM
    state["head"] = state["tail"] = -1
    return Stations(state, np.zeros((count, servers), dtype=np.int64))


@inlined
def begin(station: Any, free: Any, job: Any, slot: int, start_ns: int, ends: Any, n: int) -> int:
    """Start a job on the server that is free first; return how many ends the slice has by now."""
    service = job.work_ns
    if station.factor_ppm != PPM:
        service = service * station.factor_ppm // PPM
    service = max(1, service)
    end = start_ns + service
    size = len(free)
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and free[child + 1] < free[child]:
            child += 1
        if free[child] >= end:
            break
        free[i] = free[child]
        i = child
    free[i] = end
    station.served += 1
    station.busy_ns += service
    station.waited_ns += start_ns - job.arrival_ns
    if end <= ends.t1:
        ends.keys[n] = ((end - ends.t0) << TIME_SHIFT) | slot
        return n + 1
    push(ends.lines, ends.line, end, slot, ends.station, 0)
    return n


@passed
def start_waiting(station: Any, free: Any, row: Any, upto_ns: int, ends: Any, n: int) -> int:
    """Start the waiting jobs whose turn comes by `upto_ns`; return how many ends there are."""
    while station.waiting > 0 and free[0] <= upto_ns:
        slot = station.head
        job = row[slot]
        station.head = job.following
        station.waiting -= 1
        n = begin(station, free, job, slot, max(free[0], job.arrival_ns), ends, n)
    return n


@inlined
def arrive(
    station: Any, free: Any, row: Any, slot: int, t: int, down: int, ends: Any, n: int
) -> int:
    """Let a job arrive at `t`: it starts, waits, or is refused by a full line or a dead node.

    Returns how many ends the slice has by now, `refused(of that)` if the job was not taken.
    """
    if down:
        station.dropped += 1
        return -1 - n
    if station.waiting > 0:
        n = start_waiting(station, free, row, t, ends, n)
    job = row[slot]
    job.arrival_ns = t
    waiting = station.waiting
    if waiting == 0 and free[0] <= t:
        return int(begin(station, free, job, slot, t, ends, n))
    station.queue_max = max(station.queue_max, waiting)
    if waiting >= station.limit:
        station.dropped += 1
        return -1 - n
    job.following = -1
    if waiting == 0:
        station.head = slot
    else:
        row[station.tail].following = slot
    station.tail = slot
    station.waiting = waiting + 1
    return n


@inlined
def refused(n: int) -> int:
    """Tell the number of ends from the answer of an `arrive` that took nothing."""
    return -1 - n


@passed
def empty_station(station: Any, free: Any, row: Any, now_ns: int, lines: Any, gone: int) -> None:
    """Push all that waits at a station to line `gone`, and free its servers."""
    slot = station.head
    for _ in range(station.waiting):
        following = row[slot].following
        push(lines, gone, now_ns, slot, 0, 0)
        slot = following
    station.dropped += station.waiting
    station.waiting = 0
    free[:] = now_ns
