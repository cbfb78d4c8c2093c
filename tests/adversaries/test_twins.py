"""Twins: two real cores an identity; what they can break, what convicts them, what they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.engine.world import World
from sim.world.adversary.twins import Twins, halves
from tests.adversaries.effects import CASES, VIOLATED, one_of_each, owned
from tests.adversaries.rows import Rows
from tests.engine.worlds import AGENTS, SECOND, WEST, Ran, ran, world

TEN: dict[str, Any] = {
    "duration": "12 s",
    "validators": {"count": 10},
    "consensus": {"leader": "weighted", "epoch_blocks": 1000, "timer_backoff": 1},
}


def split(folder: Path, members: int, *, seed: int = 1, **twins: Any) -> Ran:
    """Run ten validators, the first `members` twice, cut until six seconds."""
    attack = owned("twins", *range(members), end="6 s", **twins)
    expect = [{"safety": "violated" if members > 3 else "held"}]
    return ran(folder, **TEN, seed=seed, adversaries=[attack], expect=expect)


def test_halves_are_drawn_anew_each_turn() -> None:
    others = list(range(3, 12))
    drawn = [halves(others, 7, turn) for turn in range(20)]
    for first, second in drawn:
        assert sorted([*first, *second]) == others
        assert len(first) - len(second) == 1
    assert len({first for first, _ in drawn}) > 10
    assert halves(others, 7, 3) == drawn[3]


def test_the_copies_are_cores_of_one_identity(tmp_path: Path) -> None:
    sides = [{"ids": [4, 5, 6]}, {"ids": [7, 8, 9]}]
    attack = owned("twins", 0, 1, 2, 3, sides=sides)
    rows = Rows()
    made = world(tmp_path, recorder=rows, **TEN, adversaries=[attack], expect=VIOLATED)
    made.start()
    made.advance(8 * SECOND)
    seen = {n: [row["block"] for row in rows.of("commits", node=n)] for n in range(10)}
    for node in made.nodes[:4]:
        (copy,) = node.copies
        mind = node.mind
        assert mind is not None
        assert type(copy) is type(mind.core)
        assert copy.me == node.id
        assert copy.ledger is made.ledger
        # Each copy decided with its own side, and the sides decided differently.
        assert mind.core.chain.tree.final.id.hex() in seen[4] + seen[5] + seen[6]
        assert copy.chain.tree.final.id.hex() in seen[7] + seen[8] + seen[9]
        assert copy.chain.tree.final.id.hex() not in seen[4]
    assert all(not node.copies for node in made.nodes[4:])
    for one, other in ((4, 5), (7, 8)):
        common = min(len(seen[one]), len(seen[other]))
        assert seen[one][:common] == seen[other][:common]
    assert not set(seen[4]) & set(seen[7])


@pytest.mark.parametrize("seed", [1, 2])
def test_the_guilty_are_convicted_when_the_sides_meet_and_nobody_else(
    seed: int, tmp_path: Path
) -> None:
    broken = split(tmp_path, 4, seed=seed)
    assert broken.verdict == "met"
    accused = {row["offender"] for row in broken.rows("evidence", event="accused")}
    assert accused == {0, 1, 2, 3}
    assert min(row["time_ns"] for row in broken.rows("evidence")) >= 6 * SECOND
    assert {row["monitor"] for row in broken.rows("violations")} <= {
        "agreement",
        "certificate_uniqueness",
    }


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_below_the_limit_no_schedule_of_partitions_breaks_anything(
    seed: int, tmp_path: Path
) -> None:
    held = split(tmp_path, 3, seed=seed, turn="600 ms")
    assert held.verdict == "met"
    assert held.rows("violations") == []
    assert held.commits_between(7 * SECOND, 12 * SECOND) >= 20
    assert {row["offender"] for row in held.rows("evidence")} <= {0, 1, 2}


def test_without_a_cut_the_copies_agree(tmp_path: Path) -> None:
    """Where the sides hear each other both copies follow one chain, and there is nothing to see."""
    seen = split(tmp_path, 3, cut=False)
    assert seen.verdict == "met"
    assert seen.rows("evidence") == []
    assert seen.commits_between(SECOND, 6 * SECOND) >= 20


def test_a_twin_that_crashes_comes_back_twice(tmp_path: Path) -> None:
    crash = {"kind": "crash", "nodes": {"ids": [0]}, "at": "2 s", "until": "3 s"}
    attack = owned("twins", 0, 1, 2, turn="600 ms")
    made: World = world(tmp_path, **TEN, adversaries=[attack], faults=[crash])
    made.start()
    made.advance(2 * SECOND)
    (copy,) = made.nodes[0].copies
    before = copy.view
    made.advance(8 * SECOND)
    assert made.nodes[0].copies == [copy]
    assert (copy.epoch, copy.view) > (1, before)
    assert made.watch.finish(8 * SECOND) == ()


def test_real_signatures_change_nothing_under_any_attack(tmp_path: Path) -> None:
    """What attacks sign, also twice or for their own use, verifies in both ways of signing."""
    fast = {"suite": "pycryptodome", "costs": "pycryptodome"}
    sections = {**one_of_each(), "duration": "700 ms"}
    sections["adversaries"] = [
        attack for attack in sections["adversaries"] if not attack.get("start", "").startswith("99")
    ]
    plain = ran(tmp_path / "modelled", **sections, crypto=fast)
    real = ran(tmp_path / "real", **sections, crypto={**fast, "signatures": "real"})
    assert plain.metric("consensus_messages") > 900
    assert real.run.digests() == plain.run.digests()


def test_accusations_spare_the_honest_in_every_case(tmp_path: Path) -> None:
    """Over budget too: whoever is accused in a split above the limit is a member."""
    case = CASES["twins"]
    done = ran(tmp_path, **case.sections([owned("twins", *range(6), end="5 s")]))
    assert {row["offender"] for row in done.rows("evidence", event="accused")} == set(range(6))


def test_sides_that_are_given_leave_the_members_on_both() -> None:
    twins = Twins(1, ((4, 5), (6,)), 0)
    assert twins.sides(0) == twins.sides(10 * SECOND) == ((4, 5), (6,))


def test_old_keys_can_halt_who_still_judges_their_epoch(tmp_path: Path) -> None:
    """Unbonding that is shorter than the four epochs judged leaves keys with nothing at stake.

    Seven withdraw, and show two members of the fourth epoch another end of the first: these halt,
    as a finality fork asks for, and nobody can be made to pay. An epoch later they are ignored.
    """
    leave = [
        *(
            {"kind": "register", "validator": v, "amount": 10**6, "at": "100 ms"}
            for v in range(7, 14)
        ),
        *({"kind": "unbond", "validator": v, "amount": 10**6, "at": "800 ms"} for v in range(7)),
    ]
    for start, halted in (("1500 ms", True), ("2300 ms", False)):
        done = ran(
            tmp_path / start,
            duration="6 s",
            validators={"count": 7, "candidates": {"placement": {WEST: 7}}},
            ledger={"unbonding_epochs": 1},
            operations=leave,
            adversaries=[owned("long_range", *range(7), start=start, victims={"ids": [7, 8]})],
        )
        forks = {(row["node"], row["kind"]) for row in done.rows("forks")}
        assert bool({(7, "finality"), (8, "finality")} & forks) == halted
        assert done.rows("evidence") == []
        assert done.rows("violations") == []


def test_a_transaction_ends_once_though_two_branches_commit_it(tmp_path: Path) -> None:
    """Safety is violated and agents are at work: the run goes on, and no message is lost."""
    done = ran(
        tmp_path,
        **{**TEN, "duration": "8 s"},
        agents=AGENTS,
        adversaries=[owned("twins", *range(4), end="6 s")],
        expect=VIOLATED,
    )
    assert done.verdict == "met"
    assert done.metric("lost_messages") == 0
    ended = sum(row["count"] for row in done.rows("latency", kind="transaction"))
    twice = done.metric("transactions_committed")
    assert 0 < ended < twice
