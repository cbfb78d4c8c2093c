"""Alert rules as data: the metrics that they may name, their fields, the `alerts` section.

Owns: the vocabulary, in integers, and what a rule says. Must not know: how metrics are measured or
rules evaluated, and which rules ship.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, OneOf, Text, duration, share

Dimension: TypeAlias = Literal["count", "duration", "share"]
Part: TypeAlias = Literal["", "agents", "compliance", "clouds"]


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is known once a second while a run goes on.

    `counter`: a sum since the start, always a count; else a gauge. Durations are in ns, shares in
    ppm. `label`: what tells the series of one metric apart; empty where there is one. `part`: of a
    scenario that it needs; empty where every scenario has it.
    """

    name: str
    counter: bool
    dimension: Dimension
    meaning: str
    label: str = ""
    part: Part = ""


def _counter(name: str, meaning: str, label: str = "", part: Part = "") -> Metric:
    return Metric(name, True, "count", meaning, label, part)


def _gauge(
    name: str, dimension: Dimension, meaning: str, label: str = "", part: Part = ""
) -> Metric:
    return Metric(name, False, dimension, meaning, label, part)


METRICS: tuple[Metric, ...] = (
    _counter("blocks_committed", "blocks, at their first commit"),
    _counter("transactions_committed", "agent transactions in committed blocks"),
    _counter("certificates", "quorum certificates formed"),
    _counter("view_timeouts", "views that ended with a timeout certificate"),
    _counter("forks", "forks seen", "kind"),
    _counter("reconciliations", "reconciliations after a finality fork"),
    _counter("offences_proved", "accusations with proof, each offence once", "kind"),
    _counter("offences_punished", "offences punished on the committed chain", "kind"),
    _counter("stake_slashed", "stake units burned"),
    _counter("operations_refused", "validator operations without effect"),
    _counter("invalid_messages", "messages refused for a signature that does not verify"),
    _counter("proposals_refused", "proposals that break a rule, by receivers", "reason"),
    _counter("votes_withheld", "blocks that somebody did not vote for", "reason"),
    _counter("queue_overflows", "entries that a full queue dropped; late votes apart", "queue"),
    _counter("violations", "breaches of an invariant", "monitor"),
    _counter("consensus_messages", "messages between validators, sent"),
    _counter("consensus_lost", "those that link rules or dead senders swallowed"),
    _counter("consensus_bytes", "their bytes"),
    _gauge("commit_age", "duration", "time since the last first commit of a block"),
    _gauge("block_latency_p99", "duration", "proposed to first commit, blocks of the last second"),
    _gauge("certificate_latency_p99", "duration", "proposed to certified, as far as it is known"),
    _gauge("quorum_level", "count", "level of the newest epoch: 0, 1, 2"),
    _gauge("quorum_rise", "count", "levels that it stands above that of the first epoch"),
    _gauge("members_lost", "count", "members fewer than the most that an epoch has had"),
    _gauge("proven_weight", "share", "weight of those with a proved offence, of the newest epoch"),
    _gauge("missed_weight", "share", "weight that missed its votes in the last whole epoch"),
    _gauge("halting_coalition", "count", "fewest validators whose silence halts the chain"),
    _gauge("validators_down", "count", "validators that are not there"),
    _gauge("weight_down", "share", "their weight"),
    _gauge("validators_behind", "count", "validators more than an epoch's blocks behind the first"),
    _gauge("silent_region_pairs", "count", "pairs of regions with messages sent and none arrived"),
    _gauge("cpu_utilisation", "share", "of the busiest validator's consensus processors"),
    _gauge("uplink_utilisation", "share", "of the busiest validator's uplink, consensus lane"),
    _gauge("downlink_utilisation", "share", "of the busiest validator's downlink, consensus lane"),
    _gauge("verification_wait", "duration", "mean wait for a processor where it is longest"),
    _gauge("keys_out_of_reach", "count", "validators whose key service does not answer"),
    _gauge("signature_wait", "duration", "mean time that key services took in the last second"),
    _gauge("disks_struck", "count", "validators whose disk is slow, fails or is full"),
    _counter("signatures", "signatures asked for at key services", "region", "clouds"),
    _gauge("trail_lag", "duration", "age of the oldest unseen act in a cloud", "region", "clouds"),
    _gauge("replication_age", "duration", "age of the newest record at a region's site", "region"),
    _counter("audit_records", "records of the audit log, by outcome", "outcome", "compliance"),
    _counter("access_decisions", "acts of services and agents, decided", "decision", "compliance"),
    _counter("acts_unrecorded", "acts that the audit log could not take", "", "compliance"),
    _counter("personal_reads", "reads of personal data, by outcome", "outcome", "compliance"),
    _counter("tree_heads", "answers of witnesses to heads of the log", "answer", "compliance"),
    _gauge("tree_head_age", "duration", "of the newest co-signed head", "", "compliance"),
    _gauge("audit_uncovered", "count", "audit records that no head covers", "", "compliance"),
    _gauge("requests_open", "count", "requests of data subjects", "kind", "compliance"),
    _gauge("erasure_age", "duration", "of the oldest open erasure", "", "compliance"),
    _gauge("breaches_untold", "count", "breaches the authority has not heard of", "", "compliance"),
    _gauge("breach_clock", "duration", "since awareness of the oldest of them", "", "compliance"),
    _gauge("incidents_open", "count", "incidents being worked on", "", "compliance"),
    _counter("agent_messages", "messages and requests of agents, offered", part="agents"),
    _counter("agent_drops", "those that were dropped, by reason", "reason", part="agents"),
    _counter("agent_dropped", "those that the network itself dropped", part="agents"),
    _counter("agent_retries", "tries after the first", part="agents"),
    _counter("agent_tries_lost", "tries that came to nothing, by reason", "reason", part="agents"),
    _counter("lookups", "questions routed to the directory", part="agents"),
    _counter("lookups_failed", "those that found no host", "outcome", part="agents"),
    _counter("lookup_timeouts", "questions on the way that nobody answered", part="agents"),
    _counter("lookup_rpcs", "questions on the way", part="agents"),
    _counter("registry_reads", "reads served by hosts of the registry", part="agents"),
    _counter("registry_stale", "those answered without the newest version", part="agents"),
    _counter("registry_no_quorum", "questions too few replicas confirmed", part="agents"),
    _counter("registrations_limited", "registrations over a limit", part="agents"),
    _counter("registrations_lost", "acknowledged ones that went down with a host", part="agents"),
    _counter("registrations", "registrations asked for", part="agents"),
    _counter("shards_taken_over", "shards that another host took over or got back", part="agents"),
    _counter("agents_re_homed", "agents that moved to another gateway", part="agents"),
    _gauge("gateways_down", "count", "gateways that are not there", part="agents"),
    _gauge(
        "station_utilisation", "share", "of the busiest station of a class", "class", part="agents"
    ),
    _gauge("station_queue", "count", "longest queue of a class", "class", part="agents"),
    _gauge(
        "request_latency_p50", "duration", "of what ended in the last second", "kind", part="agents"
    ),
    _gauge(
        "request_latency_p99", "duration", "of what ended in the last second", "kind", part="agents"
    ),
    _gauge(
        "unaccounted_messages", "count", "offered, and neither ended nor under way", part="agents"
    ),
)
"""Everything that rules may be about."""

