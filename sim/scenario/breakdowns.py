"""What breaks beyond crashes and cuts: links, places, disks, clocks, key services, versions.

Owns: the fields of these faults, in integers, and the plan of a rollout. Must not know: how they
are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from sim.scenario.alerting import RULE_NAME
from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.fields import (
    Count,
    Flag,
    OneOf,
    decimal,
    duration,
    probability,
    rate,
    share,
)
from sim.scenario.occurrence import Instant, Strikes, Timed
from sim.scenario.selection import (
    MAX_VALIDATORS,
    PROVIDER_NAME,
    REGION_NAME,
    ROLLOUT_NAME,
    ZONE_NAME,
    End,
    Selection,
)

if TYPE_CHECKING:
    from sim.world.faults.rollout import Plan

_WHOLE = 1_000_000

# -- links ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault(Timed):
    """Fields of every fault of links: which links, and which share of their messages.

    Either `between` (both directions), or `from` and `to` (one direction; an end left out means
    everyone). Link rules of the network come first, then faults in the order written; the first
    that matches a message decides.
    """

    __pydantic_config__ = STRICT
    between: tuple[End, End] | None = None
    """Both directions between two ends."""
    source: End | None = None
    """Senders."""
    target: End | None = None
    """Receivers."""
    probability_ppb: Annotated[int, probability("1 ppb", "100 %")] = 10**9
    """Share of the messages concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLoss(LinkFault):
    """Messages vanish."""

    __pydantic_config__ = STRICT
    kind: Literal["link_loss"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDelay(LinkFault):
    """Messages take longer, all by the same amount."""

    __pydantic_config__ = STRICT
    kind: Literal["link_delay"]
    """Told apart by this."""
    amount_ns: Annotated[int, duration("1 us", "10 min")]
    """By how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDuplication(LinkFault):
    """Messages arrive twice."""

    __pydantic_config__ = STRICT
    kind: Literal["link_duplication"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReordering(LinkFault):
    """Messages are held up for times of their own, so that later ones overtake them."""

    __pydantic_config__ = STRICT
    kind: Literal["link_reordering"]
    """Told apart by this."""
    within_ns: Annotated[int, duration("1 us", "10 min")]
    """Longest hold-up; each is drawn uniformly below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCorruption(LinkFault):
    """Messages arrive with signatures that do not verify."""

    __pydantic_config__ = STRICT
    kind: Literal["link_corruption"]
    """Told apart by this."""


# -- places ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(Timed):
    """Fields of every outage of places."""

    __pydantic_config__ = STRICT
    strikes: Strikes = "all"
    """By rates: all places together, each at times of its own, or one of them each time."""
    cut_off: Annotated[bool, Flag()] = False
    """Whether the validators there go on, reached by nobody outside; else they crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneOutage(Outage):
    """Availability zones fail. Validators of a region are spread over its zones in turn."""

    __pydantic_config__ = STRICT
    kind: Literal["zone_outage"]
    """Told apart by this."""
    zones: tuple[Annotated[str, ZONE_NAME], ...]
    """Their names: the region's, `/` and a number from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionOutage(Outage):
    """Whole regions fail."""

    __pydantic_config__ = STRICT
    kind: Literal["region_outage"]
    """Told apart by this."""
    regions: tuple[Annotated[str, REGION_NAME], ...]
    """Their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOutage(Outage):
    """All regions of providers fail."""

    __pydantic_config__ = STRICT
    kind: Literal["provider_outage"]
    """Told apart by this."""
    providers: tuple[Annotated[str, PROVIDER_NAME], ...]
    """Their names, as regions begin with: `aws`, `az`, `gcp`; `custom` for the scenario's own."""


# -- computers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck(Timed):
    """Fields of every fault that strikes validators."""

    __pydantic_config__ = STRICT
    nodes: Selection
    """Who; a random choice is drawn once a replicate."""
    strikes: Strikes = "all"
    """By rates: all of them together, each at times of its own, or one of them each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkew(Struck):
    """The validators' clocks are off. Timers are deadlines on that clock."""

    __pydantic_config__ = STRICT
    kind: Literal["clock_skew"]
    """Told apart by this."""
    ahead_ns: Annotated[int, duration("0 s", "1 d")] = 0
    """How far the clock jumps forward."""
    behind_ns: Annotated[int, duration("0 s", "1 d")] = 0
    """How far it jumps back instead."""
    rate_micro: Annotated[int, decimal("0.1", "10")] = 1_000_000
    """How fast it runs (a bare number): 1.5 gains half a second a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDisk(Struck):
    """Writes of the validators' own state take time, one after the other."""

    __pydantic_config__ = STRICT
    kind: Literal["slow_disk"]
    """Told apart by this."""
    write_ns: Annotated[int, duration("1 us", "1 h")]
    """How long each takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingDisk(Struck):
    """Writes of the validators' own state fail; who cannot persist a vote does not vote."""

    __pydantic_config__ = STRICT
    kind: Literal["failing_disk"]
    """Told apart by this."""
    share_ppm: Annotated[int, share("0.01 %", "100 %")] = 1_000_000
    """Share of the writes that fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullDisk(Struck):
    """Validators can store nothing, neither their own state nor others' blocks."""

    __pydantic_config__ = STRICT
    kind: Literal["full_disk"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsOutage(Struck):
    """Validators whose keys lie in a key service cannot sign."""

    __pydantic_config__ = STRICT
    kind: Literal["kms_outage"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsThrottle(Struck):
    """A key service grants few signatures, or grants them late."""

    __pydantic_config__ = STRICT
    kind: Literal["kms_throttle"]
    """Told apart by this."""
    quota_nhz: Annotated[int, rate("1 /h", "1000000 /s")] | None = None
    """Signatures it grants; more wait for their turn. Left out, no limit."""
    burst: Annotated[int, Count(1, 1_000_000)] = 1
    """How many it grants at once after a rest."""
    per: Literal["validator", "region"] = "validator"
    """Who shares a quota: nobody, or all of them in a region, as in one account."""
    delay_ns: Annotated[int, duration("0 s", "1 h")] = 0
    """How long an answer takes."""


# -- versions -------------------------------------------------------------------------------------

Wave: TypeAlias = Annotated[int, Count(1, MAX_VALIDATORS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """In waves."""

    __pydantic_config__ = STRICT
    kind: Literal["rolling"]
    """Told apart by this."""
    wave: Wave = 1
    """Validators at a time."""
    pause_ns: Annotated[int, duration("0 s", "30 d")] = 0
    """From the end of a wave to the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreen:
    """All at once, from an environment that stands ready: `downtime` is that of the switch."""

    __pydantic_config__ = STRICT
    kind: Literal["blue_green"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A few first, then, after a while, the others in waves."""

    __pydantic_config__ = STRICT
    kind: Literal["canary"]
    """Told apart by this."""
    share_ppm: Annotated[int, share("0.01 %", "50 %")]
    """Share of the validators that go first, rounded up."""
    bake_ns: Annotated[int, duration("1 ms", "30 d")]
    """How long they are watched before the others follow."""
    wave: Wave = 1
    """Validators at a time, then."""
    pause_ns: Annotated[int, duration("0 s", "30 d")] = 0
    """From the end of a wave to the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadVersion:
    """What is wrong with the new version."""

    __pydantic_config__ = STRICT
    factor_micro: Annotated[int, decimal("1", "1000")] | None = None
    """How many times as long its services take; left out, it does not come up."""
    noticed_after_ns: Annotated[int, duration("1 ms", "30 d")] | None = None
    """When that is noticed whatever is observed, from when the first should be up: the rollout
    stops, and whoever has the bad version is restarted with the old one. Left out, never."""


MONITORS = (
    "agreement",
    "certificate_uniqueness",
    "commit_monotonicity",
    "validity",
    "ledger_equality",
    "pinned_parameters",
    "vote_safety",
    "quorum_overlap",
    "weight_cap",
    "fork_choice",
    "conflict_noticed",
    "evidence_proposed",
    "jail",
    "reconciliation",
    "supply_conservation",
    "no_lost_message",
    "no_lost_registration",
)
"""Monitors that judge while a run goes on, whatever it expects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortOn:
    """What calls a rollout off, from its first stop on; one of them is enough.

    It is looked for at each whole second, as alert rules are evaluated. The rollout then stops, and
    whoever has the new version is restarted with the old one.
    """

    __pydantic_config__ = STRICT
    alerts: tuple[Annotated[str, RULE_NAME], ...] = ()
    """One of these alert rules fires."""
    monitors: tuple[Annotated[str, OneOf(MONITORS, "monitor")], ...] = ()
    """An invariant breaks after the first stop that one of these monitors watches."""
    no_commit_for_ns: Annotated[int, duration("1 s", "1 d")] | None = None
    """No new block has been committed for so long."""
    reaction_ns: Annotated[int, duration("1 ms", "1 d")] = 1_000_000
    """From when it is seen to when the rollout stops."""
    watch_for_ns: Annotated[int, duration("1 s", "30 d")] | None = None
    """How long it is looked for after the last start; left out, to the end of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A new version: validators are restarted into it. Times follow from its strategy."""

    __pydantic_config__ = STRICT
    kind: Literal["rollout"]
    """Told apart by this."""
    name: Annotated[str, ROLLOUT_NAME] | None = None
    """Names its draws, so that other faults may come and go; left out, its place in the list.
    Adversaries whose `nodes` are `{rollout: name}` own whoever runs the new version."""
    nodes: Selection
    """Who; in the order of their identities."""
    at_ns: Instant
    """When the first stop."""
    downtime_ns: Annotated[int, duration("1 ms", "1 d")]
    """From a validator's stop to its start."""
    strategy: Annotated[Rolling | BlueGreen | Canary, ByKind()]
    """In which order."""
    bad_version: BadVersion | None = None
    """What is wrong with it; left out, nothing, unless an adversary has it."""
    abort_on: AbortOn | None = None
    """What calls it off; left out, nothing that is observed."""


def plan(fault: Rollout, nodes: int) -> Plan:
    """Return the plan of a rollout to so many validators."""
    from sim.world.faults.rollout import Plan

    strategy, bad = fault.strategy, fault.bad_version
    first, bake_ns, wave, pause_ns = nodes, 0, nodes, 0
    if isinstance(strategy, Rolling):
        first = wave = strategy.wave
        bake_ns = pause_ns = strategy.pause_ns
    elif isinstance(strategy, Canary):
        first = -(-nodes * strategy.share_ppm // _WHOLE)
        bake_ns, wave, pause_ns = strategy.bake_ns, strategy.wave, strategy.pause_ns
    return Plan(
        downtime_ns=fault.downtime_ns,
        first=first,
        bake_ns=bake_ns,
        wave=wave,
        pause_ns=pause_ns,
        factor_ppm=None if bad is None else bad.factor_micro or 0,
        noticed_ns=None if bad is None else bad.noticed_after_ns,
    )
