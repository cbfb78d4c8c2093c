"""Compiled kernels that several worlds share: keyed draws, ordering, c-server FIFO stations.

Owns: what arrays cannot say and every stage needs. Each function is plain Python under `njit`, so
`.py_func` is its interpreted twin; unsigned arithmetic stays in uint64 throughout.
Must not know: agents, kinds of messages, reasons.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

I64 = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_36, _52 = np.uint64(36), np.uint64(52)
_FRACTION = np.uint64(0xFFFF)
_ONE = np.uint64(1)
_PPB = np.uint64(1_000_000_000)
_SLOT = np.int64((1 << 32) - 1)
PPM = 1_000_000


@njit(cache=True, inline="always")
def mix64(key: Any, a: Any, b: Any) -> Any:
    """`chance.mix` on uint64 `key` and non-negative integers below 2**63."""
    z = key ^ ((np.uint64(a) + _ONE) * _GOLDEN)
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    z = (z ^ (z >> _31)) + (np.uint64(b) + _ONE) * _GOLDEN
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    return z ^ (z >> _31)


@njit(cache=True, inline="always")
def interpolate64(table: Any, bits: Any) -> Any:
    """`chance.interpolate` on an int64 table of 4,097 entries."""
    cell = np.int64(bits >> _52)
    low = table[cell]
    return low + (((table[cell + 1] - low) * np.int64((bits >> _36) & _FRACTION)) >> 16)


@njit(cache=True, inline="always")
def jittered64(median_ns: Any, spread_ns: Any, shape: Any, bits: Any) -> Any:
    """One-way delay: max(1, median + (spread x quantile >> 20))."""
    return max(1, median_ns + ((spread_ns * interpolate64(shape, bits)) >> 20))


@njit(cache=True, inline="always")
def below64(bits: Any, ppb: Any) -> Any:
    """Say whether an event of probability `ppb` / 10**9 happens."""
    return np.int64(((bits >> _32) * _PPB) >> _32) < ppb


@njit(cache=True, inline="always")
def scaled64(bits: Any, bound: Any) -> Any:
    """Map 64 uniform bits to 0 .. bound - 1 (bound below 2**31)."""
    return np.int64(((bits >> _32) * np.uint64(bound)) >> _32)


class Pending(NamedTuple):
    """What will happen: `time_ns[i]` to slot `slot[i]`, for i below `size[0]`, in no order."""

    time_ns: I64
    slot: NDArray[np.int32]
    size: I64


@njit(cache=True, inline="always")
def push(pending: Any, time_ns: Any, slot: Any) -> None:
    """Append; the caller has made room."""
    n = pending.size[0]
    pending.time_ns[n] = time_ns
    pending.slot[n] = slot
    pending.size[0] = n + 1


@njit(cache=True)
def take_due(pending: Any, t0: int, t1: int, keys: Any) -> int:
    """Move what happens in (t0, t1] to `keys` as (time - t0) << 32 | slot; return how many."""
    times, slots = pending.time_ns, pending.slot
    due = 0
    kept = 0
    for i in range(pending.size[0]):
        t = times[i]
        if t <= t1:
            keys[due] = ((t - t0) << 32) | slots[i]
            due += 1
        else:
            times[kept] = t
            slots[kept] = slots[i]
            kept += 1
    pending.size[0] = kept
    return due


@njit(cache=True)
def order_ties(keys: Any, count: int, ident: Any, attempt: Any) -> None:
    """Order sorted keys of equal time by (ident, attempt) of their slots, in place.

    Insertion sort: runs are short, or nearly in order because slots are handed out in order.
    """
    i = 1
    while i < count:
        if keys[i] >> 32 != keys[i - 1] >> 32:
            i += 1
            continue
        start = i - 1
        while i < count and keys[i] >> 32 == keys[start] >> 32:
            key = keys[i]
            slot = key & _SLOT
            j = i - 1
            while j >= start:
                other = keys[j] & _SLOT
                if ident[other] < ident[slot] or (
                    ident[other] == ident[slot] and attempt[other] <= attempt[slot]
                ):
                    break
                keys[j + 1] = keys[j]
                j -= 1
            keys[j + 1] = key
            i += 1


class Jobs(NamedTuple):
    """What a station must know of each slot: its own arrival, work, place, and a FIFO link."""

    arrival_ns: I64
    work_ns: I64
    station: NDArray[np.int32]
    following: NDArray[np.int32]
    """Next in the same waiting line; -1 at its end."""


class Stations(NamedTuple):
    """State of S stations of one class. `free_ns`: int64[S, c], each row a heap, least first."""

    free_ns: I64
    head: NDArray[np.int32]
    tail: NDArray[np.int32]
    waiting: I64
    limit: I64
    """One entry: most jobs that may wait at a station."""
    factor_ppm: I64
    served: I64
    busy_ns: I64
    waited_ns: I64
    queue_max: I64
    dropped: I64


def stations(count: int, servers: int, limit: int) -> Stations:
    """Return `count` idle stations."""

    def zeros() -> I64:
        return np.zeros(count, dtype=np.int64)

    return Stations(
        free_ns=np.zeros((count, servers), dtype=np.int64),
        head=np.full(count, -1, dtype=np.int32),
        tail=np.full(count, -1, dtype=np.int32),
        waiting=zeros(),
        limit=np.array([limit], dtype=np.int64),
        factor_ppm=np.full(count, PPM, dtype=np.int64),
        served=zeros(),
        busy_ns=zeros(),
        waited_ns=zeros(),
        queue_max=zeros(),
        dropped=zeros(),
    )


@njit(cache=True)
def begin(st: Any, s: int, jobs: Any, slot: int, start_ns: int, ends: Any) -> None:
    """Start a job on the server that is free first; its end goes to `ends`."""
    service = jobs.work_ns[slot]
    factor = st.factor_ppm[s]
    if factor != PPM:
        service = service * factor // PPM
    service = max(1, service)
    end = start_ns + service
    free = st.free_ns[s]
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
    st.served[s] += 1
    st.busy_ns[s] += service
    st.waited_ns[s] += start_ns - jobs.arrival_ns[slot]
    push(ends, end, slot)


@njit(cache=True)
def start_waiting(st: Any, s: int, jobs: Any, upto_ns: int, ends: Any) -> None:
    """Start the waiting jobs of a station whose turn comes by `upto_ns`."""
    while st.waiting[s] > 0 and st.free_ns[s, 0] <= upto_ns:
        slot = st.head[s]
        st.head[s] = jobs.following[slot]
        st.waiting[s] -= 1
        begin(st, s, jobs, slot, max(st.free_ns[s, 0], jobs.arrival_ns[slot]), ends)


@njit(cache=True)
def offer(st: Any, s: int, jobs: Any, slot: int, t: int, ends: Any) -> bool:
    """Let a job arrive at `t`: it starts, waits, or (False) is refused by a full line."""
    if st.waiting[s] > 0:
        start_waiting(st, s, jobs, t, ends)
    jobs.arrival_ns[slot] = t
    line = st.waiting[s]
    if line == 0 and st.free_ns[s, 0] <= t:
        begin(st, s, jobs, slot, t, ends)
        return True
    st.queue_max[s] = max(st.queue_max[s], line)
    if line >= st.limit[0]:
        st.dropped[s] += 1
        return False
    jobs.following[slot] = -1
    if line == 0:
        st.head[s] = slot
    else:
        jobs.following[st.tail[s]] = slot
    st.tail[s] = slot
    st.waiting[s] = line + 1
    return True


@njit(cache=True)
def start_all_waiting(st: Any, jobs: Any, upto_ns: int, ends: Any) -> None:
    """Start what can start by `upto_ns` at every station."""
    for s in range(len(st.waiting)):
        if st.waiting[s] > 0:
            start_waiting(st, s, jobs, upto_ns, ends)


@njit(cache=True)
def station_pass(
    keys: Any,
    count: int,
    t0: int,
    t1: int,
    st: Any,
    jobs: Any,
    down: Any,
    ends: Any,
    lost: Any,
    reason: Any,
    why: Any,
) -> None:
    """Solve one class of stations for (t0, t1].

    `keys`: arrivals in service order, (time - t0) << 32 | slot. What starts by t1 has its end
    pushed to `ends`. Refused jobs are pushed to `lost` at their arrival, `reason[slot]` set to
    why[0] (station down) or why[1] (line full).
    """
    for i in range(count):
        slot = keys[i] & _SLOT
        t = t0 + (keys[i] >> 32)
        s = jobs.station[slot]
        if down[s]:
            st.dropped[s] += 1
            reason[slot] = why[0]
            push(lost, t, slot)
        elif not offer(st, s, jobs, slot, t, ends):
            reason[slot] = why[1]
            push(lost, t, slot)
    start_all_waiting(st, jobs, t1, ends)


@njit(cache=True)
def alias_columns(scaled: Any, threshold: Any, alias: Any) -> None:
    """Fill Vose's alias table. `scaled`: probabilities times their number; overwritten."""
    n = len(scaled)
    small = np.empty(n, dtype=np.int32)
    large = np.empty(n, dtype=np.int32)
    smalls = 0
    larges = 0
    for i in range(n):
        if scaled[i] < 1.0:
            small[smalls] = i
            smalls += 1
        else:
            large[larges] = i
            larges += 1
    while smalls > 0 and larges > 0:
        smalls -= 1
        low = small[smalls]
        high = large[larges - 1]
        threshold[low] = np.int64(scaled[low] * 4294967296.0)
        alias[low] = high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            larges -= 1
            small[smalls] = high
            smalls += 1
    for i in range(larges):
        threshold[large[i]] = 4294967296
        alias[large[i]] = large[i]
    for i in range(smalls):
        threshold[small[i]] = 4294967296
        alias[small[i]] = small[i]


def alias_table(probabilities: NDArray[np.float64]) -> tuple[I64, NDArray[np.int32]]:
    """Build an alias table: draw column i uniformly, take i if 32 bits < threshold[i].

    Source: M. Vose, "A linear algorithm for generating random numbers with a given
    distribution", IEEE Trans. Software Eng. 17(9), 1991.
    """
    count = len(probabilities)
    threshold = np.empty(count, dtype=np.int64)
    alias = np.empty(count, dtype=np.int32)
    alias_columns(probabilities * count, threshold, alias)
    return threshold, alias
