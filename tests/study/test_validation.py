"""The validation suite: closed forms have textbook values, bands tell right from wrong."""

from __future__ import annotations

import polars as pl
import pytest

from sim.study import theory
from sim.study.validation import figures, parts, worlds
from sim.study.validation.rows import COLUMNS, SIGMAS, Compared, frame, judged, table


def test_closed_forms_have_their_textbook_values() -> None:
    assert theory.erlang_c(1, 0.7) == pytest.approx(0.7)  # M/M/1: the utilisation
    assert theory.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert theory.wait_m_m_c(1, 0.5) == pytest.approx(1.0)
    assert theory.wait_m_d_1(0.5) == pytest.approx(0.5)  # half of M/M/1's
    assert theory.clique_units(4, 1) == 19
    assert theory.chained_clique_units(4, 1) == 26
    assert theory.blocked(1.0) == 0.5
    assert theory.fastest(3, 3) == pytest.approx(1 + 1 / 2 + 1 / 3)
    assert theory.shortfall_in_time(1, 0.25, 1.0, 0, 2) == pytest.approx(1 - 0.75**2)


def row(expected: float, found: float, error: float, slack: float = 0.0) -> Compared:
    return Compared("part", "case", 1.0, expected, found, error, 10, slack)


def test_a_row_holds_within_its_band_and_not_beyond() -> None:
    near, far = 10 + SIGMAS * 0.99, 10 + SIGMAS * 1.01
    rows = [row(10, near, 1), row(10, far, 1), row(10, far, 1, 0.1), row(10, 10.01, 0)]
    found = judged(frame(rows))
    assert found["holds"].to_list() == [True, False, True, False]
    assert found["off"][0] == pytest.approx(SIGMAS * 0.99)
    assert found["off"][3] == 0.0
    told = table(frame(rows)).row(0, named=True)
    assert (told["cases"], told["hold"]) == (4, 2)
    assert told["band"] == pytest.approx((SIGMAS + 0.1) * 10, rel=1e-3)
    assert list(frame([]).columns) == list(COLUMNS)


def test_stations_meet_their_laws_and_no_others() -> None:
    found = parts.stations(40_000)
    assert judged(found)["holds"].all()
    swapped = found.filter(case="M/D/1").with_columns(expected=2 * pl.col("expected"))
    assert not judged(swapped)["holds"].any()
    assert figures.draw_waits(found, found.filter(case="M/D/1")).axes


def test_the_tail_that_is_cut_is_the_only_delay_that_is_off() -> None:
    found = judged(parts.delays(5_000))
    assert found.height == 240
    assert found.filter(~pl.col("holds"))["part"].to_list() == ["delays, cut"]
    assert not judged(found.select(*COLUMNS).with_columns(pl.col("expected") * 1.1))["holds"].any()
    assert figures.draw_delays(found).axes


def test_the_registry_meets_its_laws() -> None:
    found = parts.registry()
    assert judged(found)["holds"].all()
    assert set(found["part"]) == {"registry: refused", "registry: quorum", "registry: hottest"}
    assert figures.draw_registry(found).axes


def test_a_block_takes_the_papers_delays_and_messages() -> None:
    found = worlds.steps((6,))
    assert judged(found)["holds"].all()
    assert found.height == 2 * len(worlds.DELAYS)
    longer = found.filter(part="delays a block").with_columns(pl.col("expected") + 1)
    assert not judged(longer)["holds"].any()
    assert figures.draw_steps(found, worlds.clique((4, 7))).axes


def test_columns_and_one_process_a_message_give_the_same_rows() -> None:
    found = worlds.twins()
    assert (found["rows"] == found["equal"]).all()
    assert found.filter(table="samples")["rows"][0] > 3_000


def test_figures_say_n_and_seed() -> None:
    said = []
    for figure in (figures.draw_races(parts.races(40)), figures.draw_all(parts.registry())):
        said.append(" ".join(text.get_text() for text in figure.texts))
        said[-1] += figure.get_supxlabel()
    assert all("n = " in text and f"seed {parts.SEED}" in text for text in said)


def test_growth_under_attack_is_compared_with_both_theory_and_paper() -> None:
    rows = [
        Compared(part, attack, b, published, published, 0.01, 900)
        for part in ("growth", "growth, published")
        for attack, curve in worlds.BAMBOO.items()
        for b, published in curve.items()
    ]
    assert len(figures.draw_growth(frame(rows)).axes) == 2
    assert worlds.expected_growth("forking", 8) == (0.75**2, 0.75**3)
    with pytest.raises(KeyError):
        worlds.messages_a_block("raft", 7, 3)
