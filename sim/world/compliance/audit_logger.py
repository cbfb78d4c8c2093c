"""The audit log: who did what to what, when, with which outcome, in a Merkle tree.

Owns records (columns and their tree), queries over them, capacity and retention, and what happens
when a record cannot be written. Must not know: who signs tree heads and who watches them
(`tree_heads`), how a decision was made, the event loop.

Every record is one leaf. Names are stored once: the leaf of the record that uses a name first
carries it, so the leaves alone are the whole log.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim.world.compliance.merkle import MerkleTree

_LEAF = Struct(">QQIIIBQII")
_NAME = Struct(">II")
_NS_PER_SECOND = 1_000_000_000
RECORD_BYTES = _LEAF.size
"""What a record takes of the log's capacity, beside the names that it introduces."""


class Outcome(IntEnum):
    """How an attempt ended."""

    ALLOWED = 0
    DENIED = 1
    DONE = 2
    FAILED = 3


class Record(NamedTuple):
    """One entry. `acts`: how many like it it stands for (cached allows are added up)."""

    sequence: int
    time_ns: int
    actor: str
    action: str
    object: str
    outcome: Outcome
    acts: int
    policy: str
    detail: str


class LogUnwritable(Exception):
    """A record could not be written; what it would have recorded must not happen."""


