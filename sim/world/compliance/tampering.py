"""What an insider with full access to the store can do to an audit log.

Each act leaves a store that is consistent in itself: the insider rebuilds the tree. What it cannot
do is sign for others or take back heads that it has shown. See `tree_heads.audit` for what of it is
found, and why cutting off an end that no head covers is not.
"""

from __future__ import annotations

from typing import Any

from sim.world.compliance.audit_logger import AuditLogger, Outcome, Record

_BESIDE = ("broken", "missing", "_missing_since_ns", "_tallies")

ACTS = ("edit", "rewrite", "delete", "truncate", "insert", "back_date")


def edit(log: AuditLogger, sequence: int, **changes: Any) -> None:
    """Change a record's content and forget about the tree: the clumsy insider."""
    tree = log.tree
    rewrite(log, sequence, **changes)
    log.tree = tree


def rewrite(log: AuditLogger, sequence: int, **changes: Any) -> None:
    """Change a record and rebuild the tree over it."""
    records = _all(log)
    records[sequence] = records[sequence]._replace(**changes)
    _rebuild(log, records)


def delete(log: AuditLogger, sequence: int) -> None:
    """Take a record out; those after it move up."""
    records = _all(log)
    del records[sequence]
    _rebuild(log, records)


def truncate(log: AuditLogger, size: int) -> None:
    """Cut off all records from the `size`-th on."""
    _rebuild(log, _all(log)[:size])


def insert(log: AuditLogger, record: Record) -> None:
    """Put a record among those of its time, as if it had always been there."""
    records = _all(log)
    place = sum(known.time_ns <= record.time_ns for known in records)
    _rebuild(log, [*records[:place], record, *records[place:]])


def back_date(log: AuditLogger, record: Record) -> None:
    """Add a record at the end that claims an earlier time."""
    _rebuild(log, [*_all(log), record])


def twin(log: AuditLogger) -> AuditLogger:
    """Return a second log with the same past, to show to others (a split view)."""
    other = AuditLogger(capacity_bytes=log.capacity_bytes, fail_closed=log.fail_closed)
    _rebuild(other, _all(log))
    return other


def _all(log: AuditLogger) -> list[Record]:
    if log.first:
        raise ValueError("contents were forgotten: an insider cannot rebuild the tree over them")
    return [log[sequence] for sequence in range(len(log))]


def _rebuild(log: AuditLogger, records: list[Record]) -> None:
    fresh = AuditLogger(capacity_bytes=log.capacity_bytes, fail_closed=log.fail_closed)
    for record in records:
        _, time_ns, actor, action, object_, outcome, acts, policy, detail = record
        row = (time_ns, actor, action, object_, Outcome(outcome), acts, policy, detail)
        fresh.write_unchecked(row)
    # What is not in the store is as it was: counts that are not due yet, acts gone unrecorded.
    kept = {name: log.__dict__[name] for name in _BESIDE}
    log.__dict__.update(fresh.__dict__ | kept)
