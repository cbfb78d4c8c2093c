"""Backups of data keys: what an erased subject's data can still be opened with, and until when.

Owns: snapshots of keys by token, and their expiry. Must not know: rows, requests, the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Snapshot(NamedTuple):
    """Keys by token, as they were when it was made."""

    made_ns: int
    expires_ns: int
    keys: Mapping[str, bytes]


class KeyBackups:
    """Snapshots that have not expired, oldest first; `kept_ns` is how long each is kept."""

    def __init__(self, kept_ns: int) -> None:
        if kept_ns < 1:
            raise ValueError(f"kept_ns {kept_ns} must be at least 1")
        self.kept_ns = kept_ns
        self.snapshots: list[Snapshot] = []

    def make(self, keys: Mapping[str, bytes], now_ns: int) -> None:
        """Take a snapshot."""
        self.snapshots.append(Snapshot(now_ns, now_ns + self.kept_ns, dict(keys)))

    def expire(self, now_ns: int) -> int:
        """Destroy what is older than it may be; return how many snapshots."""
        kept = [snapshot for snapshot in self.snapshots if snapshot.expires_ns > now_ns]
        gone = len(self.snapshots) - len(kept)
        self.snapshots = kept
        return gone

    def key(self, token: str) -> bytes | None:
        """Return a subject's key from any snapshot; None where none has it."""
        for snapshot in self.snapshots:
            if token in snapshot.keys:
                return snapshot.keys[token]
        return None

    def until_ns(self, token: str, now_ns: int) -> int:
        """Return when the last snapshot that holds a key expires; `now_ns` where none does."""
        ends = [s.expires_ns for s in self.snapshots if token in s.keys]
        return max([now_ns, *ends])
