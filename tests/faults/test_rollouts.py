"""Rollouts that are called off by what is observed, and versions that an adversary has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim import load_scenario, open_run, run
from sim.scenario.breakdowns import MONITORS
from sim.scenario.errors import ScenarioErrors
from sim.study.fuzz.probe import probe
from sim.study.replay import Stretch, replay, sameness
from sim.study.report import render
from tests.engine.worlds import MS, SECOND, Ran, ran, scenario_text, world

Settings = dict[str, Any]
ROOT = Path(__file__).parents[2]
TEN: Settings = {
    "duration": "9 s",
    "validators": {"count": 10},
    "quorum": {"cooldown_epochs": 1000, "missed": ["90 %", "95 %"]},
}


def rollout(strategy: Settings, abort_on: Settings | None, **settings: Any) -> Settings:
    """Write a rollout to ten validators, from 1 s on."""
    fault = {
        "kind": "rollout",
        "name": "v2",
        "nodes": {"ids": list(range(10))},
        "at": "1 s",
        "downtime": "200 ms",
        "strategy": strategy,
        **settings,
    }
    return fault if abort_on is None else fault | {"abort_on": abort_on}


CANARY: Settings = {"kind": "canary", "share": "20 %", "bake": "4 s", "wave": 4}
AT_ONCE: Settings = {"kind": "blue_green"}


def double_voting(folder: Path, strategy: Settings, abort_on: Settings | None) -> Ran:
    """Run a rollout of a version that votes twice in each view."""
    attack = {"kind": "double_vote", "nodes": {"rollout": "v2"}}
    faults = [rollout(strategy, abort_on)]
    return ran(folder, **TEN, faults=faults, adversaries=[attack])


# What calls it off


def test_an_alert_calls_a_canary_off_before_the_others_follow(tmp_path: Path) -> None:
    done = double_voting(tmp_path, CANARY, {"alerts": ["offence_proved"], "reaction": "300 ms"})
    (row,) = done.rows("rollouts")
    (first, *_) = done.rows("alerts", rule="offence_proved")
    assert (row["outcome"], row["cause"], row["what"]) == ("aborted", "alert", "offence_proved")
    assert row["seen_ns"] == first["fired_ns"] == 2 * SECOND
    assert row["aborted_ns"] == 2300 * MS
    assert row["back_ns"] == 2500 * MS
    assert (row["reached"], row["reached_weight_ppm"], row["validators"]) == (2, 200_000, 10)
    assert done.metric("validators_reached") == 2
    assert done.metric("time_to_abort_ns") == row["aborted_ns"] - row["new_ns"] == 1100 * MS
    assert done.verdict == "met"
    assert {row["offender"] for row in done.rows("evidence")} == {0, 1}
    restarts = {
        (row["time_ns"] // MS, row["event"], row["node"])
        for row in done.rows("faults", target="restart")
    }
    assert restarts == {
        (when, event, node)
        for when, event in ((1000, "begin"), (1200, "end"), (2300, "begin"), (2500, "end"))
        for node in (0, 1)
    }


@pytest.mark.parametrize(
    ("attack", "rule"),
    [
        (
            {"kind": "invalid_signature_flood", "every": "50 ms", "victims": {"ids": [7, 8, 9]}},
            "invalid_signatures",
        ),
        ({"kind": "equivocate", "twin_share": "34 %"}, "fork_by_equivocation"),
    ],
)
def test_other_bad_versions_are_caught_on_two_of_ten(
    attack: Settings, rule: str, tmp_path: Path
) -> None:
    faults = [rollout(CANARY, {"alerts": [rule]})]
    operations = [{"kind": "unbond", "validator": 9, "amount": 10_000, "at": "1300 ms"}]
    owned = {**attack, "nodes": {"rollout": "v2"}}
    done = ran(tmp_path, **TEN, faults=faults, adversaries=[owned], operations=operations)
    (row,) = done.rows("rollouts")
    assert (row["outcome"], row["what"], row["reached"]) == ("aborted", rule, 2)
    assert done.rows("violations") == []


def test_the_same_version_at_once_is_guilty_over_the_limit(tmp_path: Path) -> None:
    done = double_voting(tmp_path, AT_ONCE, {"alerts": ["offence_proved"]})
    (row,) = done.rows("rollouts")
    assert row["outcome"] == "aborted"
    assert row["reached_weight_ppm"] == 1_000_000
    assert len({row["offender"] for row in done.rows("evidence")}) == 10


def test_who_is_back_on_the_old_version_is_believed_again(tmp_path: Path) -> None:
    """All ten ran it: nobody's commits counted meanwhile, all of them do after."""
    done = double_voting(tmp_path, AT_ONCE, {"alerts": ["offence_proved"]})
    (row,) = done.rows("rollouts")
    times = [block["committed_ns"] for block in done.rows("blocks", status="committed")]
    assert not [t for t in times if 1200 * MS < t < row["back_ns"]]
    assert len([t for t in times if t > row["back_ns"]]) > 20


