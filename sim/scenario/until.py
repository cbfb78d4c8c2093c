"""When replicates are enough: a metric's interval that has become narrow.

Owns: the `until` section and its rules. Must not know: how intervals are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from sim.scenario.base import STRICT
from sim.scenario.checks import AGENT_METRICS, BATCH_METRICS, COUNTED_BY, METRICS, measured_name
from sim.scenario.fields import Count, OneOf, share
from sim.scenario.rulebook import Finding, needs

LEAST_PILOT = 30
"""Replicates before the first look: with fewer, a lucky small variance stops too early (Law,
"Simulation Modeling and Analysis", 5th ed., section 9.4.1: sequential procedures)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """Add replicates, point by point, until the interval of a metric's mean is narrow enough.

    `replicates` is the pilot, which always runs.
    """

    __pydantic_config__ = STRICT
    metric: Annotated[str, OneOf(METRICS, "metric")]
    """Whose mean over replicates."""
    relative_width_ppm: Annotated[int, share("0.01 %", "100 %")]
    """Width of the interval, upper less lower end, over the mean."""
    confidence_ppm: Annotated[int, share("50 %", "99.99 %")] = 950_000
    """Of the interval: how often it covers the true mean."""
    max_replicates: Annotated[int, Count(LEAST_PILOT, 10_000)]
    """Stop here in any case; the interval then stays as wide as it is."""

    @property
    def summary_name(self) -> str:
        """The metric's name in `sim.record.summary`."""
        return measured_name(self.metric)


@needs("until", "replicates", "agents", "record")
def _pilot(until: Until | None, replicates: int, agents: Any, record: Any) -> Iterator[Finding]:
    if until is None:
        return
    if replicates < LEAST_PILOT:
        yield (
            ("until",),
            f"needs a pilot of at least {LEAST_PILOT} replicates, `replicates` is {replicates}",
        )
    if until.max_replicates < replicates:
        yield (
            ("until", "max_replicates"),
            f"is below the pilot, `replicates: {replicates}`",
        )
    if agents is None and until.metric in AGENT_METRICS:
        yield ("until", "metric"), f"`{until.metric}` needs agents, and there are none"
    elif until.metric in BATCH_METRICS and not record.batches:
        yield ("until", "metric"), f"`{until.metric}` is not counted: {COUNTED_BY}"
