"""A key service: how long a signature takes that is asked for elsewhere.

Owns: the quota, as a station in front of a validator's computer, and the delay of an answer.
Must not know: validators, what is signed, outages, the event loop. Calls come in non-decreasing
time.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from sim.world.chance import interpolate, mix
from sim.world.network.jitter import FIXED_POINT_BITS, shape_table

_NS_PER_NHZ: Final = 10**18
"""A rate of r nHz is one in 10**18 / r ns."""


@cache
def _shape() -> list[int]:
    return list(shape_table())


class Tail(NamedTuple):
    """How answers spread: the shape of the network's jitter, `spread_ns` from p50 to p99."""

    key: int
    """Of the draws: one a request, whoever asks."""
    spread_ns: int

    def beyond_ns(self, number: int) -> int:
        """Return how much later than the median answer `number` comes; earlier is negative."""
        drawn = interpolate(_shape(), mix(self.key, number))
        return self.spread_ns * drawn >> FIXED_POINT_BITS


class KeyService:
    """Grants `rate_nhz` signatures in 10**9 s, `burst` of them at once after a rest.

    A token bucket with a queue, exact in integers (the generic cell rate algorithm, ITU-T I.371):
    requests beyond the quota wait, first in, first out. `rate_nhz` 0: no limit. `delay_ns`: of each
    answer; with a `tail` their median.
    """

    __slots__ = ("_due_ns", "_gap_ns", "_tail", "_tolerance_ns", "asked", "delay_ns")

    def __init__(self, rate_nhz: int, burst: int, delay_ns: int, tail: Tail | None = None) -> None:
        if rate_nhz < 0 or burst < 1 or delay_ns < 0:
            raise ValueError(
                f"key service: {rate_nhz} nHz, burst {burst}, delay {delay_ns} ns; need a rate "
                "and a delay of 0 or more and a burst of at least 1"
            )
        self._gap_ns = -(-_NS_PER_NHZ // rate_nhz) if rate_nhz else 0
        self._tolerance_ns = self._gap_ns * (burst - 1)
        self._due_ns = 0
        self._tail = tail
        self.delay_ns = delay_ns
        self.asked = 0

    def sign(self, now_ns: int) -> int:
        """Ask for a signature at `now_ns`; return when it is there."""
        due = max(self._due_ns, now_ns)
        granted = max(now_ns, due - self._tolerance_ns)
        self._due_ns = due + self._gap_ns
        self.asked += 1
        late_ns = self.delay_ns
        if self._tail is not None:
            late_ns = max(0, late_ns + self._tail.beyond_ns(self.asked))
        return granted + late_ns
