"""Link delay: a share of the messages between two ends takes longer, all by the same amount.

Congestion, or a detour after a cable was cut. Shows in: block latency; timeouts once a round takes
longer than the timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.links import LinkFault
from sim.world.network.links import DELAY


@dataclass(frozen=True, slots=True)
class LinkDelay(LinkFault):
    """Delay messages by `amount_ns`; in the agent plane, all by the mean."""

    kind: ClassVar[str] = "link_delay"
    amount_ns: int

    def verdict(self) -> tuple[str, int, int]:
        return DELAY, self.amount_ns, 0
