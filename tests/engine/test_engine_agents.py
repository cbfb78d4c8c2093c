"""Agents on validators: the same traffic whatever the quorum, each transaction committed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim.engine.world import World
from sim.protocol.types import Block, PayloadRef
from sim.record.recorder import NullRecorder
from sim.world.agents.kinds import TRANSACTION
from tests.engine.worlds import AGENTS, EAST, SECOND, WEST, Ran, crash, ran, world

PEOPLE: dict[str, Any] = {
    **AGENTS,
    "placement": {WEST: "50 %", EAST: "50 %"},
    "access": [
        {"share": "70 %", "delay": "8 ms", "spread": "20 ms"},
        {"share": "30 %", "delay": "30 ms", "spread": "90 ms", "loss": "2 %"},
    ],
    "sessions": {"kind": "weibull", "on_scale": "20 s", "off_scale": "2 s"},
}
SEVEN = {"count": 7, "placement": {WEST: 4, EAST: 3}}


def populated(folder: Path, **sections: Any) -> Ran:
    settings: dict[str, Any] = {"duration": "6 s", "agents": PEOPLE, "validators": SEVEN}
    return ran(folder, **settings | sections)


def offered(done: Ran) -> pl.DataFrame:
    """Return what agents wanted, by second, kind and region pair."""
    keys = ["second", "kind", "source_region", "destination_region"]
    rows = done.run.table("traffic").filter(
        (pl.col("lane") == "agents") & (pl.col("outcome") == "offered")
    )
    return rows.group_by(keys).agg(pl.col("messages", "bytes").sum()).sort(keys).collect()


def test_a_higher_quorum_sees_the_same_traffic(tmp_path: Path) -> None:
    """Common random numbers: what differs between two levels is the levels' doing."""
    low = populated(tmp_path / "low", quorum={"initial_level": 0, "cooldown_epochs": 1000})
    high = populated(tmp_path / "high", quorum={"initial_level": 2, "cooldown_epochs": 1000})
    other = populated(tmp_path / "other", seed=2)
    assert offered(low)["messages"].sum() > 500
    assert offered(low).equals(offered(high))
    assert not offered(low).equals(offered(other))
    assert low.run.digests() != high.run.digests()
    # Direct messages do not pass consensus: they arrive at the same times too.
    for outcome in ("delivered", "dropped", "stored"):
        of_low, of_high = (
            done.frame("traffic").filter(
                (pl.col("kind") == "message") & (pl.col("outcome") == outcome)
            )
            for done in (low, high)
        )
        assert of_low.equals(of_high), outcome


class Book:
    """Every reference that a run commits, as the plane is told."""

    def __init__(self, made: World) -> None:
        self.refs: list[PayloadRef] = []

        def commit(block: Block, now_ns: int) -> None:
            self.refs.extend(block.payload)

        made.observer.first_commits.append(commit)


TROUBLES: dict[str, dict[str, Any]] = {
    "calm": {},
    "restart": {"faults": [crash([2], "1 s", "3 s")]},
    "halt": {"faults": [crash([0, 1, 2], "1 s", "3 s")]},
    "all restart": {"faults": [crash(range(7), "2 s", "3 s")]},
    "partition": {
        "faults": [
            {"kind": "partition", "groups": [{"ids": [0, 1, 2]}], "at": "1 s", "until": "3 s"}
        ]
    },
    "equivocation": {"adversaries": [{"kind": "equivocate", "nodes": {"ids": [3]}}]},
    "small blocks": {"consensus": {"max_block_refs": 2}},
    "small pools": {"consensus": {"max_block_refs": 2, "mempool_refs": 4}},
    "gossip": {"consensus": {"dissemination": {"kind": "gossip", "fanout": 3}}},
}


@pytest.mark.parametrize("trouble", list(TROUBLES))
def test_transactions_are_committed_exactly_once(trouble: str, tmp_path: Path) -> None:
    """Across forks, retries and crashes; ranges of each gateway follow one another."""
    made = world(
        tmp_path,
        recorder=NullRecorder(),
        duration="8 s",
        agents=PEOPLE,
        validators=SEVEN,
        **TROUBLES[trouble],
    )
    book = Book(made)
    made.start()
    made.advance(8 * SECOND)
    violations = made.close(8 * SECOND)
    assert violations == ()
    ranges: dict[int, list[tuple[int, int]]] = {}
    for ref in book.refs:
        ranges.setdefault(ref.gateway, []).append((ref.first, ref.last))
    assert len(ranges) >= 5
    for found in ranges.values():
        # In the order of commits, without a gap, each from where the last one ended.
        assert all(first <= last for first, last in found)
        ends = [last + 1 for _, last in found]
        assert [first for first, _ in found] == [found[0][0], *ends[:-1]]
    total = sum(ref.tx_count for ref in book.refs)
    assert total == made.observer.transactions_committed > 100
    assert made.plane is not None
    counters = made.plane.counters()
    assert counters.conserved()
    assert counters.delivered[TRANSACTION] == total


@pytest.mark.parametrize("struck", [range(7), range(4)])
def test_the_backlog_of_a_halt_drains(struck: range, tmp_path: Path) -> None:
    """Restarted validators are told again of what they had forgotten: nothing waits for ever."""
    made = world(
        tmp_path,
        duration="8 s",
        agents={**PEOPLE, "sessions": {"kind": "always_on"}},
        validators=SEVEN,
        faults=[crash(struck, "2 s", "3 s")],
    )
    made.start()
    made.advance(3 * SECOND)
    assert made.plane is not None
    waiting = made.plane.counters().in_flight[TRANSACTION]
    made.advance(8 * SECOND)
    left = made.plane.counters().in_flight[TRANSACTION]
    assert waiting > 60
    assert left < 40
    assert made.close(8 * SECOND) == ()


def test_what_is_offered_is_accounted_for(tmp_path: Path) -> None:
    done = populated(
        tmp_path,
        faults=[crash([2], "1 s", "3 s")],
        expect=[{"safety": "held"}, {"metric": "lost_messages", "at_most": 0}],
    )
    assert done.verdict == "met"
    assert done.metric("lost_messages") == 0
    assert done.metric("messages_delivered") > 300
    dropped = done.rows("traffic", lane="agents", outcome="dropped")
    assert all(row["reason"] for row in dropped)
    assert done.metric("retries") > 0


def test_commit_latency_starts_with_the_submission(tmp_path: Path) -> None:
    """A transaction waits for its batch (250 ms at most), a block, and two rounds."""
    done = populated(tmp_path)
    assert 100_000_000 < done.metric("commit_latency_p50_ns") < 1_500_000_000
    assert done.metric("commit_latency_p99_ns") >= done.metric("commit_latency_p50_ns")
    assert done.metric("block_latency_p50_ns") < done.metric("commit_latency_p50_ns")
