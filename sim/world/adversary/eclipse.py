"""Eclipse: owned nodes of the DHT surround an agent's key, and hide its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.adversary.on_agents import MALICE
from sim.world.agents.parameters import Chosen, Malice


@dataclass(frozen=True, slots=True)
class Eclipse:
    """Let owned nodes have the ids next to the victims' keys and lie about those keys alone.

    A node chooses its id, so as many identities as a bucket has contacts stand between everybody
    and a victim's record; all other lookups are answered honestly, so nobody else notices. `then`:
    drop, the owned nodes are silent; misroute, they answer in the owner's place. Paths without a
    common node help where the victim's own node is one of its neighbours' contacts; nothing helps
    where all k nodes that are nearest to the key are owned. (After Singh et al., "Eclipse Attacks
    on Overlay Networks: Threats and Defenses", INFOCOM 2006.)
    """

    who: Chosen
    victims: Chosen
    then: str
    kind: ClassVar[str] = "eclipse"
    strikes: ClassVar[str] = "dht"

    def assault(self) -> Malice:
        return Malice(who=self.who, malice=MALICE[self.then], victims=self.victims, adjacent=True)
