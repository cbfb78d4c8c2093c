"""Who attacks, how, and when: the `adversaries` section, in integers.

Owns: the fields of each kind of attack with their meaning, the triggers, and which aspects of its
validators' behaviour a kind decides on (two that decide on the same contradict each other).
Must not know: how an attack is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, Flag, duration, share
from sim.scenario.occurrence import Instant
from sim.scenario.selection import MAX_VALIDATORS, End, Owned

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
    nodes: Owned
    """Which validators it owns."""
    start_ns: Instant = 0
    """When it begins; before, its validators are honest."""
    end_ns: Instant | None = None
    """When it ends; left out, with the run."""
    when: When | None = None
    """What else must hold for it to act; left out, it always acts."""

    @property
    def aspects(self) -> tuple[str, ...]:
        """What of its validators' behaviour it decides: two minds on one aspect contradict."""
        return self.decides


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Withhold(Adversary):
    """Keep votes, proposals or timeouts from some validators."""

    __pydantic_config__ = STRICT
    kind: Literal["withhold"]
    """Told apart by this."""
    what: tuple[Literal["votes", "proposals", "timeouts"], ...]
    """What is kept back."""
    victims: End
    """From whom."""

    @property
    def aspects(self) -> tuple[str, ...]:
        return self.what


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectiveSend(Adversary):
    """Reach only a part of the others, another part each view."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("votes", "proposals", "timeouts")
    kind: Literal["selective_send"]
    """Told apart by this."""
    reach_ppm: Annotated[int, share()]
    """Share of the others that is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Censor(Adversary):
    """As leaders, leave out some gateways' transactions and some validators' operations."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ()
    kind: Literal["censor"]
    """Told apart by this."""
    gateways: End | None = None
    """Whose payload."""
    validators: End | None = None
    """Whose operations."""
    refuse_votes: Annotated[bool, Flag()] = False
    """Whether they also refuse to vote for blocks that serve a victim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyVote(Adversary):
    """Vote late, and without looking."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("votes",)
    kind: Literal["lazy_vote"]
    """Told apart by this."""
    amount_ns: Annotated[int, duration("0 s", "10 min")]
    """How long each vote is held back."""
    blind: Annotated[bool, Flag()] = False
    """Whether they vote before they hold the payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidSignatureFlood(Adversary):
    """Send what others must verify in vain."""

    __pydantic_config__ = STRICT
    kind: Literal["invalid_signature_flood"]
    """Told apart by this."""
    every_ns: Annotated[int, duration("10 us", "1 h")]
    """Time between two messages of one member."""
    signatures: Annotated[int, Count(1, 10_000)] = 1
    """Forged signatures a message."""
    victims: End
    """Who is flooded, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutSpam(Adversary):
    """Give up on every view as it starts, and vote all the same."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("timeouts",)
    kind: Literal["timeout_spam"]
    """Told apart by this."""
    repeats: Annotated[int, Count(1, 1_000)] = 1
    """How often each timeout is said."""
    ahead: Annotated[int, Count(0, 64)] = 0
    """How many views above the one voted in; from 1 on a member may be convicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttendanceTheft(Adversary):
    """As collectors, rob others of the credit for their votes, and give it to one another."""

    __pydantic_config__ = STRICT
    kind: Literal["attendance_theft"]
    """Told apart by this."""
    victims: End
    """Who is robbed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSuppression(Adversary):
    """Neither pass on nor propose what convicts a friend."""

    __pydantic_config__ = STRICT
    kind: Literal["evidence_suppression"]
    """Told apart by this."""
    protected: End
    """Against whom evidence is suppressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleeper(Adversary):
    """Be honest until reputation or height is reached, then strike. One of the two is needed."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = EVERYTHING
    kind: Literal["sleeper"]
    """Told apart by this."""
    then: Literal["silent", "double_vote", "equivocate"]
    """The attack that it turns into, with its default settings."""
    until_reputation_ppm: Annotated[int, share()] | None = None
    """Reputation of a member at which the coalition wakes."""
    until_height: Annotated[int, Count(1, 2**53)] | None = None
    """Height at which the coalition wakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelThenSilence(Adversary):
    """Some vote twice until the quorum level is high; then the rest fall silent."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = EVERYTHING
    kind: Literal["level_then_silence"]
    """Told apart by this."""
    provokers: Annotated[int, Count(1, MAX_VALIDATORS)]
    """How many vote twice, the members of lowest identity."""
    level: Annotated[int, Count(1, 2)] = 2
    """The level that they wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveCorruption(Adversary):
    """Take over who is about to lead, and silence it."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = EVERYTHING
    kind: Literal["adaptive_corruption"]
    """Told apart by this."""
    budget: Annotated[int, Count(1, MAX_VALIDATORS)]
    """How many of `nodes` it owns at once."""
    delay_ns: Annotated[int, duration("0 s", "1 d")] = 0
    """How long a takeover takes."""
    mobile: Annotated[bool, Flag()] = True
    """Whether it lets go of a leader whose view is over, to take the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StakeGrinding(Adversary):
    """As leaders of an epoch's last block, choose its id for the leaders of the next epoch."""

    __pydantic_config__ = STRICT
    kind: Literal["stake_grinding"]
    """Told apart by this."""
    tries: Annotated[int, Count(1, 100_000)] = 64
    """Contents tried a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins(Adversary):
    """Run each validator twice, on two sides of a split network."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = EVERYTHING
    kind: Literal["twins"]
    """Told apart by this."""
    sides: tuple[End, End] | None = None
    """Who is on whose side; left out, halves are drawn. The members stand on both."""
    turn_ns: Annotated[int, duration("10 ms", "1 d")] | None = None
    """How long drawn sides last; left out, to the end."""
    cut: Annotated[bool, Flag()] = True
    """Whether the two sides cannot reach each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRange(Adversary):
    """Write another history from genesis, and show it to some."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = EVERYTHING
    kind: Literal["long_range"]
    """Told apart by this."""
    victims: End
    """Who is shown it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forking(Adversary):
    """Lead from the lock instead of the highest certificate, and so overwrite what is above it."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("proposals",)
    kind: Literal["forking"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HideCertificate(Adversary):
    """As leaders after a timeout, propose on an older certificate than the timeouts name."""

    __pydantic_config__ = STRICT
    decides: ClassVar[tuple[str, ...]] = ("proposals",)
    kind: Literal["hide_certificate"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventedHistory(Adversary):
    """Answer who asks for blocks with a chain that the members alone have certified."""

    __pydantic_config__ = STRICT
    kind: Literal["invented_history"]
    """Told apart by this."""
