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


def test_a_sobol_sweep_is_saltellis_design(loaded: Load, minimal: str) -> None:
    """Two samples, then the first one with each setting in turn taken from the second."""
    sweep = (
        "sweep:\n  base: 8\n  sobol:\n    validators.count: [4, 7]\n"
        "    consensus.timer_base: [800 ms, 2 s]\n    consensus.timer_backoff: [1, 2.5]\n"
    )
    scenario = loaded(minimal + sweep)
    points = scenario.points()
    assert len(points) == 8 * 5
    rows = [
        (
            p.scenario.validators.count,
            p.scenario.consensus.timer_base_ns,
            p.scenario.consensus.timer_backoff_ppm,
        )
        for p in points
    ]
    a, b, *mixed = (rows[block : block + 8] for block in range(0, 40, 8))
    for setting, block in enumerate(mixed):
        for row, ours, theirs in zip(block, a, b, strict=True):
            assert row == tuple(theirs[i] if i == setting else ours[i] for i in range(3))
    # Sobol points are balanced: each of the four counts twice, times in all eighths of the range.
    assert sorted(count for count, _, _ in a) == [4, 4, 5, 5, 6, 6, 7, 7]
    assert sorted((t - 800_000_000) // 150_000_000 for _, t, _ in a) == list(range(8))
    assert all(1_000_000 <= backoff <= 2_500_000 for _, _, backoff in rows)
    assert [p.settings for p in loaded(minimal + sweep).points()] == [p.settings for p in points]
    other = loaded(minimal + sweep + "  draw: 2\n").points()
    assert [p.settings for p in other] != [p.settings for p in points]


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
        ("{grd: {}}", "9:1: sweep: expected a sweep: one of `grid`, `zip`, `sobol`"),
        (
            "{sobol: {consensus.timr: [1 s, 2 s]}, base: 2}",
            "9:33: point 0: consensus.timr: `consensus`",
        ),
        (
            "{base: 4, sobol: {validators.count: [2, 3]}}",
            " validators tolerate no fault: Byzantine agreement needs",
        ),
        ("{sobol: {seed: [1, 2]}}", "9:17: sweep.sobol.seed: a sweep cannot vary `seed`"),
        ("{sobol: {consensus.timer_base: [1 s]}}", "expected two ends, `[low, high]`"),
        ("{sobol: {consensus.timer_base: [2 s, 10 ms]}}", "goes from a low to a higher end"),
        ("{sobol: {consensus.timer_base: [1 s, 10 MiB]}}", "are not two quantities of one kind"),
        ("{sobol: {quorum.liveness_guard: [false, true]}}", "are not two quantities of one kind"),
        ("{sobol: {validators.count: [4, 7]}, base: 6}", "sweep.base: 6 is not a power of two"),
        ("{sobol: {validators.count: [4, 7]}, base: 4096}", "12288 points; at most 10000"),
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
    assert any(found in error for error in errors), errors
    assert len(errors) <= 2, errors


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
