"""The clouds' own trails: what they tell the outside, when, and what a lost region keeps back."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from sim import load_scenario, open_run, run
from sim.engine.trail import Trails
from sim.scenario.errors import ScenarioErrors
from sim.world.chance import Chance
from sim.world.faults.occurrence import Lifetimes, figures
from tests.compliance.worlds import AUDIT, PEOPLE, world
from tests.engine.worlds import EAST, SECOND, WEST, ran, scenario

ROOT = Path(__file__).parents[2]
MINUTE = 60 * SECOND
SIX: dict[str, Any] = {
    "duration": "12 s",
    "validators": {"count": 6, "placement": {WEST: 3, EAST: 3}},
    "quorum": {"cooldown_epochs": 1000, "missed": ["90 %", "95 %"]},
}


class Rows:
    """Keeps the rows of both tables."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {"trail": [], "trail_losses": []}

    def append_row(self, table: str, **values: Any) -> None:
        self.rows[table].append(values)


def trails(delay_ns: int) -> tuple[Trails, Rows]:
    rows = Rows()
    delays = {WEST: Lifetimes("fixed", delay_ns), EAST: Lifetimes("fixed", 2 * delay_ns)}
    return Trails(delays, Chance(1, 0), rows), rows


def test_records_leave_after_their_delay() -> None:
    told, rows = trails(3 * SECOND)
    told.note(WEST, SECOND, "keys", "sign", 7)
    told.note("az:usgovtexas", SECOND, "keys", "sign", 7)
    told.close_second(3 * SECOND)
    assert rows.rows["trail"] == []
    assert dict(told.lags(3 * SECOND)) == {WEST: 2 * SECOND, EAST: 0}
    told.close_second(4 * SECOND)
    (row,) = rows.rows["trail"]
    assert (row["region"], row["acts"], row["visible_ns"]) == (WEST, 7, 4 * SECOND)
    assert dict(told.lags(9 * SECOND)) == {WEST: 0, EAST: 0}


def test_a_lost_region_keeps_what_had_not_left() -> None:
    """Acts of 1, 2 and 3 s; lost at 4.5 s, when those of 1 s had left: complete up to 2 s."""
    told, rows = trails(3 * SECOND)
    for second in (1, 2, 3):
        told.note(WEST, second * SECOND, "machines", "crash_begin", second)
    told.turn("aws", 4_500_000_000, lost=True)
    told.close_second(8 * SECOND)
    assert [row["time_ns"] for row in rows.rows["trail"]] == [SECOND]
    told.turn("aws", 10 * SECOND, lost=False)
    (loss,) = [row for row in rows.rows["trail_losses"] if row["region"] == WEST]
    assert loss == {
        "time_ns": 4_500_000_000,
        "region": WEST,
        "newest_ns": SECOND,
        "complete_ns": 2 * SECOND,
        "unseen": 5,
        "back_ns": 10 * SECOND,
    }
    assert [row["visible_ns"] for row in rows.rows["trail"][1:]] == [10 * SECOND] * 2


def test_what_never_leaves_is_said_to() -> None:
    told, rows = trails(3 * SECOND)
    told.note(EAST, SECOND, "audit", "erase", 1)
    told.turn(EAST, 2 * SECOND, lost=True)
    told.turn(EAST, 3 * SECOND, lost=True)
    told.turn(EAST, 4 * SECOND, lost=False)
    told.finish(20 * SECOND)
    assert [row["visible_ns"] for row in rows.rows["trail"]] == [-1]
    assert [row["back_ns"] for row in rows.rows["trail_losses"]] == [-1]


def test_figures_say_what_their_sources_say() -> None:
    """CloudTrail: 5 minutes on average, mostly within 15. Azure Monitor: 20 s to 3 min."""
    normal = NormalDist()
    aws, azure = (figures()[n].lifetimes for n in ("cloudtrail_delivery", "azure_monitor_delivery"))
    assert aws.mean_ns == pytest.approx(5 * MINUTE, rel=0.01)
    beyond = 1 - normal.cdf(math.log(15 * MINUTE / aws.middle_ns) / (aws.shape_micro / 1e6))
    assert beyond == pytest.approx(0.024, abs=0.001)
    for minutes, share in ((1 / 3, 0.1), (3, 0.9)):
        at = math.log(minutes * MINUTE / azure.middle_ns) / (azure.shape_micro / 1e6)
        assert normal.cdf(at) == pytest.approx(share, abs=0.001)


def test_a_run_s_acts_are_recorded_where_they_happened(tmp_path: Path) -> None:
    done = ran(
        tmp_path,
        **SIX,
        clouds={
            "custody": {WEST: {"kind": "service", "latency": "1 ms", "latency_p99": "1 ms"}},
            "audit": {"delivery": {"aws": {"kind": "fixed", "value": "2 s"}}},
        },
        faults=[
            {"kind": "crash", "nodes": {"ids": [3]}, "at": "1 s", "until": "2 s"},
            {"kind": "region_outage", "regions": [EAST], "at": "4 s", "until": "7 s"},
        ],
    )
    keys = done.rows("trail", source="keys")
    assert {row["region"] for row in keys} == {WEST}
    assert sum(row["acts"] for row in keys) == done.metric("signatures_asked")
    machines = {r["action"]: r for r in done.rows("trail", source="machines")}
    assert {row["region"] for row in machines.values()} == {EAST}
    assert machines["crash_end"]["visible_ns"] == 4 * SECOND
    assert machines["region_outage_begin"]["acts"] == 3
    assert machines["region_outage_begin"]["visible_ns"] == 7 * SECOND
    (loss,) = done.rows("trail_losses")
    assert (loss["unseen"], loss["newest_ns"]) == (0, 2 * SECOND)
    assert done.metric("trail_gap_ns") == 0
    assert done.metric("trail_delay_p50_ns") == 2 * SECOND


def test_the_audit_log_is_shipped_where_its_keeper_is(tmp_path: Path) -> None:
    delivery = {"audit": {"delivery": {"aws": {"kind": "fixed", "value": "1 s"}}}}
    pytest.importorskip("cedarpy", reason="extra: compliance")
    done = world(tmp_path, compliance={"audit": AUDIT, "people": PEOPLE}, clouds=delivery)
    shipped = done.rows("trail", source="audit")
    written = done.rows("audit")
    assert [r["time_ns"] for r in shipped] == sorted(r["time_ns"] for r in written)
    seen = [row for row in shipped if row["visible_ns"] >= 0]
    assert seen
    assert all(row["visible_ns"] == row["time_ns"] + SECOND for row in seen)


def test_the_scenario_meets_what_it_expects(tmp_path: Path) -> None:
    name = ROOT / "scenarios" / "clouds" / "trail_behind_a_lost_region.yaml"
    outcome = run(load_scenario(name), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence
    rows = open_run(outcome.path).table("trail").collect()
    crash = rows.filter(source="machines", action="crash_begin")
    assert crash["visible_ns"].to_list() == [35 * MINUTE]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"clouds": {"audit": {"delivery": {"aws": {"kind": "fixed", "value": "1 s"}}}}},
            "nothing",
        ),
        ({"expect": [{"metric": "trail_gap", "at_most": "1 s"}]}, "none is followed"),
    ],
)
def test_trails_of_nothing_are_refused(sections: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match=said):
        scenario(tmp_path, **SIX, **sections)
