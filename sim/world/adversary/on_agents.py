"""What attacks on agents and their directory have in common.

Such an attack owns no validator's vote: it is an assault of the agent plane, a value that says whom
it owns and what they do, and that the engine turns on and off. A new one is a frozen class with
`kind` and `assault`; then one line in `sim.engine.plane_attacks` and its fields in
`sim.scenario.agent_adversaries`.
Must not know: the event loop, how the plane carries it out.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from sim.world.agents.parameters import Assault
from sim.world.routing.parameters import DROP, POISON

MALICE = {"drop": DROP, "misroute": POISON}
"""What owned nodes of a DHT do with questions, by the word of a scenario."""


class AgentAttack(Protocol):
    """One attack on agents or their directory."""

    kind: ClassVar[str]
    strikes: ClassVar[str]
    """What it strikes: agents, registry or dht."""

    def assault(self) -> Assault:
        """Return what the agent plane is to carry out while the attack is on."""
