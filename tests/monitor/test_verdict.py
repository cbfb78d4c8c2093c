"""Verdicts: every kind of expectation, met and not, whole and interrupted runs, and bounds."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.monitor.base import Violation
from sim.monitor.binomial import interval_ppm, upper_bound_ppm
from sim.monitor.verdict import CONFLICT, Line, Verdict, combine, judge
from sim.monitor.watch import Watch
from sim.scenario.checks import (
    CountCheck,
    DurationCheck,
    Level,
    LevelCourse,
    Liveness,
    LivenessBound,
    Safety,
    ShareCheck,
    SizeCheck,
    summary_name,
)

HELD = Safety(safety="held")
LIVE = Liveness(liveness=LivenessBound(commit_within_ns=10**9))


def broken(monitor: str) -> Violation:
    return Violation(monitor, 5, 2, {"height": 7}, 3, 5, 4)


def outcome(
    *checks: Any,
    violations: list[Violation] | None = None,
    metrics: dict[str, int | None] | None = None,
    levels: tuple[int, ...] = (),
    complete: bool = True,
) -> str:
    verdict = judge(
        checks,
        violations=violations or [],
        metrics=metrics or {},
        levels=levels,
        complete=complete,
    )
    return verdict.outcome


@pytest.mark.parametrize(
    ("check", "monitors", "whole", "interrupted"),
    [
        (HELD, [], "met", "inconclusive"),
        (HELD, ["agreement"], "violated", "violated"),
        (HELD, ["ledger_equality"], "violated", "violated"),
        (HELD, ["no_lost_message"], "violated", "violated"),
        (HELD, ["liveness"], "violated", "violated"),
        (Safety(safety="violated"), [], "missed", "inconclusive"),
        (Safety(safety="violated"), ["agreement", "certificate_uniqueness"], "met", "met"),
        (Safety(safety="violated"), ["validity"], "violated", "violated"),
        (Safety(safety="violated"), ["agreement", "no_lost_message"], "violated", "violated"),
        (Safety(safety="violated"), ["agreement", "accountability"], "violated", "violated"),
        (LIVE, [], "met", "inconclusive"),
        (LIVE, ["liveness"], "violated", "violated"),
        (LIVE, ["supply_conservation"], "violated", "violated"),
    ],
)
def test_invariants(check: Any, monitors: list[str], whole: str, interrupted: str) -> None:
    violations = [broken(monitor) for monitor in monitors]
    assert outcome(check, violations=violations) == whole
    assert outcome(check, violations=violations, complete=False) == interrupted


def test_monitors_of_conflicts_exist() -> None:
    watch = Watch(
        honest=1, validators=1, block_of=lambda _: None, epoch_of=lambda _: None, commit_within_ns=1
    )
    names = {monitor.name for monitor in watch.monitors}
    assert names >= CONFLICT
    assert "liveness" in names


@pytest.mark.parametrize(
    ("check", "value", "whole", "interrupted"),
    [
        (CountCheck(metric="forks", at_least=3), 3, "met", "met"),
        (CountCheck(metric="forks", at_least=3), 2, "missed", "inconclusive"),
        (CountCheck(metric="forks", at_most=3), 3, "met", "inconclusive"),
        (CountCheck(metric="forks", at_most=3), 4, "missed", "missed"),
        (CountCheck(metric="forks", at_least=1, at_most=3), 2, "met", "inconclusive"),
        (CountCheck(metric="forks", at_least=1), None, "inconclusive", "inconclusive"),
        (CountCheck(metric="level_last", at_least=1), 1, "met", "inconclusive"),
        (SizeCheck(metric="certificates_bytes", at_most_bytes=9), 10, "missed", "missed"),
        (DurationCheck(metric="commit_latency_p50", at_most_ns=9), 9, "met", "inconclusive"),
        (DurationCheck(metric="commit_latency_p50", at_most_ns=9), 10, "missed", "inconclusive"),
        (DurationCheck(metric="longest_commit_gap", at_most_ns=9), 10, "missed", "missed"),
        (ShareCheck(metric="lookup_success", at_least_ppm=9), 10, "met", "inconclusive"),
        (ShareCheck(metric="stale_answers", at_most_ppm=9), 10, "missed", "inconclusive"),
    ],
)
def test_figures(check: Any, value: int | None, whole: str, interrupted: str) -> None:
    metrics = {summary_name(check): value}
    assert outcome(check, metrics=metrics) == whole
    assert outcome(check, metrics=metrics, complete=False) == interrupted


@pytest.mark.parametrize(
    ("course", "levels", "whole", "interrupted"),
    [
        (LevelCourse(reached=1), (0, 1, 0), "met", "met"),
        (LevelCourse(reached=1), (0, 2, 0), "met", "met"),
        (LevelCourse(reached=2), (0, 1, 0), "missed", "inconclusive"),
        (LevelCourse(reached=0), (), "missed", "inconclusive"),
        (LevelCourse(returned=0), (0, 1, 0), "met", "inconclusive"),
        (LevelCourse(returned=0), (0, 0, 0), "missed", "inconclusive"),
        (LevelCourse(returned=0), (0, 1, 1), "missed", "inconclusive"),
        (LevelCourse(reached=2, returned=1), (0, 2, 1), "met", "inconclusive"),
        (LevelCourse(reached=2, returned=0), (0, 1, 0), "missed", "inconclusive"),
    ],
)
def test_levels(course: LevelCourse, levels: tuple[int, ...], whole: str, interrupted: str) -> None:
    assert outcome(Level(level=course), levels=levels) == whole
    assert outcome(Level(level=course), levels=levels, complete=False) == interrupted


def test_the_worst_line_decides_and_comes_first() -> None:
    checks = [HELD, CountCheck(metric="forks", at_least=9999), CountCheck(metric="epochs")]
    verdict = judge(
        checks,
        violations=[broken("agreement")],
        metrics={"forks": 1234},
        levels=(),
        complete=True,
    )
    assert verdict.outcome == "violated"
    assert [line.split(":")[0] for line in verdict.evidence] == [
        "violated",
        "missed",
        "inconclusive",
    ]
    assert verdict.evidence[0].endswith("agreement broken at 5 ns, validator 2 (4 times): height 7")
    assert verdict.evidence[1] == "missed: forks at least 9,999: 1,234"


@pytest.mark.parametrize(
    ("name", "code"), [("met", 0), ("violated", 1), ("missed", 1), ("inconclusive", 3)]
)
def test_exit_codes(name: str, code: int) -> None:
    assert Verdict(name, ()).exit_code == code


def test_an_unknown_check_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no way to judge str"):
        outcome("safety: held")


def verdicts(*outcomes: str) -> list[Verdict]:
    return [Verdict(name, (Line("x", name, "y"),)) for name in outcomes]


def test_replicates_give_a_bound_not_a_proof() -> None:
    joined = combine(verdicts(*["met"] * 20))
    assert joined.outcome == "met"
    # 1 - 0.05^(1/20) = 13.911 %
    assert joined.lines[0].found == (
        "20 of 20 runs met it: a run fails with a chance of at most 13.91 % "
        "(95 % confidence, exact binomial)"
    )


def test_one_bad_replicate_decides_and_is_named() -> None:
    joined = combine(verdicts("met", "missed", "inconclusive", "met"))
    assert joined.outcome == "missed"
    assert [str(line) for line in joined.lines[1:]] == [
        "missed: run 1: x: y",
        "inconclusive: run 2: x: y",
    ]
    assert joined.lines[0].found.startswith("2 of 3 runs met it")
    assert joined.lines[0].found.endswith("; 1 inconclusive")


def test_what_many_replicates_miss_is_one_line() -> None:
    missed = [Verdict("missed", (Line("x", "missed", str(n)),)) for n in range(1_200)]
    assert [str(line) for line in combine(missed).lines[1:]] == [
        "missed: x, in 1,200 of 1,200 runs: run 0: 0; run 1: 1; run 2: 2; and 1,197 more"
    ]
    few = combine([*verdicts("met"), *missed[:2]])
    assert str(few.lines[1]) == "missed: x, in 2 of 3 runs: run 1: 0; run 2: 1"


def test_combining_nothing_and_one() -> None:
    assert combine([]).outcome == "inconclusive"
    (one,) = verdicts("missed")
    assert combine([one]) is one
    assert combine(verdicts("inconclusive", "inconclusive")).lines[0].found == (
        "none of 2 runs was conclusive"
    )


@pytest.mark.parametrize(
    ("failures", "runs", "expected_ppm"),
    [
        # Closed forms: 1 - 0.05^(1/n) without failures, 0.95^(1/n) with one run that met it.
        (0, 1, 950_000),
        (0, 20, 139_109),
        (0, 59, 49_508),
        (0, 300, 9_937),
        (1, 2, 974_680),
        (3, 3, 1_000_000),
    ],
)
def test_upper_bounds(failures: int, runs: int, expected_ppm: int) -> None:
    assert abs(upper_bound_ppm(failures, runs) - expected_ppm) <= 1


def test_the_two_sided_interval_of_five_in_ten() -> None:
    # The textbook case: 0.18709 to 0.81291.
    low, high = interval_ppm(5, 10)
    assert (low, high) == (187_086, 812_914)


@given(st.integers(1, 40), st.integers(0, 40))
def test_the_bound_is_the_least_whole_ppm_that_holds(runs: int, failures: int) -> None:
    failures = min(failures, runs - 1)
    bound = upper_bound_ppm(failures, runs)

    def tail(chance_ppm: int) -> Fraction:
        p = Fraction(chance_ppm, 10**6)
        return sum(
            (comb(runs, i) * p**i * (1 - p) ** (runs - i) for i in range(failures + 1)),
            Fraction(0),
        )

    assert tail(bound) <= Fraction(1, 20) < tail(bound - 1)


@pytest.mark.parametrize(("failures", "runs"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_counts(failures: int, runs: int) -> None:
    with pytest.raises(ValueError, match="failures of"):
        upper_bound_ppm(failures, runs)


def test_impossible_confidence() -> None:
    with pytest.raises(ValueError, match="between 0 and"):
        upper_bound_ppm(0, 3, 10**6)
