"""What befalls agents and their directory: drops, bursts, lost copies.

Owns: the fields of these faults, in integers. Must not know: how they are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.fields import Count, Flag, Text, decimal, duration, share
from sim.scenario.occurrence import Instant, Timed
from sim.scenario.selection import MAX_VALIDATORS, REGION_NAME, Selection

TrafficKind: TypeAlias = Literal[
    "messages",
    "transactions",
    "lookups_by_id",
    "lookups_by_capability",
    "registrations",
    "renewals",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MassDisconnect(Timed):
    """Agents drop all at once, and come back within a window from its end on."""

    __pydantic_config__ = STRICT
    kind: Literal["mass_disconnect"]
    """Told apart by this."""
    within_ns: Annotated[int, duration("0 s", "1 d")] = 0
    """Over how long they come back, evenly; `0 s`: all at once."""
    share_ppm: Annotated[int, share("0.0001 %", "100 %")] = 1_000_000
    """Share of the online agents concerned, drawn by the time."""
    region: Annotated[str, REGION_NAME] | None = None
    """Only those who live there."""
    gateways: Selection | None = None
    """Only those whose home is one of these validators."""
    register: Annotated[bool, Flag()] = False
    """Whether the registry forgets them, so that each registers anew 100 ms after its return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadBurst(Timed):
    """Agents send many times as much, from the next full 100 ms; overlapping bursts add up."""

    __pydantic_config__ = STRICT
    kind: Literal["overload_burst"]
    """Told apart by this."""
    factor_micro: Annotated[int, decimal("1", "1000")]
    """How many times as much."""
    kinds: tuple[TrafficKind, ...] = ()
    """Of which kinds of traffic; left out, of all."""
    regions: tuple[Annotated[str, REGION_NAME], ...] = ()
    """From agents of which regions; left out, of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLoss:
    """Hosts of the registry lose their copies. Copies that others hold are made anew at once."""

    __pydantic_config__ = STRICT
    kind: Literal["shard_loss"]
    """Told apart by this."""
    name: Annotated[str, Text(40, r"[a-z][a-z0-9_-]*", "a name of small letters")] | None = None
    """Names its draws, so that other faults may come and go; left out, its place in the list."""
    at_ns: Instant
    """When."""
    hosts: Selection | None = None
    """Which validators lose what they hold; left out, all of them."""
    shards: tuple[Annotated[int, Count(0, MAX_VALIDATORS - 1)], ...] | None = None
    """Of which shards, numbered by their first hosts; left out, of all."""


AgentFault: TypeAlias = MassDisconnect | OverloadBurst | ShardLoss
"""What strikes agents and their directory."""
