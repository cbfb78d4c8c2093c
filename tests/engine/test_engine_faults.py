"""Faults: what stops, what goes on, what comes back; and that nobody honest pays for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.worlds import MS, SECOND, Ran, crash, ran, world

SEVEN = {"count": 7}
HALVES = [{"ids": [0, 1, 2]}, {"ids": [3, 4, 5, 6]}]
LIVE = [{"safety": "held"}, {"liveness": {"commit_within": "2500 ms"}}]


def faulty(folder: Path, *faults: dict[str, Any], **sections: Any) -> Ran:
    """Run seven validators for six seconds under faults; two suspects halt nothing."""
    settings: dict[str, Any] = {"duration": "6 s", "validators": SEVEN, "expect": LIVE}
    return ran(folder, **settings | sections, faults=list(faults))


def nobody_is_accused(done: Ran) -> None:
    assert done.rows("evidence") == []
    assert done.rows("violations") == []


@pytest.mark.parametrize("kind", ["crash", "amnesia_crash"])
def test_a_minority_crash_does_not_stop_the_chain(kind: str, tmp_path: Path) -> None:
    done = faulty(tmp_path, crash([5, 6], "1 s", "4 s", kind))
    assert done.verdict == "met"
    nobody_is_accused(done)
    # A commit takes two live leaders and a collector in turn: 2 to 7 of them over 30 seeds.
    assert done.commits_between(1500 * MS, 4 * SECOND) >= 2
    assert done.dropped()["receiver_down"] > 0
    heights = done.rows("commits", node=5)
    while_down = [r for r in heights if SECOND + 100 * MS < r["time_ns"] < 4 * SECOND]
    assert while_down == []
    last = max(row["height"] for row in done.rows("blocks", status="committed"))
    assert max(row["height"] for row in heights) >= last - 2


def test_a_crash_beyond_the_quorum_halts_until_the_restart(tmp_path: Path) -> None:
    """Votes that survived on disk convict nobody when they come back (three of seven restart)."""
    done = faulty(tmp_path, crash([4, 5, 6], "1 s", "3 s"))
    assert done.verdict == "met"
    nobody_is_accused(done)
    assert done.commits_between(0, SECOND) >= 10
    assert done.commits_between(1200 * MS, 3 * SECOND) == 0
    assert done.commits_between(4 * SECOND, 5 * SECOND) >= 10


def test_who_restarts_holds_its_blocks(tmp_path: Path) -> None:
    """After a plain crash a validator commits each height once, after amnesia all of them again."""
    kept = faulty(tmp_path / "kept", crash([6], "3 s", "4 s"))
    lost = faulty(tmp_path / "lost", crash([6], "3 s", "4 s", "amnesia_crash"))
    for done, again in ((kept, False), (lost, True)):
        heights = [row["height"] for row in done.rows("commits", node=6)]
        assert (len(heights) > len(set(heights))) is again
        assert sorted(set(heights)) == list(range(1, max(heights) + 1))
        assert max(heights) >= done.metric("blocks_committed") - 3


@pytest.mark.parametrize("until", [None, "1410 ms"])
def test_what_has_not_left_when_its_sender_crashes_never_comes(
    until: str | None, tmp_path: Path
) -> None:
    """Block 2 leaves validator 1 from 1051 ms on: six copies of 28 kB, 112 ms each at 2 Mbit/s."""
    settings: dict[str, Any] = {
        "consensus": {"min_block_interval": "1 s", "timer_base": "4 s"},
        "network": {"bandwidth": "4 Mbit/s"},
        "expect": [{"safety": "held"}],
    }
    whole = faulty(tmp_path / "whole", **settings)
    (block,) = whole.rows("blocks", height=2)
    assert block["proposer"] == 1
    assert block["proposed_ns"] == pytest.approx(1_051 * MS, abs=2 * MS)
    copy_ns = block["size_bytes"] * 8 * SECOND // 2_000_000
    assert whole.dropped() == {}
    done = faulty(tmp_path / "crash", crash([1], "1400 ms", until), **settings)
    nobody_is_accused(done)
    left = (1_400 * MS - block["proposed_ns"]) // copy_ns
    lost = done.rows("traffic", outcome="dropped", reason="sender_down")
    # Its vote for the block waits behind the copies.
    counts = sorted((row["kind"], row["messages"]) for row in lost)
    assert counts == [("proposal", 6 - left), ("vote", 1)]
    came = done.rows("traffic", outcome="delivered", kind="proposal", second=1)
    assert sum(row["messages"] for row in came) == left


def test_a_crash_forever(tmp_path: Path) -> None:
    done = faulty(tmp_path, crash([6], "2 s", None))
    assert done.verdict == "met"
    assert max(row["time_ns"] for row in done.rows("commits", node=6)) < 2 * SECOND
    assert [row["event"] for row in done.rows("faults")] == ["begin"]


def test_overlapping_crashes_end_with_the_last(tmp_path: Path) -> None:
    """A crash that is certain to meet another one is refused; a drawn one counts once."""
    drawn = crash([6], "2 s", None) | {"lasting": {"kind": "fixed", "value": "2 s"}}
    done = faulty(tmp_path, crash([6], "1 s", "3 s"), drawn)
    times = [row["time_ns"] for row in done.rows("commits", node=6)]
    assert not [t for t in times if SECOND + 100 * MS < t < 4 * SECOND]
    assert [t for t in times if t > 4 * SECOND]


def test_amnesia_within_a_crash_is_amnesia_when_the_crash_ends(tmp_path: Path) -> None:
    """What was wiped stays wiped: what the validator then contradicts it said in good faith."""
    faults = [
        crash([2, 3], "500 ms", "1500 ms"),
        crash([3], "600 ms", "1 s", "amnesia_crash"),
    ]
    halted = world(tmp_path, faults=faults)
    halted.start()
    halted.advance(2 * SECOND)
    assert halted.watch.accountable == 0b0111


def test_liveness_may_be_asked_for_from_a_time_on(tmp_path: Path) -> None:
    """A loss of everything for two seconds, which no heal ends: asked for later on, all is well."""
    cut = {"kind": "drop", "from": {"ids": [3, 4, 5, 6]}, "start": "1 s", "end": "3 s"}
    network = {"bandwidth": "1 Gbit/s", "rules": [cut]}
    for after, verdict in ((None, "violated"), ("4500 ms", "met")):
        live = {"commit_within": "1500 ms"} | ({} if after is None else {"after": after})
        done = faulty(tmp_path / str(after), network=network, expect=[{"liveness": live}])
        assert done.verdict == verdict


@pytest.mark.parametrize("one_way", [False, True])
def test_a_partition_without_quorum_halts_and_heals(one_way: bool, tmp_path: Path) -> None:
    done = faulty(
        tmp_path,
        {"kind": "partition", "groups": HALVES, "at": "1 s", "until": "3 s", "one_way": one_way},
    )
    assert done.verdict == "met"
    nobody_is_accused(done)
    assert done.commits_between(1200 * MS, 3 * SECOND) == 0
    assert done.commits_between(3 * SECOND, 4 * SECOND) >= 5
    assert done.dropped()["link_rule"] > 0


def test_a_one_way_partition_loses_one_direction_only(tmp_path: Path) -> None:
    """Who is deaf but not mute is heard: with one receiver cut off, nobody lacks its votes."""
    cut: dict[str, Any] = {"kind": "partition", "at": "1 s", "until": "4 s", "one_way": True}
    deaf = faulty(tmp_path / "deaf", cut | {"groups": [{"ids": [0, 1, 2, 3, 4, 5]}, {"ids": [6]}]})
    mute = faulty(tmp_path / "mute", cut | {"groups": [{"ids": [6]}, {"ids": [0, 1, 2, 3, 4, 5]}]})
    times = {
        name: [r["time_ns"] for r in done.rows("commits", node=6)]
        for name, done in (("deaf", deaf), ("mute", mute))
    }
    inside = (1300 * MS, 4 * SECOND)
    assert not [t for t in times["deaf"] if inside[0] < t < inside[1]]
    assert [t for t in times["mute"] if inside[0] < t < inside[1]]


def test_a_partition_with_a_quorum_on_one_side_goes_on_there(tmp_path: Path) -> None:
    done = faulty(
        tmp_path,
        {"kind": "partition", "groups": [{"ids": [5, 6]}], "at": "1 s", "until": "4 s"},
    )
    assert done.verdict == "met"
    nobody_is_accused(done)
    inside = [r["node"] for r in done.rows("commits") if 1500 * MS < r["time_ns"] < 4 * SECOND]
    assert sorted(set(inside)) == [0, 1, 2, 3, 4]


def test_flapping_cuts_and_heals_in_turns(tmp_path: Path) -> None:
    done = faulty(
        tmp_path,
        {
            "kind": "partition",
            "groups": HALVES,
            "at": "1 s",
            "until": "5 s",
            "flap": "1 s",
        },
    )
    nobody_is_accused(done)
    events = [(r["time_ns"] // SECOND, r["event"]) for r in done.rows("faults", node=0)]
    assert events == [(1, "begin"), (2, "end"), (3, "begin"), (4, "end")]
    assert done.commits_between(1200 * MS, 2 * SECOND) == 0
    assert done.commits_between(2 * SECOND, 3 * SECOND) >= 5
    assert done.commits_between(3200 * MS, 4 * SECOND) == 0
    assert done.commits_between(4 * SECOND, 5 * SECOND) >= 5


def test_liveness_is_violated_by_a_halt_that_outlasts_the_bound(tmp_path: Path) -> None:
    done = faulty(tmp_path, crash([4, 5, 6], "1 s", None))
    assert done.verdict == "violated"
    assert done.outcome.exit_code == 1
    assert "liveness broken" in done.evidence
    assert [row["monitor"] for row in done.rows("violations")] == ["liveness"]


def test_a_slow_node_slows_its_own_views_and_recovers(tmp_path: Path) -> None:
    """Three verifications a vote at 200 times the cost: the quorum waits for a slow one."""
    pace = {"min_block_interval": None, "timer_base": "5 s"}
    slow = {"kind": "slow_node", "nodes": {"ids": [4, 5, 6]}, "factor": 200}
    done = faulty(tmp_path, slow | {"at": "2 s", "until": "4 s"}, consensus=pace)
    before = done.commits_between(SECOND, 2 * SECOND)
    during = done.commits_between(2500 * MS, 3500 * MS)
    after = done.commits_between(5 * SECOND, 6 * SECOND)
    assert during * 3 < before
    assert after * 10 > before * 9
    assert done.metric("timeouts") == 0


def test_a_throttle_holds_while_it_lasts(tmp_path: Path) -> None:
    pace = {"min_block_interval": None, "timer_base": "5 s"}
    everyone = {"ids": list(range(7))}
    throttle = {"kind": "throttle", "nodes": everyone, "bandwidth_left": "1 %"}
    done = faulty(tmp_path, throttle | {"at": "2 s", "until": "4 s"}, consensus=pace)
    before = done.commits_between(SECOND, 2 * SECOND)
    during = done.commits_between(2500 * MS, 3500 * MS)
    after = done.commits_between(5 * SECOND, 6 * SECOND)
    assert 0 < during * 3 < before
    assert after * 10 > before * 9


def test_the_strongest_of_overlapping_throttles_applies(tmp_path: Path) -> None:
    """The stronger one ends first: the weaker one is still in force, and then none."""
    pace = {"min_block_interval": None, "timer_base": "5 s"}
    base = {"kind": "throttle", "nodes": {"ids": list(range(7))}}
    done = faulty(
        tmp_path,
        base | {"at": "1 s", "until": "4 s", "bandwidth_left": "10 %"},
        base | {"at": "2 s", "until": "3 s", "bandwidth_left": "1 %"},
        consensus=pace,
    )
    whole, weak, strong, weak_again, whole_again = (
        done.commits_between(start * MS, (start + 700) * MS)
        for start in (300, 1300, 2300, 3300, 5000)
    )
    assert 0 < strong * 3 < weak < whole * 3 // 4
    assert abs(weak - weak_again) <= 2
    assert abs(whole - whole_again) <= 2
