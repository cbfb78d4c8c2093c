"""Lookup misroute: owned nodes of the DHT lead lookups to one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.agents.parameters import Chosen, Malice
from sim.world.routing.parameters import POISON


@dataclass(frozen=True, slots=True)
class LookupMisroute:
    """Let owned nodes of the DHT name their friends nearest to the key, who answer for the owner.

    A recursive lookup is lost with the first owned node that it meets: a share f of the nodes
    leaves (1 - f)^h of the lookups of h hops. Iterative ones get round it, for the asker ranks all
    that it hears, until liars fill its shortlist; paths without a common node multiply the chances.
    What is found false is tried again, and counted with outcome `poisoned`: a record is signed.
    """

    who: Chosen
    kind: ClassVar[str] = "lookup_misroute"
    strikes: ClassVar[str] = "dht"

    def assault(self) -> Malice:
        return Malice(who=self.who, malice=POISON)
