"""The recorder: rows in, bounded buffers, part files, canonical tables at the end.

Owns: the buffers of one replicate. Memory does not grow with duration: a buffer that is full is
merged (where rows of one key add up) or written as a part file; `close` sorts the parts into one
table each, piece by piece, and returns their digests. Must not know: what the rows mean.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from sim.record.canonical import canonical
from sim.record.digests import TableDigest
from sim.record.encode import RecordError, RowCheck, Vocabularies, frame_of
from sim.record.histogram import bucket_of
from sim.record.store import PIECE_ROWS, write_frame, write_table
from sim.record.tables import BY_NAME, DETAILS, Table, kept, table_of

BUFFER_ROWS = 1 << 16
"""Rows that one table may hold in memory."""
BUFFER_BYTES = 48 << 20
"""Bytes that all tables together may hold in memory, at 8 bytes an integer and 64 an id."""

_ROW_OVERHEAD_BYTES = 64
"""Of a buffered row as a Python tuple, beside 40 bytes a value (sys.getsizeof, CPython 3.11)."""

PARTS = "parts"


class Window(NamedTuple):
    """A stretch of simulated time, both ends included, that is kept at more detail."""

    from_ns: int
    to_ns: int
    detail: str

    def meets(self, began_ns: int, ended_ns: int) -> bool:
        """Whether what lasted from one instant to another reaches into the window."""
        return ended_ns >= self.from_ns and began_ns <= self.to_ns


class Sink(Protocol):
    """Where rows go."""

    def keeps(self, table: str) -> bool: ...

    def append(self, table: str, columns: Mapping[str, Any]) -> None: ...

    def append_row(self, table: str, **values: Any) -> None: ...

    def append_rows(
        self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None: ...

    def latency(
        self,
        kind: str,
        source_region: str,
        destination_region: str,
        finished_ns: int,
        latency_ns: int,
    ) -> None: ...


class NullRecorder:
    """Takes all rows and keeps none: for measuring what is not the recorder."""

    def keeps(self, table: str) -> bool:
        """Return False for every table there is."""
        table_of(table)
        return False

    def append(self, table: str, columns: Mapping[str, Any]) -> None:
        """Forget columns."""

    def latency(
        self,
        kind: str,
        source_region: str,
        destination_region: str,
        finished_ns: int,
        latency_ns: int,
    ) -> None:
        """Forget a latency."""

    def append_row(self, table: str, **values: Any) -> None:
        """Forget a row."""

    def append_rows(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Forget rows."""


