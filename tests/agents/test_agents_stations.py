"""Shared kernels: against simple twins, and stations against closed forms of queueing theory."""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from sim.study.theory import wait_m_d_1, wait_m_m_c
from sim.world import kernels
from sim.world.agents.kernels import bucket64
from sim.world.agents.offered.kernels import alias_table
from sim.world.agents.state import MESSAGE_ROW, line_block, orders
from sim.world.agents.stations.kernels import (
    Ends,
    Stations,
    arrive,
    idle_stations,
    refused,
    start_waiting,
)
from sim.world.agents.tables import bucket_of
from sim.world.chance import interpolate, mix
from sim.world.network.jitter import shape_table

ENDS = 0


@njit
def solve_station(
    keys: Any, t0: int, t1: int, stations: Any, row: Any, lines: Any, room: Any
) -> int:
    """Run one slice of one station; return how many ends of services `room` holds."""
    station, free = stations.state[0], stations.free_ns[0]
    ends = Ends(room, lines, ENDS, 0, t0, t1)
    n = kernels.take_due(lines, ENDS, t0, t1, room)
    for i in range(len(keys)):
        slot, t = keys[i] & kernels.SLOT, t0 + (keys[i] >> kernels.TIME_SHIFT)
        n = arrive(station, free, row, slot, t, 0, ends, n)
        if n < 0:
            n = refused(n)
    return int(start_waiting(station, free, row, t1, ends, n))


def serve(
    arrivals: list[int], works: list[int], servers: int, limit: int, cut_ns: tuple[int, ...]
) -> tuple[list[int | None], Stations]:
    """Run jobs through one station in slices that end at `cut_ns`; return each job's end."""
    count = len(arrivals)
    row = np.zeros(count, dtype=MESSAGE_ROW)
    row["ident"], row["work_ns"] = np.arange(count), works
    stations = idle_stations(1, servers, limit)
    lines, room = line_block(1, count + 1), np.zeros(count + 1, dtype=np.int64)
    shift, slots = kernels.TIME_SHIFT, kernels.SLOT
    order = sorted(range(count), key=lambda i: (arrivals[i], i))
    ends: list[int | None] = [None] * count
    t0 = 0
    for t1 in cut_ns:
        keys = [(arrivals[i] - t0) << shift | i for i in order if t0 < arrivals[i] <= t1]
        n = solve_station(np.array(keys, np.int64), t0, t1, stations, row, lines, room)
        for key in room[:n].tolist():
            ends[key & slots] = t0 + (key >> shift)
        t0 = t1
    return ends, stations


def simple_station(
    arrivals: list[int], works: list[int], servers: int, limit: int
) -> list[int | None]:
    """The same station, job by job with a heap of servers and a list of start times."""
    free = [0] * servers
    starts: list[int] = []
    ends: list[int | None] = []
    for arrival, work in sorted(zip(arrivals, works, strict=True), key=lambda job: job[0]):
        waiting = sum(start > arrival for start in starts)
        start = max(arrival, free[0])
        if start > arrival and waiting >= limit:
            ends.append(None)
            continue
        heapq.heapreplace(free, start + work)
        starts.append(start)
        ends.append(start + work)
    return ends


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(1, 120)), min_size=1, max_size=40),
    st.integers(1, 5),
    st.integers(0, 6),
    st.sets(st.integers(1, 9_999), max_size=4),
)
def test_station_equals_its_simple_twin(
    jobs: list[tuple[int, int]], servers: int, limit: int, cuts: set[int]
) -> None:
    jobs = sorted(jobs, key=lambda job: job[0])
    arrivals, works = [j[0] for j in jobs], [j[1] for j in jobs]
    ends, state = serve(arrivals, works, servers, limit, (*sorted(cuts), 10_000))
    expected = simple_station(arrivals, works, servers, limit)
    assert ends == expected
    served = [e for e in expected if e is not None]
    assert int(state.state["served"][0]) == len(served)
    assert int(state.state["dropped"][0]) == len(expected) - len(served)


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.6), (2, 0.7), (4, 0.8)])
@pytest.mark.parametrize("law", ["exponential", "constant"])
def test_mean_wait_meets_the_closed_form(servers: int, rho: float, law: str) -> None:
    """M/M/c by Erlang C; M/D/1 by Pollaczek and Khinchine (Kleinrock, Queueing Systems I)."""
    if law == "constant" and servers > 1:
        servers = 1
    mean_work = 100_000
    rng = np.random.default_rng(7)
    gap = mean_work / (servers * rho)
    if law == "constant":
        expected = wait_m_d_1(rho) * mean_work
    else:
        expected = wait_m_m_c(servers, rho) * mean_work
    waits = []
    for _ in range(30):
        arrivals = np.cumsum(np.maximum(rng.exponential(gap, 12_000), 1)).astype(np.int64)
        works = np.full(12_000, mean_work)
        if law == "exponential":
            works = np.maximum(rng.exponential(mean_work, 12_000), 1).astype(np.int64)
        ends, _ = serve(arrivals.tolist(), works.tolist(), servers, 1 << 40, _cuts(arrivals))
        wait = np.array(ends, dtype=np.int64) - works - arrivals
        waits.append(wait[2_000:].mean())
    error = np.std(waits, ddof=1) / math.sqrt(len(waits))
    assert abs(np.mean(waits) - expected) < 4.5 * error
    # The band is narrow enough to tell this station from a wrong one.
    assert error < 0.06 * expected


