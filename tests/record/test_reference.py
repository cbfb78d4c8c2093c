"""The column dictionary: sound, and results/README.md generated from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim.record.reference import readme
from sim.record.summary import METRICS
from sim.record.tables import BY_NAME, DETAILS, TABLES, Table, table_of

REPOSITORY = Path(__file__).parents[2]


def test_the_readme_is_fresh() -> None:
    committed = (REPOSITORY / "results" / "README.md").read_text(encoding="utf-8")
    assert committed == readme(), "run: python -m sim.record.reference > results/README.md"


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_a_table_is_sound(table: Table) -> None:
    assert BY_NAME[table.name] is table
    assert table.detail in DETAILS
    assert len(set(table.names)) == len(table.names)
    assert table.keys
    for column in table.columns:
        assert column.meaning
        assert (column.dtype == "enum") == bool(column.values)
        if column.merge != "key":
            assert column.dtype == "int"
        if re.search(r"time|latency|waited|busy", column.name):
            assert column.name.endswith("_ns") or column.name in ("timeouts", "uptime")
        assert column.name in readme()


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(TABLES)
    assert len({m.name for m in METRICS}) == len(METRICS)


def test_an_unknown_column_is_told() -> None:
    with pytest.raises(KeyError, match="no column 'heigth'"):
        table_of("blocks").column("heigth")
    assert table_of("blocks").column("height").dtype == "int"
