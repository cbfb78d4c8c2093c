"""Alert rules, evaluated while a run goes on; and the same rules as PromQL.

Owns: windows, conditions, waits, and the rows of the table `alerts`. What it is shown, once a
simulated second, is what a scrape of the network would see. Must not know: how metrics are
measured, which rules ship.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sim.scenario.alerting import METRIC, AlertRule, dimension_of, threshold_of

GRID_NS = 1_000_000_000
"""Simulated time between two evaluations."""
OPEN = -1
"""Stands for the end of an alert that still fires when the run ends."""
_WHOLE_PPM = 1_000_000

Sample: TypeAlias = Mapping[str, Mapping[str, int]]
"""By metric, by value of its label (empty where it has none): counters since the start, gauges as
they are; a gauge that is not there has no value."""


@dataclass(slots=True)
class _State:
    """One rule on one series."""

    history: deque[tuple[int, int]] = field(default_factory=deque)
    """(time, value) from the start of the window on, and one value before it."""
    since_ns: int = OPEN
    fired_ns: int = OPEN
    value: int = 0
    worst: int = 0


class Alerts:
    """All rules of one run. `write(**row)` takes a row of the table for each alert that fired."""

    def __init__(self, rules: Iterable[AlertRule], write: Callable[..., None]) -> None:
        self._rules = tuple(rules)
        self._write = write
        self._states: list[dict[str, _State]] = [{} for _ in self._rules]
        self._per: list[_State] = [_State() for _ in self._rules]
        self._seen_ns = 0

    def observe(self, now_ns: int, sample: Sample) -> None:
        """Evaluate every rule; `now_ns` is later than at the last call."""
        if now_ns <= self._seen_ns:
            raise ValueError(f"{now_ns} ns was observed already")
        for rule, states, per in zip(self._rules, self._states, self._per, strict=True):
            divisor = self._divisor(rule, per, now_ns, sample)
            seen = sample.get(rule.metric, {})
            for series in seen:
                if series not in states and (not rule.series or series in rule.series):
                    states[series] = _State()
                    if METRIC[rule.metric].counter:
                        # A counter that appears was nought when it was last looked for.
                        states[series].history.append((self._seen_ns, 0))
            for series, state in states.items():
                self._judge(rule, series, state, now_ns, seen.get(series), divisor)
        self._seen_ns = now_ns

    def firing(self, severity: str | None = None) -> list[tuple[str, str]]:
        """Return (rule, series) of all that fire now, or are so severe, in the rules' order."""
        return [
            (rule.name, series)
            for rule, states in zip(self._rules, self._states, strict=True)
            if severity in (None, rule.severity)
            for series, state in states.items()
            if state.fired_ns != OPEN
        ]

    def finish(self) -> None:
        """Write what still fires."""
        for rule, states in zip(self._rules, self._states, strict=True):
            for series, state in states.items():
                if state.fired_ns != OPEN:
                    self._row(rule, series, state, OPEN)

    def _divisor(self, rule: AlertRule, per: _State, now_ns: int, sample: Sample) -> int | None:
        if rule.per is None:
            return None
        total = sum(sample.get(rule.per, {}).values())
        if not per.history:
            per.history.append((0, 0))
        _push(per.history, now_ns, total, rule.window_ns)
        return max(1, total - per.history[0][1])

    def _judge(
        self,
        rule: AlertRule,
        series: str,
        state: _State,
        now_ns: int,
        current: int | None,
        divisor: int | None,
    ) -> None:
        value = _value(rule, state, now_ns, current, divisor)
        holds = value is not None and _beyond(rule, value)
        if rule.when == "below" and now_ns < rule.window_ns:
            holds = False
        if not holds:
            if state.fired_ns != OPEN:
                self._row(rule, series, state, now_ns)
            state.since_ns = state.fired_ns = OPEN
            return
        assert value is not None
        if state.since_ns == OPEN:
            state.since_ns = now_ns
        if state.fired_ns == OPEN and now_ns - state.since_ns >= rule.for_ns:
            state.fired_ns, state.value, state.worst = now_ns, value, value
        worse = max if rule.when == "above" else min
        state.worst = worse(state.worst, value)

    def _row(self, rule: AlertRule, series: str, state: _State, resolved_ns: int) -> None:
        self._write(
            rule=rule.name,
            severity=rule.severity,
            metric=rule.metric,
            series=series,
            dimension=dimension_of(rule.metric, rule.per),
            since_ns=state.since_ns,
            fired_ns=state.fired_ns,
            resolved_ns=resolved_ns,
            value=state.value,
            worst=state.worst,
            threshold=threshold_of(rule),
        )


