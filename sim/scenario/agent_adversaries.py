"""Who attacks agents and their directory: the kinds of `adversaries` that own no validator's vote.

Owns: the fields of each kind with their meaning. Must not know: how an attack is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from sim.scenario.adversaries import (
    WHENS,
    ByEpochs,
    ByHeights,
    ByLevel,
    ByPhase,
    ByProbability,
    ByViews,
)
from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, rate, share, size
from sim.scenario.occurrence import Instant
from sim.scenario.selection import MAX_VALIDATORS, AgentSelection, NodeSelection, Selection

_PUBLIC: dict[str, type[Any]] = {key: kind for key, kind in WHENS.items() if key != "reputation"}
PublicWhen: TypeAlias = Annotated[
    ByProbability | ByHeights | ByViews | ByEpochs | ByPhase | ByLevel,
    ByKey(_PUBLIC, "a trigger that the whole network can see"),
]
Lying: TypeAlias = Literal["drop", "misroute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAdversary:
    """Fields of every adversary of agents and their directory."""

    __pydantic_config__ = STRICT
    start_ns: Instant = 0
    """When it begins; owned agents send from the next full 100 ms on."""
    end_ns: Instant | None = None
    """When it ends; left out, with the run."""
    when: PublicWhen | None = None
    """What else must hold for it to act, as the first validator that is up sees it; looked at every
    100 ms. Left out, it always acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpam(AgentAdversary):
    """Owned agents send, on top of what they do anyway."""

    __pydantic_config__ = STRICT
    kind: Literal["agent_spam"]
    """Told apart by this."""
    agents: AgentSelection
    """Which agents it owns."""
    what: Literal["messages", "lookups", "transactions"] = "messages"
    """What they send: direct messages, lookups by id, transactions."""
    rate_nhz: Annotated[int, rate("0.001 /s", "10000 /s")]
    """How much each sends while it is online; arrivals are Poisson."""
    size_bytes: Annotated[int, size("1 B", "1 MiB")] | None = None
    """Length of each; left out, that of the workload's own kind (512 B, 64 B, 5 KiB by default)."""
    target: AgentSelection | None = None
    """To whom, or about whom; left out, to anybody. Transactions have no receiver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationFlood(AgentAdversary):
    """Owned identities register again and again (a Sybil's identities cost it nothing)."""

    __pydantic_config__ = STRICT
    kind: Literal["registration_flood"]
    """Told apart by this."""
    agents: AgentSelection
    """Which identities it owns."""
    rate_nhz: Annotated[int, rate("0.001 /s", "10000 /s")]
    """Registrations an owned identity."""
    size_bytes: Annotated[int, size("1 B", "1 MiB")] | None = None
    """Length of each; left out, that of `workload.registrations` (7,552 B by default)."""
    shard: Annotated[int, Count(0, MAX_VALIDATORS - 1)] | None = None
    """Only owned identities whose record lies in this shard: who makes identities can choose. For
    `one_hop`; left out, all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupDrop(AgentAdversary):
    """Owned nodes of the DHT stay silent when they are asked."""

    __pydantic_config__ = STRICT
    kind: Literal["lookup_drop"]
    """Told apart by this."""
    nodes: NodeSelection
    """Which nodes it owns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupMisroute(AgentAdversary):
    """Owned nodes of the DHT name one another when they are asked."""

    __pydantic_config__ = STRICT
    kind: Literal["lookup_misroute"]
    """Told apart by this."""
    nodes: NodeSelection
    """Which nodes it owns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eclipse(AgentAdversary):
    """Owned nodes of the DHT take the ids around some agents' keys, and lie about those alone."""

    __pydantic_config__ = STRICT
    kind: Literal["eclipse"]
    """Told apart by this."""
    nodes: NodeSelection
    """Which nodes it owns; they have their ids from the start of the run."""
    victims: AgentSelection
    """Whose records it hides; owned nodes surround them in turn."""
    then: Lying = "misroute"
    """Whether owned nodes stay silent about a victim or name one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePoisoning(AgentAdversary):
    """Owned nodes of the DHT stand in others' tables in place of honest contacts."""

    __pydantic_config__ = STRICT
    kind: Literal["table_poisoning"]
    """Told apart by this."""
    nodes: NodeSelection
    """Which nodes it owns."""
    contacts_ppm: Annotated[int, share("0.0001 %", "100 %")]
    """Share of all contacts that it has replaced, wherever an owned node fits the bucket."""
    then: Lying = "misroute"
    """Whether owned nodes stay silent when they are asked or name one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LyingHost(AgentAdversary):
    """Owned hosts of the registry answer reads falsely; records are signed, so they invent none."""

    __pydantic_config__ = STRICT
    kind: Literal["lying_host"]
    """Told apart by this."""
    hosts: Selection
    """Which validators' registries it owns."""
    lie: Literal["stale", "deny"]
    """Whether they show the version before the newest, or say that there is no record."""
