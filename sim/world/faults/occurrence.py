"""When faults occur: distributions of the time between two of them and of how long one lasts.

Owns: the distributions, the committed figures with their sources, and the draw of a timetable: up
and down take turns, so a fault never overlaps itself. Must not know: what a fault does.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from sim.world.faults import Span

if TYPE_CHECKING:
    import numpy as np

_MICRO = 10**6
_NS_PER = {"min": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """A distribution of durations of at least 1 ns.

    `kind` says what `middle_ns` and `shape_micro` are: fixed (the value, unused), exponential
    (mean, unused), lognormal (median, standard deviation of the logarithm), weibull (scale, shape).
    """

    kind: str
    middle_ns: int
    shape_micro: int = _MICRO

    def draw_ns(self, stream: np.random.Generator) -> int:
        """Draw one duration."""
        shape = self.shape_micro / _MICRO
        if self.kind == "fixed":
            return self.middle_ns
        if self.kind == "exponential":
            factor = float(stream.exponential())
        elif self.kind == "lognormal":
            factor = math.exp(shape * float(stream.standard_normal()))
        else:
            factor = float(stream.weibull(shape))
        return max(1, round(self.middle_ns * factor))

    @property
    def mean_ns(self) -> int:
        """Return the mean."""
        shape = self.shape_micro / _MICRO
        if self.kind == "lognormal":
            return round(self.middle_ns * math.exp(shape * shape / 2))
        if self.kind == "weibull":
            return round(self.middle_ns * math.gamma(1 + 1 / shape))
        return self.middle_ns

    def faster(self, factor_micro: int) -> Lifetimes:
        """Return the distribution with all times divided by `factor_micro` / 10**6."""
        return Lifetimes(
            self.kind, max(1, self.middle_ns * _MICRO // factor_micro), self.shape_micro
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """A committed distribution: what of, how sure (measured or assumption), and who says so."""

    lifetimes: Lifetimes
    what: str
    confidence: str
    source: str


@cache
def figures() -> Mapping[str, Figure]:
    """Return the committed distributions by name; `data/lifetimes.csv`."""
    path = resources.files("sim.world.faults") / "data" / "lifetimes.csv"
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {
        row["name"]: Figure(
            Lifetimes(
                row["distribution"],
                round(float(row["middle"]) * _NS_PER[row["unit"]]),
                int(row["shape_micro"]),
            ),
            row["what"],
            row["confidence"],
            row["source"],
        )
        for row in rows
    }


def occurrences(
    at_ns: int,
    until_ns: int | None,
    every: Lifetimes | None,
    lasting: Lifetimes | None,
    stream: np.random.Generator,
    end_ns: int,
) -> Iterator[Span]:
    """Yield when a fault is on, from `at_ns` to before `until_ns` (None: `end_ns`, the run's end).

    Without `every` it begins once, at `at_ns`. With it, times between an end and the next beginning
    are drawn from `every`, the first one from `at_ns` on; `lasting` draws each length.
    """
    last_ns = end_ns if until_ns is None else min(until_ns, end_ns)
    if every is None:
        if lasting is None:
            yield Span(at_ns, until_ns)
        else:
            yield Span(at_ns, _capped(at_ns + lasting.draw_ns(stream), until_ns))
        return
    assert lasting is not None, "rates need to say how long a fault lasts"
    begin = at_ns + every.draw_ns(stream)
    while begin < last_ns:
        end = begin + lasting.draw_ns(stream)
        yield Span(begin, _capped(end, until_ns))
        begin = end + every.draw_ns(stream)


def _capped(end_ns: int, until_ns: int | None) -> int:
    return end_ns if until_ns is None else min(end_ns, until_ns)
