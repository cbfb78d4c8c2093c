"""As much PromQL as exported rules use, evaluated on samples: what Prometheus would answer.

Written from the query language's documentation, apart from what writes rules and what evaluates
them in runs, so that it can tell whether they agree. Ranges are open on the left, as since
Prometheus 3; an instant selector looks back five minutes; comparisons with NaN never hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

LOOK_BACK_S = 300
Labels: TypeAlias = tuple[tuple[str, str], ...]
Vector: TypeAlias = dict[Labels, float]
Samples: TypeAlias = Mapping[str, Mapping[Labels, list[tuple[float, float]]]]
"""By metric, by labels: (time in s, value), in order of time."""

_TOKEN = re.compile(
    r'\s*(?:(\d+s)\b|(\d+(?:\.\d+)?)|([a-z_][a-z0-9_]*)|("[^"]*")|(=~|[-+*/><(){}\[\],]))'
)
_BINDING = {"or": 1, ">": 2, "<": 2, "+": 3, "-": 3, "*": 4, "/": 4}
_FUNCTIONS: dict[str, Callable[[Iterable[float]], float]] = {
    "max_over_time": max,
    "min_over_time": min,
}


def samples_of(families: Iterable[Any]) -> dict[str, dict[Labels, list[tuple[float, float]]]]:
    """Arrange what a parser of OpenMetrics has read."""
    found: dict[str, dict[Labels, list[tuple[float, float]]]] = {}
    for family in families:
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            row = (float(sample.timestamp), float(sample.value))
            found.setdefault(sample.name, {}).setdefault(labels, []).append(row)
    return found


def evaluate(expression: str, samples: Samples, at_s: float) -> Vector:
    """Return what a query answers at an instant."""
    value = _Query(expression, samples, at_s).whole()
    assert isinstance(value, dict), expression
    return value


@dataclass
class _Query:
    text: str
    samples: Samples
    at_s: float

    def __post_init__(self) -> None:
        found, place = [], 0
        while place < len(self.text):
            match = _TOKEN.match(self.text, place)
            assert match, self.text[place:]
            found.append(match[0].strip())
            place = match.end()
        self.tokens = [*found, ""]
        self.place = 0

    def whole(self) -> Vector | float:
        value = self.expression(0)
        assert not self.token, self.tokens[self.place :]
        return value

    @property
    def token(self) -> str:
        return self.tokens[self.place]

    def take(self, wanted: str | None = None) -> str:
        token = self.token
        assert wanted in (None, token), f"{token} for {wanted} in {self.text}"
        self.place += 1
        return token

    def expression(self, least: int) -> Vector | float:
        left = self.primary()
        while _BINDING.get(self.token, 0) > least:
            operator = self.take()
            to_all = self.token == "on"
            if to_all:
                for token in ("on", "(", ")", "group_left", "(", ")"):
                    self.take(token)
            left = _apply(operator, left, self.expression(_BINDING[operator]), to_all=to_all)
        return left

    def primary(self) -> Vector | float:
        token = self.take()
        if token == "(":
            value = self.expression(0)
            self.take(")")
            return value
        if token[0].isdigit():
            return float(token)
        if token == "sum":
            self.take("(")
            inner = self.expression(0)
            self.take(")")
            assert isinstance(inner, dict)
            return {(): sum(inner.values())} if inner else {}
        if token == "clamp_min":
            self.take("(")
            inner = self.expression(0)
            self.take(",")
            least = float(self.take())
            self.take(")")
            assert isinstance(inner, dict)
            return {labels: max(value, least) for labels, value in inner.items()}
        if token in _FUNCTIONS:
            self.take("(")
            series, (begin, end) = self.selector(self.take())
            self.take(")")
            return _over(_FUNCTIONS[token], series, begin, end)
        series, (_, end) = self.selector(token)
        return {
            labels: rows[-1][1]
            for labels, all_rows in series.items()
            if (rows := [r for r in all_rows if end - LOOK_BACK_S < r[0] <= end])
        }

    def selector(
        self, name: str
    ) -> tuple[Mapping[Labels, list[tuple[float, float]]], tuple[float, float]]:
        series = self.samples.get(name, {})
        if self.token == "{":
            self.take()
            label = self.take()
            self.take("=~")
            wanted = re.compile(self.take().strip('"'))
            self.take("}")
            series = {k: v for k, v in series.items() if wanted.fullmatch(dict(k).get(label, ""))}
        span, end = 0.0, self.at_s
        if self.token == "[":
            self.take()
            span = _seconds(self.take())
            self.take("]")
        if self.token == "offset":
            self.take()
            end -= _seconds(self.take())
        return series, (end - span, end)


def _seconds(text: str) -> float:
    assert text.endswith("s"), text
    return float(text[:-1])


def _over(
    function: Callable[[Iterable[float]], float],
    series: Mapping[Labels, list[tuple[float, float]]],
    begin: float,
    end: float,
) -> Vector:
    found = {}
    for labels, rows in series.items():
        inside = [value for at, value in rows if begin < at <= end]
        numbers = [value for value in inside if not math.isnan(value)]
        if inside:
            found[labels] = function(numbers) if numbers else math.nan
    return found


def _apply(
    operator: str, left: Vector | float, right: Vector | float, *, to_all: bool
) -> Vector | float:
    if operator == "or":
        assert isinstance(left, dict)
        assert isinstance(right, dict)
        return {**right, **left}
    compute: dict[str, Callable[[float, float], float]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
    }
    if operator in "<>":
        assert isinstance(left, dict)
        assert isinstance(right, float)
        above = operator == ">"
        return {k: v for k, v in left.items() if (v > right if above else v < right)}
    act = compute[operator]
    if isinstance(left, float):
        assert isinstance(right, float)
        return act(left, right)
    if isinstance(right, float):
        return {labels: act(value, right) for labels, value in left.items()}
    if to_all:
        assert len(right) <= 1
        return {labels: act(value, one) for labels, value in left.items() for one in right.values()}
    return {labels: act(value, right[labels]) for labels, value in left.items() if labels in right}
