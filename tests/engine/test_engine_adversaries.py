"""Adversaries: what each of them costs whom, and that the innocent are left alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.engine.worlds import SECOND, Ran, ran

SEVEN = {"count": 7}


def attacked(folder: Path, *adversaries: dict[str, Any], **sections: Any) -> Ran:
    """Run seven validators for six seconds, some of them owned."""
    settings: dict[str, Any] = {"duration": "6 s", "validators": SEVEN}
    return ran(folder, **settings | sections, adversaries=list(adversaries))


def owned(kind: str, *nodes: int, **settings: Any) -> dict[str, Any]:
    return {"kind": kind, "nodes": {"ids": list(nodes)}, **settings}


@pytest.fixture(scope="module")
def double_vote(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Validator 3 votes twice for a second; the level may rise, and falls an epoch a step."""
    return attacked(
        tmp_path_factory.mktemp("double_vote"),
        owned("double_vote", 3, start="1 s", end="2 s"),
        duration="12 s",
        quorum={"liveness_guard": False, "cooldown_epochs": 1},
        expect=[{"safety": "held"}, {"level": {"reached": 2, "returned": 0}}],
    )


def test_a_double_vote_is_accused_and_punished_once_an_offence(double_vote: Ran) -> None:
    accused = double_vote.rows("evidence", event="accused")
    punished = double_vote.rows("evidence", event="punished")
    assert {(r["kind"], r["offender"]) for r in accused + punished} == {("double_vote", 3)}
    assert min(r["time_ns"] for r in accused) >= SECOND
    for rows in (accused, punished):
        views = [(r["epoch"], r["view"]) for r in rows]
        assert len(views) == len(set(views))
    told = {(r["epoch"], r["view"]) for r in accused}
    assert {(r["epoch"], r["view"]) for r in punished} <= told
    assert double_vote.verdict == "met"


def test_a_double_voter_is_slashed_jailed_and_excluded(double_vote: Ran) -> None:
    punished = double_vote.rows("evidence", event="punished")
    conviction = min(r["epoch"] for r in punished)
    rows = {r["epoch"]: r for r in double_vote.rows("validators", validator=3)}
    assert rows[conviction]["member"] == 1
    assert rows[conviction]["stake"] == 1_000_000
    later = [rows[epoch] for epoch in sorted(rows) if epoch > conviction]
    assert later
    for row in later:
        assert (row["member"], row["weight"], row["jailed"]) == (0, 0, 1)
        assert row["stake"] < 1_000_000
    # Each punishment burns 5 % of what is left; correlation burns more as the epoch closes.
    assert punished[0]["slashed"] == 50_000
    last = later[-1]
    assert sum(r["slashed"] for r in punished) <= 1_000_000 - last["stake"] - last["unbonding"]
    for epoch in (r["epoch"] for r in double_vote.rows("epochs")):
        members = double_vote.rows("validators", epoch=epoch, member=1)
        assert len(members) == (7 if epoch <= conviction else 6)
    others = [r for r in double_vote.rows("validators") if r["validator"] != 3]
    assert {r["stake"] for r in others} == {1_000_000}
    assert rows[max(rows)]["reputation"] < min(r["reputation"] for r in others)


