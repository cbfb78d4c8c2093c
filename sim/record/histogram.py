"""Logarithmic latency buckets: 32 an octave, in integers.

Owns: the map between nanoseconds and buckets, quantiles over buckets, and which messages are
sampled. Values below 64 ns have a bucket each; above, a bucket is 1/32 of an octave wide, so its
upper edge exceeds any value in it by less than 1/32 (3.2 %).
The layout is that of HdrHistogram (G. Tene) with 5 significant bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.world.chance import MASK, mix, mix_array

SUB_BITS = 5
SUB_BUCKETS = 1 << SUB_BITS
BUCKETS = (63 - SUB_BITS + 1) * SUB_BUCKETS
"""Buckets of all values from 0 to 2**63 - 1."""

I64 = NDArray[np.int64]


def bucket_of(value_ns: int) -> int:
    """Return the bucket of a value; raises ValueError below 0."""
    if value_ns < 0:
        raise ValueError(f"a latency is never negative: {value_ns} ns")
    if value_ns < SUB_BUCKETS:
        return value_ns
    shift = value_ns.bit_length() - 1 - SUB_BITS
    return (shift << SUB_BITS) + (value_ns >> shift)


def buckets_of(values_ns: I64) -> I64:
    """Elementwise `bucket_of`; the same integers."""
    values = np.asarray(values_ns, dtype=np.int64)
    if values.size and int(values.min()) < 0:
        raise ValueError(f"a latency is never negative: {int(values.min())} ns")
    # bit_length - 1 by halving: float exponents round up from 2**53 on.
    top = np.zeros(values.shape, dtype=np.int64)
    rest = values.copy()
    for step in (32, 16, 8, 4, 2, 1):
        wide = rest >= (1 << step)
        top += np.where(wide, step, 0)
        rest = np.where(wide, rest >> step, rest)
    shift = np.maximum(top - SUB_BITS, 0)
    return np.asarray((shift << SUB_BITS) + (values >> shift), dtype=np.int64)


def bucket_edges(bucket: int) -> tuple[int, int]:
    """Return the least and the largest value (ns, inclusive) of a bucket."""
    if not 0 <= bucket < BUCKETS:
        raise ValueError(f"buckets are 0 to {BUCKETS - 1}: {bucket}")
    if bucket < SUB_BUCKETS:
        return bucket, bucket
    shift = (bucket >> SUB_BITS) - 1
    low = (SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1))) << shift
    return low, low + (1 << shift) - 1


def quantile_ns(counts: Mapping[int, int], ppm: int) -> int | None:
    """Return the upper edge of the bucket that holds the quantile; None without any value.

    `counts`: bucket -> how many. `ppm`: 500_000 for the median. The rank is ceil(ppm x total), so
    the answer is never below the exact quantile and less than 1/32 above it.
    """
    total = sum(counts.values())
    if total == 0:
        return None
    rank = max(1, -(-total * ppm // 1_000_000))
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return bucket_edges(bucket)[1]
    raise AssertionError("counts are never negative")


def latency_columns(
    finished_ns: I64,
    latency_ns: I64,
    *,
    kind: int | I64,
    source_region: int | I64,
    destination_region: int | I64,
) -> dict[str, I64]:
    """Count latencies into rows of the table `latency`, one row a distinct key.

    Arrays of one length; a plain integer holds for all. Codes are those of the recorder's
    vocabularies and stay below 2**8 (kinds) and 2**12 (regions).
    """
    second = (np.asarray(finished_ns, dtype=np.int64) - 1) // 1_000_000_000
    size = second.shape
    parts: Sequence[tuple[Any, int]] = (
        (kind, 8),
        (source_region, 12),
        (destination_region, 12),
        (buckets_of(latency_ns), 11),
    )
    packed = second
    for values, bits in parts:
        packed = (packed << bits) | np.broadcast_to(np.asarray(values, dtype=np.int64), size)
    keys, counts = np.unique(packed, return_counts=True)
    columns: dict[str, I64] = {"count": counts.astype(np.int64)}
    for name, bits in (
        ("bucket", 11),
        ("destination_region", 12),
        ("source_region", 12),
        ("kind", 8),
    ):
        columns[name] = keys & ((1 << bits) - 1)
        keys = keys >> bits
    columns["second"] = keys
    return columns


class Sampler:
    """Choose messages by a keyed hash of their id, whatever the slice or the order.

    `key`: `Chance.key("samples")`. `share_ppm`: 1_000_000 takes all, 0 none.
    """

    __slots__ = ("_key", "_limit")

    def __init__(self, key: int, share_ppm: int) -> None:
        if not 0 <= share_ppm <= 1_000_000:
            raise ValueError(f"a share is 0 to 1,000,000 ppm: {share_ppm}")
        self._key = key
        self._limit = (MASK * share_ppm) // 1_000_000

    def takes(self, message: int) -> bool:
        """Whether this message id is sampled."""
        return self._limit > 0 and mix(self._key, message) <= self._limit

    def mask(self, messages: NDArray[Any]) -> NDArray[np.bool_]:
        """Elementwise `takes`."""
        if self._limit == 0:
            return np.zeros(np.shape(messages), dtype=np.bool_)
        return np.asarray(mix_array(self._key, messages) <= np.uint64(self._limit), dtype=np.bool_)
