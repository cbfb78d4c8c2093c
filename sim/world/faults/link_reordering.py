"""Link reordering: a share of the messages between two ends is held up, each for a time of its own.

Later messages overtake them. Shows in: block latency and its spread; no message is lost, and safety
does not depend on order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.links import LinkFault
from sim.world.network.links import DELAY


@dataclass(frozen=True, slots=True)
class LinkReordering(LinkFault):
    """Delay messages, each by a uniform draw below `within_ns`; the agent plane takes the mean."""

    kind: ClassVar[str] = "link_reordering"
    within_ns: int

    def verdict(self) -> tuple[str, int, int]:
        return DELAY, 0, self.within_ns
