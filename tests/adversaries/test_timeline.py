"""The course of a threat: each instant is the one that the tables show, and recovery is earned."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import load_scenario, open_run, run
from sim.study.timeline import _recovery, course, courses
from tests.adversaries.effects import owned
from tests.adversaries.test_threats import THREATS
from tests.engine.worlds import MS, SECOND, ran


def test_the_course_of_double_voting(tmp_path: Path) -> None:
    outcome = run(load_scenario(THREATS / "double_voting.yaml"), tmp_path)
    seen = course(open_run(outcome.path))
    assert seen is not None
    assert seen.attack_ns == SECOND
    assert seen.detected_ns is not None
    assert seen.punished_ns is not None
    assert seen.level_ns is not None
    # Seen by the collector within a view, on the chain after two, in force with the epoch.
    assert 0 < seen.detected_ns < 100 * MS < seen.punished_ns < seen.level_ns
    # Rules are evaluated each second, the gravest that fired is named first.
    assert seen.alerted_ns == SECOND
    assert seen.alert.startswith("offence_proved, ")
    assert seen.excluded_ns == seen.level_ns
    assert seen.recovered_ns == 0


def test_who_halts_the_chain_leaves_no_recovery(tmp_path: Path) -> None:
    outcome = run(load_scenario(THREATS / "level_then_silence.yaml"), tmp_path)
    seen = course(open_run(outcome.path))
    assert seen is not None
    assert seen.level_ns is not None
    assert seen.recovered_ns is None
    assert seen.longest_gap_ns > 5 * SECOND
    assert seen.usual_gap_ns is not None


def test_a_silence_that_ends_is_recovered_from(tmp_path: Path) -> None:
    done = ran(
        tmp_path,
        duration="8 s",
        validators={"count": 7},
        adversaries=[owned("silent", 1, 3, 5, start="2 s", end="3 s")],
    )
    (row,) = courses(done.run).to_dicts()
    assert row["attack_ns"] == 2 * SECOND
    assert SECOND < row["recovered_ns"] < 4 * SECOND
    assert row["longest_gap_ns"] <= row["recovered_ns"] + row["usual_gap_ns"]
    # A stall of a second is within what rules stand: no alert.
    assert row["alerted_ns"] is None
    assert row["alert"] == ""
    assert row["detected_ns"] is row["punished_ns"] is row["excluded_ns"] is None


def test_a_run_without_disorder_has_no_course(tmp_path: Path) -> None:
    calm = ran(tmp_path, duration="1 s")
    assert course(calm.run) is None
    assert courses(calm.run).is_empty()


@pytest.mark.parametrize(
    ("commits", "end", "expected"),
    [
        # Attack at 100: (usual gap, longest gap after, recovered after).
        ([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120], 130, (10, 10, 0)),
        ([10, 20, 30, 40, 50, 90, 130, 160], 210, (40, 50, 0)),
        ([50, 60, 70, 80, 90, 150, 160, 170, 180, 190], 210, (10, 60, 50)),
        ([50, 60, 70, 80, 90, 120, 130, 190], 210, (10, 60, 90)),
        ([50, 60, 70, 80, 90, 110, 120], 210, (10, 90, None)),
        ([50, 60, 70, 80], 210, (None, 130, None)),
    ],
)
def test_recovery_is_the_end_of_the_last_stall(
    commits: list[int], end: int, expected: tuple[int | None, int, int | None]
) -> None:
    assert _recovery(commits, 100, end) == expected
