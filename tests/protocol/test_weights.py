"""Weights: shares, the cap by water-filling, equal inputs, splitting of stakes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.types import WEIGHT_UNIT
from sim.protocol.weighted_voting import PPM, WeightParameters, effective_cap_ppm, weight_table

STAKE_ONLY = {"stake_ppm": PPM, "reputation_ppm": 0, "uptime_ppm": 0}


def by_definition(
    stakes: list[int], reputations: list[int], uptimes: list[int], p: WeightParameters
) -> list[int]:
    """The rule as its definition reads, in rationals: share, cap, scale the rest, repeat."""
    ids = [i for i, s in enumerate(stakes) if s > 0]
    raw = dict.fromkeys(ids, Fraction(0))
    if p.combine == "additive":
        parts = ((p.stake_ppm, stakes), (p.reputation_ppm, reputations), (p.uptime_ppm, uptimes))
        for coefficient, column in parts:
            whole = sum(column[i] for i in ids)
            for i in ids:
                raw[i] += Fraction(coefficient * column[i], whole) if whole else 0
    else:
        for i in ids:
            factor = (
                p.stake_ppm * PPM + p.reputation_ppm * reputations[i] + p.uptime_ppm * uptimes[i]
            )
            raw[i] = Fraction(stakes[i] * factor)
    positive = [i for i in ids if raw[i] > 0]
    weights = [0] * len(stakes)
    if not positive:
        return weights
    cap = max(Fraction(p.cap_ppm, PPM), Fraction(1, len(positive)))
    capped: list[int] = []
    while True:
        rest = [i for i in positive if i not in capped]
        left = 1 - cap * len(capped)
        total = sum(raw[i] for i in rest)
        share = {i: raw[i] * left / total for i in rest}
        over = [i for i in rest if share[i] > cap]
        if not over:
            break
        capped += over
    for i in positive:
        weights[i] = int(WEIGHT_UNIT * (cap if i in capped else share[i]))
    return weights


columns = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 10**6), min_size=n, max_size=n),
        st.lists(st.integers(0, PPM), min_size=n, max_size=n),
        st.lists(st.integers(0, PPM), min_size=n, max_size=n),
    )
)
settings = st.builds(
    WeightParameters,
    cap_ppm=st.sampled_from([1, 50_000, 150_000, 333_333, 500_000, PPM]),
    combine=st.sampled_from(["additive", "stake_multiplied"]),
)


@given(columns, settings)
def test_weights_follow_the_definition(
    rows: tuple[list[int], list[int], list[int]], p: WeightParameters
) -> None:
    table = weight_table(*rows, p)
    assert list(table.weights) == by_definition(*rows, p)
    assert table.total == sum(table.weights)


@given(columns, settings)
def test_cap_holds_and_nothing_is_lost(
    rows: tuple[list[int], list[int], list[int]], p: WeightParameters
) -> None:
    weights = weight_table(*rows, p).weights
    positive = sum(1 for i, w in enumerate(weights) if w or rows[0][i])
    if not any(weights):
        return
    # Floors may hide a tiny positive share; more shares only lower the cap.
    cap = max(Fraction(p.cap_ppm, PPM), Fraction(1, sum(1 for w in weights if w)))
    assert max(weights) <= WEIGHT_UNIT * cap
    assert WEIGHT_UNIT - positive <= sum(weights) <= WEIGHT_UNIT


@given(columns, settings, st.integers(0, 11), st.integers(0, 11))
def test_equal_inputs_stay_equal(
    rows: tuple[list[int], list[int], list[int]], p: WeightParameters, i: int, j: int
) -> None:
    n = len(rows[0])
    for column in rows:
        column[i % n] = column[j % n]
    weights = weight_table(*rows, p).weights
    assert weights[i % n] == weights[j % n]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7, 10, 99, 150])
@pytest.mark.parametrize("combine", ["additive", "stake_multiplied"])
def test_equal_validators_get_the_floor_of_an_nth(n: int, combine: str) -> None:
    table = weight_table([77] * n, [PPM // 2] * n, [PPM] * n, WeightParameters(combine=combine))
    assert table.weights == (WEIGHT_UNIT // n,) * n
    assert table.total == n * (WEIGHT_UNIT // n)


def test_cap_survives_what_clamp_and_renormalise_breaks() -> None:
    """Clamping 40 % and 30 % to 15 % and renormalising by 0.60 would give 25 % each."""
    stakes = [40, 30, 10, 5, 5, 4, 3, 3]
    weights = weight_table(stakes, [0] * 8, [0] * 8, WeightParameters(**STAKE_ONLY)).weights
    assert weights[:2] == (150_000_000, 150_000_000)
    # 10 of 30 would get 70 % / 3 = 23.3 %: capped in the second round; 55 % is left for 20.
    assert weights[2] == 150_000_000
    assert weights[3:] == tuple(550_000_000 * s // 20 for s in (5, 5, 4, 3, 3))


def test_each_round_of_water_filling_may_cap_more() -> None:
    """Shares 70 %; 85 % x 100/300; 70 % x 50/200 = 17.5 %; then 55 % x 40/150 = 14.7 % stays."""
    stakes = [700, 100, 50, 40, 30, 30, 30, 20]
    weights = weight_table(stakes, [0] * 8, [0] * 8, WeightParameters(**STAKE_ONLY)).weights
    assert weights[:3] == (150_000_000,) * 3
    assert weights[3:] == tuple(550_000_000 * s // 150 for s in stakes[3:])


def test_coefficients_are_forty_forty_twenty() -> None:
    """One validator has all the stake-share advantage, one all the reputation, one the uptime."""
    stakes, reputations, uptimes = [3, 1, 1, 1], [1, 3, 1, 1], [1, 1, 3, 1]
    weights = weight_table(stakes, reputations, uptimes, WeightParameters(cap_ppm=PPM)).weights
    # Shares: 3/6 of its component, 1/6 of the others.
    assert weights == tuple(
        WEIGHT_UNIT * (40 * a + 40 * b + 20 * c) // 600
        for a, b, c in zip(stakes, reputations, uptimes, strict=True)
    )


def test_stake_zero_is_no_member() -> None:
    with_stranger = weight_table(
        [5, 0, 5], [PPM, PPM, PPM // 2], [PPM, PPM, PPM], WeightParameters(cap_ppm=PPM)
    )
    without = weight_table([5, 5], [PPM, PPM // 2], [PPM, PPM], WeightParameters(cap_ppm=PPM))
    assert with_stranger.weights == (without.weights[0], 0, without.weights[1])


def test_component_that_is_zero_for_all_is_left_out() -> None:
    n = 10
    stakes = list(range(10, 10 + n))
    silent = weight_table(stakes, [0] * n, [0] * n, WeightParameters())
    assert silent == weight_table(stakes, [0] * n, [0] * n, WeightParameters(**STAKE_ONLY))


def test_nobody_has_weight_without_members() -> None:
    assert weight_table([0, 0], [1, 1], [1, 1], WeightParameters()) == ((0, 0), 0)
    assert weight_table([], [], [], WeightParameters()) == ((), 0)


@pytest.mark.parametrize(
    ("n", "cap_ppm"),
    [(1, 1_000_000), (2, 500_000), (3, 333_334), (4, 250_000), (6, 166_667), (7, 150_000)],
)
def test_few_validators_lift_the_cap(n: int, cap_ppm: int) -> None:
    assert effective_cap_ppm(n, WeightParameters()) == cap_ppm


@pytest.mark.parametrize(("combine", "pays"), [("additive", True), ("stake_multiplied", False)])
def test_splitting_a_stake_pays_under_the_additive_rule_only(combine: str, pays: bool) -> None:
    p = WeightParameters(combine=combine)
    n = 100
    whole = weight_table([1000] * n, [PPM // 2] * n, [PPM] * n, p)
    split = weight_table([1000] * (n - 1) + [100] * 10, [PPM // 2] * (n + 9), [PPM] * (n + 9), p)
    before = Fraction(whole.weights[-1], whole.total)
    after = Fraction(sum(split.weights[-10:]), split.total)
    # Additive: 10 identities take 10 shares of reputation and uptime. Factors on stake: nothing
    # but the ten floors.
    if pays:
        assert after > 5 * before
    else:
        assert abs(after - before) < Fraction(20, WEIGHT_UNIT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stake_ppm": 400_001},
        {"stake_ppm": -1, "reputation_ppm": 800_001},
        {"cap_ppm": 0},
        {"cap_ppm": PPM + 1},
        {"combine": "multiplied"},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\d|combine"):
        WeightParameters(**wrong)  # type: ignore[arg-type]


def test_wrong_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        weight_table([1], [1, 1], [1], WeightParameters())
    with pytest.raises(ValueError, match="negative"):
        weight_table([1], [-1], [1], WeightParameters())
    with pytest.raises(ValueError, match="0 positive"):
        effective_cap_ppm(0, WeightParameters())
