"""The verdict of a run: what was expected, what was found, and what that proves.

Owns: how violations and metrics turn into met, violated, missed or inconclusive, the lines that
give the evidence, and the exit codes. Must not know: how figures were measured.

violated: an invariant broke that the scenario does not expect to break. missed: nothing broke, but
a figure that was asked for was not reached. inconclusive: the run ended early, or there was nothing
to measure. met: everything else; over several replicates it is stated as a bound, not as a proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.monitor.base import Violation
from sim.monitor.binomial import upper_bound_ppm
from sim.monitor.progress import Liveness as LivenessMonitor
from sim.scenario.checks import (
    CountCheck,
    DurationCheck,
    Level,
    Liveness,
    MetricCheck,
    Safety,
    ShareCheck,
    SizeCheck,
    bounds,
    summary_name,
)
from sim.scenario.quantities import DURATION, SHARE, SIZE

OUTCOMES = ("met", "inconclusive", "missed", "violated")
"""From best to worst: the worst line decides."""

EXIT_CODES: Mapping[str, int] = {"met": 0, "violated": 1, "missed": 1, "inconclusive": 3}

CONFLICT = frozenset(
    ("agreement", "certificate_uniqueness", "commit_monotonicity", "ledger_equality", "validity")
)
"""Monitors that break when honest validators commit conflicting blocks, which
`safety: violated` asks for."""

_NAMED = 3
"""Runs of a study that are named in a line of its verdict."""

SAFETY = CONFLICT | {"vote_safety"}
"""What `safety: held` asks to hold. However many are dishonest, no honest one may break the rules
of voting: `safety: violated` does not ask for that."""


@dataclass(frozen=True, slots=True)
class Line:
    """One expectation or broken invariant. `found` says what the outcome rests on."""

    expectation: str
    outcome: str
    found: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.expectation}: {self.found}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome and the lines that it follows from."""

    outcome: str
    lines: tuple[Line, ...]

    @property
    def exit_code(self) -> int:
        """0 met, 1 violated or missed, 3 inconclusive."""
        return EXIT_CODES[self.outcome]

    @property
    def evidence(self) -> tuple[str, ...]:
        """The lines as text, worst first."""
        ranked = sorted(self.lines, key=lambda line: -OUTCOMES.index(line.outcome))
        return tuple(str(line) for line in ranked)


def _worst(outcomes: Sequence[str]) -> str:
    return max(outcomes, key=OUTCOMES.index, default="met")


def judge(
    checks: Sequence[Any],
    *,
    violations: Sequence[Violation],
    metrics: Mapping[str, int | None],
    levels: Sequence[int],
    complete: bool,
) -> Verdict:
    """Judge one replicate.

    `checks`: the scenario's `expect` list. `levels`: the quorum level of each epoch in order.
    `complete`: whether the run reached its end; what the rest of an interrupted run could still
    have changed is inconclusive. Raises TypeError for a check of no known kind.
    """
    lines = [_line(check, violations, metrics, levels, complete) for check in checks]
    expected: set[str] = set()
    for check in checks:
        if isinstance(check, Safety):
            expected |= SAFETY if check.safety == "held" else CONFLICT
        elif isinstance(check, Liveness):
            expected.add(LivenessMonitor.name)
    lines += [
        Line(f"{violation.monitor} holds", "violated", str(violation))
        for violation in violations
        if violation.monitor not in expected
    ]
    return Verdict(_worst([line.outcome for line in lines]), tuple(lines))


def _line(
    check: Any,
    violations: Sequence[Violation],
    metrics: Mapping[str, int | None],
    levels: Sequence[int],
    complete: bool,
) -> Line:
    if isinstance(check, Safety):
        return _safety(check, violations, complete)
    if isinstance(check, Liveness):
        return _liveness(check, violations, complete)
    if isinstance(check, Level):
        return _level(check, levels, complete)
    if isinstance(check, CountCheck | DurationCheck | SizeCheck | ShareCheck):
        return _bounds(check, metrics, complete)
    raise TypeError(f"no way to judge {type(check).__name__}")


def _safety(check: Safety, violations: Sequence[Violation], complete: bool) -> Line:
    words = f"safety {check.safety}"
    held = check.safety == "held"
    watched = SAFETY if held else CONFLICT
    broken = [violation for violation in violations if violation.monitor in watched]
    found = "; ".join(str(violation) for violation in broken)
    if held:
        if broken:
            return Line(words, "violated", found)
        outcome = "met" if complete else "inconclusive"
        return Line(words, outcome, "no invariant broke" + ("" if complete else " so far"))
    conflict = any(violation.monitor == "agreement" for violation in broken)
    if conflict:
        return Line(words, "met", found)
    if broken:
        return Line(words, "violated", f"not by conflicting commits: {found}")
    return Line(words, "missed" if complete else "inconclusive", "no conflicting commits")


def _liveness(check: Liveness, violations: Sequence[Violation], complete: bool) -> Line:
    words = f"a commit within {DURATION.format(check.liveness.commit_within_ns)}"
    start = "the start"
    if check.liveness.after_ns:
        start = DURATION.format(check.liveness.after_ns)
        words += f" after {start}"
    for violation in violations:
        if violation.monitor == LivenessMonitor.name:
            return Line(words, "violated", str(violation))
    if complete:
        return Line(words, "met", f"never longer, from {start} and from the last heal")
    return Line(words, "inconclusive", "never longer so far")