def test_an_adversary_owns_whoever_runs_the_version_and_no_others(tmp_path: Path) -> None:
    strategy = {"kind": "rolling", "wave": 1, "pause": "800 ms"}
    done = double_voting(tmp_path, strategy, {"alerts": ["offence_proved"]})
    rows = [
        (row["time_ns"], row["event"], row["node"], row["target"])
        for row in done.rows("faults", source="adversary")
    ]
    assert rows == [
        (1200 * MS, "begin", 0, "v2"),
        (2001 * MS, "end", 0, "v2"),
    ]
    assert {row["offender"] for row in done.rows("evidence")} == {0}


def test_no_commit_calls_off_a_version_that_does_not_come_up(tmp_path: Path) -> None:
    faults = [rollout(AT_ONCE, {"no_commit_for": "2 s"}, bad_version={})]
    done = ran(tmp_path, **TEN, faults=faults)
    (row,) = done.rows("rollouts")
    last = max(b["committed_ns"] for b in done.rows("blocks") if b["committed_ns"] < SECOND)
    assert 0 < last < SECOND
    assert (row["cause"], row["what"]) == ("no_commit", "")
    assert row["seen_ns"] == 3 * SECOND
    assert row["back_ns"] == 3201 * MS
    assert done.metric("blocks_committed") > 20


def test_a_monitor_calls_it_off_only_for_what_breaks_after_it_began(tmp_path: Path) -> None:
    """Twins of four of ten part the others before anything is rolled out to the other six."""
    twins = {"kind": "twins", "nodes": {"ids": [0, 1, 2, 3]}, "end": "5 s"}
    late = rollout(AT_ONCE, {"monitors": ["agreement"]}, nodes={"ids": [4, 5]}, at="6500 ms")
    world = TEN | {"adversaries": [twins], "expect": [{"safety": "violated"}]}
    world["consensus"] = {"epoch_blocks": 1000, "timer_backoff": 1}
    world["quorum"] = {"cooldown_epochs": 1000}
    before = ran(tmp_path / "late", **world, faults=[late])
    assert before.rows("violations", monitor="agreement")[0]["time_ns"] < 5 * SECOND
    assert before.rows("rollouts")[0]["outcome"] == "complete"
    early = ran(tmp_path / "early", **world, faults=[late | {"at": "500 ms"}])
    (row,) = early.rows("rollouts")
    assert (row["cause"], row["what"]) == ("monitor", "agreement")
    assert row["seen_ns"] >= early.rows("violations", monitor="agreement")[0]["time_ns"]


def test_a_good_version_is_not_called_off_nor_is_one_that_is_watched_no_longer(
    tmp_path: Path,
) -> None:
    rolling = {"kind": "rolling", "wave": 1, "pause": "300 ms"}
    good = ran(
        tmp_path / "good", **TEN, faults=[rollout(rolling, {"monitors": list(MONITORS[:9])})]
    )
    (row,) = good.rows("rollouts")
    assert (row["outcome"], row["cause"], row["reached"]) == ("complete", "none", 10)
    assert (row["seen_ns"], row["aborted_ns"], row["back_ns"]) == (-1, -1, -1)
    crash = {"kind": "crash", "nodes": {"ids": [0, 1, 2, 3]}, "at": "4 s", "until": "7 s"}
    abort_on = {"no_commit_for": "2 s", "watch_for": "2 s"}
    late = ran(tmp_path / "late", **TEN, faults=[rollout(AT_ONCE, abort_on), crash])
    assert late.metric("longest_commit_gap_ns") > 2 * SECOND
    assert late.rows("rollouts")[0]["outcome"] == "complete"


def test_a_stated_time_comes_first_where_it_is_first(tmp_path: Path) -> None:
    bad = {"factor": 4, "noticed_after": "500 ms"}
    faults = [rollout(CANARY, {"no_commit_for": "1 s"}, bad_version=bad)]
    done = ran(tmp_path, **TEN, faults=faults)
    (row,) = done.rows("rollouts")
    assert (row["cause"], row["aborted_ns"]) == ("stated", 1700 * MS)
    assert row["reached"] == 2


def test_a_rollout_that_the_run_cuts_short_is_unfinished(tmp_path: Path) -> None:
    slow = {"kind": "rolling", "wave": 1, "pause": "2 s"}
    done = ran(tmp_path, **TEN, faults=[rollout(slow, {"monitors": ["agreement"]})])
    (row,) = done.rows("rollouts")
    assert (row["outcome"], row["reached"]) == ("unfinished", 4)


