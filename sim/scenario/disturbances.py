"""What goes wrong: link rules and faults.

Owns: the `network.rules` section, crashes and cuts, and the union of all faults, in integers. A
link rule is what the network is like; a fault of links comes, goes and is on the record.
Must not know: how they are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario import breakdowns
from sim.scenario.agent_faults import MassDisconnect, OverloadBurst, ShardLoss
from sim.scenario.base import STRICT
from sim.scenario.breakdowns import Struck
from sim.scenario.choices import ByKind
from sim.scenario.fields import Flag, decimal, duration, probability, share
from sim.scenario.occurrence import Instant, Timed
from sim.scenario.selection import End


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRule:
    """Fields of every link rule: which links, and when.

    Either `between` (both directions), or `from` and `to` (one direction; an end left out means
    everyone). The first rule that matches a message decides.
    """

    __pydantic_config__ = STRICT
    between: tuple[End, End] | None = None
    """Both directions between two ends."""
    source: End | None = None
    """Senders."""
    target: End | None = None
    """Receivers."""
    start_ns: Instant = 0
    """When the rule begins."""
    end_ns: Instant | None = None
    """When it ends; left out, with the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayRule(LinkRule):
    """Messages take longer."""

    __pydantic_config__ = STRICT
    kind: Literal["delay"]
    """Told apart by this."""
    amount_ns: Annotated[int, duration("1 us", "10 min")]
    """Added to the delay of each message."""
    probability_ppb: Annotated[int, probability()] = 10**9
    """Share of the messages concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRule(LinkRule):
    """Messages vanish."""

    __pydantic_config__ = STRICT
    kind: Literal["drop"]
    """Told apart by this."""
    probability_ppb: Annotated[int, probability()] = 10**9
    """Share of the messages concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateRule(LinkRule):
    """Messages arrive twice."""

    __pydantic_config__ = STRICT
    kind: Literal["duplicate"]
    """Told apart by this."""
    probability_ppb: Annotated[int, probability()]
    """Share of the messages concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptRule(LinkRule):
    """Messages arrive with signatures that do not verify."""

    __pydantic_config__ = STRICT
    kind: Literal["corrupt"]
    """Told apart by this."""
    probability_ppb: Annotated[int, probability()]
    """Share of the messages concerned."""


Rule: TypeAlias = Annotated[DelayRule | DropRule | DuplicateRule | CorruptRule, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Struck):
    """Validators stop, and restart with what they had persisted."""

    __pydantic_config__ = STRICT
    kind: Literal["crash"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmnesiaCrash(Struck):
    """Validators stop, and restart without what they had persisted. This can break safety."""

    __pydantic_config__ = STRICT
    kind: Literal["amnesia_crash"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowNode(Struck):
    """Every service of the validators' workers takes longer."""

    __pydantic_config__ = STRICT
    kind: Literal["slow_node"]
    """Told apart by this."""
    factor_micro: Annotated[int, decimal("1", "1000")]
    """How many times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle(Struck):
    """The validators' uplinks and downlinks are slower."""

    __pydantic_config__ = STRICT
    kind: Literal["throttle"]
    """Told apart by this."""
    bandwidth_left_ppm: Annotated[int, share("0.01 %", "100 %")]
    """What remains of the bandwidth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(Timed):
    """Validators are cut into groups that do not reach one another."""

    __pydantic_config__ = STRICT
    kind: Literal["partition"]
    """Told apart by this."""
    groups: tuple[End, ...]
    """Who stays together; validators in no group are together as one more group."""
    one_way: Annotated[bool, Flag()] = False
    """Only messages from an earlier to a later group are lost."""
    flap_ns: Annotated[int, duration("10 ms", "1 d")] | None = None
    """Split and healed take turns of this length until it heals for good."""


Fault: TypeAlias = Annotated[
    Crash
    | AmnesiaCrash
    | SlowNode
    | Throttle
    | Partition
    | breakdowns.LinkLoss
    | breakdowns.LinkDelay
    | breakdowns.LinkDuplication
    | breakdowns.LinkReordering
    | breakdowns.LinkCorruption
    | breakdowns.ZoneOutage
    | breakdowns.RegionOutage
    | breakdowns.ProviderOutage
    | breakdowns.ClockSkew
    | breakdowns.SlowDisk
    | breakdowns.FailingDisk
    | breakdowns.FullDisk
    | breakdowns.KmsOutage
    | breakdowns.KmsThrottle
    | breakdowns.Rollout
    | MassDisconnect
    | OverloadBurst
    | ShardLoss,
    ByKind(),
]
