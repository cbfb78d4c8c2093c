"""Agent spam: owned agents send more than anybody should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.agents.parameters import Chosen, Flood


@dataclass(frozen=True, slots=True)
class AgentSpam:
    """Let owned agents send messages, lookups or transactions at a rate of their own.

    Admission is by gateway: its token bucket, then the queue of its ingress, refuse what is too
    much (rate_limited, ingress_full), and they refuse honest agents of the same gateway alike,
    whose retries go to the secondary one. Aimed at a few receivers it fills the egress of their
    gateways and their stores. It costs the attacker one identity a sender and cannot exceed what
    the buckets of its gateways pass.
    """

    who: Chosen
    message_kind: int
    rate_nhz: int
    size_bytes: int
    to: Chosen | None = None
    kind: ClassVar[str] = "agent_spam"
    strikes: ClassVar[str] = "agents"

    def assault(self) -> Flood:
        return Flood(
            who=self.who,
            kind=self.message_kind,
            rate_nhz=self.rate_nhz,
            size_bytes=self.size_bytes,
            to=self.to,
        )