# The same whoever looks


def test_aborts_depend_on_the_run_alone(tmp_path: Path) -> None:
    """Twice the same digest; and the same abort where no table is kept."""
    abort_on = {"alerts": ["offence_proved"]}
    one, two = (double_voting(tmp_path / name, CANARY, abort_on) for name in ("a", "b"))
    assert one.digest == two.digest
    attack = {"kind": "double_vote", "nodes": {"rollout": "v2"}}
    bare = world(tmp_path, **TEN, faults=[rollout(CANARY, abort_on)], adversaries=[attack])
    bare.start()
    bare.advance(9 * SECOND)
    bare.close(9 * SECOND)
    (release,) = bare.rollouts.releases
    (row,) = one.rows("rollouts")
    assert (release.seen_ns, release.aborted_ns) == (row["seen_ns"], row["aborted_ns"])
    assert list(release.course.reached) == [0, 1]


def test_a_stretch_before_the_abort_is_replayed_alike(tmp_path: Path) -> None:
    done = double_voting(tmp_path, CANARY, {"alerts": ["offence_proved"]})
    again = open_run(replay(done.run, Stretch(0, 0, 500 * MS, 1500 * MS)).path)
    assert again.table("rollouts").collect()["outcome"].to_list() == ["unfinished"]
    found = sameness(done.run, again)
    assert found.different == ()
    assert "rollouts" not in found.left_out


def test_the_report_tells_what_called_it_off(tmp_path: Path) -> None:
    done = double_voting(tmp_path, CANARY, {"alerts": ["offence_proved"]})
    page = render(done.run)
    assert "<h2>Rollouts</h2>" in page
    for cell in ("v2 (canary)", "aborted", "2 of 10, 20 % of the weight", "alert offence_proved"):
        assert cell in page, cell


def test_every_monitor_that_can_call_off_is_there(tmp_path: Path) -> None:
    there = {monitor.name for monitor in world(tmp_path).watch.monitors}
    assert set(MONITORS) <= there


def test_a_probe_counts_who_ran_the_version_and_no_others() -> None:
    """Two of ten may sign twice: safety is owed. All ten: it is not."""
    found = [
        probe(
            {
                **json.loads(scenario_text(**TEN, faults=[rollout(strategy, abort_on)])),
                "name": "probed",
                "adversaries": [{"kind": "double_vote", "nodes": {"rollout": "v2"}}],
            }
        )
        for strategy, abort_on in ((CANARY, {"alerts": ["offence_proved"]}), (AT_ONCE, None))
    ]
    assert [each.refused for each in found] == ["", ""]
    assert [each.over for each in found] == [False, True]
    assert found[0].breaches == ()


# What cannot be


@pytest.mark.parametrize(
    ("adversary", "fault", "message"),
    [
        ("v3", {}, "no rollout is called `v3`; did you mean `v2`?"),
        ("v2", {"bad_version": {}}, "`v2` does not come up, so nobody runs it: state its `factor`"),
        ("other", {"name": None}, "no rollout is called `other`; give one that `name`"),
    ],
)
def test_a_version_that_nobody_runs_is_refused(
    adversary: str, fault: Settings, message: str, tmp_path: Path
) -> None:
    asked = {k: v for k, v in {**rollout(AT_ONCE, None), **fault}.items() if v is not None}
    text = scenario_text(
        **TEN, faults=[asked], adversaries=[{"kind": "silent", "nodes": {"rollout": adversary}}]
    )
    path = tmp_path / "case.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(path)
    assert message in str(caught.value)
    assert "adversaries.0.nodes.rollout" in str(caught.value)


def test_a_version_cuts_no_links(tmp_path: Path) -> None:
    twins = {"kind": "twins", "nodes": {"rollout": "v2"}}
    path = tmp_path / "case.yaml"
    path.write_text(
        scenario_text(**TEN, faults=[rollout(CANARY, None)], adversaries=[twins]), encoding="utf-8"
    )
    with pytest.raises(ScenarioErrors, match="a version cuts no links: state `cut: false`"):
        load_scenario(path)


def test_metrics_of_rollouts_need_one(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    expect = [{"metric": "validators_reached", "at_most": 1}]
    path.write_text(scenario_text(**TEN, expect=expect), encoding="utf-8")
    with pytest.raises(ScenarioErrors, match="needs a rollout among the faults"):
        load_scenario(path)


# The scenarios


@pytest.mark.parametrize("name", ["canary_with_safety_bug", "blue_green_under_load"])
def test_the_scenario_meets_what_it_expects(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(ROOT / "scenarios" / "clouds" / f"{name}.yaml"), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence
