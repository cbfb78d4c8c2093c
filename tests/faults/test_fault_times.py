"""When faults occur: distributions from their sources, and timetables that depend on little."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.engine.disturbances import timetable
from sim.engine.faults import Entry
from sim.engine.genesis import Census
from sim.scenario.model import Scenario
from sim.world.chance import Chance
from sim.world.faults import Span
from sim.world.faults.occurrence import Lifetimes, figures, occurrences
from sim.world.faults.rollout import BadVersion, Course, Plan, Rollout, Wave, waves
from tests.engine.worlds import MS, SECOND, WEST, ran, scenario

MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
DRAWS = 20_000
SEVEN = {"duration": "60 s", "validators": {"count": 7}}
EVERY: dict[str, Any] = {
    "every": {"kind": "exponential", "mean": "4 s"},
    "lasting": {"kind": "lognormal", "median": "500 ms", "sigma": 1.2},
}


def drawn(folder: Path, faults: list[dict[str, Any]], seed: int = 1, replicate: int = 0) -> Any:
    """Return the entries of a timetable by the index of their fault."""
    asked: Scenario = scenario(folder, **SEVEN, seed=seed, faults=faults)
    census = Census([WEST] * 7, [1] * 7, [1] * 7, Chance(seed, replicate))
    found: dict[int, list[Entry]] = {}
    for entry in timetable(asked, census):
        found.setdefault(entry.place, []).append(entry)
    return found


# -- distributions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "median_ns", "p95_ns"),
    [
        ("wan_partition_software", 162 * SECOND, 1_194 * SECOND),
        ("wan_partition_hardware", 32 * MINUTE, 5_328 * MINUTE),
    ],
)
def test_partitions_have_the_quantiles_of_their_source(
    name: str, median_ns: int, p95_ns: int
) -> None:
    figure = figures()[name].lifetimes
    assert figure.kind == "lognormal"
    assert figure.middle_ns == median_ns
    sigma = math.log(p95_ns / median_ns) / 1.6449
    assert figure.shape_micro / 1e6 == pytest.approx(sigma, abs=0.01)


@pytest.mark.parametrize(
    ("name", "median_h", "mean_h"),
    [("incident_aws", 1.88, 3.54), ("incident_azure", 5.27, 10.99), ("incident_gcp", 3.86, 14.56)],
)
def test_incidents_have_the_mean_of_their_source(name: str, median_h: float, mean_h: float) -> None:
    figure = figures()[name].lifetimes
    assert figure.middle_ns == round(median_h * HOUR)
    assert figure.mean_ns / HOUR == pytest.approx(mean_h, rel=0.005)


def test_crashes_are_exponential_and_every_figure_has_a_source() -> None:
    assert figures()["vm_crash"].lifetimes.kind == "exponential"
    for name, figure in figures().items():
        assert figure.source, name
        assert figure.confidence in ("measured", "assumption"), name


@pytest.mark.parametrize(
    ("lifetimes", "deviation"),
    [
        (Lifetimes("exponential", SECOND), 1.0),
        (Lifetimes("lognormal", SECOND, 500_000), math.sqrt(math.exp(0.25) - 1)),
        (
            Lifetimes("weibull", SECOND, 615_110),
            math.sqrt(math.gamma(1 + 2 / 0.61511) / math.gamma(1 + 1 / 0.61511) ** 2 - 1),
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_draws_have_the_stated_mean(lifetimes: Lifetimes, deviation: float) -> None:
    """Within five standard errors; `deviation` is relative to the mean."""
    stream = Chance(1, 0).stream("draws")
    times = np.array([lifetimes.draw_ns(stream) for _ in range(DRAWS)])
    assert times.min() >= 1
    assert times.mean() / lifetimes.mean_ns == pytest.approx(
        1, abs=5 * deviation / math.sqrt(DRAWS)
    )


def test_faster_divides_every_time() -> None:
    slow = Lifetimes("weibull", 90 * HOUR, 700_000)
    fast = slow.faster(1_000_000 * 1000)
    pairs = [(f.draw_ns(Chance(1, 0).stream("x")), f.mean_ns) for f in (slow, fast)]
    assert pairs[0][0] == pytest.approx(1000 * pairs[1][0], rel=1e-9)
    assert pairs[0][1] == pytest.approx(1000 * pairs[1][1], rel=1e-6)


# -- timetables -----------------------------------------------------------------------------------


def test_up_and_down_take_turns_within_bounds() -> None:
    stream = Chance(3, 0).stream("turns")
    every, lasting = Lifetimes("exponential", SECOND), Lifetimes("lognormal", SECOND, 10**6)
    spans = list(occurrences(5 * SECOND, 300 * SECOND, every, lasting, stream, 400 * SECOND))
    assert len(spans) > 50
    assert spans[0].at_ns > 5 * SECOND
    for before, after in pairwise(spans):
        assert before.at_ns < before.until_ns < after.at_ns  # type: ignore[operator]
    assert spans[-1].at_ns < 300 * SECOND
    assert spans[-1].until_ns is not None
    assert spans[-1].until_ns <= 300 * SECOND


def test_one_occurrence_may_last_for_a_drawn_time() -> None:
    lasting = Lifetimes("fixed", 2 * SECOND)
    stream = Chance(1, 0).stream("once")
    for until_ns, end_ns in ((None, 3 * SECOND), (2 * SECOND, 2 * SECOND)):
        (span,) = occurrences(SECOND, until_ns, None, lasting, stream, 60 * SECOND)
        assert span == Span(SECOND, end_ns)


def test_a_timetable_depends_on_seed_replicate_and_name_alone(tmp_path: Path) -> None:
    """Other faults may come, go and change without moving one that has a name."""
    mine = {"kind": "crash", "name": "mine", "nodes": {"random": 2}, "at": "0 s", **EVERY}
    other = {"kind": "slow_node", "nodes": {"random": 3}, "factor": 2, "at": "0 s", **EVERY}
    (alone,) = drawn(tmp_path, [mine])[0]
    (second,) = drawn(tmp_path, [other, mine])[1]
    assert second[1:] == alone[1:]
    assert len(alone.spans) > 3
    for change in ({"seed": 2}, {"replicate": 1}):
        (moved,) = drawn(tmp_path, [mine], **change)[0]  # type: ignore[arg-type]
        assert moved.spans != alone.spans
    (renamed,) = drawn(tmp_path, [mine | {"name": "yours"}])[0]
    assert renamed.spans != alone.spans


def test_whom_a_fault_by_rates_strikes(tmp_path: Path) -> None:
    """All at the same times; each at its own; or another one each time."""
    base = {"kind": "crash", "name": "x", "nodes": {"ids": [1, 3, 5]}, "at": "0 s", **EVERY}
    (together,) = drawn(tmp_path, [base])[0]
    assert together.fault.nodes == (1, 3, 5)
    apart = drawn(tmp_path, [base | {"strikes": "each"}])[0]
    assert [entry.fault.nodes for entry in apart] == [(1,), (3,), (5,)]
    assert len({entry.spans for entry in apart}) == 3
    fewer = base | {"strikes": "each", "nodes": {"ids": [3]}}
    assert drawn(tmp_path, [fewer])[0][0].spans == apart[1].spans
    one = drawn(tmp_path, [base | {"strikes": "one"}])[0]
    assert [span for entry in one for span in entry.spans] == list(together.spans)
    struck = [entry.fault.nodes for entry in one]
    assert set(struck) <= {(1,), (3,), (5,)}
    assert len(set(struck)) > 1


def test_every_begin_and_end_is_on_the_record(tmp_path: Path) -> None:
    fault = {"kind": "kms_outage", "name": "keys", "nodes": {"ids": [6]}, "at": "0 s", **EVERY}
    done = ran(tmp_path, **SEVEN | {"duration": "20 s"}, faults=[fault | {"until": "18 s"}])
    rows = sorted((r["time_ns"], r["event"]) for r in done.rows("faults", kind="kms_outage"))
    asked = scenario(tmp_path, **SEVEN | {"duration": "20 s"}, faults=[fault | {"until": "18 s"}])
    census = Census([WEST] * 7, [1] * 7, [1] * 7, Chance(1, 0))
    (entry,) = timetable(asked, census)
    expected = [(at, "begin") for at, _ in entry.spans] + [(end, "end") for _, end in entry.spans]
    assert rows == sorted(expected)  # type: ignore[type-var]
    assert len(entry.spans) >= 2


# -- rollouts -------------------------------------------------------------------------------------


def plan(**settings: Any) -> Plan:
    base = {"downtime_ns": 100, "first": 2, "bake_ns": 1_000, "wave": 3, "pause_ns": 50}
    return Plan(**{**base, **settings})


def test_a_canary_bakes_before_the_waves() -> None:
    assert waves(range(7), 10_000, plan()) == [
        Wave((0, 1), 10_000, 10_100),
        Wave((2, 3, 4), 11_100, 11_200),
        Wave((5, 6), 11_250, 11_350),
    ]
    assert plan().ends_ns(7, 10_000) == 11_350
    assert plan().ends_ns(2, 10_000) == 10_100


def gone(course: Course, waves_up: int, stopped: int = 0) -> Course:
    """Let the first waves come up, and so many more be down."""
    for rank, wave in enumerate(course.waves[: waves_up + stopped]):
        course.stop(wave)
        if rank < waves_up:
            course.start(wave)
    return course


def test_a_version_that_is_called_off_goes_no_further() -> None:
    """Slow ones go back at once; a wave that is down by then comes up with the old version."""
    course = Course(range(8), 0, plan(bake_ns=50, factor_ppm=5_000_000, noticed_ns=290))
    assert course.noticed_ns == 390
    first, second, third = course.waves
    assert course.stop(first) == [(Rollout((0, 1)), True)]
    assert course.start(first) == [
        (Rollout((0, 1)), False),
        (BadVersion((0, 1), 5_000_000), True),
    ]
    course.stop(second)
    assert list(course.running) == [0, 1]
    assert course.call_off() == [(BadVersion((0, 1), 5_000_000), False), (Rollout((0, 1)), True)]
    assert course.start(second) == [(Rollout((2, 3, 4)), False)]
    assert course.stop(third) == course.start(third) == []
    assert course.back() == [(Rollout((0, 1)), False)]
    assert list(course.reached) == [0, 1]
    assert list(course.running) == []


def test_all_slow_waves_end_before_the_first_one_goes_back() -> None:
    course = gone(Course(range(5), 0, plan(factor_ppm=2_000_000)), waves_up=2)
    assert [(type(fault), begins) for fault, begins in course.call_off()] == [
        (BadVersion, False),
        (BadVersion, False),
        (Rollout, True),
        (Rollout, True),
    ]


def test_a_version_that_does_not_come_up_stays_down_until_it_is_called_off() -> None:
    course = Course(range(3), 0, plan(first=3, factor_ppm=0, noticed_ns=500))
    (wave,) = course.waves
    assert course.stop(wave) == [(Rollout((0, 1, 2)), True)]
    assert course.start(wave) == []
    assert list(course.reached) == [0, 1, 2]
    assert list(course.running) == []
    assert course.noticed_ns == 600
    assert course.call_off() == []
    assert course.back() == [(Rollout((0, 1, 2)), False)]
    assert Course(range(3), 0, plan(factor_ppm=0)).noticed_ns is None


def test_restarts_are_faults_of_the_wave_only(tmp_path: Path) -> None:
    """While one is restarted the others go on; all come back with what they had committed."""
    fault = {
        "kind": "rollout",
        "nodes": {"ids": [4, 5, 6]},
        "at": "1 s",
        "downtime": "200 ms",
        "strategy": {"kind": "rolling", "wave": 1, "pause": "800 ms"},
        "bad_version": {"factor": 3, "noticed_after": "2500 ms"},
    }
    settings = SEVEN | {"duration": "7 s", "quorum": {"cooldown_epochs": 100}}
    done = ran(tmp_path, **settings, faults=[fault])
    begun = [
        (row["time_ns"] // MS, row["node"], row["target"])
        for row in done.rows("faults", event="begin")
    ]
    assert begun == [
        (1000, 4, "restart"),
        (1200, 4, "bad_version"),
        (2000, 5, "restart"),
        (2200, 5, "bad_version"),
        (3000, 6, "restart"),
        (3200, 6, "bad_version"),
        (3700, 4, "restart"),
        (3700, 5, "restart"),
        (3700, 6, "restart"),
    ]
    assert done.rows("evidence") == []
    for node in (4, 5, 6):
        heights = [row["height"] for row in done.rows("commits", node=node)]
        assert sorted(heights) == list(range(1, max(heights) + 1))
