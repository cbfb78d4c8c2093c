"""Shared kernels: against simple twins, and stations against closed forms of queueing theory."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world import kernels
from sim.world.agents.offered.kernels import alias_table
from sim.world.agents.state import MESSAGE_ROW, line_block
from sim.world.chance import interpolate, mix
from sim.world.network.jitter import shape_table

ENDS, LOST = 0, 1
ROUTE = (ENDS, LOST, 7, 8)


def serve(
    arrivals: list[int], works: list[int], servers: int, limit: int, cut_ns: tuple[int, ...]
) -> tuple[list[int | None], kernels.Stations]:
    """Run jobs through one station in slices that end at `cut_ns`; return each job's end."""
    count = len(arrivals)
    row = np.zeros(count, dtype=MESSAGE_ROW)
    row["ident"], row["work_ns"] = np.arange(count), works
    stations = kernels.idle_stations(1, servers, limit)
    lines = line_block(2, count + 1)
    down = np.zeros(1, dtype=np.uint8)
    t0 = 0
    for t1 in cut_ns:
        keys = np.array(
            sorted((t - t0) << 32 | i for i, t in enumerate(arrivals) if t0 < t <= t1), np.int64
        )
        kernels.station_pass(keys, len(keys), t0, t1, stations, row, down, lines, ROUTE)
        t0 = t1
    ends: list[int | None] = [None] * count
    for entry in lines.due[ENDS, : lines.size[ENDS]]:
        ends[int(entry["slot"])] = int(entry["time_ns"])
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


def erlang_c(servers: int, load: float) -> float:
    """Probability that an arrival waits in M/M/c; `load` in erlangs."""
    below = sum(load**k / math.factorial(k) for k in range(servers))
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (below + last)


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
        expected = rho / (2 * (1 - rho)) * mean_work
    else:
        expected = erlang_c(servers, servers * rho) * mean_work / (servers * (1 - rho))
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
    """Slices below 2**31 ns, as keys demand, and one after the last end."""
    end = int(arrivals[-1]) + 10**9
    return (*range(10**8, end, 10**8), end)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(st.lists(st.integers(1, 10**8), min_size=1, max_size=300))
def test_radix_sort_is_stable_and_right(times: list[int]) -> None:
    keys = np.array([t << 32 | i for i, t in enumerate(times)], dtype=np.int64)
    expected = sorted(keys.tolist(), key=lambda key: key >> 32)
    for form in (kernels.sort_by_time, kernels.sort_by_time.py_func):
        found = keys.copy()
        form(found, len(found), 10**8, np.zeros(len(found) + kernels.DIGITS, dtype=np.int64))
        assert found.tolist() == expected


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_ties_go_by_ident_and_attempt(jobs: list[tuple[int, int, int]]) -> None:
    row = np.zeros(len(jobs) + 1, dtype=MESSAGE_ROW)
    for i, (_, ident, attempt) in enumerate(jobs):
        row[i]["ident"], row[i]["attempt"] = ident, attempt
    keys = np.array(sorted(job[0] << 32 | i for i, job in enumerate(jobs)), dtype=np.int64)
    kernels.order_ties(keys, len(keys), row)
    order = [jobs[key & kernels.SLOT] for key in keys.tolist()]
    assert order == sorted(jobs)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**62), st.integers(0, 2**40))
def test_compiled_hash_equals_chance(key: int, a: int, b: int) -> None:
    bits = kernels.mix64(np.uint64(key), a, b)
    assert int(bits) == mix(key, a, b)
    with np.errstate(over="ignore"):
        # `np.uint64` of a Python integer: the interpreted twin, wrapping as C does.
        assert int(kernels.mix64.py_func(np.uint64(key), a, b)) == mix(key, a, b)
    shape = np.array(shape_table(), dtype=np.int64)
    assert kernels.interpolate64(shape, np.uint64(bits)) == interpolate(shape.tolist(), int(bits))


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


def test_lines_that_are_due_leave_in_place_what_is_not() -> None:
    lines = line_block(2, 8)
    for time_ns, slot in ((50, 1), (10, 2), (99, 3), (30, 4)):
        kernels.push(lines, 1, time_ns, slot)
    keys = np.zeros(8, dtype=np.int64)
    assert kernels.take_due(lines, 1, 5, 50, keys) == 3
    assert [(k >> 32, k & kernels.SLOT) for k in keys[:3].tolist()] == [(45, 1), (5, 2), (25, 4)]
    assert lines.size.tolist() == [0, 1]
    assert tuple(lines.due[1, 0].tolist()) == (99, 3)
