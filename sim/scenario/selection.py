"""Who a link rule, fault or adversary concerns: validators by identity, chance, rank or region.

Owns: the selection union. Must not know: weights, stakes, chance (the engine resolves them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, Text

MAX_VALIDATORS = 10_000
REGION_NAME = Text(maximum=64, what="the name of a region")
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
class InRegion:
    """All genesis validators of one region."""

    __pydantic_config__ = STRICT
    region: Annotated[str, REGION_NAME]
    """Its name."""


SELECTORS: dict[str, type[Any]] = {
    "ids": Ids,
    "random": Random,
    "by_stake": ByStake,
    "by_weight": ByWeight,
    "region": InRegion,
}
Selection: TypeAlias = Annotated[
    Ids | Random | ByStake | ByWeight | InRegion, ByKey(SELECTORS, "a selection of validators")
]
