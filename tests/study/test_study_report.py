"""The report of a study: curves, heat map, pairs, indices, what failed; legible in a browser."""

from __future__ import annotations

import html
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from sim import open_run, run_study
from sim.cli.main import main
from sim.record.runs import Run
from sim.study.figures import svg
from sim.study.report import render
from sim.study.statistics.intervals import paired_interval
from sim.study.study_figures import curves, differences, heat_map, met, sensitivity
from sim.study.study_report import study_section
from sim.study.sweep import Workers
from sim.study.swept import Study, against_first, axis, brief, path_name
from tests.study.browsers import problems_in
from tests.study.studies import study

HERE = Workers(count=0)
EXPECT = [
    {"safety": "held"},
    {"metric": "blocks_committed", "at_least": 4},
    {"metric": "block_latency_p50", "at_most": "1 s"},
]


def finished(folder: Path, **sections: Any) -> Run:
    asked = study(folder, record={"detail": "rounds"}, expect=EXPECT, **sections)
    return open_run(run_study(asked, folder / "out", workers=HERE).path)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    axes = {
        "consensus.min_block_interval": ["20 ms", "60 ms", "200 ms"],
        "validators.count": [4, 7],
    }
    return finished(tmp_path_factory.mktemp("grid"), replicates=3, sweep={"grid": axes})


@pytest.fixture(scope="module")
def sobol(tmp_path_factory: pytest.TempPathFactory) -> Run:
    ranges = {
        "consensus.min_block_interval": ["20 ms", "120 ms"],
        "consensus.store_blocks": [1000, 2000],
    }
    folder = tmp_path_factory.mktemp("sobol")
    return finished(folder, sweep={"base": 4, "sobol": ranges})


def test_axes_have_numbers_and_units() -> None:
    assert axis("a.timer_base", ["200 ms", "1 s"]).numbers == (0.2, 1.0)
    assert axis("a.timer_base", ["200 ms", "1 s"]).label == "timer base (s)"
    assert axis("a.count", [4, 7]).numbers == (4.0, 7.0)
    assert axis("a.leader", ["weighted", "round_robin"]).numbers is None
    assert axis("a.loss", ["1 %", "2 %"]).label == "loss (%)"


def test_maps_are_told_apart_by_what_differs() -> None:
    edit, cut = "{kind: edit, at: 10 s}", "{kind: truncate, at: 10 s, reach: newest}"
    assert brief([edit, cut]) == ["edit", "truncate, reach: newest"]
    assert brief([edit, edit]) == [edit, edit]
    assert brief(["4", "7"]) == ["4", "7"]
    nested = "{kind: edit, nodes: {ids: [1]}}"
    assert brief([edit, nested]) == [edit, nested]
    assert path_name("compliance.insiders.0") == "insiders 0"
    assert path_name("consensus.timer_base") == "timer base"


def test_means_stand_at_their_places(grid: Run) -> None:
    found = Study(grid)
    assert [metric.name for metric in found.metrics] == ["blocks_committed", "block_latency_p50_ns"]
    blocks = found.metrics[0]
    for slow in range(3):
        for size in range(2):
            mean = found.mean((slow, size), blocks)
            assert mean is not None
            values = found.results.values(slow * 2 + size, "blocks_committed")
            assert mean.estimate == pytest.approx(sum(v for v in values if v is not None) / 3)
    fast, slowest = found.mean((0, 0), blocks), found.mean((2, 0), blocks)
    assert fast is not None
    assert slowest is not None
    assert fast.estimate > 2 * slowest.estimate


def test_differences_are_of_replicates_with_the_same_chance(grid: Run) -> None:
    found = Study(grid)
    rows = against_first(found, found.metrics[0])
    assert [row.point for row in rows] == [1, 2, 3, 4, 5]
    values = [found.results.values(p, "blocks_committed") for p in (0, 4)]
    first, other = ([float(v) for v in each if v is not None] for each in values)
    assert rows[3].difference == paired_interval(first, other)
    assert rows[3].clear


def test_every_figure_says_seed_and_replicates(grid: Run) -> None:
    found = Study(grid)
    blocks = found.metrics[0]
    drawn = [draw(found, blocks) for draw in (curves, heat_map, differences)] + [met(found)]
    for figure in drawn:
        assert figure is not None
        assert "seed 1, n = 3 a point, 95 % intervals" in svg(figure)
    text = svg(drawn[0])  # type: ignore[arg-type]
    assert "min block interval (ms)" in text
    assert "validators.count" not in text
    assert "count 7" in text


def test_indices_are_drawn_for_a_sobol_sweep_only(sobol: Run, grid: Run) -> None:
    text = svg(sensitivity(Study(sobol), Study(sobol).metrics[0]))  # type: ignore[arg-type]
    assert "What matters for blocks committed" in text
    assert "store blocks" in text
    section = study_section(sobol)
    assert section is not None
    assert section["pairs"] == []
    assert len(section["figures"]) == 2
    gridded = study_section(grid)
    assert gridded is not None
    assert len(gridded["figures"]) == 2 * 3 + 1


def test_the_page_tells_points_pairs_and_failures(grid: Run, tmp_path: Path) -> None:
    copy = tmp_path / grid.path.name
    shutil.copytree(grid.path, copy)
    (copy / "point=003" / "replicate=001" / "result.json").write_text("{}")
    page = render(Run(copy, grid.manifest))
    text = html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<svg.*?</svg>", "", page, flags=re.S)))
    for said in (
        "consensus.min_block_interval = 60 ms, validators.count = 7",
        "3 met",
        "2 (-1)",
        "point 3, replicate 1",
        "schema None",
        "Paired differences to consensus.min_block_interval = 20 ms, validators.count = 4",
    ):
        assert said in text, said
    assert "<script" not in page


def test_show_prints_the_indices(
    sobol: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["creto-sim", "show", str(sobol.path), "--metric", "forks"])
    with pytest.raises(SystemExit):
        main()
    assert "no setting matters" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["creto-sim", "show", str(sobol.path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert re.search(r"blocks_committed +consensus\.min_block_interval +\d\.\d\d ± ", said)
    assert "takes part in (Sobol)" in said


def test_a_single_run_has_no_section(tmp_path: Path) -> None:
    assert study_section(finished(tmp_path)) is None


@pytest.mark.parametrize(
    ("which", "width", "dark"),
    [
        ("grid", 390, False),
        ("grid", 1280, True),
        ("sobol", 390, True),
        ("sobol", 1280, False),
    ],
)
def test_nothing_is_clipped_or_overlaps_in_a_browser(
    which: str, width: int, dark: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seen = problems_in(render(request.getfixturevalue(which)), tmp_path, width, dark)
    assert seen["figures"] >= 5
    assert seen["width"] == width
    assert seen["dark"] is dark
    assert seen["problems"] == []
