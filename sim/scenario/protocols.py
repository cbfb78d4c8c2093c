"""Which protocol the validators run, and how long messages between them take: two unions.

Owns: the fields of each kind. Must not know: what a protocol does, which other sections it can do
without (`rules_protocol` does).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.fields import Count, duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Creto:
    """Weighted two-phase BFT with an adaptive quorum, epochs and a ledger: the main protocol."""

    __pydantic_config__ = STRICT
    kind: Literal["creto"] = "creto"
    """Told apart by this."""


CRETO = Creto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pbft:
    """PBFT, all validators equal: prepare and commit by everybody to everybody."""

    __pydantic_config__ = STRICT
    kind: Literal["pbft"]
    """Told apart by this."""
    checkpoint_interval: Annotated[int, Count(1, 10_000)] = 16
    """Blocks between two checkpoints. A view change carries a certificate for each block above the
    last one (assumption: 16; 467 kB each at 150 validators)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HotStuff:
    """Chained HotStuff, all validators equal: one vote a view, final under three certificates."""

    __pydantic_config__ = STRICT
    kind: Literal["hotstuff"]
    """Told apart by this."""
    reign: Annotated[int, Count(1, 10**9)] = 1
    """Views in a row that one leader keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tendermint:
    """Tendermint, all validators equal: prevotes and precommits by everybody to everybody."""

    __pydantic_config__ = STRICT
    kind: Literal["tendermint"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamlet:
    """Streamlet, all validators equal: an epoch is `consensus.timer_base`, by the clock."""

    __pydantic_config__ = STRICT
    kind: Literal["streamlet"]
    """Told apart by this."""


Protocol: TypeAlias = Annotated[Creto | Pbft | HotStuff | Tendermint | Streamlet, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regional:
    """By the regions of both ends, with jitter."""

    __pydantic_config__ = STRICT
    kind: Literal["regional"] = "regional"
    """Told apart by this."""


REGIONAL = Regional()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same for every message, wherever both ends live."""

    __pydantic_config__ = STRICT
    kind: Literal["constant"]
    """Told apart by this."""
    delay_ns: Annotated[int, duration("1 us", "1 h")]
    """One way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Independent and normal, wherever both ends live, as in models without geography."""

    __pydantic_config__ = STRICT
    kind: Literal["normal"]
    """Told apart by this."""
    mean_ns: Annotated[int, duration("1 us", "1 h")]
    """Of one way."""
    deviation_ns: Annotated[int, duration("0 s", "1 h")]
    """Standard deviation; at most a fifth of the mean, so that no delay is negative."""


Delays: TypeAlias = Annotated[Regional | Constant | Normal, ByKind()]
