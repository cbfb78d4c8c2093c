"""Latency buckets: exact edges, stated error, vector equal to scalar, sampling by id."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.record.histogram import (
    BUCKETS,
    Sampler,
    bucket_edges,
    bucket_of,
    buckets_of,
    latency_columns,
    quantile_ns,
)
from sim.world.chance import Chance

VALUES = st.integers(0, 2**63 - 1)


@given(VALUES)
def test_a_value_lies_in_its_bucket_within_the_stated_error(value: int) -> None:
    low, high = bucket_edges(bucket_of(value))
    assert low <= value <= high
    assert 32 * (high - value) < max(value, 1) or high == value


def test_buckets_cover_every_value_once() -> None:
    edges = [bucket_edges(bucket) for bucket in range(BUCKETS)]
    assert edges[0][0] == 0
    assert edges[-1][1] == 2**63 - 1
    assert all(after[0] == before[1] + 1 for before, after in pairwise(edges))
    assert [edges[b] for b in (31, 63, 64, 95, 96)] == [
        (31, 31),
        (63, 63),
        (64, 65),
        (126, 127),
        (128, 131),
    ]


@given(st.lists(VALUES))
def test_vector_equals_scalar(values: list[int]) -> None:
    array = np.array(values, dtype=np.int64)
    assert buckets_of(array).tolist() == [bucket_of(value) for value in values]


def test_vector_equals_scalar_at_every_edge() -> None:
    values = [edge for bucket in range(BUCKETS) for edge in bucket_edges(bucket)]
    found = buckets_of(np.array(values, dtype=np.int64))
    assert found.tolist() == [bucket for bucket in range(BUCKETS) for _ in range(2)]


def test_no_negative_latency() -> None:
    with pytest.raises(ValueError, match="never negative: -1 ns"):
        bucket_of(-1)
    with pytest.raises(ValueError, match="never negative: -7 ns"):
        buckets_of(np.array([3, -7]))


@given(st.lists(st.integers(0, 10**12), min_size=1), st.integers(0, 1_000_000))
def test_a_quantile_is_never_below_the_exact_one(values: list[int], ppm: int) -> None:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    exact = sorted(values)[max(1, -(-len(values) * ppm // 1_000_000)) - 1]
    found = quantile_ns(counts, ppm)
    assert found is not None
    assert exact <= found <= exact + exact // 32


def test_no_quantile_of_nothing() -> None:
    assert quantile_ns({}, 500_000) is None


def test_latencies_are_counted_by_second_kind_and_region_pair() -> None:
    columns = latency_columns(
        np.array([10**9, 10**9 + 1, 10**9 + 1]),
        np.array([40, 40, 40]),
        kind=np.array([200, 1, 1]),
        source_region=4000,
        destination_region=np.array([3, 5, 5]),
    )
    names = ("second", "kind", "source_region", "destination_region", "bucket", "count")
    rows = list(zip(*(columns[name].tolist() for name in names), strict=True))
    assert rows == [(0, 200, 4000, 3, 40, 1), (1, 1, 4000, 5, 40, 2)]


def test_samples_are_a_share_of_the_ids_whatever_their_order() -> None:
    sampler = Sampler(Chance(7, 0).key("samples"), 10_000)
    ids = np.arange(200_000, dtype=np.uint64)
    mask = sampler.mask(ids)
    # 2,000 expected; five standard deviations are 222.
    assert abs(int(mask.sum()) - 2000) < 222
    assert mask[::-1].tolist() == sampler.mask(ids[::-1]).tolist()
    assert [sampler.takes(i) for i in range(3000)] == mask[:3000].tolist()
    other = Sampler(Chance(8, 0).key("samples"), 10_000)
    assert other.mask(ids).tolist() != mask.tolist()


@pytest.mark.parametrize(("share_ppm", "taken"), [(0, 0), (1_000_000, 1000)])
def test_all_or_none(share_ppm: int, taken: int) -> None:
    sampler = Sampler(123, share_ppm)
    assert int(sampler.mask(np.arange(1000)).sum()) == taken
    assert sum(sampler.takes(i) for i in range(1000)) == taken


def test_a_share_is_a_share() -> None:
    with pytest.raises(ValueError, match="1000001"):
        Sampler(1, 1_000_001)
