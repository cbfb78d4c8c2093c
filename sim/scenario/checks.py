"""What a scenario expects of its run: the `expect` list, and the metrics that it may name.

Owns: the fixed list of metric names with their dimensions. Must not know: how they are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, OneOf, duration, share, size

COMPLIANCE_COUNTS: tuple[str, ...] = (
    "audit_records",
    "audit_acts",
    "audit_denials",
    "acts_unrecorded",
    "acts_stale",
    "heads_cosigned",
    "heads_refused",
    "insider_acts",
    "insider_found",
    "insider_stopped",
    "insider_undetectable",
    "requests_done",
    "requests_refused",
    "requests_open",
    "erasures_done",
    "erasures_incomplete",
    "rows_left",
    "reads_processed",
    "reads_late",
    "reads_refused",
    "breaches_late",
    "incidents_opened",
    "incidents_closed",
    "privileges_unused",
)
"""Counts of what compliance did; they need a `compliance` section."""

COMPLIANCE_DURATIONS: tuple[str, ...] = (
    "insider_found_max",
    "erasure_max",
    "request_max",
    "withdrawal_max",
    "reads_late_max",
    "acts_stale_max",
    "containment_max",
)
"""Longest times of compliance; they need a `compliance` section."""

TRAIL_COUNTS: tuple[str, ...] = ("trail_records", "trail_unseen", "trail_gap_acts")
TRAIL_DURATIONS: tuple[str, ...] = ("trail_delay_p50", "trail_delay_max", "trail_gap")
"""What the clouds' own trails did; they need `clouds.audit.delivery`."""

KEY_COUNTS: tuple[str, ...] = ("signatures_asked",)
KEY_DURATIONS: tuple[str, ...] = ("signature_mean", "signature_max")
"""What key services did; they need one in `clouds.custody`."""

RECOVERY_COUNTS: tuple[str, ...] = ("validators_promoted", "validators_moved_back")
"""Counts of recoveries; they need sites in `clouds.recovery`."""

RECOVERY_DURATIONS: tuple[str, ...] = ("recovery_time", "recovery_point", "replication_age_max")
"""Times of recoveries; they need sites in `clouds.recovery`."""

ROLLOUT_METRICS: tuple[str, ...] = ("rollouts_aborted", "validators_reached", "time_to_abort")
"""What new versions came to; they need a rollout among the faults."""

COUNT_METRICS: tuple[str, ...] = (
    "blocks_committed",
    "blocks_discarded",
    "epochs",
    "transactions_committed",
    "operations_committed",
    "messages_offered",
    "messages_delivered",
    "messages_stored",
    "messages_dropped",
    "retries",
    "lost_messages",
    "consensus_messages",
    "timeouts",
    "forks",
    "offenders_accused",
    "offenders_punished",
    "stake_slashed",
    "level_ups",
    "level_downs",
    "level_max",
    "level_last",
    "batches_sent",
    "batches_across",
    "lookups",
    "lookup_crossings",
    "lookup_timeouts",
    "lookups_poisoned",
    "registrations_limited",
    "registrations_lost",
    "agents_re_homed",
    "shards_taken_over",
    "rollouts_aborted",
    "validators_reached",
    "violations",
    *COMPLIANCE_COUNTS,
    *KEY_COUNTS,
    *RECOVERY_COUNTS,
    *TRAIL_COUNTS,
)
"""Plain counts over the run, as `sim.record.summary` names them."""

SIZE_METRICS: tuple[str, ...] = (
    "consensus_bytes",
    "certificates_bytes",
    "records_moved_bytes",
    "batches_across_bytes",
)
"""Bytes over the run, as `sim.record.summary` names them."""

DURATION_METRICS: tuple[str, ...] = (
    "longest_commit_gap",
    "block_latency_p50",
    "block_latency_p99",
    "commit_latency_p50",
    "commit_latency_p99",
    "delivery_latency_p50",
    "delivery_latency_p99",
    "lookup_latency_p99",
    "directory_latency_p50",
    "directory_latency_p99",
    "directory_region_latency_p99",
    "time_to_abort",
    *COMPLIANCE_DURATIONS,
    *KEY_DURATIONS,
    *RECOVERY_DURATIONS,
    *TRAIL_DURATIONS,
)
"""Durations; `sim.record.summary` carries them in nanoseconds under the name with `_ns`."""

SHARE_METRICS: tuple[str, ...] = (
    "lookup_success",
    "stale_answers",
    "routing_short",
    "routing_stale",
)
"""Shares; `sim.record.summary` carries them in millionths under the name with `_ppm`."""

METRICS = COUNT_METRICS + SIZE_METRICS + DURATION_METRICS + SHARE_METRICS

BATCH_METRICS: tuple[str, ...] = ("batches_sent", "batches_across", "batches_across_bytes")
"""Metrics that only `record.batches` counts."""
COUNTED_BY = "state `record: {batches: true}`"

