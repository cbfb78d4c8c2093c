"""A recorder that keeps every row in memory, for worlds that a test builds by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.record.recorder import NullRecorder


class Rows(NullRecorder):
    """Keep rows by table."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def keeps(self, table: str) -> bool:
        return True

    def append_row(self, table: str, **values: Any) -> None:
        self.tables.setdefault(table, []).append(values)

    def append_rows(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            self.append_row(table, **dict(zip(names, row, strict=True)))

    def of(self, table: str, **where: Any) -> list[dict[str, Any]]:
        rows = self.tables.get(table, [])
        return [row for row in rows if all(row[name] == value for name, value in where.items())]
