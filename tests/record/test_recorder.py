"""The recorder: what goes in comes out once, checked, merged, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.record.digests import digest_rows
from sim.record.encode import RecordError
from sim.record.recorder import PARTS, NullRecorder, Recorder
from sim.record.tables import BY_NAME, DETAILS, TABLES, Table

VOCABULARIES = {"region": ["here", "there"], "kind": ["message", "transaction"], "reason": [""]}


def view(time_ns: int, **other: Any) -> dict[str, Any]:
    return {"time_ns": time_ns, "node": 3, "epoch": 0, "view": 1, "reason": "timeout"} | other


def example_row(table: Table) -> dict[str, Any]:
    by_dtype = {"int": 1, "uint": 2**64 - 1, "id": bytes(range(32)), "label": "word"}
    return {c.name: c.values[-1] if c.values else by_dtype[c.dtype] for c in table.columns}


def counted(second: int, bucket: int, count: int) -> dict[str, int]:
    codes = {"kind": 0, "source_region": 0, "destination_region": 1}
    return {"second": second, "bucket": bucket, "count": count} | codes


@pytest.mark.parametrize("table", [t for t in TABLES if t.name != "runs"], ids=lambda t: t.name)
def test_every_table_takes_a_row_and_stores_its_dtypes(tmp_path: Path, table: Table) -> None:
    recorder = Recorder(tmp_path / "r", detail="messages")
    recorder.append_row(table.name, **example_row(table))
    digests = recorder.close()
    stored = pl.read_parquet(tmp_path / "r" / f"{table.name}.parquet")
    assert dict(stored.schema) == table.schema
    expected = {n: v.hex() if isinstance(v, bytes) else v for n, v in example_row(table).items()}
    assert stored.row(0, named=True) == expected
    assert digests[table.name].rows == 1


def test_rows_and_columns_are_the_same_rows(tmp_path: Path) -> None:
    ids = [bytes([i]) * 32 for i in range(3)]
    rows, columns = Recorder(tmp_path / "a"), Recorder(tmp_path / "b")
    for i in range(3):
        rows.append_row(
            "commits", time_ns=i, node=7, epoch=0, view=i, height=i, block=ids[i], state=ids[0]
        )
    columns.append(
        "commits",
        {
            "time_ns": np.arange(3, dtype=np.int32),
            "node": 7,
            "epoch": [0, 0, 0],
            "view": np.arange(3),
            "height": [0, 1, 2],
            "block": ids,
            "state": ids[0].hex(),
        },
    )
    assert rows.close() == columns.close()


def test_rows_at_once_are_the_same_rows(tmp_path: Path) -> None:
    names = ("reason", "time_ns", "node", "epoch", "view")
    rows = [("timeout", 5, 1, 0, 2), ("epoch", 7, 2, 1, 1)]
    single, many = (Recorder(tmp_path / name, detail="messages") for name in ("a", "b"))
    for row in rows:
        single.append_row("views", **dict(zip(names, row, strict=True)))
    many.append_rows("views", names, rows)
    many.append_rows("views", names, [])
    with pytest.raises(ValueError, match="argument"):
        many.append_rows("views", names, [*rows, ("timeout", 5)])
    with pytest.raises(ValueError, match="argument"):
        many.append_rows("views", names[:4], rows)
    with pytest.raises(RecordError, match="view"):
        many.append_rows("views", names, [("timeout", 5, 1, 0, "two")])
    assert single.close() == many.close()


def test_codes_become_words(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", vocabularies=VOCABULARIES)
    columns = {name: np.array([value, value]) for name, value in counted(1, 2, 3).items()}
    recorder.append("latency", columns)
    recorder.append_row("latency", **counted(1, 2, 4))
    recorder.close()
    stored = pl.read_parquet(tmp_path / "r" / "latency.parquet")
    assert stored.rows() == [(1, "message", "here", "there", 2, 10)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time_ns": 1.5}, "column 'time_ns': an integer wanted, not 1.5"),
        ({"time_ns": True}, "an integer wanted, not True"),
        ({"time_ns": 2**63}, "does not fit int64"),
        (
            {"reason": "boredom"},
            "one of ['certificate', 'timeout', 'epoch', 'sync', 'join'] wanted",
        ),
        ({"reason": 5}, "a word wanted, not 5"),
        ({"extra": 1}, "unknown ['extra']"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    recorder = Recorder(tmp_path / "r")

    def put() -> None:
        recorder.append_row("views", **view(1) | change)
        recorder.flush()

    with pytest.raises(RecordError) as caught:
        put()
    assert "table 'views'" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (view(1) | {"time_ns": np.array([1.0])}, "a flat integer array wanted, not float64"),
        (view(1) | {"time_ns": [1, 2], "node": [1, 2, 3]}, "columns of one length wanted"),
        (view(1) | {"time_ns": np.array([2**63], np.uint64)}, "do not fit int64"),
        (view(1) | {"time_ns": [1], "reason": np.array([9])}, "codes 9 to 9 outside 0 to 4"),
        ({"time_ns": [1]}, "missing ['node', 'epoch', 'view', 'reason']"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecordError) as caught:
        Recorder(tmp_path / "r").append("views", columns)
    assert words in str(caught.value)


def test_an_id_has_32_bytes(tmp_path: Path) -> None:
    row = example_row(BY_NAME["commits"])
    recorder = Recorder(tmp_path / "r")
    for bad in (b"short", "ab", 12, None):
        with pytest.raises(RecordError, match="32 bytes or 64 hex digits wanted"):
            recorder.append_row("commits", **row | {"block": bad})


def test_no_such_table(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    with pytest.raises(KeyError, match="no table 'vews'"):
        recorder.append_row("vews", a=1)
    with pytest.raises(KeyError, match="no table 'vews'"):
        NullRecorder().keeps("vews")


@pytest.mark.parametrize("detail", DETAILS)
def test_detail_decides_what_is_kept(tmp_path: Path, detail: str) -> None:
    recorder = Recorder(tmp_path / "r", detail=detail)
    for table in TABLES:
        if table.name != "runs":
            recorder.append_row(table.name, **example_row(table))
    kept = {name for name, digest in recorder.close().items() if digest.rows}
    levels = {"rounds": 0, "blocks": 1, "messages": 2}
    above = {"commits": 1, "views": 1, "samples": 2, "messages": 2}
    assert kept == {
        t.name for t in TABLES if t.name != "runs" and above.get(t.name, 0) <= levels[detail]
    }


def test_caller_may_reuse_its_arrays(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    times = np.array([5], dtype=np.int64)
    recorder.append("views", view(0) | {"time_ns": times})
    times[0] = 6
    recorder.append("views", view(0) | {"time_ns": times})
    recorder.close()
    assert pl.read_parquet(tmp_path / "r" / "views.parquet")["time_ns"].to_list() == [5, 6]


def test_buffers_stay_bounded_and_parts_disappear(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", buffer_rows=100, vocabularies=VOCABULARIES)
    for i in range(1050):
        recorder.append_row("views", **view(i))
        recorder.append_row("latency", **counted(0, i % 7, 1))
        assert all(buffer.height() < 100 for buffer in recorder._buffers.values())
    parts = sorted(path.name for path in (tmp_path / "r" / PARTS).iterdir())
    # A hundred rows of seven keys merge into seven: nothing to write.
    assert parts == [f"views-{i:06d}.parquet" for i in range(10)]
    digests = recorder.close()
    assert digests["views"].rows == 1050
    assert pl.read_parquet(tmp_path / "r" / "latency.parquet")["count"].to_list() == [150] * 7
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [
        "latency.parquet",
        "views.parquet",
    ]


def test_all_tables_together_have_a_limit(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", buffer_bytes=20_000)
    for i in range(500):
        recorder.append_row("views", **view(i))
        recorder.append_row("levels", time_ns=i, epoch=1, old_level=0, new_level=1, reason="x")
        assert recorder._held_bytes < 20_000
        assert recorder._held_bytes == sum(b.bytes for b in recorder._buffers.values())
    assert recorder.close()["levels"].rows == 500


def test_a_large_table_becomes_sorted_pieces_with_the_same_digest(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    times = rng.integers(0, 40, 3000)
    nodes = rng.integers(0, 9, 3000)
    digests = []
    for name, piece in (("whole", 1 << 20), ("pieces", 200)):
        recorder = Recorder(tmp_path / name, buffer_rows=500, piece_rows=piece)
        for at in range(0, 3000, 130):
            part = slice(at, at + 130)
            recorder.append("views", view(0) | {"time_ns": times[part], "node": nodes[part]})
        digests.append(recorder.close()["views"])
    assert digests[0] == digests[1]
    files = sorted((tmp_path / "pieces" / "views.parquet").iterdir())
    assert len(files) > 10
    whole = pl.read_parquet(tmp_path / "whole" / "views.parquet")
    assert pl.concat([pl.read_parquet(file) for file in files]).equals(whole)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 9)), max_size=30),
    order=st.randoms(use_true_random=False),
    split=st.integers(1, 7),
)
def test_digest_of_an_additive_table_sees_sums_only(rows: Any, order: Any, split: int) -> None:
    table = BY_NAME["latency"]

    def frame(items: list[tuple[int, int, int]]) -> pl.LazyFrame:
        words = [(s, "message", "a", "b", bucket, count) for s, bucket, count in items]
        return pl.LazyFrame(words, schema=table.schema, orient="row")

    halves = [(s, b, c - 1) for s, b, c in rows if c > split] + [
        (s, b, 1 if c > split else c) for s, b, c in rows
    ]
    order.shuffle(halves)
    assert digest_rows(table, frame(halves)) == digest_rows(table, frame(rows))


def test_digest_sees_each_value_and_each_row() -> None:
    table = BY_NAME["views"]
    rows = [(1, 2, 0, 3, "sync"), (1, 2, 0, 3, "sync"), (2, 0, 0, 4, "epoch")]

    def of(items: list[Any]) -> str:
        return digest_rows(table, pl.LazyFrame(items, schema=table.schema, orient="row")).digest

    base = of(rows)
    assert of(rows[::-1]) == base
    assert of(rows[1:]) != base
    for place, other in enumerate((9, 9, 9, 9, "timeout")):
        changed = [*rows[:2], tuple(other if i == place else v for i, v in enumerate(rows[2]))]
        assert of(changed) != base, table.names[place]


def test_digest_does_not_confuse_neighbouring_words() -> None:
    table = BY_NAME["rejections"]

    def of(what: list[str]) -> str:
        rows = [(0, 0, "rejected", word, "r", 1) for word in what]
        return digest_rows(table, pl.LazyFrame(rows, schema=table.schema, orient="row")).digest

    assert of(["a", "bc"]) != of(["ab", "c"])


def test_digest_ignores_the_wall_clock() -> None:
    table = BY_NAME["runs"]
    row = example_row(table) | {"digest": "ab" * 32}
    frames = [
        pl.LazyFrame([row | {"wall_ns": wall, "cpu_ns": wall}], schema=table.schema)
        for wall in (1, 2)
    ]
    assert digest_rows(table, frames[0]) == digest_rows(table, frames[1])


def test_a_closed_recorder_takes_nothing(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r") as recorder:
        recorder.append_row("views", **view(1))
    with pytest.raises(RecordError, match="closed"):
        recorder.append_row("views", **view(1))
    with pytest.raises(RecordError, match="closed"):
        recorder.close()


def test_the_null_recorder_keeps_nothing() -> None:
    recorder = NullRecorder()
    recorder.append_row("views", **view(1))
    recorder.append("views", view(1))
    assert not recorder.keeps("views")
