"""Sweeps: the points, in order, each checked, its errors at the value that caused them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.scenario.model import Scenario

Load = Callable[..., Scenario]
Errors = Callable[..., list[str]]


def test_without_a_sweep_there_is_one_point(loaded: Load, minimal: str) -> None:
    scenario = loaded(minimal)
    (point,) = scenario.points()
    assert point.scenario is scenario
    assert point.settings == ()


def test_a_grid_has_every_combination(loaded: Load, minimal: str) -> None:
    sweep = (
        "sweep:\n  grid:\n    validators.count: [4, 7]\n"
        "    consensus.dissemination: [{kind: star}, {kind: tree, fanout: 2}]\n"
        "    consensus.timer_base: [1 s]\n"
    )
    points = loaded(minimal + sweep).points()
    assert [point.index for point in points] == [0, 1, 2, 3]
    assert [
        (p.scenario.validators.count, p.scenario.consensus.dissemination.kind) for p in points
    ] == [(4, "star"), (4, "tree"), (7, "star"), (7, "tree")]
    assert points[1].settings == (
        ("validators.count", "4"),
        ("consensus.dissemination", "{kind: tree, fanout: 2}"),
        ("consensus.timer_base", "1 s"),
    )
    assert all(p.scenario.sweep is None for p in points)
    assert len({p.scenario.digest for p in points}) == 4


def test_a_zip_goes_side_by_side(loaded: Load, minimal: str) -> None:
    sweep = "sweep: {zip: {validators.count: [4, 7], quorum.initial_level: [0, 2]}}\n"
    points = loaded(minimal + sweep).points()
    assert [(p.scenario.validators.count, p.scenario.quorum.initial_level) for p in points] == [
        (4, 0),
        (7, 2),
    ]


@pytest.mark.parametrize(
    ("sweep", "found"),
    [
        (
            "{grid: {validators.count: [4, 3]}}",
            "9:38: point 1: validators.count: 3 validators tolerate no fault",
        ),
        (
            "{grid: {consensus.timer_base: [1 s, 5]}}",
            "9:44: point 1: consensus.timer_base: 5 is a bare number",
        ),
        ("{grid: {consensus.timr: [1 s]}}", "9:33: point 0: consensus.timr: `consensus`"),
        ("{grid: {title.x: [1]}}", "9:16: sweep.grid.title.x: a sweep cannot vary `title.x`"),
        ("{grid: {seed: [1, 2]}}", "9:16: sweep.grid.seed: a sweep cannot vary `seed`"),
        ("{grid: {expect.5.safety: [held]}}", "9:9: sweep: `expect.5.safety` leads nowhere"),
        ("{grid: {validators.count: 4}}", "9:34: sweep.grid.validators.count: expected a list"),
        ("{grid: {validators.count: []}}", "9:34: sweep.grid.validators.count: expected a list"),
        ("{grid: {}}", "9:9: sweep.grid: expected settings with lists of values"),
        ("{grd: {}}", "9:1: sweep: expected a sweep: one of `grid`, `zip`"),
        (
            "{zip: {validators.count: [4, 5], quorum.initial_level: [1]}}",
            "9:9: sweep.zip: all lists must have the same length",
        ),
    ],
)
def test_mistakes_stand_at_their_values(
    errors_of: Errors, minimal: str, sweep: str, found: str
) -> None:
    errors = errors_of(minimal + f"sweep: {sweep}\n")
    found = found.replace("`consensus`", "`timr` is not known here; did you mean `timer_max`?")
    assert any(error.startswith(found) for error in errors), errors


def test_the_number_of_points_is_bounded(errors_of: Errors, minimal: str) -> None:
    values = ", ".join(str(n) for n in range(3, 203))
    axes = f"consensus.epoch_blocks: [{values}], consensus.sync_blocks: [{values}]"
    errors = errors_of(minimal + f"sweep: {{grid: {{{axes}}}}}\n")
    assert errors == ["9:9: sweep: 40000 points; at most 10000"]


def test_points_do_not_disturb_one_another(loaded: Load, minimal: str) -> None:
    sweep = "sweep: {grid: {expect.0.safety: [held, violated], quorum.missed.1: [20 %, 30 %]}}\n"
    scenario = loaded(minimal + sweep)
    before = scenario.digest
    points = scenario.points()
    assert [p.scenario.quorum.missed_ppm[1] for p in points] == [200_000, 300_000] * 2
    assert scenario.digest == before
    assert scenario.points() == points