def _cuts(arrivals: np.ndarray) -> tuple[int, ...]:
    """Slices of a grid cell, and some after the last arrival."""
    return tuple(range(10**8, int(arrivals[-1]) + 10**9, 10**8))


@njit
def ordered(lines: Any, row: Any, t0: int, t1: int, stations: int, order: Any) -> int:
    return int(kernels.take_by_station(lines, 0, row, t0, t1, stations, order))


ENTRY = st.tuples(
    # A few times, so that many coincide; then any.
    st.one_of(st.integers(6, 9), st.integers(6, 10**8 + 50)),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 2),
)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.lists(ENTRY, max_size=300), st.integers(0, 200))
def test_what_is_due_comes_by_station_time_ident_and_attempt(
    jobs: list[tuple[int, int, int, int]], together: int
) -> None:
    """`together` more jobs of one instant and station, youngest first, need the heap."""
    jobs = jobs + [(7, 1, 10**6 - i, 0) for i in range(together)]
    row = np.zeros(len(jobs) + 1, dtype=MESSAGE_ROW)
    lines = line_block(1, len(jobs) + 1)
    for slot, (time_ns, station, ident, attempt) in enumerate(jobs):
        row[slot]["ident"], row[slot]["attempt"] = ident, attempt
        lines.due[0, slot] = (time_ns, slot, station, slot % 3)
    lines.size[0] = len(jobs)
    t0, t1 = 5, 10**8
    order, _ = orders(3, len(jobs) + 1)
    count = ordered(lines, row, t0, t1, 3, order)
    found = [(job, job[0] <= t1) for job in jobs]
    for station in range(3):
        keys = order.keys[order.first[station] : order.first[station + 1]].tolist()
        slots = [key & kernels.SLOT for key in keys]
        assert [jobs[slot] for slot in slots] == sorted(
            job for job, due in found if due and job[1] == station
        )
        for key, slot in zip(keys, slots, strict=True):
            assert t0 + (key >> kernels.TIME_SHIFT) == jobs[slot][0]
            assert (key >> kernels.NOTE_SHIFT) & kernels.NOTES == slot % 3
    assert order.first[3] == count == sum(due for _, due in found)
    left = [int(entry["slot"]) for entry in lines.due[0, : lines.size[0]]]
    assert [jobs[slot] for slot in left] == [job for job, due in found if not due]


@njit
def hashed(key: Any, a: int, b: int) -> Any:
    return kernels.mix64(key, a, b)


@njit
def interpolated(table: Any, bits: Any) -> Any:
    return kernels.interpolate64(table, bits)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**62), st.integers(0, 2**40))
def test_compiled_hash_equals_chance(key: int, a: int, b: int) -> None:
    bits = hashed(np.uint64(key), a, b)
    assert int(bits) == mix(key, a, b)
    with np.errstate(over="ignore"):
        # `np.uint64` of a Python integer: the interpreted twin, wrapping as C does.
        assert int(kernels.mix64.py_func(np.uint64(key), a, b)) == mix(key, a, b)
    shape = np.array(shape_table(), dtype=np.int64)
    assert interpolated(shape, np.uint64(bits)) == interpolate(shape.tolist(), int(bits))


@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=60))
def test_alias_table_holds_the_distribution(weights: list[int]) -> None:
    probabilities = np.array(weights, dtype=np.float64) / sum(weights)
    table = alias_table(probabilities)
    share = np.zeros(len(weights))
    for column, entry in enumerate(table.tolist()):
        threshold, alias = entry >> 31, entry & ((1 << 31) - 1)
        share[column] += threshold / 2**32
        share[alias] += 1 - threshold / 2**32
    assert np.allclose(share / len(weights), probabilities, atol=1e-8)


@njit
def pushed(lines: Any, keys: Any) -> int:
    for time_ns, slot in ((50, 1), (10, 2), (99, 3), (30, 4)):
        kernels.push(lines, 1, time_ns, slot, 7, slot)
    return int(kernels.take_due(lines, 1, 5, 50, keys))


def test_lines_that_are_due_leave_in_place_what_is_not() -> None:
    lines = line_block(2, 8)
    keys = np.zeros(8, dtype=np.int64)
    assert pushed(lines, keys) == 3
    found = [(k >> kernels.TIME_SHIFT, k & kernels.SLOT) for k in keys[:3].tolist()]
    assert found == [(45, 1), (5, 2), (25, 4)]
    assert lines.size.tolist() == [0, 1]
    assert tuple(lines.due[1, 0].tolist()) == (99, 3, 7, 3)


@njit
def bucketed(value: int) -> int:
    return int(bucket64(value))


@pytest.mark.parametrize("top", range(62))
def test_compiled_buckets_equal_plain_ones(top: int) -> None:
    for value in (1 << top, (1 << top) - 1, (1 << top) + (1 << top >> 3) + 1):
        assert bucketed(value) == bucket_of(value)
