"""What all draws of a random scenario share: a die, and quantities as a file writes them.

Owns the rounding of what is drawn: few digits, so that scenarios read well. Must not know what a
scenario is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

STEP_MS = 50
"""Drawn times are multiples of this."""


class Die:
    """One stream of draws. The order of calls is part of what a seed means."""

    def __init__(self, stream: np.random.Generator) -> None:
        self._stream = stream

    def whole(self, low: int, high: int) -> int:
        """Draw an integer between `low` and `high`, both included."""
        return int(self._stream.integers(low, high + 1))

    def chance(self, percent: int) -> bool:
        """Say yes in so many of a hundred cases."""
        return self.whole(0, 99) < percent

    def pick(self, options: Sequence[T]) -> T:
        """Draw one of `options`."""
        return options[self.whole(0, len(options) - 1)]

    def some(self, options: Sequence[T], least: int, most: int) -> list[T]:
        """Draw `least` to `most` different ones of `options`, in their order."""
        count = min(len(options), self.whole(least, max(least, most)))
        left = list(range(len(options)))
        chosen = [left.pop(self.whole(0, len(left) - 1)) for _ in range(count)]
        return [options[index] for index in sorted(chosen)]

    def time_ms(self, low_ms: int, high_ms: int) -> int:
        """Draw a time in milliseconds on the grid of `STEP_MS`."""
        low, high = -(-low_ms // STEP_MS), high_ms // STEP_MS
        return STEP_MS * self.whole(low, max(low, high))

    def window_ms(self, end_ms: int) -> tuple[int, int]:
        """Draw when something begins and ends: it lasts at least one step, to `end_ms` at most."""
        first = self.time_ms(0, end_ms - STEP_MS)
        return first, self.time_ms(first + STEP_MS, end_ms)


def time_text(time_ms: int) -> str:
    """Return a time as a scenario writes it: seconds where they are whole."""
    return f"{time_ms // 1000} s" if time_ms % 1000 == 0 else f"{time_ms} ms"


def percent_text(percent: int) -> str:
    """Return a share as a scenario writes it."""
    return f"{percent} %"