def _level(check: Level, levels: Sequence[int], complete: bool) -> Line:
    course = check.level
    unmet = "missed" if complete else "inconclusive"
    words, outcomes = [], []
    if course.reached is not None:
        words.append(f"level {course.reached} reached")
        outcomes.append("met" if max(levels, default=-1) >= course.reached else unmet)
    if course.returned is not None:
        words.append(f"level back to {course.returned}")
        came_back = bool(levels) and levels[-1] <= course.returned < max(levels)
        # A later epoch may rise again: only the end of the run settles it.
        outcomes.append("met" if came_back and complete else unmet)
    found = "no epoch" if not levels else "by epoch: " + _course(levels)
    return Line(" and ".join(words), _worst(outcomes), found)


def _course(levels: Sequence[int]) -> str:
    """Write a course of levels as runs: `0 x 3, 2 x 1, 0 x 2`."""
    runs: list[list[int]] = []
    for level in levels:
        if runs and runs[-1][0] == level:
            runs[-1][1] += 1
        else:
            runs.append([level, 1])
    return ", ".join(f"{level} x {count}" for level, count in runs)


def _bounds(check: MetricCheck, metrics: Mapping[str, int | None], complete: bool) -> Line:
    name = summary_name(check)
    at_least, at_most = bounds(check)
    sides = [
        f"{word} {_text(check, bound)}"
        for word, bound in (("at least", at_least), ("at most", at_most))
        if bound is not None
    ]
    words = f"{check.metric} {' and '.join(sides)}"
    value = metrics.get(name)
    if value is None:
        return Line(words, "inconclusive", "nothing to measure")
    found = _text(check, value, digits=6)
    low = at_least is not None and value < at_least
    high = at_most is not None and value > at_most
    if complete:
        return Line(words, "missed" if low or high else "met", found)
    # What only grows stays past a bound that it has passed; the rest may still move anywhere.
    grows = name != "level_last" and "latency" not in name and not isinstance(check, ShareCheck)
    if grows and high:
        return Line(words, "missed", f"{found} so far")
    if grows and not low and at_most is None:
        return Line(words, "met", f"{found} so far")
    return Line(words, "inconclusive", f"{found} so far")


def _text(check: MetricCheck, value: int, digits: int | None = None) -> str:
    """Write a bound as the scenario would; what was found to so many digits, summaries have all."""
    if isinstance(check, CountCheck):
        return f"{value:,}"
    dimension = DURATION
    if isinstance(check, SizeCheck | ShareCheck):
        dimension = SIZE if isinstance(check, SizeCheck) else SHARE
    return dimension.format(value) if digits is None else dimension.approximate(value, digits)


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """Join the verdicts of replicates: the worst decides, and what was met becomes a bound.

    What many runs miss alike is one line, which names the first of them.
    """
    if not verdicts:
        return Verdict("inconclusive", (Line("a run", "inconclusive", "no replicate ran"),))
    if len(verdicts) == 1:
        return verdicts[0]
    outcome = _worst([verdict.outcome for verdict in verdicts])
    lines = [Line("every replicate meets it", outcome, bound_line(verdicts))]
    alike: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for number, verdict in enumerate(verdicts):
        for line in verdict.lines:
            if line.outcome != "met":
                alike.setdefault((line.expectation, line.outcome), []).append((number, line.found))
    lines += [
        _joined(words, worse, cases, len(verdicts)) for (words, worse), cases in alike.items()
    ]
    return Verdict(outcome, tuple(lines))


def _joined(words: str, outcome: str, cases: Sequence[tuple[int, str]], runs: int) -> Line:
    """Return one line for an expectation that some runs did not meet."""
    if len(cases) == 1:
        ((number, found),) = cases
        return Line(f"run {number}: {words}", outcome, found)
    named = "; ".join(f"run {number}: {found}" for number, found in cases[:_NAMED])
    rest = f"; and {len(cases) - _NAMED:,} more" if len(cases) > _NAMED else ""
    return Line(f"{words}, in {len(cases):,} of {runs:,} runs", outcome, named + rest)


def bound_line(verdicts: Sequence[Verdict]) -> str:
    """Say how many of the conclusive runs met it, and what that bounds at 95 % confidence."""
    conclusive = [verdict for verdict in verdicts if verdict.outcome != "inconclusive"]
    if not conclusive:
        return f"none of {len(verdicts)} runs was conclusive"
    failures = sum(verdict.outcome != "met" for verdict in conclusive)
    bound = upper_bound_ppm(failures, len(conclusive))
    left = len(verdicts) - len(conclusive)
    rest = f"; {left} inconclusive" if left else ""
    return (
        f"{len(conclusive) - failures} of {len(conclusive)} runs met it: a run fails with a chance "
        f"of at most {bound // 10_000}.{bound % 10_000 // 100:02d} % "
        f"(95 % confidence, exact binomial){rest}"
    )
