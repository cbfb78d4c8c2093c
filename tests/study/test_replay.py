"""Replay: equal rows in the stretch, every message accounted for, and what is shown of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.record.runs import Run, RunError, open_run
from sim.study.replay import Stretch, first_violation, replay, sameness
from sim.study.replay_events import Cluster, Happening, Scene, cluster_lines, scene
from sim.study.spacetime import draw, save
from tests.engine.worlds import BUSY, MS, SECOND, Ran, crash, ran

BLOCKS: dict[str, Any] = {**BUSY, "record": {"detail": "blocks"}}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run with every source of chance and disorder, recorded without messages."""
    return ran(tmp_path_factory.mktemp("busy"), **BLOCKS)


def replayed(run: Run, begin: int, end: int, **more: Any) -> Run:
    return open_run(replay(run, Stretch(0, 0, begin, end), **more).path)


@pytest.mark.parametrize(
    ("begin", "end"),
    [(1_200 * MS, 1_450 * MS), (0, 4 * SECOND), (2_400 * MS, 3 * SECOND), (3 * SECOND, 3 * SECOND)],
)
def test_tables_that_both_keep_have_equal_rows_in_the_stretch(
    busy: Ran, begin: int, end: int
) -> None:
    again = replayed(busy.run, begin, end)
    same = sameness(busy.run, again)
    assert same.different == ()
    assert same.left_out == ()
    # All but `runs`, which is of the whole, and what has no rows in a run without compliance.
    without = {key[2] for key, digest in busy.run.digests().items() if digest.rows}
    assert same.tables >= len(without)
    assert same.rows > 0 or begin == end
    assert set(again.tables()) - set(busy.run.tables()) == {"messages", "samples"}
    assert again.state == "complete"


def test_the_comparison_sees_a_run_of_other_chance(busy: Ran, tmp_path: Path) -> None:
    other = ran(tmp_path, **{**BLOCKS, "seed": 2})
    again = replayed(busy.run, SECOND, 2 * SECOND)
    different = sameness(other.run, again).different
    tables = [line.split(":")[0] for line in different]
    assert {"blocks", "commits", "traffic", "stations"} <= set(tables)
    with pytest.raises(RunError, match="not a replay"):
        sameness(again, busy.run)


def test_every_message_of_the_tables_is_there_one_by_one(tmp_path: Path) -> None:
    """Kept from the start to the end, single messages add up to the counts by second."""
    whole = ran(tmp_path, **BUSY)
    rows = whole.frame("messages")
    traffic = whole.frame("traffic").filter(pl.col("lane") == "consensus")
    counted = {
        (r["kind"], r["outcome"], r["reason"]): r["messages"]
        for r in traffic.group_by("kind", "outcome", "reason")
        .agg(pl.col("messages").sum())
        .iter_rows(named=True)
    }
    for (kind, outcome, reason), count in counted.items():
        mine = rows.filter(pl.col("kind") == kind)
        if outcome == "delivered":
            mine = mine.filter(pl.col("outcome").is_in(["delivered", "corrupted"]))
        elif outcome == "dropped":
            mine = mine.filter(pl.col("reason") == reason)
        elif outcome == "offered":
            # A link that duplicates makes two of what was offered once.
            assert mine.height >= count
            continue
        assert mine.height == count, (kind, outcome, reason)
    assert {k[2] for k in counted if k[1] == "dropped"} >= {"duplicate", "receiver_down"}
    timed = rows.select(
        (pl.col("sent_ns") <= pl.col("departed_ns")).all().alias("departs"),
        (pl.col("sent_ns") <= pl.col("ended_ns")).all().alias("ends"),
    )
    assert timed.row(0) == (True, True)
    named = rows.filter(pl.col("view") < 0)["kind"].unique().to_list()
    assert set(named) <= {"operation", "blocks_request", "blocks_response"}


def test_a_window_keeps_messages_that_it_meets_and_no_others(busy: Ran) -> None:
    again = replayed(busy.run, 1_200 * MS, 1_450 * MS)
    rows = again.table("messages").collect()
    assert rows["ended_ns"].min() >= 1_200 * MS
    assert rows["sent_ns"].max() <= 1_450 * MS
    assert rows["sent_ns"].min() < 1_200 * MS  # under way when it began
    assert again.window is not None
    assert again.replay_of is not None
    # The original stays what `latest` names.
    assert (again.path.parent / "latest").resolve() == busy.run.path.resolve()


def test_one_replicate_of_one_point_is_replayed_in_its_place(tmp_path: Path) -> None:
    swept = ran(
        tmp_path,
        duration="1500 ms",
        replicates=2,
        sweep={"grid": {"consensus.min_block_interval": ["50 ms", "80 ms"]}},
    )
    path = replay(swept.run, Stretch(1, 1, 200 * MS, 400 * MS)).path
    again = open_run(path)
    assert again.replicates() == ((1, 1),)
    assert sameness(swept.run, again).different == ()
    assert again.table("commits").collect()["time_ns"].max() <= SECOND  # the next whole second


def test_a_stretch_that_is_not_there_is_refused(busy: Ran) -> None:
    for stretch, words in (
        (Stretch(1, 0, 0, 1), "no point 1"),
        (Stretch(0, 7, 0, 1), "no replicate 7 of point 0; there are 0"),
        (Stretch(0, 0, 5, 4), "ends after"),
        (Stretch(0, 0, 4 * SECOND, 5 * SECOND), "not before the end of the run, 4 s"),
    ):
        with pytest.raises(RunError, match=words):
            replay(busy.run, stretch)


