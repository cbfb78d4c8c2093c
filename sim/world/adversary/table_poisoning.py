"""Table poisoning: owned nodes of the DHT stand in others' tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.adversary.on_agents import MALICE
from sim.world.agents.parameters import Chosen, Malice


@dataclass(frozen=True, slots=True)
class TablePoisoning:
    """Let a few owned nodes replace a share of all contacts, in every bucket that one of them fits.

    With f of the nodes a poisoner would be f of the contacts; here it is a share of its own choice,
    so few nodes do what `lookup_misroute` needs many for. Buckets far down hold no owned node and
    stay clean: the last hops of a lookup are honest, the first ones are not. `then`: drop or
    misroute.
    """

    who: Chosen
    contacts_ppm: int
    then: str
    kind: ClassVar[str] = "table_poisoning"
    strikes: ClassVar[str] = "dht"

    def assault(self) -> Malice:
        return Malice(who=self.who, malice=MALICE[self.then], planted_ppm=self.contacts_ppm)
