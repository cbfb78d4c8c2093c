"""The tables of a run agree with one another: chain, certificates, epochs, accounts, traffic."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.engine.worlds import AGENTS, BUSY, SECOND, WEST, Ran, ran

LEVELS = {0: 67, 1: 75, 2: 82}


@pytest.fixture(scope="module", params=["busy", "crashes", "agents"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    sections: dict[str, dict[str, Any]] = {
        "busy": BUSY,
        "crashes": {
            "duration": "8 s",
            "validators": {"count": 7},
            "faults": [
                {"kind": "crash", "nodes": {"ids": [4, 5, 6]}, "at": "2 s", "until": "3 s"},
                {"kind": "crash", "nodes": {"ids": [0]}, "at": "4 s", "until": "6 s"},
            ],
        },
        "agents": {"duration": "6 s", "agents": AGENTS},
    }
    kind = str(request.param)
    return ran(tmp_path_factory.mktemp(kind), **sections[kind])


def committed(done: Ran) -> list[dict[str, Any]]:
    return sorted(done.rows("blocks", status="committed"), key=lambda row: row["height"])


def test_the_committed_chain_is_a_chain(done: Ran) -> None:
    chain = committed(done)
    assert len(chain) >= 20
    assert [row["height"] for row in chain] == list(range(1, len(chain) + 1))
    for parent, block in itertools.pairwise(chain):
        assert block["parent"] == parent["block"]
        assert (block["epoch"], block["view"]) > (parent["epoch"], parent["view"])
        assert block["committed_ns"] >= parent["committed_ns"]
    ids = [row["block"] for row in done.rows("blocks")]
    assert len(ids) == len(set(ids))


def test_times_of_a_block_are_in_order(done: Ran) -> None:
    for row in committed(done):
        assert 0 <= row["proposed_ns"] < row["certified_ns"] < row["committed_ns"]
        if row["quorum_committed_ns"] >= 0:
            assert row["committed_ns"] <= row["quorum_committed_ns"]
    settled = list(committed(done)[:-5])
    reached = sum(row["quorum_committed_ns"] >= 0 for row in settled)
    assert reached >= len(settled) * 9 // 10


def test_uncommitted_blocks_have_their_fate(done: Ran) -> None:
    epochs = {row["epoch"]: row for row in done.rows("epochs")}
    last = committed(done)[-1]
    for row in done.rows("blocks"):
        if row["status"] == "committed":
            continue
        assert row["committed_ns"] == row["quorum_committed_ns"] == -1
        if row["status"] == "tail":
            assert row["height"] > epochs[row["epoch"] + 1]["root_height"]
            content = ("transactions", "operations", "late_votes", "evidence")
            assert all(row[name] == 0 for name in content)
        elif row["status"] == "pending":
            assert row["height"] > last["height"]
        else:
            assert row["status"] == "orphaned"
            assert row["height"] <= last["height"]
            following = epochs.get(row["epoch"] + 1)
            assert following is None or row["height"] <= following["root_height"]


def test_every_committed_block_is_certified_by_enough_weight(done: Ran) -> None:
    epochs = {row["epoch"]: row for row in done.rows("epochs")}
    certificates = {row["block"]: row for row in done.rows("certificates", kind="quorum")}
    for row in committed(done):
        proof = certificates[row["block"]]
        assert (proof["epoch"], proof["view"]) == (row["epoch"], row["view"])
        assert proof["time_ns"] == row["certified_ns"]
    for proof in certificates.values():
        epoch = epochs[proof["epoch"]]
        assert proof["quorum"] == epoch["quorum"]
        assert epoch["quorum"] <= proof["weight"] <= epoch["total_weight"]
        assert proof["size_bytes"] == proof["signers"] * 4_627
    views = [(row["epoch"], row["view"]) for row in certificates.values()]
    assert len(views) == len(set(views))


def test_epochs_follow_one_another_and_pin_their_quorum(done: Ran) -> None:
    epochs = sorted(done.rows("epochs"), key=lambda row: row["epoch"])
    assert len(epochs) >= 3
    assert [row["epoch"] for row in epochs] == list(range(1, len(epochs) + 1))
    heights = {row["height"]: row["block"] for row in committed(done)}
    for number, row in enumerate(epochs):
        assert row["quorum"] == -(-row["total_weight"] * LEVELS[row["level"]] // 100)
        assert row["root_height"] == 10 * number
        if number:
            assert row["root"] == heights[row["root_height"]]
            assert row["started_ns"] > epochs[number - 1]["started_ns"]
            assert row["committed_blocks"] == 10
    for row in committed(done):
        assert row["epoch"] == (row["height"] - 1) // 10 + 1


def test_weights_sum_to_the_total_of_their_epoch(done: Ran) -> None:
    for epoch in done.rows("epochs"):
        rows = done.rows("validators", epoch=epoch["epoch"])
        identities = [row["validator"] for row in rows]
        assert identities == list(range(len(identities)))
        assert sum(row["weight"] for row in rows) == epoch["total_weight"]
        assert sum(row["member"] for row in rows) == epoch["members"]
        largest = max(row["weight"] for row in rows)
        cap = -(-epoch["total_weight"] * epoch["effective_cap_ppm"] // 1_000_000)
        assert largest <= cap + len(rows)
        for row in rows:
            assert row["member"] == (row["weight"] > 0)
            assert 0 <= row["reputation"] <= 1_000_000
            assert 0 <= row["uptime"] <= 1_000_000


def test_everyone_commits_the_same_block_and_state_at_a_height(done: Ran) -> None:
    chain = {row["height"]: row["block"] for row in committed(done)}
    states: dict[int, set[str]] = {}
    first: dict[int, int] = {}
    for row in done.rows("commits"):
        assert row["block"] == chain[row["height"]]
        states.setdefault(row["height"], set()).add(row["state"])
        first[row["height"]] = min(first.get(row["height"], 1 << 62), row["time_ns"])
    assert all(len(found) == 1 for found in states.values())
    assert first.keys() == chain.keys()


def test_messages_are_delivered_lost_or_under_way(done: Ran) -> None:
    """Of validators' messages: what was offered and not delivered has a reason, or is in flight."""
    for kind in {row["kind"] for row in done.rows("traffic", lane="consensus")}:
        totals = {"offered": 0, "delivered": 0, "dropped": 0}
        for row in done.rows("traffic", lane="consensus", kind=kind):
            totals[row["outcome"]] += row["messages"]
            assert row["bytes"] >= 16 * row["messages"]
            assert (row["outcome"] == "dropped") == (row["reason"] != "")
        under_way = totals["offered"] - totals["delivered"] - totals["dropped"]
        # A duplicate rule delivers more than was offered; a second's traffic is the most in flight.
        assert under_way <= 200, kind
        if not done.rows("faults"):
            assert under_way >= 0, kind


