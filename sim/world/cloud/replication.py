"""One region's records on their way to the site where its validators would come up.

Owns: what is written, waits, is under way and has arrived, in bytes and times; the age of what the
site has. Must not know: links, nodes, the event loop; what a record holds beyond its marks.

Records are counted, not kept: one stands for a block, for what else was written in a second, or for
a whole backup.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Marks = TypeVar("Marks")


@dataclass(frozen=True, slots=True)
class Record(Generic[Marks]):
    """Something written at `written_ns`; `marks`: what a site that has it knows of the region."""

    written_ns: int
    size_bytes: int
    marks: Marks


class Stream(Generic[Marks]):
    """The records of one region in the order written, each sent whole before the next.

    `copy` is the newest that has arrived: from the start, nothing written before the run is missing
    there. Pieces leave one at a time (`take`, then `left`); they arrive in that order (`arrived`).
    """

    __slots__ = (
        "_piece_bytes",
        "_under_way",
        "arrived_bytes",
        "copy",
        "newest_ns",
        "steady",
        "waiting",
        "waiting_bytes",
        "written_bytes",
    )

    def __init__(self, piece_bytes: int, first: Record[Marks]) -> None:
        if piece_bytes < 1:
            raise ValueError(f"pieces of {piece_bytes} bytes; need at least 1")
        self._piece_bytes = piece_bytes
        self._under_way: deque[Record[Marks]] = deque()
        self.copy = first
        self.newest_ns = first.written_ns
        """When something was last written, in a record already or not."""
        self.steady = False
        """Whether something is written all the time."""
        self.waiting: deque[tuple[Record[Marks], int]] = deque()
        """Records that have not left in full, and how many bytes of each have not."""
        self.waiting_bytes = 0
        """Bytes that have not arrived."""
        self.written_bytes = self.arrived_bytes = 0
        """Since the last `drain`."""

    def write(self, record: Record[Marks]) -> None:
        """Put a record in, of at least 1 byte, not older than the one before."""
        self.waiting.append((record, record.size_bytes))
        self.waiting_bytes += record.size_bytes
        self.written_bytes += record.size_bytes
        self.newest_ns = record.written_ns

    def take(self) -> int:
        """Return the size of the next piece, which stays until it has `left`; 0: nothing waits."""
        return min(self._piece_bytes, self.waiting[0][1]) if self.waiting else 0

    def left(self, size_bytes: int) -> bool:
        """Note that a piece is under way; return whether it is the last of its record."""
        record, rest = self.waiting[0]
        if rest > size_bytes:
            self.waiting[0] = (record, rest - size_bytes)
            return False
        self.waiting.popleft()
        self._under_way.append(record)
        return True

    def arrived(self, size_bytes: int, *, last: bool) -> None:
        """Note that a piece has arrived; with its `last` the site has the record."""
        self.waiting_bytes -= size_bytes
        self.arrived_bytes += size_bytes
        if last:
            self.copy = self._under_way.popleft()

    def restart(self, copy: Record[Marks]) -> None:
        """Begin anew with a site that has everything: nothing waits, nothing is under way.

        Only where nothing can still arrive.
        """
        self.waiting.clear()
        self._under_way.clear()
        self.waiting_bytes = 0
        self.copy = copy
        self.newest_ns = copy.written_ns

    def age_ns(self, now_ns: int) -> int:
        """Return the age of the newest record at the site; 0 where nothing newer was written."""
        newer = self.steady or self.newest_ns > self.copy.written_ns
        return now_ns - self.copy.written_ns if newer else 0

    def drain(self) -> tuple[int, int]:
        """Return the bytes written and arrived since the last call."""
        counted = self.written_bytes, self.arrived_bytes
        self.written_bytes = self.arrived_bytes = 0
        return counted
