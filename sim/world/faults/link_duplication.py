"""Link duplication: a share of the messages between two ends arrives twice.

Shows in: messages delivered beyond those offered, and duplicates that collectors reject. Gateways
drop second copies, so the agent plane does not see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.links import LinkFault
from sim.world.network.links import DUPLICATE


@dataclass(frozen=True, slots=True)
class LinkDuplication(LinkFault):
    """Deliver messages twice; the second copy costs its receiver as much as the first."""

    kind: ClassVar[str] = "link_duplication"

    def verdict(self) -> tuple[str, int, int]:
        return DUPLICATE, 0, 0
