"""Rules of the `alerts` section: conditions that can be evaluated, names that tell rules apart.

Must not know: YAML, places in files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.scenario.alerting import METRIC
from sim.scenario.alerts import SHIPPED
from sim.scenario.quantities import DURATION
from sim.scenario.rulebook import Finding, needs

_SECOND_NS = 1_000_000_000


@needs("alerts", "agents", "compliance", "clouds")
def _rules_can_be_evaluated(
    alerts: Any, agents: Any, compliance: Any, clouds: Any
) -> Iterator[Finding]:
    if alerts is None:
        return
    there = {"agents": agents, "compliance": compliance, "clouds": clouds}
    names = list(SHIPPED)
    for index, rule in enumerate(alerts.rules):
        path = ("alerts", "rules", index)
        if rule.name in names:
            what = "ships: change it under `changes`" if rule.name in SHIPPED else "is there twice"
            yield (*path, "name"), f"a rule `{rule.name}` {what}"
        names.append(rule.name)
        yield from _condition(path, rule)
        for key in ("metric", "per"):
            metric = METRIC.get(getattr(rule, key) or "")
            if metric is not None and metric.part and there[metric.part] is None:
                yield (*path, key), f"`{metric.name}` needs `{metric.part}`, which is left out"


def _condition(path: tuple[Any, ...], rule: Any) -> Iterator[Finding]:
    metric = METRIC[rule.metric]
    if metric.counter and rule.over != "increase":
        yield (*path, "over"), f"`{metric.name}` only grows: use `increase`"
    if not metric.counter and rule.over == "increase":
        yield (*path, "over"), f"`{metric.name}` is no sum: use `last`, `max` or `min`"
    if rule.per is not None:
        for key, name in (("metric", rule.metric), ("per", rule.per)):
            if not METRIC[name].counter:
                yield (*path, key), f"`{name}` is no sum: only sums are put in proportion"
    if rule.series and not metric.label:
        yield (*path, "series"), f"`{metric.name}` has one series"
    for key, span in (("window", rule.window_ns), ("for", rule.for_ns)):
        yield from _whole(path, key, span)


def _whole(path: tuple[Any, ...], key: str, span_ns: int | None) -> Iterator[Finding]:
    if span_ns is not None and span_ns % _SECOND_NS:
        message = f"{DURATION.format(span_ns)}: rules are evaluated each second, state whole ones"
        yield (*path, key), message


@needs("alerts")
def _changes_change_something(alerts: Any) -> Iterator[Finding]:
    if alerts is None:
        return
    if not alerts.enabled and (alerts.changes or alerts.rules):
        yield ("alerts", "enabled"), "alerting is off: rules and changes would be ignored"
    seen: list[str] = []
    for index, change in enumerate(alerts.changes):
        path = ("alerts", "changes", index)
        yield from _whole(path, "for", change.for_ns)
        if change.rule in seen:
            yield (*path, "rule"), f"`{change.rule}` is changed twice"
        seen.append(change.rule)
        stated = [change.for_ns, *(getattr(change, name, None) for name in _THRESHOLDS)]
        if change.off == any(value is not None for value in stated):
            yield path, "state a `threshold`, a `for`, or `off: true`, which excludes the others"


_THRESHOLDS = ("threshold", "threshold_ns", "threshold_ppm")
