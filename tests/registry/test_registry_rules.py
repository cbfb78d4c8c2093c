"""Token buckets of registrations and quorum waits: rules, arrays, refusals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.registry.limits import (
    ADMITTED,
    GATEWAY_LIMIT,
    REGISTRY_LIMIT,
    RegistrationLimits,
    RegistrationMeter,
    TokenBucket,
)
from sim.world.registry.quorum import DOWN_NS, quorum_size, quorum_wait_ns, quorum_waits_ns

SECOND_NS = 10**9
PER_SECOND = 10**9

buckets = st.none() | st.builds(
    TokenBucket, rate_nhz=st.integers(1, 10 * PER_SECOND), burst=st.integers(1, 5)
)


@settings(max_examples=200, deadline=None)
@given(
    buckets,
    buckets,
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2 * SECOND_NS)), max_size=60),
)
def test_one_by_one_and_all_at_once_agree(
    gateway: TokenBucket | None, registry: TokenBucket | None, gaps: list[tuple[int, int]]
) -> None:
    limits = RegistrationLimits(gateway, registry)
    one, many = RegistrationMeter(limits, 3), RegistrationMeter(limits, 3)
    times = np.cumsum([gap for _, gap in gaps]).astype(np.int64)
    single = [one.admit(node, int(time)) for (node, _), time in zip(gaps, times, strict=True)]
    assert many.admit_many([node for node, _ in gaps], times).tolist() == single
    assert many.gateway_due_ns.tolist() == one.gateway_due_ns.tolist()
    assert many.registry_due_ns.tolist() == one.registry_due_ns.tolist()


def test_a_burst_then_the_rate() -> None:
    """Burst 3 at 2 a second: three at once, then one each half second."""
    meter = RegistrationMeter(RegistrationLimits(gateway=TokenBucket(2 * PER_SECOND, 3)), 2)
    assert [meter.admit(0, 0) for _ in range(4)] == [ADMITTED] * 3 + [GATEWAY_LIMIT]
    assert meter.admit(1, 0) == ADMITTED
    half = SECOND_NS // 2
    assert meter.admit(0, half - 1) == GATEWAY_LIMIT
    assert meter.admit(0, half) == ADMITTED
    assert meter.admit(0, half) == GATEWAY_LIMIT


def test_a_refusal_takes_no_token_of_either_bucket() -> None:
    limits = RegistrationLimits(TokenBucket(PER_SECOND, 1), TokenBucket(PER_SECOND, 2))
    meter = RegistrationMeter(limits, 3)
    assert meter.admit(0, 0) == ADMITTED
    assert meter.admit(0, 0) == GATEWAY_LIMIT
    assert meter.admit(1, 0) == ADMITTED
    assert meter.admit(2, 0) == REGISTRY_LIMIT
    assert meter.gateway_due_ns.tolist() == [SECOND_NS, SECOND_NS, 0]


def test_without_limits_all_are_admitted() -> None:
    meter = RegistrationMeter(RegistrationLimits(), 1)
    assert not meter.admit_many([0] * 1_000, np.zeros(1_000, dtype=np.int64)).any()


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-5, 3)])
def test_buckets_of_nothing_are_refused(rate: int, burst: int) -> None:
    with pytest.raises(ValueError, match=f"rate {rate} nHz, burst {burst}"):
        TokenBucket(rate, burst)


@pytest.mark.parametrize(("replicas", "size"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_any_two_quorums_share_a_replica(replicas: int, size: int) -> None:
    assert quorum_size(replicas) == size
    quorums = [set(q) for q in combinations(range(replicas), size)]
    assert all(a & b for a in quorums for b in quorums)


def test_no_quorum_of_nothing() -> None:
    with pytest.raises(ValueError, match="one or more"):
        quorum_size(0)


def test_a_coordinator_waits_for_the_fastest_that_make_a_quorum() -> None:
    assert quorum_wait_ns([], 1) == 0
    assert quorum_wait_ns([40], 2) == 40
    assert quorum_wait_ns([40, 30], 3) == 30
    assert quorum_wait_ns([40, 30, DOWN_NS, 20], 5) == 30
    assert quorum_wait_ns([DOWN_NS, 40], 3) == 40
    assert quorum_wait_ns([DOWN_NS, DOWN_NS], 3) is None
    assert quorum_wait_ns([DOWN_NS], 2) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), st.data())
def test_waits_of_many_are_the_waits_of_each(replicas: int, data: st.DataObject) -> None:
    trip = st.integers(0, 10**12) | st.just(DOWN_NS)
    row = st.lists(trip, min_size=replicas - 1, max_size=replicas - 1)
    rows = data.draw(st.lists(row, min_size=1, max_size=20))
    trips = np.array(rows, dtype=np.int64).reshape(len(rows), replicas - 1)
    before = trips.copy()
    waits = [quorum_wait_ns(row, replicas) for row in rows]
    answered = quorum_waits_ns(trips, replicas).tolist()
    assert answered == [-1 if wait is None else wait for wait in waits]
    assert (trips == before).all()
