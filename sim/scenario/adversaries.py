"""Who attacks, how, and when: the `adversaries` section, in integers.

Owns: the fields of each kind of attack with their meaning, the triggers, and which aspects of its
validators' behaviour a kind decides on (two that decide on the same contradict each other).
Must not know: how an attack is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey, ByKind
from sim.scenario.disturbances import Instant
from sim.scenario.fields import Count, duration, share
from sim.scenario.selection import Selection

Number: TypeAlias = Annotated[int, Count(0, 2**53)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from one to another, both included."""

    __pydantic_config__ = STRICT
    lowest: Number = 0
    """First."""
    highest: Number | None = None
    """Last; left out, no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRange:
    """Quorum levels from one to another, both included."""

    __pydantic_config__ = STRICT
    at_least: Annotated[int, Count(0, 2)] = 0
    """Lowest."""
    at_most: Annotated[int, Count(0, 2)] = 2
    """Highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByProbability:
    """In a share of the views, drawn once a view for the whole coalition."""

    __pydantic_config__ = STRICT
    probability_ppm: Annotated[int, share()]
    """The share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHeights:
    """While blocks of these heights are being decided."""

    __pydantic_config__ = STRICT
    heights: Range
    """The heights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByViews:
    """In the views of these numbers, in every epoch."""

    __pydantic_config__ = STRICT
    views: Range
    """The numbers, from 1 in each epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByEpochs:
    """In these epochs."""

    __pydantic_config__ = STRICT
    epochs: Range
    """Their numbers; the first is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPhase:
    """In one phase of the protocol."""

    __pydantic_config__ = STRICT
    phase: Literal["epoch_start", "epoch_end", "view_change"]
    """The first or last three blocks of an epoch, or views after one that timed out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLevel:
    """While the quorum is at these levels."""

    __pydantic_config__ = STRICT
    level: LevelRange
    """The levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByReputation:
    """While a validator's own reputation is at least so high."""

    __pydantic_config__ = STRICT
    reputation_ppm: Annotated[int, share()]
    """The score."""


WHENS: dict[str, type[Any]] = {
    "probability": ByProbability,
    "heights": ByHeights,
    "views": ByViews,
    "epochs": ByEpochs,
    "phase": ByPhase,
    "level": ByLevel,
    "reputation": ByReputation,
}
When: TypeAlias = Annotated[
    ByProbability | ByHeights | ByViews | ByEpochs | ByPhase | ByLevel | ByReputation,
    ByKey(WHENS, "a trigger"),
]

EVERYTHING = ("everything",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """Fields of every adversary. Its validators share one mind and cannot forge signatures."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ()
    nodes: Selection
    """Which validators it owns."""
    start_ns: Instant = 0
    """When it begins; before, its validators are honest."""
    end_ns: Instant | None = None
    """When it ends; left out, with the run."""
    when: When | None = None
    """What else must hold for it to act; left out, it always acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent(Adversary):
    """Send nothing."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = EVERYTHING
    kind: Literal["silent"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivocate(Adversary):
    """As leaders, propose one block to some of the members and another to the rest."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("proposals",)
    kind: Literal["equivocate"]
    """Told apart by this."""
    twin_share_ppm: Annotated[int, share()] = 500_000
    """Share of the others who are sent the second block. Halves convict nobody: neither block is
    certified, and nobody sees both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleVote(Adversary):
    """Vote twice in a view: for the proposal and for a block of the adversary's own."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("votes",)
    kind: Literal["double_vote"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayProposals(Adversary):
    """As leaders, propose late, just before the others' timers expire."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("proposals",)
    kind: Literal["delay_proposals"]
    """Told apart by this."""
    amount_ns: Annotated[int, duration("1 ms", "10 min")] | None = None
    """How long each proposal is held back; left out, as long as the others' timers allow, which the
    adversary learns."""


Attack: TypeAlias = Annotated[
    Silent | Equivocate | DoubleVote | DelayProposals,
    ByKind(),
]
