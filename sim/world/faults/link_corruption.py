"""Link corruption: a share of the messages between two ends arrives with signatures that fail.

Receivers pay for decoding and verification before they reject. Shows in: rejections for
`invalid_signature`, and the timeouts that missing votes cause. The agent plane loses such batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.links import LinkFault
from sim.world.network.links import CORRUPT


@dataclass(frozen=True, slots=True)
class LinkCorruption(LinkFault):
    """Spoil messages; what cannot be verified has no effect but its cost."""

    kind: ClassVar[str] = "link_corruption"

    def verdict(self) -> tuple[str, int, int]:
        return CORRUPT, 0, 0
