"""The metrics of compliance by fixed names; `summary` holds all metrics.

Owns: what each name means and from which table it comes. Must not know: what is expected.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from sim.record.measures import Metric, Tables, count_rows, one, total

_OUTCOME = pl.col("outcome")
_KIND = pl.col("kind")


def _count(name: str, meaning: str, measure: Callable[[Tables], int | None]) -> Metric:
    return Metric(name, "count", meaning, measure, "compliance")


def _longest(name: str, meaning: str, table: str, span: pl.Expr, *conditions: pl.Expr) -> Metric:
    def measure(tables: Tables) -> int | None:
        return one(tables(table).filter(*conditions), span.max())

    return Metric(name, "ns", meaning, measure, "compliance")


def _containment(tables: Tables) -> int | None:
    """Return the longest time from the detection of an incident to its containment."""
    steps = tables("incidents")
    begun = steps.filter(pl.col("step") == "detect").select("incident", begun="time_ns")
    contained = steps.filter(pl.col("step") == "contain", _OUTCOME == "done")
    return one(contained.join(begun, on="incident"), (pl.col("time_ns") - pl.col("begun")).max())


_ERASURE = _KIND == "erasure"
_DONE = _OUTCOME == "done"
_TAKEN = pl.col("done_ns") - pl.col("asked_ns")

COMPLIANCE_METRICS: tuple[Metric, ...] = (
    _count("audit_records", "records of the audit log", count_rows("audit")),
    _count("audit_acts", "acts that they stand for", total("audit", "acts")),
    _count(
        "audit_denials",
        "acts that were denied, as recorded",
        total("audit", "acts", _OUTCOME == "denied"),
    ),
    _count(
        "acts_unrecorded",
        "acts refused or gone unrecorded because the log could not be written",
        lambda tables: (
            (total("access", "acts", pl.col("decision") == "refused")(tables) or 0)
            + (total("audit", "acts", pl.col("action") == "gap")(tables) or 0)
        ),
    ),
    _count(
        "acts_stale",
        "acts allowed from the cache although the right was revoked",
        total("access", "acts", pl.col("decision") == "stale"),
    ),
    _count(
        "heads_cosigned",
        "co-signatures that heads of the audit log got",
        total("heads", "cosigned"),
    ),
    _count("heads_refused", "co-signatures refused", total("heads", "refused")),
    _count("insider_acts", "acts of insiders", count_rows("insiders", _OUTCOME != "nothing")),
    _count("insider_found", "that were found out", count_rows("insiders", _OUTCOME == "found")),
    _count("insider_stopped", "that were denied", count_rows("insiders", _OUTCOME == "stopped")),
    _count(
        "insider_undetectable",
        "that nobody can find out, with the reason",
        count_rows("insiders", _OUTCOME == "undetectable"),
    ),
    _count("requests_done", "requests of data subjects served", count_rows("requests", _DONE)),
    _count(
        "requests_refused",
        "requests of data subjects refused",
        count_rows("requests", _OUTCOME == "refused"),
    ),
    _count(
        "requests_open",
        "requests of data subjects open at the end",
        count_rows("requests", _OUTCOME == "open"),
    ),
    _count(
        "erasures_done",
        "erasures that every replica confirmed",
        count_rows("requests", _ERASURE, _DONE),
    ),
    _count(
        "erasures_incomplete",
        "of them, those whose data still opens at the end with some key, a backup's included",
        count_rows("requests", _ERASURE, _DONE, pl.col("left") > 0),
    ),
    _count(
        "rows_left",
        "rows of erased subjects that still open at the end with some key",
        total("requests", "left", _ERASURE),
    ),
    _count(
        "reads_processed",
        "reads of personal data by services",
        total("processing", "reads", _OUTCOME.is_in(["processed", "late"])),
    ),
    _count(
        "reads_late",
        "of them, those after a withdrawal that had not reached the replica",
        total("processing", "reads", _OUTCOME == "late"),
    ),
    _count(
        "reads_refused",
        "reads refused: no consent, knowledge too old, no right, or no record",
        total("processing", "reads", _OUTCOME.is_in(["no_consent", "stale", "denied", "refused"])),
    ),
    _count(
        "breaches_late",
        "breaches of which the authority was told late, or not yet though overdue",
        count_rows("breaches", pl.col("notified").is_in(["late", "overdue"])),
    ),
    _count("incidents_opened", "incidents", count_rows("incidents", pl.col("step") == "detect")),
    _count(
        "incidents_closed",
        "incidents worked through to the end",
        count_rows("incidents", pl.col("step") == "close", _OUTCOME == "done"),
    ),
    _count(
        "privileges_unused",
        "rights granted and never used",
        count_rows("privileges"),
    ),
    _longest(
        "insider_found_max_ns",
        "longest time from an insider's act to its discovery",
        "insiders",
        pl.col("delay_ns"),
        _OUTCOME == "found",
    ),
    _longest(
        "erasure_max_ns",
        "longest time from the asking to the last replica's confirmation",
        "requests",
        _TAKEN,
        _ERASURE,
        _DONE,
    ),
    _longest(
        "request_max_ns",
        "longest time to an access or an export",
        "requests",
        _TAKEN,
        _KIND.is_in(["access", "export"]),
        _DONE,
    ),
    _longest(
        "withdrawal_max_ns",
        "longest time from a withdrawal to the last replica that heard of it",
        "requests",
        _TAKEN,
        _KIND == "withdrawal",
        _DONE,
    ),
    _longest(
        "reads_late_max_ns",
        "longest time after a withdrawal at which data was still processed",
        "processing",
        pl.col("lag_ns"),
        _OUTCOME == "late",
    ),
    _longest(
        "acts_stale_max_ns",
        "longest time after a revocation at which the right was still used",
        "access",
        pl.col("lag_ns"),
        pl.col("decision") == "stale",
    ),
    Metric(
        "containment_max_ns",
        "ns",
        "longest time from the detection of an incident to its containment",
        _containment,
        "compliance",
    ),
)