def _beyond(rule: AlertRule, value: int) -> bool:
    limit = threshold_of(rule)
    return value > limit if rule.when == "above" else value < limit


def _push(history: deque[tuple[int, int]], now_ns: int, value: int, window_ns: int) -> None:
    """Add a value and drop those that the window has left, but for one at or before its start."""
    history.append((now_ns, value))
    while len(history) > 1 and history[1][0] <= now_ns - window_ns:
        history.popleft()


def _value(
    rule: AlertRule, state: _State, now_ns: int, current: int | None, divisor: int | None
) -> int | None:
    """Return what the rule compares, or None where there is nothing to compare."""
    if current is None:
        state.history.clear()
        return None
    history = state.history
    _push(history, now_ns, current, rule.window_ns)
    if rule.over == "last":
        return current
    if rule.over == "increase":
        grown = current - history[0][1]
        return grown if divisor is None else grown * _WHOLE_PPM // divisor
    inside = [value for time_ns, value in history if time_ns > now_ns - rule.window_ns]
    return max(inside) if rule.over == "max" else min(inside)


# -- as PromQL ------------------------------------------------------------------------------------

PREFIX = "creto_"
_SUFFIX = {"count": "", "duration": "_seconds", "share": "_ratio"}


def exported_name(metric: str) -> str:
    """Return a metric's name in OpenMetrics: base units, counters end in `_total`."""
    known = METRIC[metric]
    if known.counter:
        return f"{PREFIX}{metric}_total"
    return f"{PREFIX}{metric}{_SUFFIX[known.dimension]}"


def exported_value(dimension: str, value: int) -> str:
    """Return a value in OpenMetrics' base units: counts, seconds, ratios; exact decimals."""
    if dimension == "count":
        return str(value)
    places = 9 if dimension == "duration" else 6
    whole, rest = divmod(value, 10**places)
    fraction = f"{rest:0{places}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def promql(rule: AlertRule) -> str:
    """Return the condition of a rule as PromQL.

    Metrics are those of the OpenMetrics export, under `exported_name`. A gauge that is taken as it
    is needs no window. What a counter grew by is a difference, as in a run: `increase` stretches
    what it saw to the ends of its window, a quarter more where 5 s hold five scrapes. A counter
    that is younger than the window was nought before it; of too little, it says nothing yet.
    """
    metric = METRIC[rule.metric]
    chosen = ""
    if rule.series:
        values = "|".join(rule.series)
        chosen = f'{{{metric.label}=~"{values}"}}'
    selected = f"{exported_name(rule.metric)}{chosen}"
    window = f"{rule.window_ns // GRID_NS}s"
    if rule.over == "increase":
        text = _grown(selected, window, whole=rule.when == "below")
    elif rule.over == "last":
        text = selected
    else:
        text = f"{rule.over}_over_time({selected}[{window}])"
    if rule.per is not None:
        below = f"clamp_min(sum({_grown(exported_name(rule.per), window, whole=False)}), 1)"
        text = f"{text} / on() group_left() {below}" if metric.label else f"sum({text}) / {below}"
    sign = ">" if rule.when == "above" else "<"
    dimension = dimension_of(rule.metric, rule.per)
    return f"{text} {sign} {exported_value(dimension, threshold_of(rule))}"


def _grown(counter: str, window: str, *, whole: bool) -> str:
    """Return by how much a counter grew; `whole`: only where it is as old as the window."""
    if whole:
        return f"({counter} - {counter} offset {window})"
    return f"({counter} - ({counter} offset {window} or {counter} * 0))"


def exported(rule: AlertRule) -> dict[str, Any]:
    """Return a rule as an entry of a Prometheus rule file."""
    return {
        "alert": "".join(word.capitalize() for word in rule.name.split("_")),
        "expr": promql(rule),
        "for": f"{rule.for_ns // GRID_NS}s",
        "labels": {"severity": rule.severity},
        "annotations": {"summary": rule.reason, "runbook": rule.runbook},
    }
