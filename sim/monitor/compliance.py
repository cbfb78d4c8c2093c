"""Invariants of compliance: the audit log is whole, what was erased is gone.

Owns: that nothing of either kind passes silently. An insider's act that is found, or on record as
one that nobody can find, breaks neither: who was deceived knows it. Must not know: the mechanisms.
"""

from __future__ import annotations

from typing import ClassVar

from sim.monitor.base import NOBODY, Monitor


class AuditLogIntact(Monitor):
    """No record of the audit log changes, vanishes or appears without somebody finding out."""

    name: ClassVar[str] = "audit_log_intact"

    def changed(self, now_ns: int, *, by: str, finding: str, what: str) -> None:
        """Take in a change that nobody found though it could be, or a finding without a cause."""
        self._fire(NOBODY, now_ns, now_ns, by=by, finding=finding, what=what)


class ErasureComplete(Monitor):
    """What an erasure calls complete opens with no key that is left, on no replica."""

    name: ClassVar[str] = "erasure_complete"

    def left(self, now_ns: int, *, token: str, left: int, since_ns: int) -> None:
        """Take in an erased subject whose rows still open though the erasure is complete."""
        self._fire(NOBODY, now_ns, since_ns, token=token, rows=left)
