"""Stations: exact against a brute-force queue, and against closed forms of queueing theory."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.study.theory import wait_m_d_1, wait_m_m_c
from sim.world.chance import Chance
from sim.world.network.stations import (
    GRID_NS,
    Cpu,
    Lane,
    Link,
    SharedLane,
    serialisation_ns,
)

CUSTOMERS = 400_000
BATCHES = 40


def _poisson_arrivals(rng: np.random.Generator, mean_gap_ns: float) -> list[int]:
    times = np.cumsum(rng.exponential(mean_gap_ns, CUSTOMERS))
    return [int(t) for t in times]


def _assert_mean_wait(waits: list[int], expected_ns: float) -> None:
    """Compare with batch means: waits are correlated, batches of 10,000 nearly are not."""
    steady = np.array(waits[CUSTOMERS // 20 :], float)
    means = np.array([part.mean() for part in np.array_split(steady, BATCHES)])
    error = means.std(ddof=1) / math.sqrt(BATCHES)
    assert abs(means.mean() - expected_ns) < 4.5 * error
    # The band must be narrow enough to mean something.
    assert 4.5 * error < 0.15 * expected_ns


@pytest.mark.parametrize(("workers", "utilisation"), [(1, 0.7), (3, 0.8), (8, 0.85)])
def test_cpu_waits_as_m_m_c_says(workers: int, utilisation: float) -> None:
    rng = Chance(11, workers).stream("test/mmc")
    service_ns = 1_000_000.0
    arrivals = _poisson_arrivals(rng, service_ns / (workers * utilisation))
    services = [int(s) for s in rng.exponential(service_ns, CUSTOMERS)]
    cpu = Cpu(workers)
    waits = [
        cpu.serve(now, service) - service - now
        for now, service in zip(arrivals, services, strict=True)
    ]
    _assert_mean_wait(waits, wait_m_m_c(workers, utilisation) * service_ns)
    assert cpu.served == CUSTOMERS
    assert cpu.busy_ns == sum(services)
    assert cpu.wait_ns == sum(waits)
    assert cpu.longest_wait_ns == max(waits)


@pytest.mark.parametrize("utilisation", [0.5, 0.9])
def test_lane_waits_as_m_d_1_says(utilisation: float) -> None:
    rng = Chance(12, 0).stream("test/md1")
    size_bytes, rate = 4_627, 1_000_000_000
    service_ns = serialisation_ns(size_bytes, rate)
    assert service_ns == 37_016
    arrivals = _poisson_arrivals(rng, service_ns / utilisation)
    lane = Lane(rate)
    waits = [lane.send(now, size_bytes) - service_ns - now for now in arrivals]
    _assert_mean_wait(waits, wait_m_d_1(utilisation) * service_ns)
    assert lane.sent_bytes == CUSTOMERS * size_bytes
    assert lane.busy_ns == CUSTOMERS * service_ns


def _brute_force(workers: int, jobs: list[tuple[int, int]]) -> list[int]:
    """Serve jobs one by one, asking at each start which worker was free first."""
    free = [0] * workers
    ends = []
    for arrival, service in jobs:
        worker = min(range(workers), key=lambda w: free[w])
        free[worker] = max(arrival, free[worker]) + service
        ends.append(free[worker])
    return ends


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), min_size=1, max_size=60),
)
def test_cpu_equals_a_brute_force_queue(workers: int, gaps: list[tuple[int, int]]) -> None:
    jobs, now = [], 0
    for gap, service in gaps:
        now += gap
        jobs.append((now, service))
    cpu = Cpu(workers)
    assert [cpu.serve(*job) for job in jobs] == _brute_force(workers, jobs)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(1, 10**11),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=40),
)
def test_lane_equals_a_brute_force_queue(rate: int, gaps: list[tuple[int, int]]) -> None:
    lane, now, jobs, ends = Lane(rate), 0, [], []
    for gap, size in gaps:
        now += gap
        jobs.append((now, math.ceil(Fraction(size * 8 * 10**9, rate))))
        ends.append(lane.send(now, size))
    assert ends == _brute_force(1, jobs)


def test_serialisation_is_rounded_up() -> None:
    assert serialisation_ns(125, 10**9) == 1_000
    assert serialisation_ns(1, 3 * 10**9) == 3
    assert serialisation_ns(0, 10**9) == 0


def test_copies_leave_one_after_another() -> None:
    lane = Lane(8 * 10**9)
    assert lane.send_copies(100, 1_000, [5, 6, 7]) == [1_100, 2_100, 3_100]
    assert lane.backlog_ns(600) == 2_500
    assert lane.longest_wait_ns == 2_000


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from(["lane", "limited", "shared"]),
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 7)),
        min_size=1,
        max_size=12,
    ),
)
def test_copies_at_once_equal_copies_one_by_one(
    kind: str, rounds: list[tuple[int, int, int]]
) -> None:
    def make() -> Lane:
        if kind == "shared":
            return _shared()[0]
        return Lane(10**9, 10**8 if kind == "limited" else None)

    at_once, singly, now = make(), make(), 0
    for gap, size, copies in rounds:
        now += gap
        flows = list(range(copies))
        ends = at_once.send_copies(now, size, flows)
        assert ends == [singly.send(now, size, flow) for flow in flows]
    for name in ("free_ns", "served", "sent_bytes", "busy_ns", "wait_ns", "longest_wait_ns"):
        assert getattr(at_once, name) == getattr(singly, name), name


def test_serialisation_times_are_remembered_within_bounds() -> None:
    lane = Lane(10**9)
    for size in range(5_000):
        lane.send(10**9 * size, size)
    assert len(lane._service_ns) <= 1_024
    lane.set_rate(10**8)
    assert lane.send(10**13, 125) - 10**13 == 10_000


def test_a_flow_limit_slows_its_flow_and_no_other() -> None:
    lane = Lane(8 * 10**9, flow_bits_per_s=8 * 10**8)
    first = lane.send(0, 1_000, flow=1)
    second = lane.send(0, 1_000, flow=1)
    other = lane.send(0, 1_000, flow=2)
    assert (first, second, other) == (10_000, 20_000, 10_000)
    assert lane.free_ns == 3_000
    free = Link(10**9, flow_bits_per_s=10**9)
    assert free.consensus.flow_bits_per_s is None
    limited = Link(10**10, flow_bits_per_s=5 * 10**9)
    assert limited.agents.flow_bits_per_s == 5 * 10**9
    limited.set_rate(10**9)
    assert limited.agents.flow_bits_per_s is None
    limited.set_rate(10**10)
    assert limited.agents.flow_bits_per_s == 5 * 10**9


def test_isolated_lanes_do_not_feel_each_other() -> None:
    link = Link(10**9, consensus_share_ppm=400_000)
    assert link.consensus.bits_per_s == 400_000_000
    assert link.agents.bits_per_s == 600_000_000
    for _ in range(50):
        link.agents.send(0, 10**6)
    assert link.consensus.send(0, 50_000) == 1_000_000


def _shared(rate: int = 10**9, share_ppm: int = 400_000) -> tuple[SharedLane, SharedLane]:
    link = Link(rate, consensus_share_ppm=share_ppm, lanes="shared")
    assert isinstance(link.consensus, SharedLane)
    assert isinstance(link.agents, SharedLane)
    return link.consensus, link.agents


def test_a_shared_lane_takes_what_an_idle_sibling_leaves() -> None:
    consensus, agents = _shared()
    assert consensus.send(0, 50_000) == 1_000_000  # cell 0: nothing is measured yet
    later = 3 * GRID_NS
    assert consensus.send(later, 125_000) - later == 1_000_000  # the whole gigabit
    assert agents.rate_in(4) == 10**9 - 10**7  # 1 Mbit went out in 100 ms: 10 Mbit/s


def test_a_shared_lane_keeps_its_share_beside_a_busy_sibling() -> None:
    consensus, agents = _shared()
    for step in range(50):
        agents.send(step * GRID_NS // 10, 10**6)  # 800 Mbit/s offered to 600
    now = 4 * GRID_NS
    assert consensus.rate_in(now // GRID_NS) == 400_000_000
    assert consensus.send(now, 50_000) - now == 1_000_000
    # Consensus took little of its share; agents get the rest of it one cell later.
    agents.send(now + GRID_NS, 1)
    assert agents.bits_per_s == 10**9 - 50_000 * 8 * 10


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 2 * GRID_NS), st.integers(1, 10**7)), min_size=1, max_size=8)
)
def test_a_shared_lane_books_every_bit_once(gaps: list[tuple[int, int]]) -> None:
    lane = SharedLane(10**9)
    now = total = 0
    for gap, size in gaps:
        now += gap
        lane.send(now, size)
        total += size * 8
    booked = lane._used_bits
    assert sum(booked.values()) == total
    # Never more than the rate allows, one bit of rounding a transmission apart.
    assert max(booked.values()) <= 10**9 // 10 + len(gaps)


def test_a_shared_lane_forgets_old_cells() -> None:
    consensus, agents = _shared()
    for cell in range(0, 1_000, 2):
        consensus.send(cell * GRID_NS, 1_000)
    assert len(consensus._used_bits) < 50
    assert agents.rate_in(999) == 10**9 - 1_000 * 8 * 10


def test_a_throttle_acts_from_the_next_start() -> None:
    link = Link(2 * 10**9, consensus_share_ppm=500_000)
    lane = link.consensus
    assert lane.send(0, 125_000) == 1_000_000
    link.set_rate(2 * 10**8)
    assert lane.send(0, 125_000) == 11_000_000
    link.set_rate(2 * 10**9)
    assert lane.send(0, 125_000) == 12_000_000
    consensus, agents = _shared()
    consensus.reserve(100_000_000)
    consensus.send(0, 12_500)
    assert consensus.free_ns == 1_000_000
    assert agents.rate_in(5) == 700_000_000


def test_a_crash_loses_what_waits() -> None:
    lane = Lane(8 * 10**9)
    for _ in range(5):
        lane.send(0, 1_000)
    lane.clear(1_500)
    assert lane.busy_ns == 1_500
    assert lane.send(2_000, 1_000) == 3_000
    cpu = Cpu(2)
    for _ in range(6):
        cpu.serve(0, 1_000)
    cpu.clear(500)
    assert cpu.busy_ns == 1_000
    assert cpu.serve(600, 1_000) == 1_600
    assert cpu.serve(600, 1_000) == 1_600
    assert cpu.backlog_ns(600) == 1_000
    shared, sibling = _shared()
    shared.send(0, 10**8)
    shared.clear(GRID_NS // 2)
    assert sibling.rate_in(3) == 10**9
    assert sibling.rate_in(1) == 800_000_000  # half of the reserve was used in cell 0
    link = Link(10**9)
    link.consensus.send(0, 10**8)
    link.clear(10)
    assert link.consensus.free_ns == 10


def test_a_slow_node_stretches_service() -> None:
    cpu = Cpu(1)
    cpu.set_slowdown(2_500_000)
    assert cpu.serve(0, 1_001) == 2_503
    cpu.set_slowdown(1_000_000)
    assert cpu.serve(0, 1_000) == 3_503


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Lane(0), "rate 0"),
        (lambda: Lane(10, flow_bits_per_s=0), "flow limit"),
        (lambda: Cpu(0), "workers"),
        (lambda: Cpu(1).set_slowdown(0), "slowdown"),
        (lambda: Link(1), "too low"),
        (lambda: Link(10**9, consensus_share_ppm=10**6), "share"),
        (lambda: Link(10**9, lanes="mixed"), "isolated or shared"),
    ],
)
def test_impossible_stations_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
