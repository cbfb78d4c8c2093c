"""Regions that are lost in runs: what their sites know, who comes up there, and the way home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim import load_scenario, open_run, run
from sim.engine.build import build
from sim.engine.world import World
from sim.record.recorder import NullRecorder
from sim.record.runs import Run
from sim.scenario.errors import ScenarioErrors
from sim.world.cloud.replication import Record, Stream
from tests.cloud.lost_regions import EAST, VIRGINIA, WEST, S, fixed, lost, sections
from tests.engine.worlds import scenario

ROOT = Path(__file__).parents[2]


def ran(tmp_path: Path, **asked: Any) -> tuple[str, Run]:
    outcome = run(scenario(tmp_path, **asked), tmp_path / "results")
    return outcome.verdict.outcome, open_run(outcome.path)


def steps(opened: Run, region: str = WEST, node: int = -1) -> dict[str, int]:
    """Return when each step of a region was last reached."""
    rows = opened.table("recovery").filter(region=region, node=node).collect()
    return dict(rows.select("step", "time_ns").rows())


def test_a_stream_holds_what_has_not_arrived_and_says_how_old_the_copy_is() -> None:
    stream: Stream[int] = Stream(100, Record(0, 1, 0))
    assert stream.age_ns(5 * S) == 0
    stream.write(Record(6 * S, 250, 1))
    stream.write(Record(7 * S, 50, 2))
    assert stream.age_ns(8 * S) == 8 * S
    assert [(stream.take(), stream.left(stream.take())) for _ in range(4)] == [
        (100, False),
        (100, False),
        (50, True),
        (50, True),
    ]
    assert stream.take() == 0
    stream.arrived(100, last=False)
    stream.arrived(100, last=False)
    assert (stream.copy.marks, stream.waiting_bytes) == (0, 100)
    stream.arrived(50, last=True)
    assert (stream.copy.marks, stream.age_ns(8 * S)) == (1, 2 * S)
    stream.arrived(50, last=True)
    assert (stream.copy.marks, stream.age_ns(8 * S)) == (2, 0)
    assert stream.drain() == (300, 300)
    stream.steady = True
    assert stream.age_ns(8 * S) == S


def test_a_lost_region_comes_up_at_its_site_after_the_stages(tmp_path: Path) -> None:
    verdict, opened = ran(tmp_path, **sections())
    assert verdict == "met"
    when = steps(opened)
    # Three checks a second apart fail, and the first comes within one.
    assert 12 * S < when["detected"] <= 13 * S
    assert when["decided"] == when["detected"] + 3 * S
    assert when["readied"] == when["decided"] + 2 * S
    assert when["readied"] <= when["routed"] <= when["readied"] + S
    assert when["back"] > when["routed"]
    blocks = opened.table("blocks").filter(status="committed").collect()
    back = blocks.filter(pl.col("proposed_ns") > 10 * S)["committed_ns"].min()
    assert back == when["back"]
    promoted = opened.table("recovery").filter(step="promoted").collect()
    assert promoted["node"].to_list() == [0, 1, 2, 3]
    # They lead and vote from there: more of the chain than the others could have made.
    assert set(blocks.filter(pl.col("proposed_ns") > when["back"])["proposer"]) >= {0, 1, 2, 3}


def test_who_comes_up_elsewhere_is_as_far_away_as_its_site(tmp_path: Path) -> None:
    _, opened = ran(tmp_path, **sections())
    votes = opened.table("traffic").filter(kind="vote", outcome="offered").collect()
    by_source = {
        when: dict(rows.group_by("source_region").agg(pl.col("messages").sum()).rows())
        for when, rows in (
            ("before", votes.filter(pl.col("second") < 9)),
            ("after", votes.filter(pl.col("second") > steps(opened)["back"] // S)),
        )
    }
    assert by_source["before"][WEST] > by_source["before"][VIRGINIA]
    assert WEST not in by_source["after"]
    assert by_source["after"][VIRGINIA] > 2 * by_source["after"][EAST]


def advanced(asked: Any, seconds: int) -> World:
    world = build(asked, 0, NullRecorder())
    world.start()
    world.advance(seconds * S)
    return world


class Accusations(NullRecorder):
    """Keeps the rows of evidence alone."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def append_row(self, table: str, **values: Any) -> None:
        if table == "evidence":
            self.rows.append(values)


