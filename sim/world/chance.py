"""Chance: named streams for bulk draws, a stateless keyed hash for per-message draws.

Owns every random number of a run. A stream is keyed by (seed, replicate, name), so that no part's
draws move another's; a keyed draw is a function of (seed, replicate, purpose, a, b) alone, so that
it depends neither on slices nor on order. The replicate seed depends on (seed, replicate) only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

MASK: Final = 0xFFFFFFFFFFFFFFFF
_GOLDEN: Final = 0x9E3779B97F4A7C15
_M1: Final = 0xBF58476D1CE4E5B9
_M2: Final = 0x94D049BB133111EB
_ONE, _STEP = np.uint64(1), np.uint64(_GOLDEN)
_MULTIPLIER_1, _MULTIPLIER_2 = np.uint64(_M1), np.uint64(_M2)
_SHIFT_27, _SHIFT_30, _SHIFT_31 = np.uint64(27), np.uint64(30), np.uint64(31)

U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chance:
    """The source of all draws of one replicate."""

    seed: int
    replicate: int

    def stream(self, name: str) -> np.random.Generator:
        """Return a fresh Philox generator; the same name gives the same draws every time."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self._words(name))))

    def key(self, purpose: str) -> int:
        """Return the 64-bit key of a keyed draw."""
        text = f"{self.seed}/{self.replicate}/{purpose}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")

    def _words(self, name: str) -> NDArray[np.uint32]:
        text = f"{self.seed}/{self.replicate}/stream/{name}".encode()
        return np.frombuffer(hashlib.sha256(text).digest(), dtype=">u4").astype(np.uint32)


def mix(key: int, a: int, b: int = 0) -> int:
    """Hash (key, a, b) to 64 uniform bits: splitmix64's finaliser over each word in turn.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = (key ^ ((a + 1) * _GOLDEN)) & MASK
    z = ((z ^ (z >> 30)) * _M1) & MASK
    z = ((z ^ (z >> 27)) * _M2) & MASK
    z = ((z ^ (z >> 31)) + (b + 1) * _GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * _M1) & MASK
    z = ((z ^ (z >> 27)) * _M2) & MASK
    return z ^ (z >> 31)


def begin(key: int, a: int) -> int:
    """Do the part of `mix` that comes before `b`: who draws again and again remembers it."""
    z = (key ^ ((a + 1) * _GOLDEN)) & MASK
    z = ((z ^ (z >> 30)) * _M1) & MASK
    z = ((z ^ (z >> 27)) * _M2) & MASK
    return z ^ (z >> 31)


def proceed(begun: int, b: int) -> int:
    """Finish a draw: `proceed(begin(key, a), b) == mix(key, a, b)`."""
    z = (begun + (b + 1) * _GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * _M1) & MASK
    z = ((z ^ (z >> 27)) * _M2) & MASK
    return z ^ (z >> 31)


def begin_array(key: int, a: NDArray[Any]) -> U64:
    """Elementwise `begin`; `a`: non-negative integers."""
    return _scrambled(np.uint64(key & MASK) ^ ((a.astype(np.uint64) + _ONE) * _STEP))


def proceed_array(begun: U64, b: int) -> U64:
    """Elementwise `proceed`; arrays wrap around of themselves."""
    return _scrambled(begun + np.uint64((b + 1) * _GOLDEN & MASK))


def mix_array(key: int, a: NDArray[Any], b: NDArray[Any] | int = 0) -> U64:
    """Hash elementwise; equal to `mix` bit for bit. `a`, `b`: integers, broadcastable."""
    with np.errstate(over="ignore"):
        later = (np.asarray(b).astype(np.uint64) + _ONE) * _STEP
        return _scrambled(begin_array(key, np.asarray(a)) + later)


def _scrambled(z: U64) -> U64:
    z = (z ^ (z >> _SHIFT_30)) * _MULTIPLIER_1
    z = (z ^ (z >> _SHIFT_27)) * _MULTIPLIER_2
    return np.asarray(z ^ (z >> _SHIFT_31), dtype=np.uint64)


TABLE_BITS: Final = 12
"""A quantile table has 2**12 + 1 entries: 4,096 equal-probability cells."""
_FRACTION_BITS: Final = 16


def interpolate(table: list[int], bits: int) -> int:
    """Read an integer quantile table at 64 uniform bits, linear in between, in integers.

    `table`: 2**TABLE_BITS + 1 non-decreasing integers; steps below 2**47.
    """
    cell = bits >> (64 - TABLE_BITS)
    fraction = (bits >> (64 - TABLE_BITS - _FRACTION_BITS)) & ((1 << _FRACTION_BITS) - 1)
    low = table[cell]
    return low + (((table[cell + 1] - low) * fraction) >> _FRACTION_BITS)


def interpolate_array(table: I64, bits: U64) -> I64:
    """Elementwise `interpolate`; the same integers."""
    cell = (bits >> np.uint64(64 - TABLE_BITS)).astype(np.int64)
    fraction = (
        (bits >> np.uint64(64 - TABLE_BITS - _FRACTION_BITS)) & np.uint64((1 << _FRACTION_BITS) - 1)
    ).astype(np.int64)
    low = table[cell]
    return np.asarray(low + (((table[cell + 1] - low) * fraction) >> _FRACTION_BITS), np.int64)
