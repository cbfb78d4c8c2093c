"""Carry a straight line beyond what was run, and say how wide it gets.

Owns: the fit and its prediction interval. Must not know: what the figures are of, nor whether they
go on in a straight line: who shows a forecast says what was run and what was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from sim.study.statistics.intervals import Interval, checked, t_quantile

LEAST_POINTS = 3
"""Two points fix a line and leave nothing that could tell how wrong it is."""


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line through (x, y). `scatter`: standard deviation of y about it."""

    intercept: float
    slope: float
    scatter: float
    n: int
    centre: float
    spread: float
    """Sum of the squared distances of the x from their mean."""

    def rises(self, confidence: float = 0.95) -> bool:
        """Tell whether the slope's interval leaves 0 and all below it out."""
        error = self.scatter / sqrt(self.spread)
        return self.slope > t_quantile((1 + checked(confidence)) / 2, self.n - 2) * error

    def at(self, x: float, confidence: float = 0.95) -> Interval:
        """Return what one more run at `x` would show, with its prediction interval.

        Source: Draper and Smith, "Applied Regression Analysis", 3rd ed., section 3.1.
        """
        middle = self.intercept + self.slope * x
        away = 1 + 1 / self.n + (x - self.centre) ** 2 / self.spread
        half = t_quantile((1 + checked(confidence)) / 2, self.n - 2) * self.scatter * sqrt(away)
        return Interval(middle, middle - half, middle + half, confidence, self.n)


def line_through(points: Sequence[tuple[float, float]]) -> Line | None:
    """Fit a line; None with fewer than three points or fewer than two different x."""
    n = len(points)
    if n < LEAST_POINTS or len({x for x, _ in points}) < 2:
        return None
    centre = sum(x for x, _ in points) / n
    level = sum(y for _, y in points) / n
    spread = sum((x - centre) ** 2 for x, _ in points)
    slope = sum((x - centre) * (y - level) for x, y in points) / spread
    intercept = level - slope * centre
    rest = sum((y - intercept - slope * x) ** 2 for x, y in points)
    return Line(intercept, slope, sqrt(rest / (n - 2)), n, centre, spread)
