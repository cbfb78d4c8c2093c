"""Alerts of the network become incidents that people work through."""

from __future__ import annotations

from pathlib import Path

from tests.compliance.worlds import PEOPLE, world
from tests.engine.worlds import crash


def test_a_critical_alert_is_an_incident_once(tmp_path: Path) -> None:
    """IR.L2-3.6.1, ir-5: half the validators fall silent; somebody looks, tells, and closes."""
    done = world(
        tmp_path,
        duration="20 s",
        compliance={"people": PEOPLE, "response": {"react": "500 ms", "step": "100 ms"}},
        faults=[crash((3, 4, 5), "2 s", "15 s")],
    )
    fired = [r for r in done.rows("alerts") if r["severity"] == "critical"]
    assert fired
    detected = done.rows("incidents", cause="alert", step="detect")
    firsts = {}
    for row in fired:
        name = f"{row['rule']}/{row['series']}" if row["series"] else row["rule"]
        firsts.setdefault(name, row["fired_ns"])
    assert {row["detail"]: row["time_ns"] for row in detected} == firsts
    for row in detected:
        steps = [r["step"] for r in done.rows("incidents", incident=row["incident"])]
        assert sorted(steps) == ["close", "detect", "inspect", "notify"]
