"""A window keeps more for a while: rows that meet it, of tables that the run does not keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sim.record.columns import DETAILS
from sim.record.recorder import Recorder, Window
from sim.record.tables import TABLES
from sim.scenario.load import ScenarioErrors
from tests.engine.worlds import scenario

VIEW = {"node": 1, "epoch": 1, "view": 2, "reason": "certificate"}


def message(sent: int, ended: int) -> dict[str, Any]:
    times = {"sent_ns": sent, "departed_ns": sent, "ended_ns": ended}
    words = {"kind": "vote", "outcome": "delivered", "reason": ""}
    ids = dict.fromkeys(("source", "destination", "origin", "epoch", "view", "size_bytes"), 1)
    return times | words | ids


def test_rows_by_one_or_by_columns_are_kept_where_they_meet_the_window(tmp_path: Path) -> None:
    window = Window(100, 200, "messages")
    with Recorder(tmp_path / "r", detail="rounds", window=window) as recorder:
        assert recorder.keeps("messages")
        for time in (99, 100, 200, 201):
            recorder.append_row("views", time_ns=time, **VIEW)
        recorder.append("views", {"time_ns": np.array([50, 150, 250]), **VIEW})
        for span in ((50, 99), (50, 100), (150, 160), (200, 300), (201, 300), (50, 300)):
            recorder.append_row("messages", **message(*span))
        recorder.append_row("levels", time_ns=999, epoch=1, old_level=0, new_level=1, reason="rise")
    views = pl.read_parquet(tmp_path / "r" / "views.parquet")
    assert views["time_ns"].to_list() == [100, 150, 200]
    kept = pl.read_parquet(tmp_path / "r" / "messages.parquet").select("sent_ns", "ended_ns")
    assert kept.rows() == [(50, 100), (50, 300), (150, 160), (200, 300)]
    # What the detail keeps anyway is kept whole.
    assert pl.read_parquet(tmp_path / "r" / "levels.parquet")["time_ns"].to_list() == [999]


def test_a_window_of_blocks_keeps_no_messages(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r", detail="rounds", window=Window(0, 9, "blocks")) as recorder:
        assert recorder.keeps("views")
        assert not recorder.keeps("messages")
    with pytest.raises(ValueError, match="detail is one of"):
        Recorder(tmp_path / "s", window=Window(0, 9, "everything"))


def test_tables_that_only_a_window_may_keep_say_when_their_rows_are() -> None:
    for table in TABLES:
        if table.detail != DETAILS[0]:
            assert set(table.span) <= set(table.names), table.name


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"window": {"from": "5 s", "to": "6 s"}}, "record.window.from: is not before the end"),
        ({"window": {"from": "2 s", "to": "1 s"}}, "record.window.to: is before `from`, 2 s"),
        (
            {"detail": "messages", "window": {"from": "1 s", "to": "2 s"}},
            "record.window.detail: keeps no more than the whole run at `detail: messages`",
        ),
        (
            {"detail": "blocks", "window": {"from": "1 s", "to": "2 s", "detail": "blocks"}},
            "record.window.detail: keeps no more",
        ),
        ({"window": {"from": "1 s"}}, "record.window: `to` is missing"),
    ],
)
def test_a_window_that_keeps_nothing_is_refused(
    tmp_path: Path, record: dict[str, Any], words: str
) -> None:
    with pytest.raises(ScenarioErrors) as refused:
        scenario(tmp_path, record=record)
    assert words in str(refused.value.errors[0])
    assert refused.value.errors[0].line > 1


def test_a_detail_that_covers_the_window_takes_its_place(tmp_path: Path) -> None:
    record = scenario(
        tmp_path, record={"detail": "rounds", "window": {"from": "1 s", "to": "2 s"}}
    ).record
    assert record.at("messages").window is None
    assert record.at("blocks").window == record.window
