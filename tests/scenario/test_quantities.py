"""Quantity strings: exact integers, and words for what is not one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.scenario.quantities import (
    BANDWIDTH,
    DIMENSIONS,
    DURATION,
    FINE_SHARE,
    MAX_INTEGER,
    RATE,
    SHARE,
    SIZE,
    Dimension,
    QuantityError,
    format_decimal,
    parse_decimal,
)


@pytest.mark.parametrize(
    ("dimension", "text", "value"),
    [
        (DURATION, "80 ms", 80_000_000),
        (DURATION, "80ms", 80_000_000),
        (DURATION, "2 h", 7_200_000_000_000),
        (DURATION, "1.5 d", 129_600_000_000_000),
        (DURATION, "0.000000001 s", 1),
        (DURATION, "0.1 us", 100),
        (BANDWIDTH, "5 Gbit/s", 5_000_000_000),
        (BANDWIDTH, "0.5 kbit/s", 500),
        (SIZE, "256 KiB", 262_144),
        (SIZE, "256 kB", 256_000),
        (SIZE, "0.5 KiB", 512),
        (RATE, "0.2 /s", 200_000_000),
        (RATE, "1 /h", 277_778),
        (SHARE, "15 %", 150_000),
        (SHARE, "0.0001 %", 1),
        (FINE_SHARE, "0.001 %", 10_000),
        (FINE_SHARE, "3 ppb", 3),
    ],
)
def test_quantities_are_exact(dimension: Dimension, text: str, value: int) -> None:
    assert dimension.parse(text) == value


@pytest.mark.parametrize(
    ("dimension", "text", "words"),
    [
        (DURATION, 5, "5 is a bare number; a duration needs a unit, such as `5 ms`"),
        (DURATION, "5", "5 is a bare number"),
        (SHARE, Decimal("0.15"), "0.15 is a bare number; a share needs a unit, such as `0.15 %`"),
        (DURATION, "5 MS", "did you mean `ms`?"),
        (DURATION, "5 sec", "units: d, h, min, s, ms, us, ns"),
        (SIZE, "5 Gbit/s", "`Gbit/s` is not a unit of a size"),
        (BANDWIDTH, "5 MB/s", "`MB/s` is not a unit of a bandwidth"),
        (DURATION, "-5 s", "`-5 s` is not a duration; write it like `80 ms`"),
        (DURATION, "1e3 ms", "is not a unit of a duration"),
        (DURATION, "1_000 ms", "is not a unit of a duration"),
        (DURATION, "\N{ARABIC-INDIC DIGIT FIVE} s", "is not a duration"),
        (DURATION, "0.5 ns", "finer than the least step of a duration, 1 ns"),
        (SHARE, "33.33333 %", "finer than the least step of a share, 0.0001 %"),
        (DURATION, "99999999999 d", "larger than any duration a run can hold"),
        (DURATION, True, "expected a duration"),
        (DURATION, ["5 s"], "expected a duration"),
        (DURATION, "", "is not a duration"),
    ],
)
def test_what_is_no_quantity_is_told_so(dimension: Dimension, text: object, words: str) -> None:
    with pytest.raises(QuantityError) as caught:
        dimension.parse(text)
    assert words in str(caught.value)


@given(st.sampled_from(DIMENSIONS), st.integers(0, MAX_INTEGER // 10**6))
def test_printing_and_reading_give_the_same_integer(dimension: Dimension, value: int) -> None:
    assert dimension.parse(dimension.format(value)) == value


@pytest.mark.parametrize(
    ("dimension", "value", "text"),
    [
        (DURATION, 0, "0 ms"),
        (DURATION, 250_000_000, "250 ms"),
        (DURATION, 1_500_000_000, "1500 ms"),
        (DURATION, 60_000_000_000, "60 s"),
        (SIZE, 65_536, "64 KiB"),
        (SHARE, 150_000, "15 %"),
        (RATE, 200_000_000, "0.2 /s"),
    ],
)
def test_printing_prefers_whole_numbers(dimension: Dimension, value: int, text: str) -> None:
    assert dimension.format(value) == text


@given(st.integers(-(10**12), 10**12))
def test_bare_decimals_are_exact_both_ways(value: int) -> None:
    text = format_decimal(value, 10**6)
    assert parse_decimal(Decimal(text), 10**6) == value


def test_a_bare_decimal_keeps_six_places() -> None:
    with pytest.raises(QuantityError, match="more decimals than are kept"):
        parse_decimal(Decimal("1.0000001"), 10**6)


@pytest.mark.parametrize(
    ("dimension", "value", "text"),
    [
        (DURATION, 939_524_095, "939.524 ms"),
        (DURATION, 11_234_567_890, "11.2346 s"),
        (DURATION, 3_600 * 10**9, "3600 s"),
        (DURATION, 0, "0 ns"),
        (SIZE, 1_500, "1.5 kB"),
        (SHARE, 999_999, "99.9999 %"),
    ],
)
def test_approximate_is_for_people(dimension: Dimension, value: int, text: str) -> None:
    assert dimension.approximate(value) == text
