"""Canonical form: packed and plain sorting agree with a plain Python twin."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.record import canonical as module
from sim.record.canonical import canonical
from sim.record.digests import TableHash, digest_rows
from sim.record.tables import BY_NAME, Table

WORDS = st.text("aäz\U0001d537", max_size=2)
SMALL = st.integers(-3, 3)
WIDE = st.integers(-(2**63), 2**63 - 1)


def values_of(table: Table, integers: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    by_dtype = {
        "int": integers,
        "uint": st.integers(0, 2**64 - 1),
        "id": st.sampled_from(["0" * 64, "ab" * 32, "ff" * 32]),
        "label": WORDS,
    }
    columns = []
    for column in table.columns:
        if column.merge != "key":
            columns.append(SMALL)
        elif column.values:
            columns.append(st.sampled_from(column.values))
        else:
            columns.append(by_dtype[column.dtype])
    return st.lists(st.tuples(*columns), max_size=25)


def twin(table: Table, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Canonical form the slow way: a dict of keys, then a sort by codes."""

    def codes(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            c.values.index(v) if c.values else v for c, v in zip(table.columns, row, strict=True)
        )

    if not table.additive:
        return sorted(rows, key=codes)
    reduce = {"sum": lambda a, b: a + b, "min": min, "max": max}
    merged: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in rows:
        key = tuple(v for c, v in zip(table.columns, row, strict=True) if c.merge == "key")
        known = merged.get(key)
        if known is not None:
            row = tuple(
                old if c.merge == "key" else reduce[c.merge](old, new)
                for c, old, new in zip(table.columns, known, row, strict=True)
            )
        merged[key] = row
    return sorted(merged.values(), key=codes)


@pytest.mark.parametrize("name", ["rounds", "stations", "traffic", "forks", "samples", "levels"])
@pytest.mark.parametrize("integers", [SMALL, WIDE], ids=["small", "wide"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_canonical_form_equals_its_twin(
    name: str, integers: st.SearchStrategy[int], data: st.DataObject
) -> None:
    table = BY_NAME[name]
    rows = data.draw(values_of(table, integers))
    frame = pl.LazyFrame(rows, schema=table.schema, orient="row")
    found = canonical(table, frame)
    assert dict(found.schema) == table.schema
    assert found.rows() == twin(table, rows)


def test_both_ways_of_sorting_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    packed = module._packed
    monkeypatch.setattr(
        module, "_packed", lambda *a: taken.append(packed(*a) is not None) or packed(*a)
    )
    table = BY_NAME["levels"]
    for time_ns in (5, 2**62):
        rows = [(0, 0, 0, 1, "x"), (time_ns, 3, 0, 1, "y")]
        canonical(table, pl.LazyFrame(rows, schema=table.schema, orient="row"))
    assert taken == [True, False]


@settings(max_examples=50, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=12), cuts=st.lists(st.integers(0, 12)))
def test_a_table_may_be_hashed_in_pieces(words: list[str], cuts: list[int]) -> None:
    table = BY_NAME["levels"]
    rows = [(0, 0, 0, 0, word) for word in sorted(words)]
    frame = pl.DataFrame(rows, schema=table.schema, orient="row")
    hasher = TableHash(table)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for low, high in pairwise(edges):
        hasher.update(frame[low:high])
    assert hasher.result() == digest_rows(table, frame.lazy())
