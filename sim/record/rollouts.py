"""What is recorded of rollouts: their table and their metrics.

Owns: the columns of `rollouts`, and what the metrics mean. Must not know: how a rollout goes.
"""

from __future__ import annotations

import polars as pl

from sim.record.columns import Table, enum_column, int_column, label_column
from sim.record.measures import Metric, count_rows, one, total

ROLLOUT_TABLES: tuple[Table, ...] = (
    Table(
        "rollouts",
        "One row a rollout that began, as it stands when the run ends.",
        "rounds",
        (
            int_column("index", "its place in the scenario's list of faults, from 0"),
            label_column("name", "its name; empty where it has none"),
            enum_column("strategy", "rolling blue_green canary", "in which order validators went"),
            enum_column("outcome", "complete aborted unfinished", "how it ended"),
            int_column("validators", "validators that were to have the new version"),
            int_column("reached", "validators that had it, or were to come up with it"),
            int_column("reached_weight_ppm", "their share of the voting weight at genesis"),
            int_column("began_ns", "when the first validators stopped"),
            int_column("new_ns", "when the first had the new version, or should have; -1 never"),
            enum_column(
                "cause",
                "none stated alert monitor no_commit",
                "what called it off; none: nothing did",
            ),
            label_column("what", "the alert rule or the monitor that did; empty otherwise"),
            int_column("seen_ns", "when that was seen; -1 never"),
            int_column(
                "aborted_ns", "when it stopped and whoever had the new version went back; -1"
            ),
            int_column("back_ns", "when all had the old version again; -1 never"),
        ),
        optional=True,
        span=("began_ns", "began_ns"),
    ),
)

_ABORTED = pl.col("outcome") == "aborted"
_SINCE_NEW = (pl.col("aborted_ns") - pl.col("new_ns")).max()

ROLLOUT_METRICS: tuple[Metric, ...] = (
    Metric(
        "rollouts_aborted",
        "count",
        "rollouts that were called off",
        count_rows("rollouts", _ABORTED),
        "rollouts",
    ),
    Metric(
        "validators_reached",
        "count",
        "validators that had a new version, or were to come up with it",
        total("rollouts", "reached"),
        "rollouts",
    ),
    Metric(
        "time_to_abort_ns",
        "ns",
        "from when the first had a new version to when its rollout was called off, longest",
        lambda tables: one(tables("rollouts").filter(_ABORTED, pl.col("new_ns") >= 0), _SINCE_NEW),
        "rollouts",
    ),
)
"""Without a rollout there is nothing to measure."""
