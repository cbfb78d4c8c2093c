"""Lookup drop: owned nodes of the DHT stay silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.agents.parameters import Chosen, Malice
from sim.world.routing.parameters import DROP


@dataclass(frozen=True, slots=True)
class LookupDrop:
    """Let owned nodes of the DHT answer no question.

    Each one that is asked costs its asker the timeout of a contact, as a dead one does, so lookups
    get slower before they fail; they fail where an owned node is the nearest to the key and keeps
    the record to itself. Nobody can tell a silent node from one that is gone.
    """

    who: Chosen
    kind: ClassVar[str] = "lookup_drop"
    strikes: ClassVar[str] = "dht"

    def assault(self) -> Malice:
        return Malice(who=self.who, malice=DROP)
