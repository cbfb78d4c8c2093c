"""Provider outage: every region of one cloud goes down at once, or is cut off from other clouds.

A fault of what a provider shares between its regions (control plane, identities, a bad push). Shows
in: as a region outage; a halt wherever one provider holds more than 1 - q of the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.places import Outage


@dataclass(frozen=True, slots=True)
class ProviderOutage(Outage):
    """Take the validators of one provider away."""

    kind: ClassVar[str] = "provider_outage"