def test_seconds_lie_within_the_run(done: Ran) -> None:
    duration = done.outcome.results[0].simulated_ns
    last = -(-duration // SECOND)
    for table in ("traffic", "rejections", "latency", "stations"):
        seconds = {row["second"] for row in done.rows(table)}
        assert seconds <= set(range(last)), table
    assert {row["second"] for row in done.rows("traffic")} == set(range(last))


def test_views_and_rounds_tell_the_same(done: Ran) -> None:
    entered: dict[tuple[int, int, str], list[int]] = {}
    for row in done.rows("views"):
        entered.setdefault((row["epoch"], row["view"], row["reason"]), []).append(row["time_ns"])
    rounds = {(r["epoch"], r["view"], r["reason"]): r for r in done.rows("rounds")}
    assert rounds.keys() == entered.keys()
    for key, times in entered.items():
        row = rounds[key]
        assert row["validators"] == len(times)
        assert (row["first_ns"], row["last_ns"]) == (min(times), max(times))


def test_metrics_are_what_the_tables_say(done: Ran) -> None:
    assert done.metric("blocks_committed") == len(committed(done))
    assert done.metric("epochs") == len(done.rows("epochs"))
    assert done.metric("transactions_committed") == sum(r["transactions"] for r in committed(done))
    proofs = done.rows("certificates")
    assert done.metric("certificates_bytes") == sum(r["size_bytes"] for r in proofs)
    delivered = done.rows("traffic", lane="consensus", outcome="delivered")
    assert done.metric("consensus_messages") == sum(r["messages"] for r in delivered)
    assert done.metric("consensus_bytes") == sum(r["bytes"] for r in delivered)


def test_timeouts_have_their_certificates(tmp_path: Path) -> None:
    """A view that everyone left by timeout was left by a timeout certificate."""
    done = ran(
        tmp_path,
        duration="8 s",
        validators={"count": 7, "placement": [WEST]},
        faults=[{"kind": "crash", "nodes": {"ids": [6]}, "at": "1 s"}],
    )
    assert done.metric("timeouts") > 0
    entered = {(r["epoch"], r["view"] - 1) for r in done.rows("rounds", reason="timeout")}
    proofs = {(r["epoch"], r["view"]) for r in done.rows("certificates", kind="timeout")}
    assert proofs == entered
