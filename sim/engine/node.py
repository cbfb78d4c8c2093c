"""One validator of a run: its core, its computer and its lines, and what survives a crash."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from sim.protocol.effects import Effect, PersistentState
from sim.protocol.events import Event
from sim.protocol.validator import Validator
from sim.world.network.stations import Cpu, Lane, Link

if TYPE_CHECKING:
    from sim.engine.adversary import Mind


class Core(Protocol):
    """What answers a node's events: a validator, or the mind that has taken its place."""

    def handle(self, event: Event, now_ns: int) -> list[Effect]: ...


class Node:
    """Mutable state of one validator; `life` counts its restarts, so that old events die."""

    __slots__ = (
        "copies",
        "cpu",
        "delivered",
        "downlink",
        "id",
        "keys_elsewhere",
        "leaving",
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
        self, id_: int, region: int, validator: Core, cpu: Cpu, links: tuple[Link, Link]
    ) -> None:
        self.id = id_
        self.region = region
        self.validator: Core = validator
        self.cpu = cpu
        self.links = links
        """Uplink and downlink, both lanes of each."""
        self.uplink: Lane = links[0].consensus
        self.downlink: Lane = links[1].consensus
        self.up = True
        self.keys_elsewhere = False
        """Whether a service signs for it: then its own processors don't."""
        self.life = 0
        self.sequence = 0
        self.delivered = 0
        self.persisted: PersistentState | None = None
        self.timers: dict[str, tuple[tuple[int, int, str], int, int]] = {}
        # purpose -> (timer id, due_ns, wake_ns of the one call that counts)
        self.verified: dict[bytes, None] = {}
        self.relayed: dict[int, None] = {}
        self.leaving: deque[tuple[int, Any]] = deque()
        """(when its last bit leaves, delivery) of what may still wait in the uplink."""
        self.mind: Mind | None = None
        self.copies: list[Validator] = []
        """Further cores of this identity, in an adversary's hands."""

    def own(self, mind: Mind) -> None:
        """Put a mind in the place of the core."""
        self.mind = self.validator = mind
