"""What a scenario expects of its run: the `expect` list, and the metrics that it may name.

Owns: the fixed list of metric names with their dimensions. Must not know: how they are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, OneOf, duration

COUNT_METRICS: tuple[str, ...] = (
    "blocks_committed",
    "epochs",
    "transactions_committed",
    "messages_offered",
    "messages_delivered",
    "lost_messages",
    "level_ups",
    "level_downs",
    "offenders_punished",
    "timeouts",
    "forks",
    "operations_committed",
)
"""Plain counts over the run."""

DURATION_METRICS: tuple[str, ...] = (
    "commit_latency_p50",
    "commit_latency_p99",
    "delivery_latency_p50",
    "delivery_latency_p99",
)
"""Durations; the summary carries them in nanoseconds under the name with `_ns`."""


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
    metric: Annotated[str, OneOf(COUNT_METRICS + DURATION_METRICS, "metric")]
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


CHECKS: dict[str, type[Any]] = {
    "safety": Safety,
    "liveness": Liveness,
    "level": Level,
    "metric": CountCheck,
    "duration metric": DurationCheck,
}


def check_kind(value: Any) -> str | None:
    """Return which of CHECKS a map of YAML values, or a check, is."""
    if not isinstance(value, dict):
        return next((key for key, kind in CHECKS.items() if isinstance(value, kind)), None)
    if "metric" in value:
        return "duration metric" if value["metric"] in DURATION_METRICS else "metric"
    return next((key for key in CHECKS if key in value), None)


Check: TypeAlias = Annotated[
    Safety | Liveness | Level | CountCheck | DurationCheck,
    ByKey(CHECKS, "an expectation", check_kind),
]
