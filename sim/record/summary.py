"""The metrics of a replicate by fixed names, computed from its tables.

Owns: what each name means and its unit; `expect:` and reports use these names. Everything is an
integer; None where there was nothing to measure (without a committed transaction there is no commit
latency). Must not know: what is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import polars as pl

from sim.record.cloud_metrics import CLOUD_METRICS
from sim.record.compliance_metrics import COMPLIANCE_METRICS
from sim.record.histogram import quantile_ns
from sim.record.measures import Metric, Tables
from sim.record.measures import count_rows as _rows
from sim.record.measures import one as _one
from sim.record.measures import total as _total
from sim.record.recovery_tables import RECOVERY_METRICS
from sim.record.rollouts import ROLLOUT_METRICS

Metrics: TypeAlias = dict[str, int | None]

__all__ = ["METRICS", "Metric", "Metrics", "Tables", "epoch_levels", "metrics_of"]


def _distinct(table: str, columns: list[str], *conditions: pl.Expr) -> Callable[[Tables], int]:
    def measure(tables: Tables) -> int:
        return int(tables(table).filter(*conditions).select(columns).unique().collect().height)

    return measure


def _latency(kind: str, ppm: int) -> Callable[[Tables], int | None]:
    def measure(tables: Tables) -> int | None:
        counts = (
            tables("latency")
            .filter(pl.col("kind") == kind)
            .group_by("bucket")
            .agg(pl.col("count").sum())
            .collect()
        )
        return quantile_ns(dict(counts.iter_rows()), ppm)

    return measure


def _agents(outcome: str, kind: str | None = None) -> Callable[[Tables], int | None]:
    conditions = [pl.col("lane") == "agents", pl.col("outcome") == outcome]
    if kind is not None:
        conditions.append(pl.col("kind") == kind)
    return _total("traffic", "messages", *conditions)


def _longest_gap_ns(tables: Tables) -> int | None:
    times = tables("blocks").filter(_COMMITTED).select(pl.col("committed_ns").sort())
    return _one(times, pl.col("committed_ns").diff().max())


def _last(column: str) -> Callable[[Tables], int | None]:
    return lambda tables: _one(tables("epochs").sort("epoch"), pl.col(column).last())


_COMMITTED = pl.col("status") == "committed"
_CONSENSUS = (pl.col("lane") == "consensus") & (pl.col("outcome") == "delivered")
_P50, _P99 = 500_000, 990_000

_FOUND = pl.col("outcome") == "found"
_INSIDE = pl.col("source_region") == pl.col("destination_region")
_READS = pl.col("kind").is_in(["message", "lookup_id", "lookup_capability"])
_EVENT = pl.col("event")


def _answered(ppm: int, *conditions: pl.Expr) -> Callable[[Tables], int | None]:
    def measure(tables: Tables) -> int | None:
        counts = (
            tables("lookup_latency")
            .filter(*conditions)
            .group_by("bucket")
            .agg(pl.col("count").sum())
            .collect()
        )
        return quantile_ns(dict(counts.iter_rows()), ppm)

    return measure


def _share(
    table: str, column: str, part: pl.Expr, whole: pl.Expr
) -> Callable[[Tables], int | None]:
    """Return how to measure the share of `part` in `whole`, in millionths; None of nothing."""

    def measure(tables: Tables) -> int | None:
        amount = pl.col(column).cast(pl.Int64)
        sums = tables(table).select(
            amount.filter(part).sum().alias("part"), amount.filter(whole).sum().alias("whole")
        )
        of, all_of = sums.collect().row(0)
        return int(of) * 1_000_000 // int(all_of) if all_of else None

    return measure


_TABLE_OF = {
    "compliance": "audit",
    "keys": "signatures",
    "recovery": "replication",
    "trail": "trail",
    "rollouts": "rollouts",
}
"""By optional part: the table that has rows where a run had it."""
_ACROSS = pl.col("source_region") != pl.col("destination_region")


def _sent(column: str, *conditions: pl.Expr) -> Callable[[Tables], int | None]:
    """Return how to sum a column of the batches; None where none were counted."""
    total = _total("batches", column, *conditions)
    return lambda tables: total(tables) if _rows("batches")(tables) else None


BATCH_METRICS: tuple[Metric, ...] = (
    Metric(
        "batches_sent",
        "count",
        "batches of messages between gateways; with `record.batches`",
        _sent("batches"),
    ),
    Metric(
        "batches_across",
        "count",
        "those between two regions",
        _sent("batches", _ACROSS),
    ),
    Metric(
        "batches_across_bytes",
        "bytes",
        "their bytes on the wire",
        _sent("bytes", _ACROSS),
    ),
)

DIRECTORY_METRICS: tuple[Metric, ...] = (
    Metric(
        "lookups",
        "count",
        "questions to the agents' directory, those answered from a cache apart",
        _total("lookups", "lookups"),
    ),
    Metric(
        "lookup_crossings",
        "count",
        "messages of their routing between two regions",
        _total("lookups", "crossings"),
    ),
    Metric(
        "lookup_timeouts",
        "count",
        "questions of their routing that nobody answered",
        _total("lookups", "timeouts"),
    ),
    Metric(
        "lookups_poisoned",
        "count",
        "lookups that a malicious node ended",
        _total("lookups", "lookups", pl.col("outcome") == "poisoned"),
    ),
    Metric(
        "lookup_success_ppm",
        "ppm",
        "share of the lookups that found their host",
        _share("lookups", "lookups", _FOUND, pl.lit(True)),
    ),
    Metric(
        "directory_latency_p50_ns",
        "ns",
        "question asked to answered at the gateway, median",
        _answered(_P50),
    ),
    Metric(
        "directory_latency_p99_ns",
        "ns",
        "question asked to answered at the gateway, 99 %",
        _answered(_P99),
    ),
    Metric(
        "directory_region_latency_p99_ns",
        "ns",
        "the same of reads where gateway and host share a region, 99 %",
        _answered(_P99, _INSIDE, _READS),
    ),
    Metric(
        "stale_answers_ppm",
        "ppm",
        "share of the reads that were answered without the newest version",
        _share("registry", "count", _EVENT == "stale", _EVENT == "read"),
    ),
    Metric(
        "registrations_limited",
        "count",
        "registrations that a limit refused, each try",
        _total("registry", "count", _EVENT == "limited"),
    ),
    Metric(
        "registrations_lost",
        "count",
        "acknowledged writes that went down with their host",
        _total("registry", "count", _EVENT == "lost_write"),
    ),
    Metric(
        "agents_re_homed",
        "count",
        "moves of agents to another gateway",
        _total("registry", "count", _EVENT == "re_homed"),
    ),
    Metric(
        "shards_taken_over",
        "count",
        "shards that another host took over, or got back",
        _total("registry", "count", _EVENT == "taken_over"),
    ),
    Metric(
        "records_moved_bytes",
        "bytes",
        "bytes of the records moved for that",
        _total("registry", "bytes", _EVENT == "moved_in"),
    ),
    Metric(
        "routing_short_ppm",
        "ppm",
        "share of the buckets met with fewer contacts than k and than there are nodes for",
        None,
    ),
    Metric(
        "routing_stale_ppm",
        "ppm",
        "share of the contacts met that were gone",
        None,
    ),
)
"""What the agents' directory did."""

