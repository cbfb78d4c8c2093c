"""Links: what a rule does to messages, who a broadcast reaches, what a lane may use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.worlds import EAST, EUROPE, MS, SECOND, WEST, Ran, ran

SEVEN = {"count": 7}
FREE_PACE = {"min_block_interval": None, "timer_base": "5 s"}
EVERYONE = {"regions": [WEST]}


def ruled(folder: Path, *rules: dict[str, Any], **sections: Any) -> Ran:
    """Run seven validators for four seconds under link rules."""
    settings: dict[str, Any] = {"duration": "4 s", "validators": SEVEN}
    return ran(folder, **settings | sections, network={"rules": list(rules)})


def messages(done: Ran, outcome: str) -> int:
    return sum(r["messages"] for r in done.rows("traffic", lane="consensus", outcome=outcome))


def block_latency_ns(done: Ran, start_ns: int, end_ns: int) -> int:
    """Return the median time from proposal to first commit of blocks proposed in a window."""
    taken = sorted(
        row["committed_ns"] - row["proposed_ns"]
        for row in done.rows("blocks", status="committed")
        if start_ns <= row["proposed_ns"] < end_ns
    )
    return taken[len(taken) // 2]


def test_a_delay_rule_delays_while_it_lasts(tmp_path: Path) -> None:
    """A commit takes four hops after the proposal leaves: 30 ms on each are 120 ms."""
    rule = {"kind": "delay", "from": EVERYONE, "amount": "30 ms", "start": "1 s", "end": "3 s"}
    done = ruled(tmp_path, rule, consensus=FREE_PACE)
    before = block_latency_ns(done, 0, 900 * MS)
    during = block_latency_ns(done, 1100 * MS, 2700 * MS)
    after = block_latency_ns(done, 3100 * MS, 3900 * MS)
    assert during - before == pytest.approx(120 * MS, abs=3 * MS)
    assert after == pytest.approx(before, abs=2 * MS)


def test_a_drop_rule_loses_its_share(tmp_path: Path) -> None:
    """Lossy links cost views, not safety; what is lost has its reason (5 sigma about 4 %)."""
    done = ruled(tmp_path, {"kind": "drop", "from": EVERYONE, "probability": "4 %"})
    offered, lost = messages(done, "offered"), messages(done, "dropped")
    assert done.dropped() == {"link_rule": lost}
    assert abs(lost - offered * 0.04) < 5 * (offered * 0.04 * 0.96) ** 0.5
    assert done.metric("timeouts") > 0
    assert done.metric("blocks_committed") > 5
    assert done.verdict == "met"


def test_a_duplicate_rule_delivers_twice(tmp_path: Path) -> None:
    plain = ruled(tmp_path / "plain")
    twice = ruled(
        tmp_path / "twice", {"kind": "duplicate", "from": EVERYONE, "probability": "100 %"}
    )
    assert abs(messages(plain, "delivered") - messages(plain, "offered")) < 30
    assert messages(twice, "delivered") == pytest.approx(2 * messages(twice, "offered"), rel=0.02)
    # A vote that comes twice is no second vote.
    assert twice.reasons("rejected")["duplicate"] > 100
    assert twice.rows("evidence") == []
    assert twice.metric("blocks_committed") == plain.metric("blocks_committed")


def test_a_corrupt_rule_breaks_signatures(tmp_path: Path) -> None:
    """From one sender nothing verifies, so it is as good as silent; all receivers say why."""
    done = ruled(tmp_path, {"kind": "corrupt", "from": {"ids": [2]}, "probability": "100 %"})
    refused = done.rows("rejections", event="rejected", reason="invalid_signature")
    assert sorted({row["node"] for row in refused}) == [0, 1, 3, 4, 5, 6]
    assert {row["what"] for row in refused} >= {"vote", "proposal", "timeout"}
    assert done.rows("rejections", node=2, reason="invalid_signature") == []
    by_others = [row for row in done.rows("blocks", status="committed") if row["proposer"] != 2]
    assert by_others
    assert len(by_others) == done.metric("blocks_committed")
    assert done.rows("evidence") == []


def test_the_first_matching_rule_decides(tmp_path: Path) -> None:
    spare = {"kind": "delay", "from": {"ids": [6]}, "amount": "1 us"}
    cut = {"kind": "drop", "from": {"ids": [6]}}
    assert ruled(tmp_path / "spared", spare, cut).dropped() == {}
    assert ruled(tmp_path / "cut", cut, spare).dropped()["link_rule"] > 50


def test_rules_between_regions_leave_the_rest_alone(tmp_path: Path) -> None:
    done = ruled(
        tmp_path,
        {"kind": "drop", "between": [{"regions": [WEST]}, {"regions": [EAST]}]},
        validators={"count": 7, "placement": {WEST: 6, EAST: 1}},
    )
    lost = done.rows("traffic", lane="consensus", outcome="dropped")
    pairs = {(row["source_region"], row["destination_region"]) for row in lost}
    assert pairs == {(WEST, EAST), (EAST, WEST)}
    assert done.metric("blocks_committed") > 10
    assert done.rows("commits", node=6) == []


SPREADS: dict[str, dict[str, Any]] = {
    "star": {"kind": "star"},
    "tree": {"kind": "tree", "fanout": 2},
    "gossip": {"kind": "gossip", "fanout": 4},
}


@pytest.mark.parametrize("kind", list(SPREADS))
def test_every_way_of_spreading_reaches_everyone(kind: str, tmp_path: Path) -> None:
    """Everyone enters every view by its certificate, and commits every block."""
    done = ran(
        tmp_path,
        duration="4 s",
        validators={"count": 13, "placement": {WEST: 7, EAST: 6}},
        consensus={"dissemination": SPREADS[kind]},
    )
    assert done.metric("blocks_committed") >= 25
    assert done.metric("timeouts") == 0
    last = done.metric("blocks_committed")
    for node in range(13):
        heights = [row["height"] for row in done.rows("commits", node=node)]
        assert heights == sorted(heights)
        assert len(heights) >= last - 2
    proposals = done.rows("traffic", outcome="offered", kind="proposal")
    copies = sum(r["messages"] for r in proposals)
    each = 13 * 4 if kind == "gossip" else 12
    blocks = len(done.rows("blocks"))
    # The last blocks may still be spreading when the run ends.
    assert (blocks - 2) * each < copies <= blocks * each
    if kind == "gossip":
        assert done.dropped()["duplicate"] > 0


def test_a_tree_takes_the_load_off_the_leader(tmp_path: Path) -> None:
    """On slow lines a star's last copy leaves late; a tree's branches send at the same time."""
    taken = {
        kind: block_latency_ns(
            ran(
                tmp_path / kind,
                duration="4 s",
                validators={"count": 31},
                network={"bandwidth": "100 Mbit/s"},
                consensus=FREE_PACE | {"dissemination": SPREADS[kind]},
            ),
            SECOND,
            3 * SECOND,
        )
        for kind in ("star", "tree")
    }
    assert taken["tree"] * 3 < taken["star"] * 2


def test_a_shared_lane_borrows_what_an_isolated_one_may_not(tmp_path: Path) -> None:
    """Without agents, consensus at 25 % reserve sends four times as fast on shared lanes."""
    slow = {"bandwidth": "40 Mbit/s", "flow_limit": "40 Mbit/s", "consensus_share": "25 %"}
    blocks = {
        lanes: ran(
            tmp_path / lanes,
            duration="4 s",
            validators=SEVEN,
            network={**slow, "lanes": lanes},
            consensus=FREE_PACE,
        ).metric("blocks_committed")
        for lanes in ("isolated", "shared")
    }
    whole = ran(
        tmp_path / "whole",
        duration="4 s",
        validators=SEVEN,
        network={**slow, "consensus_share": "99 %", "lanes": "isolated"},
        consensus=FREE_PACE,
    ).metric("blocks_committed")
    assert blocks["isolated"] * 2 < blocks["shared"] < whole


def test_a_flow_limit_binds(tmp_path: Path) -> None:
    """A proposal of 40 kB at 2 Mbit/s a flow takes 160 ms, whatever the line could do."""
    fast = ran(tmp_path / "fast", validators=SEVEN, consensus=FREE_PACE)
    slow = ran(
        tmp_path / "slow",
        validators=SEVEN,
        network={"flow_limit": "2 Mbit/s"},
        consensus=FREE_PACE,
    )
    assert slow.metric("blocks_committed") * 3 < fast.metric("blocks_committed")


def test_distance_shows(tmp_path: Path) -> None:
    """A quorum that spans the Atlantic waits for it; one that does not, doesn't."""
    far = ran(
        tmp_path / "far",
        validators={"count": 7, "placement": {WEST: 3, EUROPE: 4}},
        consensus=FREE_PACE,
    )
    near = ran(tmp_path / "near", validators=SEVEN, consensus=FREE_PACE)
    assert block_latency_ns(far, 0, 3 * SECOND) > block_latency_ns(near, 0, 3 * SECOND) + 150 * MS


def test_packet_loss_costs_time_not_messages(tmp_path: Path) -> None:
    """The transport below is reliable: a lost packet is sent again, one round trip later."""
    clean = ran(
        tmp_path / "clean",
        validators={"count": 4, "placement": {WEST: 2, EAST: 2}},
        network={"loss": "0 %"},
        consensus=FREE_PACE,
    )
    lossy = ran(
        tmp_path / "lossy",
        validators={"count": 4, "placement": {WEST: 2, EAST: 2}},
        network={"loss": "5 %"},
        consensus=FREE_PACE,
    )
    assert lossy.dropped() == {}
    assert lossy.metric("blocks_committed") < clean.metric("blocks_committed")
    assert lossy.metric("block_latency_p50_ns") > clean.metric("block_latency_p50_ns")
