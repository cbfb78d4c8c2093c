"""What a monitor is, and what it says when its invariant breaks.

Owns: `Violation` and the habit that a monitor speaks once a kind and counts the rest. Must not
know: how observations come about, or what a scenario expects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

Handler: TypeAlias = Callable[[int, int, Any], None]
"""Called with (node, now_ns, observation)."""

NOBODY = -1
"""Stands for a node where the violation concerns no single validator."""

KEEP = 4096
"""Heights, views or blocks that a monitor remembers: its memory does not grow with the run."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The first occurrence of one kind of broken invariant, and how often it broke.

    `proof`: JSON values that show it. The window, both ends included, holds every event of the
    proof: replay it.
    """

    monitor: str
    time_ns: int
    node: int
    proof: Mapping[str, Any]
    window_from_ns: int
    window_to_ns: int
    count: int = 1

    def row(self) -> dict[str, Any]:
        """Return the row for the table `violations`."""
        return {
            "monitor": self.monitor,
            "time_ns": self.time_ns,
            "node": self.node,
            "count": self.count,
            "window_from_ns": self.window_from_ns,
            "window_to_ns": self.window_to_ns,
            "proof": json.dumps(self.proof, sort_keys=True),
        }

    def __str__(self) -> str:
        where = "" if self.node == NOBODY else f", validator {self.node}"
        times = "" if self.count == 1 else f" ({self.count} times)"
        facts = ", ".join(f"{key} {value}" for key, value in sorted(self.proof.items()))
        return f"{self.monitor} broken at {self.time_ns} ns{where}{times}: {facts}"


class Monitor:
    """One invariant. Subclasses say which observations they take and call `_fire`."""

    name: ClassVar[str]
    honest_only: ClassVar[bool] = True
    """Whether it looks at honest validators only."""

    def __init__(self) -> None:
        self._first: Violation | None = None
        self._count = 0

    def handlers(self) -> Mapping[type, Handler]:
        """Return what to call for each type of observation."""
        return {}

    def finish(self, now_ns: int) -> None:
        """Judge what only the end of the run can show."""

    @property
    def violation(self) -> Violation | None:
        """The first occurrence with the count of all, or None while the invariant holds."""
        return None if self._first is None else replace(self._first, count=self._count)

    def _fire(self, node: int, now_ns: int, since_ns: int, **proof: Any) -> None:
        self._count += 1
        if self._first is None:
            self._first = Violation(self.name, now_ns, node, proof, min(since_ns, now_ns), now_ns)
