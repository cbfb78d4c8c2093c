"""Metrics and comparison, over small runs whose figures are counted by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim.record.compare import check_digests, compare_digests
from sim.record.histogram import bucket_of
from sim.record.recorder import Recorder
from sim.record.runs import ReplicateResult, Run, RunWriter, open_run
from sim.record.summary import METRICS, epoch_levels, metrics_of
from sim.record.tables import BY_NAME
from sim.scenario.checks import BATCH_METRICS, COUNT_METRICS, DURATION_METRICS

DEFAULTS = {"int": 0, "uint": 0, "id": "0" * 64, "label": ""}


def filled(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    columns = BY_NAME[table].columns
    blank = {c.name: c.values[0] if c.values else DEFAULTS[c.dtype] for c in columns}
    assert row.keys() <= blank.keys()
    return blank | dict(row)


def small_run(
    root: Path, rows: list[tuple[str, dict[str, Any]]], detail: str = "blocks", **settings: Any
) -> Run:
    writer = RunWriter.start(
        root,
        scenario_name="small",
        scenario_text="",
        scenario_digest="cd" * 32,
        seed=1,
        detail=detail,
        command=[],
    )
    recorder = Recorder(writer.replicate_path(0, 0), detail=detail, **settings)
    for table, row in rows:
        recorder.append_row(table, **filled(table, row))
    writer.add(ReplicateResult(0, 0, "complete", "met", 1, recorder.close()))
    writer.finish("complete", verdict="met")
    return open_run(writer.path)


def message(outcome: str, count: int, **other: Any) -> tuple[str, dict[str, Any]]:
    row = {"lane": "agents", "kind": "message", "outcome": outcome, "messages": count}
    return "traffic", row | other


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("blocks", {"height": 1, "status": "committed", "transactions": 30, "committed_ns": 100}),
    ("blocks", {"height": 2, "status": "committed", "transactions": 12, "committed_ns": 900}),
    ("blocks", {"height": 3, "status": "committed", "committed_ns": 1000}),
    ("blocks", {"height": 3, "status": "orphaned", "transactions": 99}),
    ("blocks", {"height": 4, "status": "tail"}),
    ("blocks", {"height": 4, "status": "pending", "transactions": 99}),
    ("epochs", {"epoch": 1, "level": 2}),
    ("epochs", {"epoch": 0, "level": 0}),
    ("epochs", {"epoch": 2, "level": 1}),
    ("levels", {"epoch": 1, "old_level": 0, "new_level": 2}),
    ("levels", {"epoch": 2, "old_level": 2, "new_level": 1}),
    ("levels", {"epoch": 3, "old_level": 1, "new_level": 0}),
    ("operations", {"event": "submitted"}),
    ("operations", {"event": "applied"}),
    ("operations", {"event": "refused"}),
    message("offered", 100),
    message("delivered", 70),
    message("delivered", 10, second=1),
    message("stored", 5),
    message("dropped", 4, reason="queue"),
    message("dropped", 2, kind="transaction"),
    message("retried", 9),
    message("offered", 77, kind="transaction"),
    ("traffic", {"lane": "consensus", "outcome": "delivered", "messages": 8, "bytes": 80}),
    ("traffic", {"lane": "consensus", "outcome": "dropped", "messages": 3, "bytes": 30}),
    ("certificates", {"kind": "quorum", "size_bytes": 1000}),
    ("certificates", {"kind": "timeout", "size_bytes": 500, "view": 4}),
    ("rounds", {"view": 5, "reason": "timeout", "validators": 3}),
    ("rounds", {"view": 5, "reason": "timeout", "validators": 1}),
    ("rounds", {"view": 6, "reason": "timeout", "validators": 1}),
    ("rounds", {"view": 7, "reason": "certificate", "validators": 4}),
    ("forks", {"event": "forked"}),
    ("forks", {"event": "reconciled"}),
    ("evidence", {"event": "accused", "offender": 1}),
    ("evidence", {"event": "accused", "offender": 2}),
    ("evidence", {"event": "punished", "offender": 1, "slashed": 40}),
    ("evidence", {"event": "punished", "offender": 1, "slashed": 2, "view": 9}),
    ("violations", {"monitor": "agreement"}),
    *[("latency", {"kind": "message", "bucket": bucket_of(v), "count": 1}) for v in range(1, 32)],
    ("latency", {"kind": "message", "bucket": bucket_of(31), "count": 69}),
    ("latency", {"kind": "transaction", "bucket": 20, "count": 1}),
    ("latency", {"kind": "block", "bucket": 21, "count": 1}),
    ("latency", {"kind": "lookup_id", "bucket": 22, "count": 1}),
    ("lookups", {"outcome": "found", "lookups": 3, "crossings": 5, "timeouts": 2}),
    ("lookups", {"outcome": "timed_out", "lookups": 1, "crossings": 6, "timeouts": 4}),
    ("lookup_latency", {"kind": "lookup_id", "bucket": 9, "count": 1}),
    ("lookup_latency", {"kind": "registration", "bucket": 11, "count": 1}),
    (
        "lookup_latency",
        {"kind": "lookup_id", "destination_region": "far", "bucket": 12, "count": 1},
    ),
    ("batches", {"batches": 4, "messages": 9, "bytes": 70}),
    ("batches", {"destination_region": "far", "batches": 3, "messages": 5, "bytes": 60}),
    ("batches", {"leg": 1, "destination_region": "far", "batches": 1, "messages": 2, "bytes": 6}),
    ("registry", {"event": "read", "count": 8}),
    ("registry", {"event": "write", "count": 5}),
    ("registry", {"event": "stale", "count": 2}),
    ("registry", {"event": "limited", "count": 7}),
    ("registry", {"event": "lost_write", "count": 6}),
    ("registry", {"event": "re_homed", "count": 4}),
    ("registry", {"event": "taken_over", "count": 3}),
    ("registry", {"event": "moved_in", "count": 10, "bytes": 1000}),
]

EXPECTED = {
    "blocks_committed": 3,
    "blocks_discarded": 2,
    "epochs": 3,
    "transactions_committed": 42,
    "operations_committed": 1,
    "messages_offered": 100,
    "messages_delivered": 80,
    "messages_stored": 5,
    "messages_dropped": 6,
    "retries": 9,
    "lost_messages": 0,
    "consensus_messages": 8,
    "consensus_bytes": 80,
    "certificates_bytes": 1500,
    "timeouts": 2,
    "forks": 1,
    "offenders_accused": 2,
    "offenders_punished": 1,
    "stake_slashed": 42,
    "level_ups": 1,
    "level_downs": 2,
    "level_max": 2,
    "level_last": 1,
    "longest_commit_gap_ns": 800,
    "block_latency_p50_ns": 21,
    "block_latency_p99_ns": 21,
    "commit_latency_p50_ns": 20,
    "commit_latency_p99_ns": 20,
    "delivery_latency_p50_ns": 31,
    "delivery_latency_p99_ns": 31,
    "lookup_latency_p99_ns": 22,
    "batches_sent": 8,
    "batches_across": 4,
    "batches_across_bytes": 66,
    "lookups": 4,
    "lookup_crossings": 11,
    "lookup_timeouts": 6,
    "lookups_poisoned": 0,
    "lookup_success_ppm": 750_000,
    "directory_latency_p50_ns": 11,
    "directory_latency_p99_ns": 12,
    "directory_region_latency_p99_ns": 9,
    "stale_answers_ppm": 250_000,
    "registrations_limited": 7,
    "registrations_lost": 6,
    "agents_re_homed": 4,
    "shards_taken_over": 3,
    "records_moved_bytes": 1000,
    "routing_short_ppm": 5,
    "routing_stale_ppm": 6,
    "violations": 1,
}


OPTIONAL = [metric.name for metric in METRICS if metric.part]


@pytest.mark.parametrize("detail", ["rounds", "messages"])
def test_every_metric_counts_what_it_says(tmp_path: Path, detail: str) -> None:
    run = small_run(tmp_path, ROWS, detail)
    metrics = metrics_of(run.table, lost_messages=0, routing_ppm=(5, 6))
    assert {metrics.pop(name) for name in OPTIONAL} == {None}
    assert metrics == EXPECTED
    assert epoch_levels(run.table) == (0, 2, 1)
    assert run.table("blocks").filter(status="committed").collect().height == 3


def test_nothing_measured_is_none_or_zero(tmp_path: Path) -> None:
    metrics = metrics_of(small_run(tmp_path, []).table)
    without = {name for name, value in metrics.items() if value is None}
    assert without == {
        *BATCH_METRICS,
        "lost_messages",
        "level_max",
        "level_last",
        "longest_commit_gap_ns",
        *(name for name in metrics if "latency" in name or name.endswith("_ppm")),
        *OPTIONAL,
    }
    assert {value for name, value in metrics.items() if name not in without} == {0}


def test_scenarios_may_name_metrics_that_exist() -> None:
    known = {metric.name for metric in METRICS}
    assert set(COUNT_METRICS) <= known
    assert {f"{name}_ns" for name in DURATION_METRICS} <= known


def test_equal_runs_have_no_difference(tmp_path: Path) -> None:
    left = small_run(tmp_path, ROWS)
    right = small_run(tmp_path, ROWS[::-1], buffer_rows=3, piece_rows=2)
    assert compare_digests(left, right) == []
    assert left.digest == right.digest
    assert check_digests(left) == check_digests(right) == []


def test_the_first_differing_row_is_shown(tmp_path: Path) -> None:
    changed = [(t, r | {"transactions": 31} if r.get("height") == 1 else r) for t, r in ROWS]
    differences = compare_digests(small_run(tmp_path, ROWS), small_run(tmp_path, changed))
    assert [d.table for d in differences] == ["blocks"]
    found = differences[0]
    assert found.row == 0
    assert found.left_row is not None
    assert found.right_row is not None
    assert (found.left_row["transactions"], found.right_row["transactions"]) == (30, 31)
    assert "table 'blocks', row 0:" in str(found)


def test_a_missing_row_and_a_missing_table_are_shown(tmp_path: Path) -> None:
    full = small_run(tmp_path, ROWS)
    shorter = small_run(tmp_path, [r for r in ROWS if r[1].get("epoch") != 3])
    (found,) = compare_digests(full, shorter)
    assert (found.table, found.row, found.right_row) == ("levels", 2, None)
    assert str(found).endswith("!= no row")
    coarse = small_run(tmp_path, ROWS, "rounds")
    assert {d.table for d in compare_digests(full, coarse)} == {"commits", "views"}
    assert "only in the left run" in str(compare_digests(full, coarse)[0])
    assert "only in the right run" in str(compare_digests(coarse, full)[0])


def test_a_changed_file_no_longer_gives_its_digest(tmp_path: Path) -> None:
    run = small_run(tmp_path, ROWS)
    file = run.path / "replicate=000" / "evidence.parquet"
    pl.read_parquet(file).head(3).write_parquet(file)
    (found,) = check_digests(run)
    assert found.table == "evidence"
    # The manifests still agree: that is why verify looks at the files too.
    assert compare_digests(run, small_run(tmp_path, ROWS)) == []
