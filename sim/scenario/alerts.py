"""The `alerts` section, and the rules that a scenario has in force.

Owns: switching alerting off, changing what ships, adding rules. Must not know: how rules are
evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

from sim.scenario.alert_rules import VALIDATORS
from sim.scenario.alert_rules_agents import AGENTS
from sim.scenario.alerting import AlertRule, CountRule, DurationRule, ShareRule, rule_kind
from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.fields import Count, Flag, OneOf, duration, share

DEFAULTS: tuple[CountRule | DurationRule | ShareRule, ...] = (*VALIDATORS, *AGENTS)
"""Every rule that ships."""
SHIPPED = {rule.name: rule for rule in DEFAULTS}
NAMES_OF_RULES = tuple(SHIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What another threshold, or wait, of a rule that ships is stated for."""

    __pydantic_config__ = STRICT
    rule: Annotated[str, OneOf(NAMES_OF_RULES, "rule")]
    """Its name."""
    for_ns: Annotated[int, duration("0 s", "1 h")] | None = None
    """How long its condition must hold, in whole seconds; left out, as it ships."""
    off: Annotated[bool, Flag()] = False
    """Leave it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountChange(Change):
    """A change of a rule about a count."""

    __pydantic_config__ = STRICT
    threshold: Annotated[int, Count(0, 2**53)] | None = None
    """Another threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationChange(Change):
    """A change of a rule about a duration."""

    __pydantic_config__ = STRICT
    threshold_ns: Annotated[int, duration("0 s", "365 d")] | None = None
    """Another threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareChange(Change):
    """A change of a rule about a share."""

    __pydantic_config__ = STRICT
    threshold_ppm: Annotated[int, share("0 %", "100000 %")] | None = None
    """Another threshold."""


CHANGES: dict[str, type[Any]] = {
    "count": CountChange,
    "duration": DurationChange,
    "share": ShareChange,
}


def change_kind(value: Any) -> str | None:
    """Return which of CHANGES a map of YAML values, or a change, is."""
    if isinstance(value, dict):
        if "rule" not in value:
            return None
        shipped = SHIPPED.get(value["rule"]) if isinstance(value["rule"], str) else None
        return "count" if shipped is None else rule_kind(shipped)
    return next((key for key, kind in CHANGES.items() if isinstance(value, kind)), None)


AlertChange: TypeAlias = Annotated[
    CountChange | DurationChange | ShareChange, ByKey(CHANGES, "a change", change_kind, ("rule",))
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Alert rules that are evaluated each simulated second while the run goes on."""

    __pydantic_config__ = STRICT
    enabled: Annotated[bool, Flag()] = True
    """Whether rules are evaluated at all."""
    changes: tuple[AlertChange, ...] = ()
    """Other thresholds for rules that ship."""
    rules: tuple[AlertRule, ...] = ()
    """Rules beside those that ship."""


def rules_in_force(alerts: Alerts | None) -> tuple[CountRule | DurationRule | ShareRule, ...]:
    """Return the rules of a scenario: those that ship, as changed, then its own."""
    if alerts is None:
        return DEFAULTS
    if not alerts.enabled:
        return ()
    changes = {change.rule: change for change in alerts.changes}
    shipped = [_changed(rule, changes.get(rule.name)) for rule in DEFAULTS]
    return (*(rule for rule in shipped if rule is not None), *alerts.rules)


def _changed(
    rule: CountRule | DurationRule | ShareRule,
    change: CountChange | DurationChange | ShareChange | None,
) -> CountRule | DurationRule | ShareRule | None:
    if change is None:
        return rule
    if change.off:
        return None
    if change.for_ns is not None:
        rule = replace(rule, for_ns=change.for_ns)
    if isinstance(rule, CountRule) and isinstance(change, CountChange):
        return rule if change.threshold is None else replace(rule, threshold=change.threshold)
    if isinstance(rule, DurationRule) and isinstance(change, DurationChange):
        limit_ns = change.threshold_ns
        return rule if limit_ns is None else replace(rule, threshold_ns=limit_ns)
    assert isinstance(rule, ShareRule)
    assert isinstance(change, ShareChange)
    limit_ppm = change.threshold_ppm
    return rule if limit_ppm is None else replace(rule, threshold_ppm=limit_ppm)