def test_the_level_rises_and_comes_down_a_step_a_cooldown(double_vote: Ran) -> None:
    epochs = sorted(double_vote.rows("epochs"), key=lambda r: r["epoch"])
    levels = [row["level"] for row in epochs]
    assert levels[0] == 0
    assert max(levels) == 2
    assert levels[-1] == 0
    falls = [(a, b) for a, b in itertools.pairwise(levels) if b < a]
    assert falls == [(2, 1), (1, 0)]
    ratios = {0: 67, 1: 75, 2: 82}
    for row in epochs:
        assert row["quorum"] == -(-row["total_weight"] * ratios[row["level"]] // 100)
    changes = [(r["old_level"], r["new_level"]) for r in double_vote.rows("levels")]
    assert sorted(changes) == [(0, 2), (1, 0), (2, 1)]


def test_the_guard_takes_no_level_that_would_halt_the_chain(tmp_path: Path) -> None:
    """Two of seven proven (29 %) leave less than 75 % and 82 % need, so the guard stays at 67 %."""
    attack = owned("double_vote", 3, 5, start="1 s", end="2 s")
    guarded = attacked(tmp_path / "guarded", attack, quorum={"liveness_guard": True})
    bare = attacked(tmp_path / "bare", attack, quorum={"liveness_guard": False})
    assert guarded.metric("offenders_punished") == bare.metric("offenders_punished") == 2
    assert {row["level"] for row in guarded.rows("epochs")} == {0}
    assert max(row["level"] for row in bare.rows("epochs")) == 2


def test_a_double_voter_that_waits_its_turn(tmp_path: Path) -> None:
    """Probability 0 is an adversary that behaves: nobody may tell it from an honest one."""
    idle = attacked(tmp_path / "idle", owned("double_vote", 3, when={"probability": "0 %"}))
    plain = attacked(tmp_path / "plain")
    assert idle.rows("evidence") == []
    seen = ["block", "status", "proposed_ns", "certified_ns"]
    assert idle.frame("blocks").select(seen).equals(plain.frame("blocks").select(seen))


@pytest.mark.parametrize("members", [(3,), (3, 4)])
def test_equivocation_forks_the_chain_and_breaks_nothing(
    members: tuple[int, ...], tmp_path: Path
) -> None:
    done = attacked(tmp_path, owned("equivocate", *members, start="1 s", twin_share="34 %"))
    assert done.verdict == "met"
    twins: dict[tuple[int, int, int], int] = {}
    for row in done.rows("blocks"):
        key = (row["epoch"], row["view"], row["proposer"])
        twins[key] = twins.get(key, 0) + 1
    doubled = {key for key, count in twins.items() if count > 1}
    assert doubled
    assert {proposer for _, _, proposer in doubled} <= set(members)
    assert "equivocation" in {row["kind"] for row in done.rows("forks")}
    committed = done.rows("blocks", status="committed")
    heights = [row["height"] for row in committed]
    assert len(heights) == len(set(heights))
    assert {row["offender"] for row in done.rows("evidence")} <= set(members)


def test_a_lone_equivocator_is_convicted_by_whom_it_misled(tmp_path: Path) -> None:
    """One of six gets the twin, the true block is certified, and the misled one fetches it."""
    done = attacked(tmp_path, owned("equivocate", 3, start="1 s", twin_share="17 %"))
    assert done.verdict == "met"
    accused = done.rows("evidence", event="accused")
    assert {(r["kind"], r["offender"]) for r in accused} == {("double_proposal", 3)}
    assert 3 not in {r["node"] for r in accused}
    assert {r["offender"] for r in done.rows("evidence", event="punished")} == {3}


def test_two_proposals_in_one_view_are_evidence(tmp_path: Path) -> None:
    """Who was shown both twins convicts their proposer."""
    done = attacked(tmp_path, owned("equivocate", 3, 4, start="1 s"))
    accused = done.rows("evidence", event="accused")
    punished = done.rows("evidence", event="punished")
    assert {r["kind"] for r in accused} == {"double_proposal"}
    assert punished
    assert {r["offender"] for r in punished} <= {3, 4}


def test_silence_above_one_minus_q_halts(tmp_path: Path) -> None:
    """At 67 %, two of seven (29 %) may be silent and three (43 %) may not."""
    bound = [{"safety": "held"}, {"liveness": {"commit_within": "4 s"}}]
    slack = attacked(tmp_path / "two", owned("silent", 3, 5, start="1 s"), expect=bound)
    halted = attacked(tmp_path / "three", owned("silent", 1, 3, 5, start="1 s"), expect=bound)
    assert slack.verdict == "met"
    assert slack.commits_between(2 * SECOND, 6 * SECOND) >= 3
    assert halted.verdict == "violated"
    assert "liveness broken" in halted.evidence
    assert halted.commits_between(1_200_000_000, 6 * SECOND) == 0
    for done in (slack, halted):
        assert done.rows("evidence") == []
        proposers = {r["proposer"] for r in done.rows("blocks") if r["proposed_ns"] > SECOND}
        assert not proposers & {3, 5}


def test_the_level_decides_how_much_silence_is_too_much(tmp_path: Path) -> None:
    """At 75 % and 82 %, six of seven votes: two silent halt what one leaves alive."""
    for level in (1, 2):
        for silent, alive in (((3,), True), ((3, 5), False)):
            done = attacked(
                tmp_path / f"{level}-{len(silent)}",
                owned("silent", *silent, start="1 s"),
                quorum={"initial_level": level, "cooldown_epochs": 1000},
            )
            assert (done.commits_between(3 * SECOND, 6 * SECOND) > 0) is alive, (level, silent)


def test_an_adversary_that_ends_is_honest_again(tmp_path: Path) -> None:
    done = attacked(tmp_path, owned("silent", 1, 3, 5, start="1 s", end="2 s"))
    assert done.commits_between(1_200_000_000, 2 * SECOND) == 0
    assert done.commits_between(5 * SECOND, 6 * SECOND) >= 10
    events = [(r["time_ns"], r["event"]) for r in done.rows("faults", node=3)]
    assert events == [(SECOND, "begin"), (2 * SECOND, "end")]
    assert {r["source"] for r in done.rows("faults")} == {"adversary"}


def test_delayed_proposals_slow_the_chain_unpunished(tmp_path: Path) -> None:
    plain = attacked(tmp_path / "plain")
    slow = attacked(tmp_path / "slow", owned("delay_proposals", 1, 3, 5, amount="250 ms"))
    assert slow.metric("blocks_committed") * 3 < plain.metric("blocks_committed") * 2
    assert slow.metric("timeouts") == 0
    assert slow.rows("evidence") == []
    late = {
        row["proposer"]: row["certified_ns"] - row["proposed_ns"]
        for row in slow.rows("blocks", status="committed")
    }
    # Held back before it leaves: what leaves is certified as fast as anybody's.
    assert max(late.values()) < 60_000_000


def test_a_proposal_delayed_beyond_the_timer_is_lost(tmp_path: Path) -> None:
    lost = attacked(tmp_path, owned("delay_proposals", 3, amount="2 s"))
    assert lost.metric("timeouts") > 0
    committed = {row["proposer"] for row in lost.rows("blocks", status="committed")}
    assert 3 not in committed
    assert lost.verdict == "met"
