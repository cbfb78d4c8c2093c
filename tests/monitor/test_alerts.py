"""Alert rules: windows, waits and episodes; every rule that ships fires when its metric is driven,
and says why it is what it is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sim.monitor.alerts import GRID_NS, OPEN, Alerts, exported, exported_name, promql
from sim.scenario.alerting import (
    METRIC,
    METRICS,
    AlertRule,
    CountRule,
    DurationRule,
    ShareRule,
    dimension_of,
    threshold_of,
)
from sim.scenario.alerts import DEFAULTS

S = GRID_NS
SERVICES = tuple(
    metric.name
    for metric in METRICS
    if metric.part in ("clouds", "compliance") and metric.name != "audit_records"
)
"""Metrics of optional parts, for their dashboards."""
FOR_EXPORT = ("certificates", "consensus_bytes", "quorum_level", "transactions_committed")
"""Metrics that dashboards show and no rule that ships looks at."""


class Rig:
    """A rule on values stated second by second."""

    def __init__(self, *rules: AlertRule) -> None:
        self.rows: list[dict[str, Any]] = []
        self.alerts = Alerts(rules, lambda **row: self.rows.append(row))
        self.second = 0

    def see(self, *samples: dict[str, Any]) -> None:
        """Show samples, one a second; a bare number is of the only series."""
        for sample in samples:
            self.second += 1
            whole = {m: v if isinstance(v, dict) else {"": v} for m, v in sample.items()}
            self.alerts.observe(self.second * S, whole)

    def episodes(self) -> list[tuple[int, int, int, int]]:
        """Since, fired, resolved (s; -1 open), value of each alert."""
        self.alerts.finish()
        return [
            (
                row["since_ns"] // S,
                row["fired_ns"] // S,
                OPEN if row["resolved_ns"] == OPEN else row["resolved_ns"] // S,
                row["value"],
            )
            for row in self.rows
        ]


def gauges(name: str, *values: int | None) -> list[dict[str, Any]]:
    return [{} if value is None else {name: value} for value in values]


def test_a_gauge_fires_after_its_wait_and_resolves() -> None:
    rig = Rig(CountRule(name="r", metric="validators_down", threshold=1, for_ns=2 * S))
    rig.see(*gauges("validators_down", 0, 2, 2, 1, 2, 3, 4, 5, 0, 2))
    # Two seconds beyond are not enough; the second stretch is, and shows its worst.
    assert rig.episodes() == [(5, 7, 9, 4)]
    assert rig.rows[0]["worst"] == 5
    assert rig.rows[0]["threshold"] == 1


def test_the_threshold_itself_is_not_beyond() -> None:
    for when, values in (("above", (3, 4)), ("below", (3, 2))):
        rule = CountRule(
            name="r",
            metric="quorum_level",
            threshold=3,
            when="above" if when == "above" else "below",
        )
        rig = Rig(rule)
        rig.see(*gauges("quorum_level", *values))
        assert rig.episodes() == [(2, 2, OPEN, values[1])]


def test_a_gauge_that_is_gone_resolves() -> None:
    rig = Rig(DurationRule(name="r", metric="commit_age", threshold_ns=5))
    rig.see(*gauges("commit_age", 6, None, 7))
    assert rig.episodes() == [(1, 1, 2, 6), (3, 3, OPEN, 7)]


def test_a_counter_is_looked_at_over_its_window() -> None:
    rule = CountRule(name="r", metric="forks", over="increase", window_ns=3 * S, threshold=2)
    rig = Rig(rule)
    seen = [{"forks": {"finality": n}} for n in (1, 2, 3, 3, 3, 3, 3)]
    rig.see(*seen)
    # From nought to 3 within three seconds; two seconds on, one of them has left the window.
    assert rig.episodes() == [(3, 3, 4, 3)]
    assert rig.rows[0]["series"] == "finality"


def test_a_counter_that_appears_late_has_grown_from_nought() -> None:
    rule = CountRule(name="r", metric="forks", over="increase", window_ns=5 * S, threshold=0)
    rig = Rig(rule)
    rig.see({}, {}, {"forks": {"amnesia": 1}}, {"forks": {"amnesia": 1}})
    assert rig.episodes() == [(3, 3, OPEN, 1)]


def test_too_little_is_not_told_before_the_window_is_full() -> None:
    rule = CountRule(
        name="r",
        metric="blocks_committed",
        over="increase",
        window_ns=3 * S,
        when="below",
        threshold=2,
    )
    rig = Rig(rule)
    rig.see(*gauges("blocks_committed", 0, 1, 4, 5, 5, 5, 5, 6, 8))
    assert rig.episodes() == [(6, 6, 9, 1)]
    assert rig.rows[0]["worst"] == 0


def test_a_proportion_divides_by_at_least_one() -> None:
    rule = ShareRule(
        name="r",
        metric="view_timeouts",
        over="increase",
        window_ns=2 * S,
        per="blocks_committed",
        threshold_ppm=500_000,
    )
    rig = Rig(rule)
    rig.see(
        {"view_timeouts": 0, "blocks_committed": 10},
        {"view_timeouts": 5, "blocks_committed": 10},  # 5 of 10
        {"view_timeouts": 6, "blocks_committed": 10},  # 6 of none
    )
    assert rig.episodes() == [(3, 3, OPEN, 6_000_000)]


def test_the_greatest_and_the_least_of_a_window() -> None:
    high = CountRule(name="h", metric="quorum_level", over="max", window_ns=2 * S, threshold=1)
    low = CountRule(
        name="l", metric="quorum_level", over="min", window_ns=2 * S, threshold=1, when="below"
    )
    rig = Rig(high, low)
    rig.see(*gauges("quorum_level", 1, 2, 1, 1, 0, 1, 1))
    rig.alerts.finish()
    found = {row["rule"]: (row["fired_ns"] // S, row["resolved_ns"] // S) for row in rig.rows}
    assert found == {"h": (2, 4), "l": (5, 7)}


def test_chosen_series_only() -> None:
    rule = CountRule(
        name="r", metric="forks", over="increase", window_ns=S, threshold=0, series=("finality",)
    )
    rig = Rig(rule)
    rig.see({"forks": {"view_change": 3, "finality": 0}}, {"forks": {"finality": 1}})
    assert [(row["series"], row["fired_ns"]) for row in _ended(rig)] == [("finality", 2 * S)]


def _ended(rig: Rig) -> list[dict[str, Any]]:
    rig.alerts.finish()
    return rig.rows


def test_time_does_not_stand_still() -> None:
    alerts = Alerts(DEFAULTS, lambda **row: None)
    alerts.observe(S, {})
    with pytest.raises(ValueError, match="observed already"):
        alerts.observe(S, {})


# -- the rules that ship --------------------------------------------------------------------------


def drive(rule: AlertRule, *, beyond: bool) -> list[dict[str, Any]]:
    """Drive a rule's metric for a minute, exactly at its threshold or one step beyond."""
    metric, limit = METRIC[rule.metric], threshold_of(rule)
    label = rule.series[0] if rule.series else ("x" if metric.label else "")
    step = 1 if rule.when == "above" else -1
    rig = Rig(rule)
    total = 0
    seconds = 60
    window = rule.window_ns // S
    for second in range(1, seconds + 1):
        sample: dict[str, Any] = {}
        if not metric.counter:
            sample[rule.metric] = {label: limit + (step if beyond else 0)}
        elif rule.per is None:
            # All of a window's increase comes at once, once a window.
            total += (limit + (step if beyond else 0)) if second % window == 0 else 0
            sample[rule.metric] = {label: total}
        else:
            whole = 1_000_000 * second
            total = whole * limit // 1_000_000 + (second * second if beyond else 0)
            sample = {rule.metric: {label: total}, rule.per: whole}
        rig.see(sample)
    return _ended(rig)