class AuditLogger:
    """An append-only log. Times never go back; a record's place is its sequence number.

    `capacity_bytes`: what the store holds (records are `RECORD_BYTES` and their new names); 0 is
    no limit. `fail_closed`: whether an act that cannot be recorded is refused (`append` raises
    LogUnwritable), or happens and is counted: as soon as the log can be written again, a record
    says how many are missing and since when. NIST SP 800-53 AU-5 asks for either choice to be made.
    """

    def __init__(self, *, capacity_bytes: int = 0, fail_closed: bool = True) -> None:
        if capacity_bytes < 0:
            raise ValueError(f"capacity {capacity_bytes} B: need 0 (no limit) or more")
        self.tree = MerkleTree()
        self.capacity_bytes = capacity_bytes
        self.fail_closed = fail_closed
        self.used_bytes = 0
        self.broken = ""
        """Why the store cannot be written just now; empty while it can."""
        self.missing = 0
        """Acts that went unrecorded and that no record speaks of yet."""
        self._missing_since_ns = 0
        self.first = 0
        """Sequence of the oldest record whose content is kept."""
        self._time = array("q")
        self._actor, self._action, self._object = array("I"), array("I"), array("I")
        self._outcome = array("B")
        self._count = array("Q")
        self._policy, self._detail = array("I"), array("I")
        self._columns = (
            self._time,
            self._actor,
            self._action,
            self._object,
            self._outcome,
            self._count,
            self._policy,
            self._detail,
        )
        self._codes: dict[str, int] = {"": 0}
        self._names = [""]
        self._introduced: dict[int, list[int]] = {}
        """By sequence: the names that this record's leaf carries."""
        self._tallies: dict[tuple[int, str, str, str], int] = {}

    def __len__(self) -> int:
        """Count all records ever written, forgotten ones included."""
        return len(self.tree)

    # Writing

    def append(
        self,
        time_ns: int,
        actor: str,
        action: str,
        object_: str,
        outcome: Outcome,
        *,
        count: int = 1,
        policy: str = "",
        detail: str = "",
    ) -> int:
        """Write one record; return its sequence number, or -1 if it went unrecorded.

        LogUnwritable: the store is broken or full, and the log fails closed. ValueError: time went
        back.
        """
        times = self._time
        if times and time_ns < times[-1]:
            raise ValueError(f"time {time_ns} ns is before the last record's {times[-1]} ns")
        if self.broken or self.missing:
            reason = self.broken or self._report_missing(time_ns)
            if reason:
                return self._refuse(time_ns, reason)
        return self.write_unchecked(
            (time_ns, actor, action, object_, outcome, count, policy, detail)
        )

    def write_unchecked(self, row: tuple[int, str, str, str, Outcome, int, str, str]) -> int:
        """Write one record, whatever its time: `append`, or an insider (`tampering`)."""
        time_ns, actor, action, object_, outcome, count, policy, detail = row
        known = self._codes
        new: list[str] = []
        for name in (actor, action, object_, policy, detail):
            if name not in known and name not in new:
                new.append(name)
        size = RECORD_BYTES + sum(_NAME.size + len(name.encode()) for name in new)
        if self.capacity_bytes and self.used_bytes + size > self.capacity_bytes:
            return self._refuse(time_ns, f"the store is full at {self.capacity_bytes} B")
        sequence = len(self.tree)
        for name in new:
            known[name] = len(self._names)
            self._names.append(name)
        if new:
            self._introduced[sequence] = [known[name] for name in new]
        codes = (known[actor], known[action], known[object_])
        last = (count, known[policy], known[detail])
        self.tree.append(self._leaf(sequence, (time_ns, *codes, outcome, *last)))
        for column, value in zip(self._columns, (time_ns, *codes, outcome, *last), strict=True):
            column.append(value)
        self.used_bytes += size
        return sequence

    def _leaf(self, sequence: int, row: tuple[int, ...]) -> bytes:
        leaf = _LEAF.pack(sequence, *row)
        for code in self._introduced.get(sequence, ()):
            name = self._names[code].encode()
            leaf += _NAME.pack(code, len(name)) + name
        return leaf

    def _refuse(self, time_ns: int, reason: str) -> int:
        if self.fail_closed:
            raise LogUnwritable(reason)
        if not self.missing:
            self._missing_since_ns = time_ns
        self.missing += 1
        return -1

    def _report_missing(self, time_ns: int) -> str:
        """Say how many records are missing, now that it may be possible; return why not."""
        missing, since = self.missing, self._missing_since_ns
        self.missing = 0
        detail = f"since {since} ns"
        row = (time_ns, "audit_log", "gap", "audit_log", Outcome.FAILED, missing, "", detail)
        if self.write_unchecked(row) >= 0:
            return ""
        self.missing, self._missing_since_ns = missing, since
        return "the store is full"

    def tally(
        self,
        time_ns: int,
        principal_class: str,
        action: str,
        policy: str = "",
        *,
        count: int = 1,
    ) -> None:
        """Count cached allows; `flush` writes one record a class, action and second."""
        key = (time_ns // _NS_PER_SECOND, principal_class, action, policy)
        self._tallies[key] = self._tallies.get(key, 0) + count

    def flush(self, now_ns: int, *, everything: bool = False) -> None:
        """Write the tallies of all seconds that are over at `now_ns`, or `everything`."""
        over = now_ns // _NS_PER_SECOND + everything
        due = sorted(key for key in self._tallies if key[0] < over)
        for key in due:
            second, principal_class, action, policy = key
            self.append(
                now_ns,
                principal_class,
                action,
                "*",
                Outcome.ALLOWED,
                count=self._tallies[key],
                policy=policy,
                detail=f"second {second}",
            )
            del self._tallies[key]

    # Reading

    def __getitem__(self, sequence: int) -> Record:
        """Return a record. IndexError: there is none; KeyError: its content was forgotten."""
        if not 0 <= sequence < len(self):
            raise IndexError(f"record {sequence}: the log has {len(self)}")
        if sequence < self.first:
            raise KeyError(f"record {sequence}: contents before {self.first} were forgotten")
        return self._record(sequence - self.first)

    def _record(self, place: int) -> Record:
        names = self._names
        return Record(
            self.first + place,
            self._time[place],
            names[self._actor[place]],
            names[self._action[place]],
            names[self._object[place]],
            Outcome(self._outcome[place]),
            self._count[place],
            names[self._policy[place]],
            names[self._detail[place]],
        )

    def query(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        object_: str | None = None,
        outcome: Outcome | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int = 1_000,
        newest_first: bool = False,
    ) -> list[Record]:
        """Return the first `limit` records that match all that is given; since <= time < until."""
        found = self._matching(actor, action, object_, outcome, since_ns, until_ns)
        chosen = found[::-1][:limit] if newest_first else found[:limit]
        return [self._record(place) for place in chosen.tolist()]

    def count(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        object_: str | None = None,
        outcome: Outcome | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> int:
        """Count the acts that match: a record that stands for many counts as many."""
        found = self._matching(actor, action, object_, outcome, since_ns, until_ns)
        return int(_view(self._count, np.uint64)[found].sum())

    def _matching(
        self,
        actor: str | None,
        action: str | None,
        object_: str | None,
        outcome: Outcome | None,
        since_ns: int | None,
        until_ns: int | None,
    ) -> NDArray[np.int64]:
        times = _view(self._time, np.int64)
        start = 0 if since_ns is None else int(np.searchsorted(times, since_ns))
        end = len(times) if until_ns is None else int(np.searchsorted(times, until_ns))
        wanted: list[Any] = []
        named = ((self._actor, actor), (self._action, action), (self._object, object_))
        for column, name in named:
            if name is not None:
                code = self._codes.get(name)
                if code is None:
                    return np.empty(0, np.int64)
                wanted.append(_view(column, np.uint32)[start:end] == code)
        if outcome is not None:
            wanted.append(_view(self._outcome, np.uint8)[start:end] == int(outcome))
        if not wanted:
            return np.arange(start, max(start, end))
        return np.flatnonzero(np.logical_and.reduce(wanted)) + start

    def to_frame(self, since: int = 0) -> pl.DataFrame:
        """Return the records that are kept from sequence `since` on; integers and names."""
        names = np.array(self._names, dtype=object)
        start = max(0, since - self.first)
        texts = {
            name: names[_view(column, np.uint32)[start:]].tolist()
            for name, column in (
                ("actor", self._actor),
                ("action", self._action),
                ("object", self._object),
                ("policy", self._policy),
                ("detail", self._detail),
            )
        }
        outcomes = np.array([o.name.lower() for o in Outcome], dtype=object)
        return pl.DataFrame(
            {
                "sequence": np.arange(self.first + start, len(self), dtype=np.int64),
                "time_ns": _view(self._time, np.int64)[start:].copy(),
                "actor": texts["actor"],
                "action": texts["action"],
                "object": texts["object"],
                "outcome": outcomes[_view(self._outcome, np.uint8)[start:]].tolist(),
                "acts": _view(self._count, np.uint64)[start:].copy(),
                "policy": texts["policy"],
                "detail": texts["detail"],
            },
            schema_overrides=dict.fromkeys((*texts, "outcome"), pl.String),
        )

    def times_ns(self) -> NDArray[np.int64]:
        """Return the times of all records that are kept."""
        return _view(self._time, np.int64).copy()

    def leaves(self, since: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, leaf) of the records kept from `since` on, made from their columns."""
        start = max(since, self.first)
        columns = [column[start - self.first :] for column in self._columns]
        for sequence, row in enumerate(zip(*columns, strict=True), start):
            yield sequence, self._leaf(sequence, row)

    # Retention

    def forget(self, before_ns: int) -> int:
        """Drop the contents of records older than `before_ns`; return how many.

        Their leaf hashes stay, so that every later proof holds; their space is free again.
        """
        return self._drop(int(np.searchsorted(_view(self._time, np.int64), before_ns)))

    def archive(self, size: int) -> int:
        """Drop the contents of all records before the `size`-th, as `forget` does."""
        return self._drop(min(size, len(self)) - self.first)

    def _drop(self, end: int) -> int:
        if end <= 0:
            return 0
        for sequence in range(self.first, self.first + end):
            carried = self._introduced.pop(sequence, ())
            names = sum(_NAME.size + len(self._names[code].encode()) for code in carried)
            self.used_bytes -= RECORD_BYTES + names
        for column in self._columns:
            del column[:end]
        self.first += end
        return end


def _view(column: array[int], kind: Any) -> NDArray[Any]:
    # The view must not outlive the call: an array that is looked at cannot grow.
    return np.frombuffer(column, dtype=kind) if column else np.empty(0, kind)
