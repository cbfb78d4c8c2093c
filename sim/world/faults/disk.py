"""A validator's disk: what a write of its own state costs, and whether it succeeds.

Owns: the queue of writes, what failed to be written, and who is to blame. A validator persists what
it votes before the vote may leave; the state that could not be written is written as soon as it can
be. Must not know: when faults begin, what the state means, the event loop.
"""

from __future__ import annotations

from typing import Final

from sim.world.chance import mix

PPM: Final = 1_000_000


class Disk:
    """The disk of one validator. `key`: of the draws that say which writes fail."""

    __slots__ = ("_failing", "_filled", "_free_ns", "_key", "_slow", "_writes")

    def __init__(self, key: int) -> None:
        self._key = key
        self._slow: list[int] = []
        self._failing: list[int] = []
        self._filled = 0
        self._free_ns = 0
        self._writes = 0

    @property
    def sound(self) -> bool:
        """Whether no fault is on and nothing waits for it."""
        return not (self._slow or self._failing or self._filled)

    @property
    def full(self) -> bool:
        return self._filled > 0

    def slow(self, write_ns: int, *, on: bool) -> None:
        """Let every write take `write_ns`, or no longer; the slowest of those in force holds."""
        _switch(self._slow, write_ns, on)

    def fail(self, share_ppm: int, *, on: bool) -> None:
        """Let a share of the writes fail, or no longer; the largest of those in force holds."""
        _switch(self._failing, share_ppm, on)

    def fill(self, *, on: bool) -> None:
        """Let every write fail, or no longer."""
        self._filled += 1 if on else -1

    def write(self, now_ns: int) -> int | None:
        """Return when a write that is handed in now is durable; None where it fails."""
        self._writes += 1
        if self._filled:
            return None
        share = max(self._failing, default=0)
        if share and (mix(self._key, self._writes) >> 32) * PPM >> 32 < share:
            return None
        self._free_ns = max(now_ns, self._free_ns) + max(self._slow, default=0)
        return self._free_ns

    def durable_ns(self, now_ns: int) -> int:
        """Return when all that has been handed in is durable."""
        return max(now_ns, self._free_ns)

    def crash(self, now_ns: int) -> None:
        """Lose the writes that are under way: their validator has crashed."""
        self._free_ns = min(self._free_ns, now_ns)


def _switch(in_force: list[int], value: int, on: bool) -> None:
    if on:
        in_force.append(value)
    else:
        in_force.remove(value)
