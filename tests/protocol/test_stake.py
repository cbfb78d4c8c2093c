"""Stake: operations, slashing, correlation, jail; the supply is conserved whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.stake_manager import (
    NEVER,
    SAFETY_OFFENCES,
    StakeParameters,
    StakeState,
    Unbonding,
    apply_operation,
    check_operation,
    eligible,
    end_epoch,
    genesis_stake,
    slash,
    supply,
)
from sim.protocol.types import Operation

TERMS = StakeParameters(min_stake=100, unbonding_epochs=3, jail_epochs=2)
NO_CORRELATION = StakeParameters(min_stake=100, unbonding_epochs=3, correlation_multiplier=0)


def state(bonded: tuple[int, ...], free: tuple[int, ...] | None = None) -> StakeState:
    return genesis_stake(bonded, free or (0,) * len(bonded))


def run(before: StakeState, kind: str, who: int, amount: int, epoch: int = 1) -> StakeState:
    operation = Operation(kind, who, amount, 0)
    assert check_operation(before, operation, epoch, TERMS) is None
    return apply_operation(before, operation, epoch, TERMS)


@pytest.mark.parametrize(
    ("kind", "who", "amount", "reason"),
    [
        ("register", 1, 100, None),
        ("register", 1, 99, "below_minimum"),
        ("register", 1, 501, "not_enough_free"),
        ("register", 0, 100, "registered"),
        ("register", 9, 100, "unknown_validator"),
        ("register", -1, 100, "unknown_validator"),
        ("register", 1, 0, "no_amount"),
        ("top_up", 0, 50, None),
        ("top_up", 0, 51, "not_enough_free"),
        ("top_up", 1, 100, "not_registered"),
        ("top_up", 0, -5, "no_amount"),
        ("unbond", 0, 300, None),
        ("unbond", 0, 200, None),
        ("unbond", 0, 201, "below_minimum"),
        ("unbond", 0, 301, "not_bonded"),
        ("unbond", 1, 1, "not_bonded"),
        ("unjail", 0, 0, "not_jailed"),
        ("unjail", 2, 0, "jail_term"),
        ("donate", 0, 1, "unknown_kind"),
    ],
)
def test_operations_are_checked(kind: str, who: int, amount: int, reason: str | None) -> None:
    before = state((300, 0, 300), (50, 500, 0))._replace(jailed_until=(0, 0, 5))
    assert check_operation(before, Operation(kind, who, amount, 0), 4, TERMS) == reason


def test_register_and_top_up_move_free_stake() -> None:
    after = run(state((0, 300), (150, 50)), "register", 0, 120)
    after = run(after, "top_up", 1, 50)
    assert (after.bonded, after.free) == ((120, 350), (30, 0))


def test_unbonding_stake_waits_and_then_is_free() -> None:
    after = run(state((300,)), "unbond", 0, 120, epoch=5)
    after = run(after, "unbond", 0, 30, epoch=5)
    assert after.unbonding == (Unbonding(0, 150, 8),)
    for epoch in (5, 6):
        after = end_epoch(after, epoch, TERMS)
        assert after.unbonding == (Unbonding(0, 150, 8),)
    after = end_epoch(after, 7, TERMS)  # epoch 8 begins
    assert (after.bonded, after.free, after.unbonding) == ((150,), (150,), ())


@pytest.mark.parametrize("offence", SAFETY_OFFENCES)
def test_safety_offences_burn_five_per_cent(offence: str) -> None:
    after = slash(state((2_000, 1_000)), 0, offence, 1, 1, TERMS)
    assert after.bonded == (1_900, 1_000)
    assert after.burned == 100
    tombstoned = offence in ("double_vote", "double_proposal")
    assert after.jailed_until[0] == (NEVER if tombstoned else 3)


def test_downtime_burns_one_per_cent_and_does_not_correlate() -> None:
    after = slash(state((2_000,) * 3), 0, "downtime", 1, 1, TERMS)
    after = slash(after, 1, "downtime", 1, 1, TERMS)
    assert end_epoch(after, 1, TERMS).bonded == (1_980, 1_980, 2_000)


def test_stake_that_left_after_the_offence_is_slashed_too() -> None:
    before = run(state((3_000,)), "unbond", 0, 1_000, epoch=2)
    before = run(before, "unbond", 0, 1_000, epoch=4)
    after = slash(before, 0, "tc_rule", 3, 4, NO_CORRELATION)
    # Bonded at the offence in epoch 3: what is still bonded and what left in epoch 4.
    assert after.bonded == (950,)
    assert after.unbonding == (Unbonding(0, 1_000, 5), Unbonding(0, 950, 7))
    assert after.burned == 100


@pytest.mark.parametrize(
    ("guilty", "extra_ppm"),
    # 3 x (guilty stake / total after the base fraction): of ten equal stakes of 10,000.
    [(1, 301_507), (3, 913_705), (4, 1_000_000)],
)
def test_correlation_penalty_grows_with_the_company(guilty: int, extra_ppm: int) -> None:
    after = state((10_000,) * 10)
    for who in range(guilty):
        after = slash(after, who, "double_vote", 1, 1, TERMS)
    total = sum(after.bonded)
    assert min(3 * 10_000 * guilty * 1_000_000 // total, 1_000_000) == extra_ppm
    closed = end_epoch(after, 1, TERMS)
    share = min(3 * 10_000 * guilty, total)
    assert closed.bonded[0] == 9_500 - 9_500 * share // total
    assert closed.bonded[guilty:] == (10_000,) * (10 - guilty)
    assert end_epoch(closed, 2, TERMS).bonded == closed.bonded  # charged once


def test_repeated_conviction_counts_once_for_correlation() -> None:
    once = slash(state((10_000,) * 10), 0, "double_vote", 1, 1, TERMS)
    twice = slash(once, 0, "tc_rule", 1, 1, TERMS)
    loss = [
        1 - s.bonded[0] / before.bonded[0]
        for before in (once, twice)
        for s in (end_epoch(before, 1, TERMS),)
    ]
    assert loss[0] == pytest.approx(loss[1], rel=0.01)


def test_old_convictions_leave_the_window() -> None:
    after = slash(state((10_000,) * 10), 0, "double_vote", 1, 1, TERMS)
    for epoch in range(1, 6):
        after = end_epoch(after, epoch, TERMS)
    assert after.convictions == ()


def test_jail_keeps_out_until_unjailed() -> None:
    jailed = slash(state((2_000, 2_000)), 0, "stale_timeout", 4, 4, TERMS)
    assert eligible(jailed, TERMS) == (0, 2_000)
    unjail = Operation("unjail", 0, 0, 0)
    assert check_operation(jailed, unjail, 5, TERMS) == "jail_term"
    assert check_operation(jailed, unjail, 6, TERMS) is None
    assert eligible(apply_operation(jailed, unjail, 6, TERMS), TERMS) == (1_900, 2_000)
    dead = slash(jailed, 0, "double_vote", 4, 4, TERMS)
    assert check_operation(dead, unjail, 10**9, TERMS) == "jail_term"
    assert slash(dead, 0, "stale_timeout", 4, 4, TERMS).jailed_until[0] == NEVER


def test_below_the_minimum_is_no_member() -> None:
    after = slash(state((104, 105, 106)), 0, "double_vote", 1, 1, TERMS)
    after = slash(after, 1, "tc_rule", 1, 1, TERMS)._replace(jailed_until=(0, 0, 0))
    assert after.bonded == (99, 100, 106)
    assert eligible(after, TERMS) == (0, 100, 106)


actions = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["register", "top_up", "unbond", "unjail"]),
            st.integers(-1, 4),
            st.integers(-10, 3_000),
        ),
        st.tuples(
            st.sampled_from([*SAFETY_OFFENCES, "downtime"]), st.integers(0, 3), st.integers(0, 4)
        ),
        st.tuples(st.just("epoch"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@given(
    actions,
    st.lists(st.integers(0, 2_000), min_size=4, max_size=4),
    st.lists(st.integers(0, 2_000), min_size=4, max_size=4),
    st.integers(0, 5),
    st.integers(1, 999_983),
)
def test_supply_is_conserved(
    run: list[tuple[str, int, int]],
    bonded: list[int],
    free: list[int],
    multiplier: int,
    fraction: int,
) -> None:
    terms = StakeParameters(
        min_stake=100,
        unbonding_epochs=2,
        correlation_multiplier=multiplier,
        tc_rule_ppm=fraction,
        downtime_ppm=1_000_000,
    )
    now, epoch = genesis_stake(tuple(bonded), tuple(free)), 1
    minted = supply(now)
    assert minted == sum(bonded) + sum(free)
    for action, who, amount in run:
        if action == "epoch":
            now, epoch = end_epoch(now, epoch, terms), epoch + 1
        elif action in SAFETY_OFFENCES or action == "downtime":
            now = slash(now, who, action, max(1, epoch - amount), epoch, terms)
        else:
            operation = Operation(action, who, amount, 0)
            if check_operation(now, operation, epoch, terms) is None:
                now = apply_operation(now, operation, epoch, terms)
        assert supply(now) == minted
        assert min((*now.bonded, *now.free, *(e.amount for e in now.unbonding), now.burned)) >= 0
        assert len(now.unbonding) <= 4 * (terms.unbonding_epochs + 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_stake": 0},
        {"unbonding_epochs": 0},
        {"double_vote_ppm": 1_000_001},
        {"correlation_multiplier": -1},
        {"tombstone": ("theft",)},
        {"min_signed_ppm": -1},
    ],
)
def test_impossible_terms_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StakeParameters(**{"min_stake": 1, **wrong})  # type: ignore[arg-type]


def test_negative_genesis_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        genesis_stake((1, -1), (0, 0))
