"""A run as OpenMetrics: it has what rules and panels ask for, and they say what the run said."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from sim import load_scenario, open_run, run
from sim.cli.main import app
from sim.monitor.alerts import exported, promql
from sim.record.runs import Run, RunError
from sim.scenario.alerting import METRICS
from sim.scenario.alerts import rules_in_force
from sim.scenario.model import Scenario
from sim.study.dashboards import dashboards, prometheus_rules
from sim.study.openmetrics import Figures, exposition, figures, metrics_of, names_in
from tests.cloud.promql import evaluate, samples_of
from tests.compliance.worlds import AUDIT, DATA, PEOPLE, SERVICE, world
from tests.engine.worlds import EAST, SECOND, WEST, ran

SCENARIOS = Path(__file__).parents[2] / "scenarios"
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
BEGUN_S = int(BEGUN.timestamp())

RECORDED = (
    ("smoke", 0),
    ("faults/key_service", 2),
    ("threats/equivocation", 4),
    ("threats/registration_flood", 1),
    ("compliance/revocation_race", 1),
    ("clouds/kms_throttled_at_peak", 1),
)
"""Scenarios, and how many rules at least fire in each."""


def parsed(text: str) -> list[Any]:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="extra: cloud")
    return list(parser.text_string_to_metric_families(text))


@pytest.fixture(scope="module", params=RECORDED, ids=lambda param: param[0])
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Scenario, Run, Figures, int]:
    name, fires = request.param
    if name.startswith("compliance"):
        pytest.importorskip("cedarpy", reason="extra: compliance")
    asked = load_scenario(SCENARIOS / f"{name}.yaml", ["replicates=1"])
    done = open_run(run(asked, tmp_path_factory.mktemp("metrics")).path)
    return asked, done, figures(done), fires


def test_the_text_is_openmetrics(recorded: tuple[Scenario, Run, Figures, int]) -> None:
    asked, _, found, _ = recorded
    families = parsed(exposition(found, BEGUN))
    assert len(families) == len(metrics_of(asked))
    for family in families:
        assert family.documentation
        stamps = {float(sample.timestamp) for sample in family.samples}
        assert stamps <= {BEGUN_S + s for s in range(1, len(found.ends_ns) + 1)}
    assert found.ends_ns[-1] == asked.duration_ns // 10**9 * 10**9


def test_everything_that_rules_and_panels_ask_for_is_there(
    recorded: tuple[Scenario, Run, Figures, int],
) -> None:
    """Or the text says that there was nothing of it, or the scenario has no such part."""
    asked, _, found, _ = recorded
    text = exposition(found, BEGUN)
    there = samples_of(parsed(text))
    entries = [e["expr"] for group in prometheus_rules(asked)["groups"] for e in group["rules"]]
    panels = [
        target["expr"]
        for dashboard in dashboards(asked).values()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    said = {family.name for family in parsed(text) if "nothing of it" in family.documentation}
    absent = {metric.name for metric in METRICS if metric not in metrics_of(asked)}
    for name in (name for each in (*entries, *panels) for name in names_in(each)):
        plain = name.removesuffix("_total")
        if name not in there and plain not in said:
            part = plain.removeprefix("creto_").removesuffix("_seconds").removesuffix("_ratio")
            assert part in absent, name
    for each in panels:
        assert all(
            name in there or name.removesuffix("_total") in said for name in names_in(each)
        ), each


def test_exported_rules_fire_when_they_fired_in_the_run(
    recorded: tuple[Scenario, Run, Figures, int],
) -> None:
    """Evaluated each second on what was exported, as Prometheus would: the same alerts, and the
    same seconds of firing and resolving."""
    asked, done, found, fires = recorded
    samples = samples_of(parsed(exposition(found, BEGUN)))
    seconds = range(1, len(found.ends_ns) + 1)
    told = [
        fired
        for rule in rules_in_force(asked.alerts)
        for fired in fired_by(rule.name, exported(rule), samples, seconds)
    ]
    alerts = done.table("alerts", point=0, replicate=0).collect()
    rows = [
        (row["rule"], row["series"], row["fired_ns"] // 10**9, max(-1, row["resolved_ns"] // 10**9))
        for row in alerts.iter_rows(named=True)
    ]
    assert sorted(told) == sorted(rows)
    assert len({rule for rule, *_ in told}) >= fires


def fired_by(
    name: str, entry: dict[str, Any], samples: Any, seconds: range
) -> list[tuple[str, str, int, int]]:
    """Evaluate a rule each second; return (rule, series, fired, resolved or -1) of its alerts."""
    wait = int(entry["for"].removesuffix("s"))
    since: dict[Any, int] = {}
    fired: dict[Any, int] = {}
    found = []
    for second in seconds:
        holds = evaluate(entry["expr"], samples, BEGUN_S + second)
        for labels in [labels for labels in since if labels not in holds]:
            del since[labels]
            if labels in fired:
                found.append((name, _series(labels), fired.pop(labels), second))
        for labels in holds:
            since.setdefault(labels, second)
            if second - since[labels] >= wait:
                fired.setdefault(labels, second)
    return [*found, *((name, _series(labels), at, -1) for labels, at in fired.items())]


def _series(labels: Any) -> str:
    return labels[0][1] if labels else ""


def test_compliance_is_told_second_by_second(tmp_path: Path) -> None:
    """An erasure that a region in an outage holds up, a breach told after 4 s, a log that cannot be
    written for a while: each shows while it lasts."""
    pytest.importorskip("cedarpy", reason="extra: compliance")
    done = world(
        tmp_path,
        duration="12 s",
        compliance={
            "audit": AUDIT,
            "people": PEOPLE,
            "services": [SERVICE],
            "data": {**DATA, "retry": "100 ms"},
            "events": [
                {"kind": "erasure", "at": "2500 ms", "first": 1},
                {"kind": "breach", "at": "500 ms", "subjects": 3, "authority_after": "4 s"},
                {"kind": "log_fault", "at": "8200 ms", "until": "8900 ms"},
            ],
        },
        faults=[{"kind": "region_outage", "regions": [EAST], "at": "2 s", "until": "6 s"}],
        quorum={"cooldown_epochs": 1000, "missed": ["90 %", "95 %"]},
    )
    found = {(each.metric.name, each.series): each.values for each in figures(done.run).series}
    assert found["requests_open", "erasure"] == (0, 0, 1, 1, 1, 1, *[0] * 6)
    ages = found["erasure_age", ""]
    assert [age for age in ages if age is not None] == [s * SECOND + SECOND // 2 for s in range(4)]
    clock = [value for value in found["breach_clock", ""] if value is not None]
    assert clock == sorted(clock)
    assert max(clock) <= 4 * SECOND
    assert sum(found["breaches_untold", ""]) == len(clock) >= 3
    unrecorded = found["acts_unrecorded", ""]
    assert unrecorded[7] == 0 < unrecorded[8]
    assert max(found["tree_head_age", ""]) < 12 * SECOND
    # The log's rows are saved as a second ends, after rules have been shown it.
    saved = [row for row in done.rows("audit", outcome="denied") if row["time_ns"] <= 11 * SECOND]
    assert found["audit_records", "denied"][-1] == len(saved) > 0
    decided = sum(row["acts"] for row in done.rows("access", decision="refused"))
    assert found["access_decisions", "refused"][-1] == decided > 0
    reads = sum(row["reads"] for row in done.rows("processing", outcome="processed"))
    assert found["personal_reads", "processed"][-1] == reads


def test_services_of_the_clouds_are_told_region_by_region(tmp_path: Path) -> None:
    done = ran(
        tmp_path,
        duration="6 s",
        validators={"count": 4, "placement": {WEST: 2, EAST: 2}},
        clouds={
            "custody": {WEST: {"kind": "service"}},
            "audit": {"delivery": {"aws": {"kind": "fixed", "value": "3 s"}}},
        },
    )
    found = {(each.metric.name, each.series): each.values for each in figures(done.run).series}
    asked = [row["asked"] for row in done.rows("signatures", region=WEST)]
    assert found["signatures", WEST] == tuple(accumulate(asked))
    assert ("signatures", EAST) not in found
    # Keys are used all the time, so the oldest unseen use is as old as its record needs to get out.
    assert found["trail_lag", WEST] == (0, SECOND, *[2 * SECOND] * 4)
    assert found["trail_lag", EAST] == (0,) * 6


def test_a_second_export_is_the_same(tmp_path: Path) -> None:
    done = ran(tmp_path, duration="3 s").run
    first, second = (exposition(figures(done), BEGUN) for _ in range(2))
    assert first == second
    assert first.endswith("# EOF\n")


def test_a_run_that_comes_out_otherwise_is_refused(tmp_path: Path) -> None:
    done = ran(tmp_path, duration="2 s").run
    file = done.path / "manifest.json"
    blocks = done.digests()[0, 0, "blocks"].digest
    file.write_text(file.read_text().replace(blocks, "0" * 64))
    with pytest.raises(RunError, match=r"comes out otherwise \(blocks\)"):
        figures(open_run(done.path))


def test_a_run_without_rules_is_refused(tmp_path: Path) -> None:
    done = ran(tmp_path, duration="1 s", alerts={"enabled": False}).run
    with pytest.raises(RunError, match="switches alert rules off"):
        figures(done)
    other = ran(tmp_path / "other", duration="1 s").run
    with pytest.raises(RunError, match="no replicate 3"):
        figures(other, number=3)


def test_the_command_writes_into_the_run(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    done = ran(tmp_path, duration="2 s").run
    answer = CliRunner().invoke(app, ["metrics", str(done.path)])
    assert answer.exit_code == 0, answer.output
    text = (done.path / "metrics.txt").read_text(encoding="utf-8")
    started = datetime.strptime(done.manifest["started_utc"], "%Y-%m-%dT%H:%M:%SZ")
    begun_s = int(started.replace(tzinfo=UTC).timestamp())
    assert "creto_commit_age_seconds" in text
    assert f" {begun_s + 2}\n" in text
    assert "wrote" in answer.output


def test_differences_are_exact_where_increase_is_not() -> None:
    """Two views that time out within five seconds are not more than two."""
    rule = next(rule for rule in rules_in_force(None) if rule.name == "view_timeouts")
    name = "creto_view_timeouts_total"
    rows = [(float(t), float(v)) for t, v in enumerate((0, 0, 1, 2, 2, 2, 2, 2, 2, 2), 1)]
    for second in range(1, 11):
        assert evaluate(promql(rule), {name: {(): rows}}, second) == {}
    rows[3:] = [(at, value + 1) for at, value in rows[3:]]
    fired = [s for s in range(1, 11) if evaluate(promql(rule), {name: {(): rows}}, s)]
    assert fired == [4, 5, 6, 7]