@pytest.mark.parametrize("at_ms", [10_000, 10_232, 10_290, 10_777, 12_117])
def test_nobody_contradicts_what_it_had_signed(at_ms: int, tmp_path: Path) -> None:
    """Wherever in a view the loss comes: who comes up again signs in later views only."""
    asked = sections(records=[{"at": "0 s", "rate": "1 Mbit/s"}], stream="2 Mbit/s")
    asked["faults"] = [lost(at=f"{at_ms} ms")]
    asked["duration"] = "30 s"
    sink = Accusations()
    world = build(scenario(tmp_path, **asked), 0, sink)
    world.start()
    world.advance(30 * S)
    assert world.observer.height > 55
    assert world.close(30 * S) == ()
    assert sink.rows == []


def test_two_regions_that_come_up_one_after_the_other_take_the_chain_on(tmp_path: Path) -> None:
    """The first alone is too little to draw who is left out of their view: it joins them there."""
    asked = sections(promotion={"kind": "lognormal", "median": "4 s", "sigma": 1})
    texas = "az:usgovtexas"
    asked["validators"] = {"count": 10, "placement": {WEST: 3, EAST: 2, VIRGINIA: 3, texas: 2}}
    asked["clouds"]["recovery"]["sites"] = {VIRGINIA: EAST, texas: WEST}
    asked["faults"] = [{"kind": "provider_outage", "providers": ["az"], "at": "10 s"}]
    asked["expect"][1] = {"metric": "validators_promoted", "at_least": 5}
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    first, second = sorted(steps(opened, region)["routed"] for region in (VIRGINIA, texas))
    assert second - first > S
    assert steps(opened, texas)["back"] < 60 * S


def test_a_place_that_still_runs_is_held_back(tmp_path: Path) -> None:
    """An identity never runs twice: a region that is only cut off comes up nowhere else."""
    asked = sections()
    asked["faults"] = [lost(cut_off=True, until="40 s")]
    asked["expect"] = [{"safety": "held"}, {"metric": "validators_promoted", "at_most": 0}]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    when = steps(opened)
    assert when["detected"] < when["held_back"] < 40 * S < when["returned"]
    assert when["back"] > 40 * S


def test_nobody_moves_while_the_rest_makes_a_quorum(tmp_path: Path) -> None:
    asked = sections()
    asked["validators"] = {"count": 10, "placement": {WEST: 4, EAST: 2, VIRGINIA: 4}}
    asked["faults"] = [lost(EAST)]
    asked["expect"] = [
        {"safety": "held"},
        {"metric": "validators_promoted", "at_most": 0},
        {"metric": "recovery_time", "at_most": "10 s"},
    ]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    assert "decided" not in steps(opened, EAST)


def test_a_short_loss_ends_what_had_been_ordered(tmp_path: Path) -> None:
    asked = sections(decision=fixed("20 s"))
    asked["faults"] = [lost(until="15 s")]
    asked["expect"] = [{"metric": "validators_promoted", "at_most": 0}]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    when = steps(opened)
    assert "returned" in when
    assert "decided" not in when


def test_the_way_home_loses_no_commit(tmp_path: Path) -> None:
    """One after the other, each once it has caught up; the chain goes on all the while."""
    asked = sections(fail_back=fixed("5 s"))
    asked["faults"] = [lost(until="30 s")]
    asked["expect"] = [
        *asked["expect"],
        {"metric": "validators_moved_back", "at_least": 4, "at_most": 4},
        {"liveness": {"commit_within": "8 s", "after": "30 s"}},
    ]
    asked["record"] = {"detail": "blocks"}
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    when = steps(opened)
    assert when["returned"] == 30 * S
    assert when["ordered_back"] == 35 * S
    assert when["synced"] < when["failed_back"] < 60 * S
    moves = opened.table("recovery").filter(step="moved_back").collect()
    assert moves["node"].to_list() == [0, 1, 2, 3]
    commits = opened.table("commits").collect()
    for earlier, later in zip(moves["time_ns"][:-1], moves["time_ns"][1:], strict=True):
        assert earlier < later
    last = commits["height"].max()
    assert commits["height"].unique().sort().to_list() == list(range(1, last + 1))
    for node in range(10):
        later = commits.filter(pl.col("node") == node, pl.col("time_ns") > when["back"])
        heights = later["height"].sort().to_list()
        assert heights == list(range(heights[0], heights[-1] + 1)), node
        assert heights[-1] >= last - 2
    # One block a height, at everybody.
    assert commits.select("height", "block").unique().height == commits["height"].n_unique()
    # And the stream to the site goes on, from a copy that has everything.
    after = opened.table("replication").filter(source_region=WEST).collect()
    assert after.filter(pl.col("second") > 55)["age_ns"].max() < S