METRICS: tuple[Metric, ...] = (
    Metric("blocks_committed", "count", "blocks committed", _rows("blocks", _COMMITTED)),
    Metric(
        "blocks_discarded",
        "count",
        "blocks orphaned, or of a discarded epoch tail",
        _rows("blocks", pl.col("status").is_in(["orphaned", "tail"])),
    ),
    Metric("epochs", "count", "epochs entered, the first included", _distinct("epochs", ["epoch"])),
    Metric(
        "transactions_committed",
        "count",
        "agent transactions in committed blocks",
        _total("blocks", "transactions", _COMMITTED),
    ),
    Metric(
        "operations_committed",
        "count",
        "validator operations that took effect",
        _rows("operations", pl.col("event") == "applied"),
    ),
    Metric(
        "messages_offered",
        "count",
        "direct messages that agents offered",
        _agents("offered", "message"),
    ),
    Metric(
        "messages_delivered",
        "count",
        "direct messages delivered to agents",
        _agents("delivered", "message"),
    ),
    Metric(
        "messages_stored",
        "count",
        "direct messages put in store for agents that were offline",
        _agents("stored", "message"),
    ),
    Metric(
        "messages_dropped",
        "count",
        "agents' messages of all kinds that were given up, each with a reason",
        _agents("dropped"),
    ),
    Metric("retries", "count", "further tries of agents' messages", _agents("retried")),
    Metric(
        "lost_messages",
        "count",
        "agents' messages that vanished without a reason (from the plane's counters)",
        None,
    ),
    Metric(
        "consensus_messages",
        "count",
        "messages delivered between validators",
        _total("traffic", "messages", _CONSENSUS),
    ),
    Metric(
        "consensus_bytes",
        "bytes",
        "their bytes",
        _total("traffic", "bytes", _CONSENSUS),
    ),
    Metric(
        "certificates_bytes",
        "bytes",
        "bytes of all certificates formed, each once",
        _total("certificates", "size_bytes"),
    ),
    Metric(
        "timeouts",
        "count",
        "views that some validator entered because the one before timed out",
        _distinct("rounds", ["epoch", "view"], pl.col("reason") == "timeout"),
    ),
    Metric("forks", "count", "forks seen", _rows("forks", pl.col("event") == "forked")),
    Metric(
        "offenders_accused",
        "count",
        "validators accused with proof",
        _distinct("evidence", ["offender"], pl.col("event") == "accused"),
    ),
    Metric(
        "offenders_punished",
        "count",
        "validators punished on the committed chain",
        _distinct("evidence", ["offender"], pl.col("event") == "punished"),
    ),
    Metric(
        "stake_slashed",
        "stake units",
        "stake burned",
        _total("evidence", "slashed", pl.col("event") == "punished"),
    ),
    Metric(
        "level_ups",
        "count",
        "rises of the quorum level",
        _rows("levels", pl.col("new_level") > pl.col("old_level")),
    ),
    Metric(
        "level_downs",
        "count",
        "falls of the quorum level",
        _rows("levels", pl.col("new_level") < pl.col("old_level")),
    ),
    Metric(
        "level_max",
        "level",
        "highest level of an epoch",
        lambda tables: _one(tables("epochs"), pl.col("level").max()),
    ),
    Metric("level_last", "level", "level of the last epoch", _last("level")),
    Metric("longest_commit_gap_ns", "ns", "longest time between two commits", _longest_gap_ns),
    Metric(
        "block_latency_p50_ns",
        "ns",
        "proposed to first committed, median",
        _latency("block", _P50),
    ),
    Metric(
        "block_latency_p99_ns",
        "ns",
        "proposed to first committed, 99 %",
        _latency("block", _P99),
    ),
    Metric(
        "commit_latency_p50_ns",
        "ns",
        "agent transaction offered to committed, median",
        _latency("transaction", _P50),
    ),
    Metric(
        "commit_latency_p99_ns",
        "ns",
        "agent transaction offered to committed, 99 %",
        _latency("transaction", _P99),
    ),
    Metric(
        "delivery_latency_p50_ns",
        "ns",
        "direct message offered to delivered, median",
        _latency("message", _P50),
    ),
    Metric(
        "delivery_latency_p99_ns",
        "ns",
        "direct message offered to delivered, 99 %",
        _latency("message", _P99),
    ),
    Metric(
        "lookup_latency_p99_ns",
        "ns",
        "lookup by id asked to answered, 99 %",
        _latency("lookup_id", _P99),
    ),
    *BATCH_METRICS,
    *DIRECTORY_METRICS,
    *ROLLOUT_METRICS,
    *COMPLIANCE_METRICS,
    *CLOUD_METRICS,
    *RECOVERY_METRICS,
    Metric("violations", "count", "kinds of broken invariants", _rows("violations")),
)


def metrics_of(
    tables: Tables,
    *,
    lost_messages: int | None = None,
    routing_ppm: tuple[int, int] | None = None,
) -> Metrics:
    """Compute every metric of one replicate.

    `lost_messages` comes from the plane's counters; None where there were no agents. `routing_ppm`:
    shares of short buckets and of stale contacts; None where nothing was routed.
    """
    short, stale = routing_ppm or (None, None)
    handed_in = {
        "lost_messages": lost_messages,
        "routing_short_ppm": short,
        "routing_stale_ppm": stale,
    }
    there = {
        part: bool(tables(table).head(1).collect().height) for part, table in _TABLE_OF.items()
    }
    found: Metrics = {}
    for metric in METRICS:
        if metric.part and not there[metric.part]:
            found[metric.name] = None
        elif metric.measure is None:
            found[metric.name] = handed_in[metric.name]
        else:
            found[metric.name] = metric.measure(tables)
    return found


def epoch_levels(tables: Tables) -> tuple[int, ...]:
    """Return the quorum level of each epoch, in order."""
    levels = tables("epochs").sort("epoch").select("level").collect()
    return tuple(int(level) for level in levels.get_column("level"))
