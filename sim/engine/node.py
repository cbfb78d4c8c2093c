"""One validator of a run: its core, its computer and its lines, and what survives a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.protocol.effects import PersistentState
from sim.protocol.validator import Validator
from sim.world.network.stations import Cpu, Lane, Link

if TYPE_CHECKING:
    from sim.engine.adversary import Mind


class Node:
    """Mutable state of one validator; `life` counts its restarts, so that old events die."""

    __slots__ = (
        "cpu",
        "delivered",
        "downlink",
        "id",
        "life",
        "links",
        "mind",
        "persisted",
        "region",
        "relayed",
        "sequence",
        "timers",
        "up",
        "uplink",
        "validator",
        "verified",
    )

    def __init__(
        self, id_: int, region: int, validator: Validator, cpu: Cpu, links: tuple[Link, Link]
    ) -> None:
        self.id = id_
        self.region = region
        self.validator = validator
        self.cpu = cpu
        self.links = links
        """Uplink and downlink, both lanes of each."""
        self.uplink: Lane = links[0].consensus
        self.downlink: Lane = links[1].consensus
        self.up = True
        self.life = 0
        self.sequence = 0
        self.delivered = 0
        self.persisted: PersistentState | None = None
        self.timers: dict[str, tuple[tuple[int, int, str], int, int]] = {}
        # purpose -> (timer id, due_ns, wake_ns of the one SimPy event that counts)
        self.verified: dict[bytes, None] = {}
        self.relayed: dict[int, None] = {}
        self.mind: Mind | None = None