def test_the_stream_lags_where_more_is_written_than_it_carries(tmp_path: Path) -> None:
    """16 Mbit/s into 8 Mbit/s: after t seconds half of it has arrived, so the copy is t / 2 old."""
    asked = sections(records=[{"at": "0 s", "rate": "16 Mbit/s"}], stream="8 Mbit/s")
    asked["faults"] = []
    asked["duration"] = "40 s"
    asked["expect"] = [{"metric": "replication_age_max", "at_least": "18 s", "at_most": "22 s"}]
    asked["consensus"]["min_block_interval"] = "900 ms"
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    rows = opened.table("replication").filter(source_region=WEST).collect()
    assert rows["arrived_bytes"].sum() == pytest.approx(39_000_000, rel=0.03)
    assert rows["written_bytes"].sum() - rows["arrived_bytes"].sum() == rows["waiting_bytes"][-1]


def test_a_cut_stream_waits_and_then_catches_up(tmp_path: Path) -> None:
    asked = sections(records=[{"at": "0 s", "rate": "1 Mbit/s"}])
    cut = {"kind": "partition", "groups": [{"regions": [WEST]}, {"regions": [VIRGINIA]}]}
    asked["faults"] = [{**cut, "at": "10 s", "until": "20 s"}]
    asked["expect"] = [{"safety": "held"}]
    _, opened = ran(tmp_path, **asked)
    rows = opened.table("replication").filter(source_region=WEST).collect()
    age = dict(rows.select("second", "age_ns").rows())
    assert 9 * S <= age[19] <= 11 * S
    assert age[24] <= 1.1 * S


def test_backups_are_as_old_as_the_last_one(tmp_path: Path) -> None:
    """An hour between two: what is lost half an hour after the last is half an hour old."""
    asked = sections(standby="backup", state="1 MB", restore="8 Mbit/s")
    asked["clouds"]["backups"] = {"every": "1 h"}
    asked["duration"] = "91 min"
    asked["consensus"].update(min_block_interval="15 s", timer_base="30 s", timer_max="60 s")
    asked["faults"] = [lost(at="90 min")]
    asked["expect"] = [
        {"metric": "recovery_point", "at_least": "30 min", "at_most": "31 min"},
        {"metric": "validators_promoted", "at_least": 4},
    ]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    when = steps(opened)
    # A second of restoring 1 MB, beside the two of promotion.
    assert when["readied"] == when["decided"] + 3 * S


def test_the_loss_of_a_site_stops_who_has_come_up_there(tmp_path: Path) -> None:
    asked = sections()
    asked["faults"] = [lost(), lost(VIRGINIA, at="30 s", until="35 s")]
    asked["clouds"]["recovery"]["decision"] = fixed("1 s")
    world = advanced(scenario(tmp_path, **asked), 29)
    assert all(node.up for node in world.nodes)
    height = world.observer.height
    world.advance(32 * S)
    assert [node.id for node in world.nodes if not node.up] == [0, 1, 2, 3, 7, 8, 9]
    world.advance(60 * S)
    assert all(node.up for node in world.nodes)
    assert world.observer.height > height + 20
    assert world.close(60 * S) == ()


def test_nobody_comes_up_at_a_site_that_is_down(tmp_path: Path) -> None:
    asked = sections()
    asked["faults"] = [lost(), lost(VIRGINIA, at="11 s", until="35 s")]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    when = steps(opened)
    assert when["held_back"] < 35 * S < when["routed"] < when["back"]


def test_a_region_can_be_lost_twice(tmp_path: Path) -> None:
    asked = sections(fail_back=fixed("3 s"))
    asked["duration"] = "80 s"
    asked["faults"] = [lost(until="25 s"), lost(at="45 s", until="65 s")]
    asked["expect"] = [
        {"safety": "held"},
        {"metric": "validators_promoted", "at_least": 8, "at_most": 8},
        {"metric": "validators_moved_back", "at_least": 8, "at_most": 8},
        {"metric": "offenders_accused", "at_most": 0},
    ]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    failed_back = opened.table("recovery").filter(step="failed_back").collect()["time_ns"]
    assert 25 * S < failed_back[0] < 45 * S < 65 * S < failed_back[1]


def test_a_home_that_fails_again_halfway_is_returned_to_later(tmp_path: Path) -> None:
    """Struck again 4 s after the order: who is there crashes, who is not yet stays away."""
    asked = sections(fail_back=fixed("2 s"))
    asked["duration"] = "80 s"
    asked["faults"] = [lost(until="25 s"), lost(at="27300 ms", until="45 s")]
    asked["expect"] = [
        {"safety": "held"},
        {"metric": "validators_moved_back", "at_least": 4},
        {"liveness": {"commit_within": "15 s", "after": "45 s"}},
    ]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "met"
    moved = opened.table("recovery").filter(step="moved_back").collect()["time_ns"]
    assert any(at > 45 * S for at in moved)
    assert steps(opened)["failed_back"] > 45 * S