# -- what is shown --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stall(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Scene]:
    """Seven validators, two of which crash and come back: their turns to lead time out."""
    done = ran(
        tmp_path_factory.mktemp("stall"),
        duration="4 s",
        validators={"count": 7},
        faults=[crash([5, 6], "1 s", "2500 ms")],
        expect=[{"liveness": {"commit_within": "300 ms"}}],
    )
    stretch = Stretch(0, 0, 950 * MS, 3_400 * MS)
    again = open_run(replay(done.run, stretch).path)
    return done.run, scene(again, stretch)


def test_the_cluster_view_tells_the_course(stall: tuple[Run, Scene]) -> None:
    lines = cluster_lines(stall[1], range(7))
    texts = [line.text for line in lines]
    down = texts.index("5, 6 down (crash 0 begins)")
    back = texts.index("5, 6 back")
    assert lines[down].glyphs.endswith("xx")
    assert "x" not in lines[back].glyphs
    given_up = next(i for i, text in enumerate(texts) if text.endswith("gives up first"))
    ended = next(i for i, text in enumerate(texts) if "ends the view, " in text)
    assert down < given_up < ended
    assert "t" in lines[given_up].glyphs
    committed = [i for i, text in enumerate(texts) if "commits first" in text]
    assert committed[0] < down
    assert committed[-1] > ended
    assert all(len(line.glyphs) == 7 for line in lines)
    assert [line.time_ns for line in lines] == sorted(line.time_ns for line in lines)


def test_states_follow_what_happens() -> None:
    cluster = Cluster(4)
    for node in range(4):
        cluster.take(Happening(0, "entered", node, 1, 1))
    assert cluster.glyphs(range(4)) == "...."
    cluster.take(Happening(1, "proposed", 0, 1, 1))
    cluster.take(Happening(2, "voted", 1, 1, 1))
    cluster.take(Happening(2, "timed_out", 2, 1, 1))
    cluster.take(Happening(2, "down", 3))
    assert cluster.glyphs(range(4)) == "Lvtx"
    for view in (2, 3):
        for node in (0, 1):
            cluster.take(Happening(3, "entered", node, 1, view))
    cluster.take(Happening(4, "committed", 1, 1, 1))
    cluster.take(Happening(4, "up", 3))
    assert cluster.glyphs(range(4)) == ".ctb"


def test_the_diagram_is_drawn_alike_each_time(stall: tuple[Run, Scene], tmp_path: Path) -> None:
    shown = stall[1]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files = save(draw(shown, 1), tmp_path / name, png=name == "a")
        assert [file.suffix for file in files] == ([".svg", ".png"] if name == "a" else [".svg"])
    texts = [(tmp_path / name / "spacetime.svg").read_text() for name in ("a", "b")]
    assert texts[0] == texts[1]
    root = ET.fromstring(texts[0])
    words = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"proposal", "vote", "timeout", "lost", "goes down", "commits"} <= words
    arrows = draw(shown, 1).axes[0].patches
    there = shown.messages.filter(pl.col("outcome") != "dropped")
    assert 0 < len(arrows) == there.height
    few = draw(shown, 1, [0, 4]).axes[0]
    assert [label.get_text() for label in few.get_yticklabels()] == ["0", "4"]
    assert len(few.patches) < len(arrows)


def test_an_empty_stretch_has_no_diagram(busy: Ran) -> None:
    empty = Scene(Stretch(0, 0, 1, 2), 4, (), replayed(busy.run, 0, 0).table("messages").collect())
    with pytest.raises(ValueError, match="choose a longer one"):
        draw(Scene(empty.stretch, 4, (), empty.messages.clear()), 1)


# -- the command ----------------------------------------------------------------------------------


def call(*args: object) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "80"})


def test_the_command_shows_and_compares(stall: tuple[Run, Scene]) -> None:
    run, shown = stall
    done = call("replay", run.path, "--from", "950 ms", "--to", "1.2 s", "--rows", "3")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, [ln for ln in lines if "/" not in ln and "exact" not in ln])) <= 80
    assert any(line.startswith("exact: ") for line in lines)
    path = Path(lines[-1])
    assert (path / "spacetime.svg").stat().st_size > 10_000
    assert any("5, 6 down" in line for line in lines)
    # Without a stretch it is the window of the first violation: here, of liveness.
    found = first_violation(run)
    assert found is not None
    first = call("replay", run.path, "--validators", "0,4-6", "--rows", "0")
    assert first.exit_code == 0, first.output
    assert f"replaying {found.from_ns / 1e9:.6f} s to {found.to_ns / 1e9:.6f} s" in first.output
    assert "validators 0, 4, 5, 6" in first.output
    refused = call("verify", path)
    assert refused.exit_code == 3
    assert shown.validators == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--from", "1 s"), "give both --from and --to"),
        (("--from", "1", "--to", "2 s"), "--from 1: "),
        (("--from", "1 s", "--to", "2 s", "--detail", "rounds"), "blocks or messages"),
        (("--from", "9 s", "--to", "10 s"), "not before the end of the run"),
        ((), "no violation is recorded there"),
    ],
)
def test_what_cannot_be_replayed_is_told(busy: Ran, options: tuple[str, ...], words: str) -> None:
    done = call("replay", busy.run.path, *options)
    assert done.exit_code == 2
    assert words in done.output


def test_validators_that_are_not_there_are_told(stall: tuple[Run, Scene]) -> None:
    run, _ = stall
    for names, words in (("9", "there are 0 to 6"), ("a", "identities and ranges")):
        done = call("replay", run.path, "--from", "1 s", "--to", "1 s", "--validators", names)
        assert done.exit_code == 2
        assert words in done.output
