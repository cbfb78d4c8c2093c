"""Token buckets for registrations: one a gateway, one for the whole registry.

Owns: the generic cell rate algorithm in integers, for one request and for many.
Must not know: what a registration is for.

A bucket's state is one time, the theoretical arrival time of the next request: a request at t
conforms iff that is at most t + slack, and then moves it to max(it, t) + step. With slack =
(burst - 1) x step that is a token bucket of `burst` tokens, full at the start. Source: ITU-T
I.371 (2004), annex A, virtual scheduling algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.world.registry import kernels

I64 = NDArray[np.int64]

ADMITTED, GATEWAY_LIMIT, REGISTRY_LIMIT = range(3)
VERDICTS = ("admitted", "gateway_rate_limited", "registry_rate_limited")

_NANOHERTZ_NS = 10**18


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """`rate_nhz` requests in 10**9 seconds, `burst` at once.

    The step between requests is rounded down to whole nanoseconds. Raises ValueError for a rate
    or a burst below 1.
    """

    rate_nhz: int
    burst: int
    step_ns: int = field(init=False)
    slack_ns: int = field(init=False)

    def __post_init__(self) -> None:
        if self.rate_nhz < 1 or self.burst < 1:
            raise ValueError(
                f"token bucket: rate {self.rate_nhz} nHz, burst {self.burst}; both must be 1 or "
                "more (leave the limit out to have none)"
            )
        step_ns = max(1, _NANOHERTZ_NS // self.rate_nhz)
        object.__setattr__(self, "step_ns", step_ns)
        object.__setattr__(self, "slack_ns", step_ns * (self.burst - 1))

    def conforms(self, due_ns: int, now_ns: int) -> bool:
        """Say whether a request at `now_ns` finds a token in a bucket whose state is `due_ns`."""
        return due_ns - now_ns <= self.slack_ns

    def taken(self, due_ns: int, now_ns: int) -> int:
        """Return the state after a request at `now_ns` took a token."""
        return max(due_ns, now_ns) + self.step_ns


@dataclass(frozen=True, slots=True)
class RegistrationLimits:
    """What a gateway and the registry admit; None: no limit."""

    gateway: TokenBucket | None = None
    registry: TokenBucket | None = None


class RegistrationMeter:
    """The state of all buckets; requests come in the order of time."""

    __slots__ = ("gateway_due_ns", "limits", "registry_due_ns")

    def __init__(self, limits: RegistrationLimits, nodes: int) -> None:
        self.limits = limits
        self.gateway_due_ns: I64 = np.zeros(nodes, dtype=np.int64)
        """By node."""
        self.registry_due_ns: I64 = np.zeros(1, dtype=np.int64)

    def admit(self, gateway: int, now_ns: int) -> int:
        """Decide on one request: ADMITTED takes a token of both buckets, a refusal none."""
        own, whole = self.limits.gateway, self.limits.registry
        own_due, whole_due = int(self.gateway_due_ns[gateway]), int(self.registry_due_ns[0])
        if own is not None and not own.conforms(own_due, now_ns):
            return GATEWAY_LIMIT
        if whole is not None and not whole.conforms(whole_due, now_ns):
            return REGISTRY_LIMIT
        if own is not None:
            self.gateway_due_ns[gateway] = own.taken(own_due, now_ns)
        if whole is not None:
            self.registry_due_ns[0] = whole.taken(whole_due, now_ns)
        return ADMITTED

    def admit_many(
        self, gateways: Sequence[int] | NDArray[Any], times_ns: I64
    ) -> NDArray[np.uint8]:
        """Decide on requests in order: the verdicts that `admit` gives one by one."""
        verdicts = np.zeros(len(times_ns), dtype=np.uint8)
        kernels.admit_registrations(
            np.asarray(gateways, dtype=np.int64),
            np.asarray(times_ns, dtype=np.int64),
            self.gateway_due_ns,
            self.registry_due_ns,
            limit_steps(self.limits),
            verdicts,
        )
        return verdicts


def limit_steps(limits: RegistrationLimits) -> I64:
    """Return int64[gateway step, slack, registry step, slack]; a step of 0: no limit."""
    steps = []
    for bucket in (limits.gateway, limits.registry):
        steps += [0, 0] if bucket is None else [bucket.step_ns, bucket.slack_ns]
    return np.array(steps, dtype=np.int64)