METRIC: dict[str, Metric] = {metric.name: metric for metric in METRICS}
NAMES = tuple(METRIC)

RULE_NAME = Text(60, r"[a-z][a-z0-9_]*", "a name of small letters, digits and _")
Severity: TypeAlias = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Fields of every rule. It fires once its condition has held for a while, series by series."""

    __pydantic_config__ = STRICT
    name: Annotated[str, RULE_NAME]
    """Its name in the table of alerts."""
    severity: Severity = "warning"
    """How bad it is."""
    metric: Annotated[str, OneOf(NAMES, "metric")]
    """What is looked at."""
    over: Literal["last", "max", "min", "increase"] = "last"
    """Of a gauge its last, greatest or least value of the window; of a counter its increase."""
    window_ns: Annotated[int, duration("1 s", "1 h")] = 1_000_000_000
    """How far back it looks, in whole seconds."""
    per: Annotated[str, OneOf(NAMES, "metric")] | None = None
    """Divide by the increase of this counter, at least 1; the threshold is then a share."""
    when: Literal["above", "below"] = "above"
    """The condition: strictly beyond the threshold on this side."""
    for_ns: Annotated[int, duration("0 s", "1 h")] = 0
    """How long it must hold, in whole seconds."""
    series: tuple[Annotated[str, Text(60)], ...] = ()
    """Only these values of the metric's label; left out, each by itself."""
    reason: Annotated[str, Text(300)] = "no reason is stated"
    """Why this threshold."""
    runbook: Annotated[str, Text(300)] = "no step is stated"
    """What to do first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRule(Rule):
    """A rule about a count."""

    __pydantic_config__ = STRICT
    threshold: Annotated[int, Count(0, 2**53)]
    """Beyond this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationRule(Rule):
    """A rule about a duration."""

    __pydantic_config__ = STRICT
    threshold_ns: Annotated[int, duration("0 s", "365 d")]
    """Beyond this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRule(Rule):
    """A rule about a share, or about one counter in proportion to another."""

    __pydantic_config__ = STRICT
    threshold_ppm: Annotated[int, share("0 %", "100000 %")]
    """Beyond this."""


RULES: dict[str, type[Any]] = {"count": CountRule, "duration": DurationRule, "share": ShareRule}


def dimension_of(metric: Any, per: Any) -> Dimension:
    """Return the dimension of what a rule compares."""
    if per is not None:
        return "share"
    return METRIC[metric].dimension if metric in METRIC else "count"


def rule_kind(value: Any) -> str | None:
    """Return which of RULES a map of YAML values, or a rule, is."""
    if isinstance(value, dict):
        if "metric" not in value:
            return None
        metric = value["metric"]
        return dimension_of(metric if isinstance(metric, str) else "", value.get("per"))
    return next((key for key, kind in RULES.items() if isinstance(value, kind)), None)


AlertRule: TypeAlias = Annotated[
    CountRule | DurationRule | ShareRule, ByKey(RULES, "a rule", rule_kind, ("metric",))
]


def threshold_of(rule: CountRule | DurationRule | ShareRule) -> int:
    """Return a rule's threshold in base units: a count, ns or ppm."""
    if isinstance(rule, CountRule):
        return rule.threshold
    return rule.threshold_ns if isinstance(rule, DurationRule) else rule.threshold_ppm
