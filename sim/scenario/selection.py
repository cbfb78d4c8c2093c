"""Who a link rule, fault or adversary concerns: validators by identity, chance, rank or place.

Owns: the selection unions, of validators, of agents, of DHT nodes, and the ends of links.
Must not know: weights, stakes, chance (the engine resolves them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, Text, share

MAX_VALIDATORS = 10_000
REGION_NAME = Text(maximum=64, what="the name of a region")
ZONE_NAME = Text(72, r"[^/]+/[1-9][0-9]*", "a zone: a region, `/` and a number from 1")
PROVIDER_NAME = Text(maximum=32, what="the name of a provider")
ROLLOUT_NAME = Text(40, r"[a-z][a-z0-9_-]*", "a name of small letters, digits, _ and -")
ValidatorIndex: TypeAlias = Annotated[int, Count(0, MAX_VALIDATORS - 1)]
Some: TypeAlias = Annotated[int, Count(1, MAX_VALIDATORS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """These validators."""

    __pydantic_config__ = STRICT
    ids: tuple[ValidatorIndex, ...]
    """Identities, from 0; candidates follow the genesis validators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """So many genesis validators, drawn once a replicate."""

    __pydantic_config__ = STRICT
    random: Some
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByStake:
    """The genesis validators with the largest stake; ties go to the lower identity."""

    __pydantic_config__ = STRICT
    by_stake: Some
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByWeight:
    """The genesis validators with the largest voting weight at genesis; ties to the lower."""

    __pydantic_config__ = STRICT
    by_weight: Some
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heaviest:
    """As many of the heaviest genesis validators as own no more than a share of the weight."""

    __pydantic_config__ = STRICT
    heaviest_ppm: Annotated[int, share()]
    """The share of all voting weight at genesis; the first that would exceed it ends the choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lightest:
    """As many of the lightest genesis validators as own no more than a share of the weight."""

    __pydantic_config__ = STRICT
    lightest_ppm: Annotated[int, share()]
    """The share of all voting weight at genesis; ties go to the lower identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InRegion:
    """All of one region: genesis validators, agents or DHT nodes."""

    __pydantic_config__ = STRICT
    region: Annotated[str, REGION_NAME]
    """Its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InZone:
    """All genesis validators of one zone; those of a region are spread over its zones in turn."""

    __pydantic_config__ = STRICT
    zone: Annotated[str, ZONE_NAME]
    """Its name: the region's, `/` and a number from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfProvider:
    """All genesis validators that run at one provider."""

    __pydantic_config__ = STRICT
    provider: Annotated[str, PROVIDER_NAME]
    """Its name, as its regions begin with: `aws`, `az`, `gcp`; `custom` for the scenario's own."""


SELECTORS: dict[str, type[Any]] = {
    "ids": Ids,
    "random": Random,
    "by_stake": ByStake,
    "by_weight": ByWeight,
    "heaviest": Heaviest,
    "lightest": Lightest,
    "region": InRegion,
    "zone": InZone,
    "provider": OfProvider,
}
_Named: TypeAlias = (
    Ids | Random | ByStake | ByWeight | Heaviest | Lightest | InRegion | InZone | OfProvider
)
Selection: TypeAlias = Annotated[_Named, ByKey(SELECTORS, "a selection of validators")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningVersion:
    """Whoever runs the new version that a rollout brings, as long as it does."""

    __pydantic_config__ = STRICT
    rollout: Annotated[str, ROLLOUT_NAME]
    """The rollout's name."""


OWNED_SELECTORS: dict[str, type[Any]] = {**SELECTORS, "rollout": RunningVersion}
Owned: TypeAlias = Annotated[
    _Named | RunningVersion, ByKey(OWNED_SELECTORS, "a selection of validators")
]
"""Whom an adversary may own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionEnd:
    """All validators of these regions."""

    __pydantic_config__ = STRICT
    regions: tuple[Annotated[str, REGION_NAME], ...]
    """Names of regions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneEnd:
    """All validators of these zones."""

    __pydantic_config__ = STRICT
    zones: tuple[Annotated[str, ZONE_NAME], ...]
    """Names of zones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEnd:
    """All validators at these providers."""

    __pydantic_config__ = STRICT
    providers: tuple[Annotated[str, PROVIDER_NAME], ...]
    """Names of providers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdsEnd:
    """These validators."""

    __pydantic_config__ = STRICT
    ids: tuple[ValidatorIndex, ...]
    """Identities."""


ENDS: dict[str, type[Any]] = {
    "regions": RegionEnd,
    "zones": ZoneEnd,
    "providers": ProviderEnd,
    "ids": IdsEnd,
}
End: TypeAlias = Annotated[
    RegionEnd | ZoneEnd | ProviderEnd | IdsEnd, ByKey(ENDS, "an end of a link")
]
AgentNumber: TypeAlias = Annotated[int, Count(0, 100_000_000 - 1)]
SomeAgents: TypeAlias = Annotated[int, Count(1, 100_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIds:
    """These agents."""

    __pydantic_config__ = STRICT
    ids: tuple[AgentNumber, ...]
    """Their numbers, from 0; agents are numbered region by region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomAgents:
    """So many, drawn once a replicate."""

    __pydantic_config__ = STRICT
    random: SomeAgents
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentShare:
    """A share of all, drawn once a replicate; a larger share contains the smaller ones."""

    __pydantic_config__ = STRICT
    share_ppm: Annotated[int, share("0.0001 %", "100 %")]
    """The share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtGateways:
    """All that some gateways serve: agents by their home, nodes of a DHT by their host."""

    __pydantic_config__ = STRICT
    gateways: tuple[ValidatorIndex, ...]
    """Identities of validators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearKey:
    """The nodes of a DHT that are nearest to an agent's key, its own node apart."""

    __pydantic_config__ = STRICT
    near: AgentNumber
    """The agent."""
    nodes: SomeAgents
    """How many nodes."""


AGENT_SELECTORS: dict[str, type[Any]] = {
    "ids": AgentIds,
    "random": RandomAgents,
    "share": AgentShare,
    "region": InRegion,
    "gateways": AtGateways,
}
AgentSelection: TypeAlias = Annotated[
    AgentIds | RandomAgents | AgentShare | InRegion | AtGateways,
    ByKey(AGENT_SELECTORS, "a selection of agents"),
]
NODE_SELECTORS: dict[str, type[Any]] = {
    "random": RandomAgents,
    "share": AgentShare,
    "region": InRegion,
    "gateways": AtGateways,
    "near": NearKey,
}
NodeSelection: TypeAlias = Annotated[
    RandomAgents | AgentShare | InRegion | AtGateways | NearKey,
    ByKey(NODE_SELECTORS, "a selection of DHT nodes"),
]


def up_to_share(weights: Sequence[int], share_ppm: int, *, heaviest: bool) -> tuple[int, ...]:
    """Return who is chosen, ascending, until the next in order would exceed the share.

    In order of weight, ties to the lower identity; who has no weight is never chosen.
    """
    order = sorted(range(len(weights)), key=lambda i: (-weights[i] if heaviest else weights[i], i))
    chosen, limit, held = list[int](), sum(weights) * share_ppm // 1_000_000, 0
    for index in order:
        if not weights[index]:
            continue
        held += weights[index]
        if held > limit:
            break
        chosen.append(index)
    return tuple(sorted(chosen))
