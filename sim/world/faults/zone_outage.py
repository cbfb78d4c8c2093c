"""Zone outage: one availability zone of a region loses power, or its network.

Validators of a region are spread over its zones in turn, as automatic scaling does. Shows in: no
commits by those validators; with validators in three zones or more the chain goes on, and agents
whose gateway was there retry elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.places import Outage


@dataclass(frozen=True, slots=True)
class ZoneOutage(Outage):
    """Take the validators of one zone away."""

    kind: ClassVar[str] = "zone_outage"
