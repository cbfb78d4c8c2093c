"""Lying host: owned hosts of the registry show old records, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.agents.parameters import DENY, STALE_LIE, Lies

LIES = {"stale": STALE_LIE, "deny": DENY}


@dataclass(frozen=True, slots=True)
class LyingHost:
    """Let owned hosts answer reads with the version before the newest, or say that there is none.

    Records are signed, so a host cannot invent one; but with nearest reads nobody contradicts it:
    an agent seems not to be registered (unknown_target, which no retry mends), or where it no
    longer is. A quorum read shows the newest version that an honest witness has, so lies fail while
    fewer than half of a shard's replicas are owned. Every false answer counts as stale.
    """

    nodes: tuple[int, ...]
    lie: str
    kind: ClassVar[str] = "lying_host"
    strikes: ClassVar[str] = "registry"

    def assault(self) -> Lies:
        return Lies(nodes=self.nodes, lie=LIES[self.lie])