AGENT_METRICS: tuple[str, ...] = (
    *BATCH_METRICS,
    *(
        name
        for name in METRICS
        if name.startswith(
            ("messages_", "commit_", "delivery_", "lookup", "directory_", "registrations_")
        )
    ),
    *SHARE_METRICS,
    "agents_re_homed",
    "shards_taken_over",
    "records_moved_bytes",
    "transactions_committed",
    "retries",
    "lost_messages",
)
"""Metrics that say nothing about a scenario without agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """`held`: no two honest validators commit conflicting blocks. `violated`: some do."""

    __pydantic_config__ = STRICT
    safety: Literal["held", "violated"]
    """Which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivenessBound:
    """When the network counts as live."""

    __pydantic_config__ = STRICT
    commit_within_ns: Annotated[int, duration("1 ms", "1 d")]
    """Longest time without a commit, counted from the start and from the last heal."""
    after_ns: Annotated[int, duration("0 s", "365 d")] | None = None
    """Nothing is asked before this time; left out, the bound holds from the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """Commits keep coming."""

    __pydantic_config__ = STRICT
    liveness: LivenessBound
    """The bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelCourse:
    """What the quorum level must have done. Levels: 0 (67 %), 1 (75 %), 2 (82 %)."""

    __pydantic_config__ = STRICT
    reached: Annotated[int, Count(0, 2)] | None = None
    """Some epoch ran at this level or above."""
    returned: Annotated[int, Count(0, 2)] | None = None
    """The last epoch ran at this level or below, after a higher one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The course of the quorum level."""

    __pydantic_config__ = STRICT
    level: LevelCourse
    """Its course."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountCheck:
    """A count between two bounds, inclusive."""

    __pydantic_config__ = STRICT
    metric: Annotated[str, OneOf(METRICS, "metric")]
    """Its name."""
    at_least: Annotated[int, Count(0, 2**53)] | None = None
    """Least value that meets it."""
    at_most: Annotated[int, Count(0, 2**53)] | None = None
    """Greatest value that meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationCheck:
    """A duration between two bounds, inclusive."""

    __pydantic_config__ = STRICT
    metric: Annotated[str, OneOf(DURATION_METRICS, "metric")]
    """Its name, without the unit."""
    at_least_ns: Annotated[int, duration("0 s", "365 d")] | None = None
    """Least value that meets it."""
    at_most_ns: Annotated[int, duration("0 s", "365 d")] | None = None
    """Greatest value that meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCheck:
    """A number of bytes between two bounds, inclusive."""

    __pydantic_config__ = STRICT
    metric: Annotated[str, OneOf(SIZE_METRICS, "metric")]
    """Its name."""
    at_least_bytes: Annotated[int, size("0 B", "1000000 GB")] | None = None
    """Least value that meets it."""
    at_most_bytes: Annotated[int, size("0 B", "1000000 GB")] | None = None
    """Greatest value that meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareCheck:
    """A share between two bounds, inclusive."""

    __pydantic_config__ = STRICT
    metric: Annotated[str, OneOf(SHARE_METRICS, "metric")]
    """Its name, without the unit."""
    at_least_ppm: Annotated[int, share()] | None = None
    """Least value that meets it."""
    at_most_ppm: Annotated[int, share()] | None = None
    """Greatest value that meets it."""


MetricCheck: TypeAlias = CountCheck | DurationCheck | SizeCheck | ShareCheck


def bounds(check: MetricCheck) -> tuple[int | None, int | None]:
    """Return the least and the greatest value that meet a check, in the metric's unit."""
    if isinstance(check, CountCheck):
        return check.at_least, check.at_most
    if isinstance(check, SizeCheck):
        return check.at_least_bytes, check.at_most_bytes
    if isinstance(check, ShareCheck):
        return check.at_least_ppm, check.at_most_ppm
    return check.at_least_ns, check.at_most_ns


def summary_name(check: MetricCheck) -> str:
    """Return the metric's name in `sim.record.summary`."""
    return measured_name(check.metric)


def measured_name(metric: str) -> str:
    """Return the name, unit included, under which a metric is measured."""
    if metric in DURATION_METRICS:
        return f"{metric}_ns"
    return f"{metric}_ppm" if metric in SHARE_METRICS else metric


CHECKS: dict[str, type[Any]] = {
    "safety": Safety,
    "liveness": Liveness,
    "level": Level,
    "metric": CountCheck,
    "duration": DurationCheck,
    "size": SizeCheck,
    "share": ShareCheck,
}
STATED = ("safety", "liveness", "level", "metric")
"""The keys that tell expectations apart in a file."""


def check_kind(value: Any) -> str | None:
    """Return which of CHECKS a map of YAML values, or a check, is."""
    if not isinstance(value, dict):
        return next((key for key, kind in CHECKS.items() if isinstance(value, kind)), None)
    if "metric" in value:
        if value["metric"] in DURATION_METRICS:
            return "duration"
        if value["metric"] in SHARE_METRICS:
            return "share"
        return "size" if value["metric"] in SIZE_METRICS else "metric"
    return next((key for key in STATED if key in value), None)


Check: TypeAlias = Annotated[
    Safety | Liveness | Level | CountCheck | DurationCheck | SizeCheck | ShareCheck,
    ByKey(CHECKS, "an expectation", check_kind, STATED),
]
