"""The report: complete, self-contained, and legible in a real browser."""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sim import load_scenario, run
from sim.cli.main import main
from sim.record.histogram import bucket_edges
from sim.record.runs import Run, open_run
from sim.study.directory_figures import registry
from sim.study.event_figures import alert_rows, fork_rows, lanes
from sim.study.figures import RunData, stretches, svg, utilisation
from sim.study.region_figures import pair_quantiles
from sim.study.report import FIGURES, biases, content, render, write_report
from sim.study.study_report import quantity
from tests.study.browsers import problems_in

ROOT = Path(__file__).resolve().parents[2]
SECOND = 10**9
SCENARIO = """\
schema: creto-sim/1
title: A <small> world
question: Is everything in its report?
duration: 8 s
validators: {count: 7, placement: [aws:us-gov-west-1, az:usgovvirginia, aws:eu-central-1]}
network: {bandwidth: 1 Gbit/s}
consensus: {timer_base: 1 s, epoch_blocks: 6}
agents:
  count: 600
  placement: [aws:us-gov-west-1, az:usgovvirginia, aws:eu-central-1]
  workload:
    messages: {arrivals: {kind: poisson, rate: 2 /s}}
    transactions: {arrivals: {kind: poisson, rate: 0.2 /s}}
    lookups: {by_id: {arrivals: {kind: poisson, rate: 0.2 /s}}}
faults:
  - {kind: crash, nodes: {ids: [6]}, at: 2 s, until: 4 s}
  - {kind: slow_node, nodes: {ids: [2]}, at: 3 s, until: 6 s, factor: 2}
adversaries:
  - {kind: double_vote, nodes: {ids: [1]}, start: 1 s}
expect:
  - safety: held
  - {metric: blocks_committed, at_least: 5}
replicates: 2
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "small.yaml"
    path.write_text(SCENARIO)
    outcome = run(load_scenario(path), folder / "results")
    return open_run(outcome.path)


def test_every_figure_is_drawn_and_takes_the_colours_of_the_page(finished: Run) -> None:
    data = RunData(finished, load_scenario(finished.path / "scenario.yaml"))
    for draw in FIGURES:
        figure = draw(data)
        assert figure is not None, draw.__name__
        text = svg(figure)
        assert text.startswith("<svg")
        assert "currentColor" in text
        assert "#010203" not in text
        assert ", replicate 0" in text
        assert svg(draw(data)) == text


def test_utilisation_is_busy_time_over_capacity(finished: Run) -> None:
    data = RunData(finished, load_scenario(finished.path / "scenario.yaml"))
    rows = {(row["class"], row["lane"]): row for row in utilisation(data).iter_rows(named=True)}
    stations = data.table("stations").collect()
    ingress = stations.filter(class_ := stations["class"] == "ingress")
    assert class_.any()
    busy = ingress["busy_ns"].sum() / (4 * 7 * 8e9) * 100
    assert rows["ingress", "agents"]["mean"] == pytest.approx(busy)
    assert rows["ingress", "agents"]["largest"] == ingress["busy_ns"].max() / 4e9 * 100


def test_the_page_says_what_the_run_says(finished: Run) -> None:
    page = render(finished)
    text = html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<svg.*?</svg>", "", page, flags=re.S)))
    assert "A <small> world" in text
    assert "<small>" not in page
    assert finished.digest is not None
    for said in (
        finished.digest,
        "2 of 2",
        "crash (fault 0)",
        "double_vote (adversary 0)",
        "safety held",
        "government regions",
        "aws:us-gov-west-1",
        "mean of 2 replicates",
    ):
        assert said in text, said
    for name, metric in finished.summary["replicates"][0]["metrics"].items():
        assert f"{name}" in text
        assert quantity(name, metric) in text


def test_a_damaged_table_is_named_and_the_rest_is_shown(finished: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy, symlinks=False)
    for table in ("stations", "alerts"):
        file = copy / "replicate=000" / f"{table}.parquet"
        file.write_bytes(file.read_bytes()[:200])
    found = content(open_run(copy))
    assert len(found["damaged"]) == 2
    assert all("no whole Parquet file" in why for why in found["damaged"])
    # The time axis has alerts in it, the figure of stations is of their table.
    assert len(found["figures"]) == len(FIGURES) - 2
    assert (found["busiest"], found["alerts"]) == ([], [])
    assert found["faults"]
    page = render(open_run(copy))
    assert "<h2>Damaged tables</h2>" in page
    assert "<h2>Damaged tables</h2>" not in render(finished)


def test_the_page_needs_nothing_from_outside(finished: Run) -> None:
    page = render(finished)
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page


def test_the_report_lies_in_the_run_and_is_small(finished: Run) -> None:
    path = write_report(finished)
    assert path == finished.path / "report.html"
    assert path.stat().st_size < 5_000_000
    assert content(finished)["state"] == "complete"


def test_quantities_carry_their_unit() -> None:
    assert quantity("commit_latency_p99_ns", 939_524_095) == "939.5 ms"
    assert quantity("longest_commit_gap_ns", 12_000_000_000) == "12 s"
    assert quantity("consensus_bytes", 33_229_065_267) == "33.23 GB"
    assert quantity("blocks_committed", 1234) == "1,234"
    assert quantity("blocks_committed", 12.5) == "12.5"
    assert quantity("commit_latency_p99_ns", None) == "nothing to measure"


def test_the_biases_are_those_of_the_map() -> None:
    heading, rows = biases()
    assert heading == ["part", "how", "bias"]
    assert len(rows) > 10
    assert all(len(row) == 3 and all(row) for row in rows)


def test_what_happened_stands_on_one_time_axis(finished: Run) -> None:
    data = RunData(finished, load_scenario(finished.path / "scenario.yaml"))
    found = {lane.name: lane for lane in lanes(data)}
    assert found["crash 0"].spans == ((2 * SECOND, 4 * SECOND),)
    assert found["slow_node 1"].spans == ((3 * SECOND, 6 * SECOND),)
    assert found["double_vote 0"].spans == ((SECOND, 8 * SECOND),)
    assert [found[name].group for name in ("crash 0", "double_vote 0")] == ["faults", "attacks"]
    struck = data.table("evidence").filter(pl.col("event") == "punished").collect()
    assert [at for at, _ in found["punished"].spans] == sorted(set(struck["time_ns"]))
    alerts = data.table("alerts").collect()
    assert alerts.height
    rules = {lane.name: lane for lane in lanes(data) if lane.group == "alerts"}
    assert sorted(rules) == sorted(set(alerts["rule"]))
    for row in alert_rows(data):
        mine = alerts.filter(rule=row["rule"])
        assert (row["times"], row["first_ns"]) == (mine.height, min(mine["fired_ns"]))
        assert rules[row["rule"]].first_ns == row["first_ns"]


def test_forks_are_counted_once_however_many_saw_them(tmp_path: Path) -> None:
    asked = load_scenario(ROOT / "scenarios" / "threats" / "equivocation.yaml", ["duration=3 s"])
    finished = open_run(run(asked, tmp_path).path)
    data = RunData(finished, asked)
    seen = data.table("forks").collect()
    (row,) = fork_rows(data)
    assert row["kind"] == "equivocation"
    ids = seen.select("parent", "first", "second").unique()
    assert row["count"] == ids.height
    assert row["first_ns"] == min(seen["time_ns"])
    assert "<h2>Forks</h2>" in render(finished)


def test_the_registrys_load_is_by_host(finished: Run) -> None:
    data = RunData(finished, load_scenario(finished.path / "scenario.yaml"))
    figure = registry(data)
    assert figure is not None
    rows = data.table("registry").filter(pl.col("event").is_in(["read", "write"])).collect()
    bars = [patch.get_height() for patch in figure.axes[1].patches]
    assert len(bars) == rows["node"].n_unique()
    assert bars == sorted(bars, reverse=True)
    assert sum(bars) == pytest.approx(100, abs=0.01)
    assert {text.get_text() for text in figure.axes[0].get_legend().texts} >= {"reads"}


def test_a_pair_of_regions_has_its_median_and_its_tail(finished: Run) -> None:
    data = RunData(finished, load_scenario(finished.path / "scenario.yaml"))
    middle, tail = pair_quantiles(data, 50), pair_quantiles(data, 99)
    assert middle.height == tail.height == 9
    assert (tail["latency_ns"] >= middle["latency_ns"]).all()
    pair = {"source_region": "aws:eu-central-1", "destination_region": "az:usgovvirginia"}
    rows = data.table("latency").filter(**pair, kind="message").sort("bucket").collect()
    samples = np.repeat(rows["bucket"].to_numpy(), rows["count"].to_numpy())
    at = samples[int(np.ceil(samples.size / 2)) - 1]
    assert middle.filter(**pair)["latency_ns"][0] == bucket_edges(int(at))[1]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_nothing_is_clipped_or_overlaps_in_a_browser(
    finished: Run, tmp_path: Path, width: int, dark: bool
) -> None:
    seen = problems_in(render(finished), tmp_path, width, dark)
    assert seen["figures"] == len(FIGURES)
    assert seen["width"] == width
    assert seen["dark"] is dark
    assert seen["ink"] == ("rgb(228, 231, 235)" if dark else "rgb(27, 31, 36)")
    assert seen["problems"] == []


def test_without_matplotlib_the_extra_is_named(
    finished: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'creto-sim\[report\]'"):
        render(finished)
    monkeypatch.setattr(sys, "argv", ["creto-sim", "report", str(finished.path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'creto-sim[report]'" in capsys.readouterr().err


def test_stretches_of_a_fault_are_those_of_its_validators_together() -> None:
    """Ends pair with begins on the same validator; what overlaps is shaded once."""
    rows = [
        (0, "begin", 1),
        (2, "begin", 2),
        (5, "end", 2),
        (8, "end", 1),
        (10, "begin", 2),
        (12, "end", 2),
        (20, "begin", 1),
    ]
    frame = pl.DataFrame(rows, schema=["time_ns", "event", "node"], orient="row")
    found = stretches(frame.with_columns(target=pl.lit("")), 30)
    assert found == [(0, 8), (10, 12), (20, 30)]


@pytest.mark.benchmark
def test_the_report_of_a_million_agents_is_small_and_opens(tmp_path: Path) -> None:
    asked = load_scenario(ROOT / "scenarios" / "million_agents.yaml")
    page = render(open_run(run(asked, tmp_path / "out").path))
    assert len(page.encode()) < 5_000_000
    for number, (width, dark) in enumerate([(390, True), (1280, False)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        seen = problems_in(page, folder, width, dark)
        assert seen["problems"] == []
        print(
            f"\n{len(page.encode()) / 1e6:.2f} MB, open after {seen['opened_ms']:.0f} ms at "
            f"{width} px (load {os.getloadavg()[0]:.1f})"
        )
