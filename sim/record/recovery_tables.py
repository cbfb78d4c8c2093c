"""The tables and metrics of disaster recovery: streams to standbys, and the steps of recoveries.

Owns: their part of the column dictionary and of the metrics; `tables` and `summary` hold the whole.
Both tables are optional: a run without sites of recovery has no row in them and no digest of them.
"""

from __future__ import annotations

import polars as pl

from sim.record.columns import Table, enum_column, int_column, label_column
from sim.record.measures import Metric, Tables, count_rows, one

RECOVERY_TABLES: tuple[Table, ...] = (
    Table(
        "replication",
        "One row a second and pair of regions: how far the records of one are copied to the other.",
        "rounds",
        (
            int_column("second", "simulated second s that ends: (s, s + 1] x 10^9 ns"),
            label_column("source_region", "region whose records they are", "region"),
            label_column("destination_region", "region of its site", "region"),
            int_column("written_bytes", "bytes of the records written in it"),
            int_column("arrived_bytes", "bytes that arrived in it"),
            int_column("waiting_bytes", "bytes that had not arrived when it ended"),
            int_column("newest_ns", "when the newest record that had arrived was written"),
            int_column("age_ns", "its age as the second ended; 0 where nothing newer was written"),
        ),
        optional=True,
    ),
    Table(
        "recovery",
        "One row a step of a recovery: of a lost place, or of one of its validators.",
        "rounds",
        (
            int_column("time_ns", "simulated time"),
            label_column("region", "region that was lost", "region"),
            enum_column(
                "step",
                "lost detected decided readied held_back routed promoted back not_back returned "
                "cancelled ordered_back synced moved_back failed_back",
                "what was reached; held_back: its validators still run, nobody may stand in for "
                "them, or its site is down; back: the first block proposed after the loss is "
                "committed; not_back: none was when the run ended",
            ),
            int_column("node", "validator that it concerns; -1 where it is all of the region"),
            int_column(
                "value_ns",
                "of lost: age of the newest record at the site; of back and not_back: time since "
                "the loss; of promoted: when the newest record it knows was written; 0 otherwise",
            ),
        ),
        optional=True,
    ),
)

_STEP, _VALUE = pl.col("step"), pl.col("value_ns")


def _worst(*steps: str) -> pl.Expr:
    return _VALUE.filter(_STEP.is_in(steps)).max()


def _metric(name: str, meaning: str, expression: pl.Expr) -> Metric:
    def measure(tables: Tables) -> int | None:
        return one(tables("recovery"), expression)

    return Metric(name, "ns", meaning, measure, "recovery")


def _oldest(tables: Tables) -> int | None:
    return one(tables("replication"), pl.col("age_ns").max())


RECOVERY_METRICS: tuple[Metric, ...] = (
    _metric(
        "recovery_time_ns",
        "longest time from the loss of a region with a site to the first commit of a block "
        "proposed after it, or to the end of the run where there is none",
        _worst("back", "not_back"),
    ),
    _metric(
        "recovery_point_ns",
        "age of the newest record at the site as its region was lost, at worst",
        _worst("lost"),
    ),
    Metric(
        "replication_age_max_ns",
        "ns",
        "age of the newest record at a site, at worst of all seconds",
        _oldest,
        "recovery",
    ),
    Metric(
        "validators_promoted",
        "count",
        "times that a validator came up at the site of its region",
        count_rows("recovery", _STEP == "promoted"),
        "recovery",
    ),
    Metric(
        "validators_moved_back",
        "count",
        "times that one moved back to its own region",
        count_rows("recovery", _STEP == "moved_back"),
        "recovery",
    ),
)
"""What became of lost regions; without sites of recovery there is nothing to measure."""
