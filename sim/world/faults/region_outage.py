"""Region outage: a whole region goes down, or is cut off from the others.

Shows in: no commits by its validators, `receiver_down` or `link_rule` losses, retries of the agents
whose gateways it held; a halt where the region holds more than 1 - q of the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.places import Outage


@dataclass(frozen=True, slots=True)
class RegionOutage(Outage):
    """Take the validators of one region away."""

    kind: ClassVar[str] = "region_outage"
