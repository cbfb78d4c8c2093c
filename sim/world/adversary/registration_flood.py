"""Registration flood: identities that cost nothing register again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.agents.kinds import REGISTRATION
from sim.world.agents.parameters import Chosen, Flood


@dataclass(frozen=True, slots=True)
class RegistrationFlood:
    """Let owned identities (a Sybil's) register at a rate of their own, all or those of one shard.

    Without limits it fills the hosts' queues; with them it uses up the tokens that honest newcomers
    need, who give up after their retries. A limit a gateway keeps the harm at the gateways that the
    flood comes through, a limit on all registrations spreads it to everybody. Identities whose
    record lies in one shard make that shard's host the bottleneck. It cannot register anybody else.
    """

    who: Chosen
    rate_nhz: int
    size_bytes: int
    shard: int | None = None
    kind: ClassVar[str] = "registration_flood"
    strikes: ClassVar[str] = "registry"

    def assault(self) -> Flood:
        return Flood(
            who=self.who,
            kind=REGISTRATION,
            rate_nhz=self.rate_nhz,
            size_bytes=self.size_bytes,
            shard=self.shard,
        )
