"""Prometheus rules and Grafana dashboards: the rules and metrics that a scenario's runs evaluate.

Owns: how typed rules become files for operators. Must not know: how metrics are measured, which
rules ship.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sim.monitor.alerts import exported, exported_name, exported_value
from sim.scenario.alerting import METRICS, AlertRule, Metric, Part, dimension_of, threshold_of
from sim.scenario.alerts import rules_in_force
from sim.scenario.model import Scenario

GRID_COLUMNS, PANEL_COLUMNS, PANEL_ROWS = 24, 8, 8
"""Grafana's grid is 24 columns wide: three panels a row."""
SCHEMA_VERSION = 39
"""Of dashboards as Grafana 11 writes them; later ones migrate them."""
_UNITS = {"count": "short", "duration": "s", "share": "percentunit"}
_COLOURS = {"info": "blue", "warning": "orange", "critical": "red"}


def prometheus_rules(scenario: Scenario) -> dict[str, Any]:
    """Return a Prometheus rule file: one group a severity, evaluated every second as in a run."""
    rules = rules_in_force(scenario.alerts)
    severities = dict.fromkeys(rule.severity for rule in rules)
    return {
        "groups": [
            {
                "name": f"{scenario.name}-{severity}",
                "interval": "1s",
                "rules": [exported(rule) for rule in rules if rule.severity == severity],
            }
            for severity in severities
        ]
    }


def dashboards(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Return the Grafana dashboards by name: consensus, and parts that the scenario has."""
    rules = rules_in_force(scenario.alerts)
    parts: dict[str, tuple[Part, ...]] = {
        "consensus": ("",) if scenario.clouds is None else ("", "clouds")
    }
    if scenario.agents is not None:
        parts["agents"] = ("agents",)
    if scenario.compliance is not None:
        parts["compliance"] = ("compliance",)
    return {name: _dashboard(scenario, name, rules, shown) for name, shown in parts.items()}


def _dashboard(
    scenario: Scenario, name: str, rules: Iterable[AlertRule], parts: tuple[Part, ...]
) -> dict[str, Any]:
    metrics = [metric for metric in METRICS if metric.part in parts]
    rules = tuple(rules)
    return {
        "uid": f"creto-{name}",
        "title": f"{scenario.title}: {name}",
        "tags": ["creto-sim", scenario.name],
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus"}],
        },
        "panels": [_panel(place, metric, rules) for place, metric in enumerate(metrics)],
    }


def _panel(place: int, metric: Metric, rules: Iterable[AlertRule]) -> dict[str, Any]:
    """Return one metric's panel, with the thresholds of the rules that compare it as it is."""
    across = GRID_COLUMNS // PANEL_COLUMNS
    name = exported_name(metric.name)
    lines = [
        (float(exported_value(metric.dimension, threshold_of(rule))), _COLOURS[rule.severity])
        for rule in rules
        if rule.metric == metric.name
        and not metric.counter
        and rule.when == "above"
        and dimension_of(rule.metric, rule.per) == metric.dimension
    ]
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in sorted(lines)]
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": metric.name.replace("_", " "),
        "description": metric.meaning,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {
            "x": place % across * PANEL_COLUMNS,
            "y": place // across * PANEL_ROWS,
            "w": PANEL_COLUMNS,
            "h": PANEL_ROWS,
        },
        "targets": [
            {
                "refId": "A",
                "expr": f"rate({name}[1m])" if metric.counter else name,
                "legendFormat": f"{{{{{metric.label}}}}}" if metric.label else metric.name,
            }
        ],
        "fieldConfig": {
            "defaults": {
                "unit": "cps" if metric.counter else _UNITS[metric.dimension],
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"thresholdsStyle": {"mode": "line" if lines else "off"}},
            },
            "overrides": [],
        },
    }
