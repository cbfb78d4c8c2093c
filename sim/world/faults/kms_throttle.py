"""KMS throttle: a key service grants a quota of signatures, and answers late.

Requests beyond the quota wait for their turn, in front of the validator's own computer. A quota may
be each validator's own, or one for all validators of a region (one account). A service that the
clouds' custody names keeps its own quota and latency: whichever is stricter holds. Shows in: block
latency; timeouts once a vote waits longer than the timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Quota, Target


@dataclass(frozen=True, slots=True)
class KmsThrottle(Fault):
    """Let each of `groups` share one `quota` (None: no limit); an answer takes `delay_ns`."""

    kind: ClassVar[str] = "kms_throttle"
    impairs: ClassVar[bool] = True
    groups: tuple[tuple[int, ...], ...]
    quota: Quota | None
    delay_ns: int

    @property
    def nodes(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(sorted(node for group in self.groups for node in group))

    def begin(self, target: Target) -> None:
        for group in self.groups:
            target.limit_signing(group, self.quota, self.delay_ns, on=True)

    def end(self, target: Target) -> None:
        for group in self.groups:
            target.limit_signing(group, self.quota, self.delay_ns, on=False)