def test_what_only_the_lost_place_knew_is_gone_and_shows(tmp_path: Path) -> None:
    """Seven of ten alone make a quorum: what they committed before the copy left contradicts."""
    asked = sections(stream="1 kbit/s", records=[{"at": "0 s", "rate": "1 Mbit/s"}])
    asked["validators"] = {"count": 10, "placement": {WEST: 7, EAST: 2, VIRGINIA: 1}}
    far = {"ids": [0, 1, 2, 3, 4, 5, 6]}
    cut = {"kind": "partition", "groups": [far, {"ids": [7, 8, 9]}], "at": "5 s", "until": "26 s"}
    asked["faults"] = [cut, lost(at="25 s", until="120 s")]
    asked["expect"] = [{"safety": "held"}]
    verdict, opened = ran(tmp_path, **asked)
    assert verdict == "violated"
    violated = opened.table("violations").collect()["monitor"].to_list()
    assert "agreement" in violated


def test_a_run_is_the_same_twice(tmp_path: Path) -> None:
    asked = scenario(tmp_path, **sections(fail_back=fixed("5 s")))
    first = run(asked, tmp_path / "a").digest
    assert run(asked, tmp_path / "b").digest == first
    assert run(replace(asked, seed=asked.seed + 1), tmp_path / "c").digest != first


SCENARIOS = (
    "lose_a_region",
    "lose_a_provider",
    "split_brain_between_providers",
    "replication_lag_storm",
    "fail_back",
)


@pytest.mark.parametrize(
    "name", [SCENARIOS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in SCENARIOS[1:])]
)
def test_the_scenario_meets_what_it_expects(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(ROOT / "scenarios" / "clouds" / f"{name}.yaml"), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence


REFUSED = (
    ("sites: {WEST: WEST}", "is lost with it"),
    ("sites: {WEST: aws:us-gov-west-2}", "did you mean `aws:us-gov-west-1`?"),
    ("sites: {az:usgovtexas: EAST}", "no validator is in `az:usgovtexas`"),
    ("survives: provider, sites: {WEST: EAST}", "must survive a provider"),
    ("sites: {EAST: WEST}", "without aws:us-gov-west-1 60 % of the weight is left"),
    ("sites: {WEST: EAST}, standby: none", "nothing stands ready there"),
    ("survives: provider", "is of sites, and there are none"),
    ("records: [{at: 0 s, rate: 1 Mbit/s}]", "is of sites, and there are none"),
    ("fail_back: {kind: fixed, value: 1 min}", "is of sites, and there are none"),
    ("stream: 1 Mbit/s", "is of sites, and there are none"),
    (
        "sites: {WEST: EAST}, records: [{at: 9 s, rate: 1 Mbit/s}, {at: 9 s, rate: 2 Mbit/s}]",
        "put them in order of time",
    ),
)


@pytest.mark.parametrize(("recovery", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_topology_that_breaks_its_own_rules_is_refused(
    recovery: str, said: str, tmp_path: Path
) -> None:
    text = (ROOT / "scenarios" / "clouds" / "lose_a_region.yaml").read_text(encoding="utf-8")
    head, rest = text.split("  recovery:\n")
    rest = rest[rest.index("\nfaults:") :]
    named = recovery.replace("WEST", WEST).replace("EAST", EAST)
    standby = "" if "standby" in named else "standby: warm, "
    expect = rest[rest.index("  - {metric: recovery_time") :]
    body = f"{head}  recovery: {{{standby}{named}}}\n{rest.replace(expect, '')}"
    file = tmp_path / "bad.yaml"
    file.write_text(body, encoding="utf-8")
    line = body[: body.index("  recovery:")].count("\n") + 1
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(file)
    assert all(f"bad.yaml:{line}:" in str(error) for error in caught.value.errors)
    assert any(said in str(error) for error in caught.value.errors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"adversaries": [{"kind": "silent", "nodes": {"ids": [0]}}]}, "leave `adversaries` out"),
        ({"consensus": {"min_block_interval": "0 s"}}, "state a `consensus.min_block_interval`"),
        ({"clouds": {}}, "needs `sites` in `clouds.recovery`"),
    ],
)
def test_what_a_run_cannot_move_is_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    asked = sections()
    asked["consensus"] = {**asked["consensus"], **change.pop("consensus", {})}
    with pytest.raises(ScenarioErrors, match=said):
        scenario(tmp_path, **{**asked, **change})
