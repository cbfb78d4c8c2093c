"""The phase diagram: theory and simulation agree in every cell, by count and by share.

The lines are the argument of the adaptive quorum: safety needs Byzantine weight below 2q - 1,
liveness silence within 1 - q.
"""

from __future__ import annotations

import pickle
from fractions import Fraction
from itertools import pairwise

import pytest

from sim.protocol.adaptive_quorum import quorum_weight
from sim.study.phase import (
    Cell,
    Outcome,
    Unit,
    frame,
    happened,
    line,
    phase_diagram,
    scenario,
    theory,
)

OUTCOMES: tuple[Outcome, ...] = ("safety_violated", "halted")


def holds(cells: tuple[Cell, ...]) -> None:
    """Check that every cell came out as the count says, and off the line as the share says."""
    for cell in cells:
        expected = cell.theory
        assert cell.agrees, cell
        assert expected.near or expected.by_line == expected.happens, cell
        low, high = cell.interval_ppm
        assert low <= cell.hits * 1_000_000 // cell.runs <= high


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_coarse_grid_agrees_with_theory_in_every_cell(outcome: Outcome) -> None:
    counts = (1, 2, 3, 5)
    cells = phase_diagram(outcome, 7, byzantine=counts)
    holds(cells)
    assert [(c.level, c.byzantine) for c in cells] == [(q, b) for q in (0, 1, 2) for b in counts]
    for level in (0, 1, 2):
        row = [c.hits for c in cells if c.level == level]
        assert row == sorted(row)
        assert (row[0], row[-1]) == (0, 1)
    # Raising the level buys safety and sells liveness.
    broken = [sum(c.hits for c in cells if c.level == level) for level in (0, 1, 2)]
    assert broken == sorted(broken, reverse=outcome == "safety_violated")
    assert broken[0] != broken[2]


@pytest.mark.slow
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_full_grid_agrees_with_theory_in_every_cell(outcome: Outcome) -> None:
    for validators, runs in ((10, 10), (16, 3)):
        cells = phase_diagram(outcome, validators, runs=runs)
        holds(cells)
        assert len(cells) == 3 * (validators - 1)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_count_and_line_agree_beyond_one_validator_for_any_number(outcome: Outcome) -> None:
    """What the diagram shows for a few is a theorem about counts: check it for up to 200."""
    for validators in range(4, 201):
        for level in (0, 1, 2):
            seen = [theory(outcome, validators, b, level) for b in range(validators - 1)]
            assert all(t.near or t.happens == t.by_line for t in seen)
            assert all(a.happens <= b.happens for a, b in pairwise(seen))


def test_the_lines_and_the_counts_of_150() -> None:
    assert [line("safety_violated", level) for level in (0, 1, 2)] == [
        Fraction(34, 100),
        Fraction(50, 100),
        Fraction(64, 100),
    ]
    assert [line("halted", level) for level in (0, 1, 2)] == [
        Fraction(33, 100),
        Fraction(25, 100),
        Fraction(18, 100),
    ]
    # 101, 113, 123 of 150 votes make a quorum; one more silent than 150 less those halts it.
    for level, votes in enumerate((101, 113, 123)):
        unit = 10**9 // 150
        assert -(-quorum_weight(150 * unit, level) // unit) == votes
        most = 150 - votes
        assert not theory("halted", 150, most, level).happens
        assert theory("halted", 150, most + 1, level).happens
        assert not theory("safety_violated", 150, 2 * votes - 151, level).happens
        assert theory("safety_violated", 150, 2 * votes - 150, level).happens


def test_a_frame_holds_integers_only() -> None:
    cells = (Cell("halted", 1, 8, 3, 20, 20), Cell("safety_violated", 0, 8, 2, 20, 0))
    table = frame(cells)
    assert table["share_ppm"].to_list() == [375_000, 250_000]
    assert table["line_ppm"].to_list() == [250_000, 340_000]
    assert table["probability_ppm"].to_list() == [1_000_000, 0]
    # Clopper and Pearson: 20 of 20 leave at least (5 % / 2)**(1/20), 0.8316.
    assert table["low_ppm"].to_list() == [831_566, 0]
    assert table["high_ppm"].to_list() == [1_000_000, 168_434]
    assert table["expected"].to_list() == [1, 0]
    assert all(kind.is_integer() for name, kind in table.schema.items() if name != "outcome")


def test_runs_are_units_that_can_be_sent_to_workers() -> None:
    unit = Unit("halted", 0, 4, 0, 0, 1)
    assert pickle.loads(pickle.dumps(unit)) == unit
    assert not happened(unit)
    assert scenario(unit).adversaries == ()
    with pytest.raises(ValueError, match="need two honest"):
        phase_diagram("halted", 7, byzantine=[6])