class _Buffer:
    """Rows of one table on their way to disk."""

    __slots__ = (
        "bytes",
        "check",
        "frames",
        "frames_rows",
        "parts",
        "row_bytes",
        "rows",
        "span",
        "table",
        "window",
    )

    def __init__(self, table: Table, window: Window | None) -> None:
        self.table = table
        self.window = window
        """Keep rows of this window only; None keeps all."""
        self.span = (0, 0)
        if window is not None:
            self.span = (table.names.index(table.span[0]), table.names.index(table.span[1]))
        self.check = RowCheck(table)
        self.rows: list[Sequence[Any]] = []
        self.frames: list[pl.DataFrame] = []
        self.frames_rows = 0
        self.row_bytes = _ROW_OVERHEAD_BYTES + 40 * len(table.columns)
        self.bytes = 0
        self.parts: list[Path] = []

    def height(self) -> int:
        return len(self.rows) + self.frames_rows

    def wants(self, row: Sequence[Any]) -> bool:
        """Whether the table keeps a row, given in stored order."""
        if self.window is None:
            return True
        first, last = self.span
        return self.window.meets(row[first], row[last])

    def wanted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a frame that the table keeps."""
        if self.window is None:
            return frame
        first, last = self.table.span
        inside = (pl.col(last) >= self.window.from_ns) & (pl.col(first) <= self.window.to_ns)
        return frame.filter(inside)

    def hold(self, frame: pl.DataFrame) -> None:
        self.frames.append(frame)
        self.frames_rows += frame.height
        self.bytes += int(frame.estimated_size())

    def take(self) -> pl.DataFrame | None:
        """Empty the buffer into one frame, rows of one key merged."""
        if self.rows:
            self.frames.append(self.check.frame(self.rows))
        frames, self.frames, self.rows = self.frames, [], []
        self.frames_rows = self.bytes = 0
        if not frames:
            return None
        frame = pl.concat(frames, rechunk=False)
        return canonical(self.table, frame.lazy()) if self.table.additive else frame


class Recorder:
    """Keep the tables of one replicate in `directory`.

    `vocabularies` turn integer codes into words: by vocabulary name (`region`, `kind`, `reason`)
    the words in the order of their codes. `window`: of the tables that `detail` does not keep but
    the window's does, rows are kept whose span meets it. Use as a context manager, or call `close`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        detail: str = "blocks",
        window: Window | None = None,
        vocabularies: Vocabularies | None = None,
        buffer_rows: int = BUFFER_ROWS,
        buffer_bytes: int = BUFFER_BYTES,
        piece_rows: int = PIECE_ROWS,
    ) -> None:
        for each in (detail,) if window is None else (detail, window.detail):
            if each not in DETAILS:
                raise ValueError(f"detail is one of {list(DETAILS)}, not {each!r}")
        self.directory = directory
        self.detail = detail
        self._vocabularies = dict(vocabularies or {})
        self._buffer_rows = buffer_rows
        self._buffer_bytes = buffer_bytes
        self._piece_rows = piece_rows
        self._held_bytes = 0
        self._closed = False
        self._buffers = {
            name: _Buffer(table, None if table.kept_at(detail) else window)
            for name, table in BY_NAME.items()
            if name != "runs" and kept(table, detail, None if window is None else window.detail)
        }
        self._parts = directory / PARTS
        self._parts.mkdir(parents=True, exist_ok=False)

    def keeps(self, table: str) -> bool:
        """Whether any rows of a table are kept; KeyError on no such table."""
        table_of(table)
        return table in self._buffers

    def append(self, table: str, columns: Mapping[str, Any]) -> None:
        """Add columns of one length; a scalar int or str stands for a whole column.

        Rows that neither detail nor window keep are dropped. Values are checked and copied: raises
        KeyError (no such table) and RecordError (rows that do not fit).
        """
        buffer = self._buffers.get(table)
        if buffer is None:
            self._refuse(table)
            return
        held = buffer.bytes
        buffer.hold(buffer.wanted(frame_of(buffer.table, columns, self._vocabularies)))
        self._held_bytes += buffer.bytes - held
        if buffer.height() >= self._buffer_rows or self._held_bytes >= self._buffer_bytes:
            self._make_room(buffer)

    def append_row(self, table: str, **values: Any) -> None:
        """Add one row; the same checks as `append`."""
        buffer = self._buffers.get(table)
        if buffer is None:
            self._refuse(table)
            return
        row = buffer.check.row(values, self._vocabularies)
        if not buffer.wants(row):
            return
        buffer.rows.append(row)
        self._held_bytes += buffer.row_bytes
        buffer.bytes += buffer.row_bytes
        if buffer.height() >= self._buffer_rows or self._held_bytes >= self._buffer_bytes:
            self._make_room(buffer)

    def append_rows(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows at once, each with its values in the order of `names`; the checks of `append`.

        Rows of another length than `names` raise ValueError.
        """
        if rows:
            columns = map(list, zip(*rows, strict=True))
            self.append(table, dict(zip(names, columns, strict=True)))

    def latency(
        self,
        kind: str,
        source_region: str,
        destination_region: str,
        finished_ns: int,
        latency_ns: int,
    ) -> None:
        """Count one latency; for many at once see `histogram.latency_columns`."""
        self.append_row(
            "latency",
            second=(finished_ns - 1) // 1_000_000_000,
            kind=kind,
            source_region=source_region,
            destination_region=destination_region,
            bucket=bucket_of(latency_ns),
            count=1,
        )

    def _refuse(self, table: str) -> None:
        if self._closed:
            raise RecordError("the recorder is closed")
        if table_of(table).name == "runs":
            raise RecordError("the table 'runs' is written by the run directory")

    def _make_room(self, fullest: _Buffer) -> None:
        """Shrink one buffer, or all of them where it is their sum that is too large."""
        if self._held_bytes >= self._buffer_bytes:
            for buffer in self._buffers.values():
                self._write_part(buffer, merge_only=False)
        else:
            self._write_part(fullest, merge_only=fullest.table.additive)

    def _write_part(self, buffer: _Buffer, *, merge_only: bool) -> None:
        self._held_bytes -= buffer.bytes
        frame = buffer.take()
        if frame is None:
            return
        if merge_only and frame.height <= self._buffer_rows // 2:
            buffer.hold(frame)
            self._held_bytes += buffer.bytes
            return
        path = self._parts / f"{buffer.table.name}-{len(buffer.parts):06d}.parquet"
        write_frame(path, frame)
        buffer.parts.append(path)

    def flush(self) -> None:
        """Write all that is held, so that a reader of the part files sees it."""
        for buffer in self._buffers.values():
            self._write_part(buffer, merge_only=False)

    def close(self) -> dict[str, TableDigest]:
        """Write every table in canonical order, remove the parts, return rows and digests.

        Tables without rows have a digest and no file; optional ones not even that, so that a part
        that is off leaves no trace. A second call raises RecordError.
        """
        if self._closed:
            raise RecordError("the recorder is closed")
        digests = {}
        for name, buffer in self._buffers.items():
            held = buffer.take()
            sources = [pl.scan_parquet(path) for path in buffer.parts]
            if held is not None:
                sources.append(held.lazy())
            rows = pl.concat(sources) if sources else pl.LazyFrame(schema=buffer.table.schema)
            digest = write_table(
                self.directory / f"{name}.parquet", buffer.table, rows, self._piece_rows
            )
            if digest.rows or not buffer.table.optional:
                digests[name] = digest
        self._closed = True
        self._buffers = {}
        shutil.rmtree(self._parts)
        return digests

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Close; after an error only flush, and let that error be the one that is told."""
        if self._closed:
            return
        if error is None:
            self.close()
        else:
            with contextlib.suppress(Exception):
                self.flush()