@pytest.mark.parametrize("rule", DEFAULTS, ids=lambda rule: rule.name)
def test_every_rule_that_ships_fires_beyond_its_threshold_and_not_at_it(rule: AlertRule) -> None:
    assert drive(rule, beyond=False) == []
    fired = drive(rule, beyond=True)
    assert fired
    first = fired[0]
    assert first["rule"] == rule.name
    assert first["severity"] == rule.severity
    assert first["fired_ns"] - first["since_ns"] == rule.for_ns
    assert first["dimension"] == dimension_of(rule.metric, rule.per)


def test_there_are_many_rules_and_each_says_why() -> None:
    assert len(DEFAULTS) >= 40
    assert len({rule.name for rule in DEFAULTS}) == len(DEFAULTS)
    assert {rule.metric for rule in DEFAULTS} | {rule.per for rule in DEFAULTS} >= {
        metric.name for metric in METRICS if metric.name not in (*FOR_EXPORT, *SERVICES)
    }
    for rule in DEFAULTS:
        assert len(rule.reason) > 15, rule.name
        assert len(rule.runbook) > 15, rule.name
        assert rule.window_ns % S == rule.for_ns % S == 0
        metric = METRIC[rule.metric]
        assert metric.counter == (rule.over == "increase"), rule.name
        assert not rule.series or metric.label


def test_rules_are_written_as_promql() -> None:
    by_name = {rule.name: promql(rule) for rule in DEFAULTS}
    assert by_name["commits_stalled"] == "creto_commit_age_seconds > 3"
    blocks, timeouts = "creto_blocks_committed_total", "creto_view_timeouts_total"
    assert by_name["commits_slow"] == f"({blocks} - {blocks} offset 5s) < 2"
    assert by_name["timeouts_per_block"] == (
        f"sum(({timeouts} - ({timeouts} offset 5s or {timeouts} * 0))) / "
        f"clamp_min(sum(({blocks} - ({blocks} offset 5s or {blocks} * 0))), 1) > 0.2"
    )
    forks = 'creto_forks_total{kind=~"equivocation|amnesia"}'
    assert by_name["fork_by_equivocation"] == f"({forks} - ({forks} offset 5s or {forks} * 0)) > 0"
    drops = 'creto_agent_drops_total{reason=~"rate_limited"}'
    offered = "creto_agent_messages_total"
    assert by_name["agents_rate_limited"] == (
        f"({drops} - ({drops} offset 5s or {drops} * 0)) / on() group_left() "
        f"clamp_min(sum(({offered} - ({offered} offset 5s or {offered} * 0))), 1) > 0.01"
    )
    assert by_name["verification_backlog"] == "creto_verification_wait_seconds > 0.2"
    window = CountRule(
        name="r", metric="quorum_level", over="max", window_ns=60 * S, threshold=1, when="below"
    )
    assert promql(window) == "max_over_time(creto_quorum_level[60s]) < 1"
    entry = exported(DEFAULTS[0])
    assert entry["alert"] == "CommitsStalled"
    assert entry["for"] == "0s"
    for rule in DEFAULTS:
        text = promql(rule)
        assert text.count("(") == text.count(")")
        assert exported_name(rule.metric) in text
        # Metric names as OpenMetrics has them: base units, `_total` on what only grows.
        assert re.search(r"creto_[a-z0-9_]+", text)
        assert ("_total" in exported_name(rule.metric)) == METRIC[rule.metric].counter
