"""Whatever is done to a scenario file, loading says what is wrong and where, and never breaks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.scenario.document import read_document
from sim.scenario.errors import ScenarioError
from sim.scenario.load import ScenarioErrors, load_scenario
from sim.scenario.validate import value_text

ROOT = Path(__file__).parents[2]
BASES = [
    read_document((ROOT / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8"), name, [])
    for name in ("thousand_agents", "seven_nodes")
]

JUNK = st.recursive(
    st.sampled_from(
        [
            *(0, -1, 7, 10**30, True, False, Decimal("0.5"), Decimal("-3.25")),
            *("", "x", "5 s", "15 %", "1 /s", "3 Gbit/s", "star", "held", "aws:us-east-1"),
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "ids", "random", "metric", "safety", "at", "grid", "x", "count"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


def _spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        found += _spots(inner, (*path, key))
    return found


def _change(tree: Any, path: tuple[Any, ...], how: str, junk: Any) -> None:
    at = tree
    for step in path[:-1]:
        at = at[step]
    if how == "replace":
        at[path[-1]] = junk
    elif how == "drop":
        del at[path[-1]]
    elif isinstance(at, dict):
        at[f"{path[-1]}x"] = junk
    else:
        at.append(junk)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k)}: {_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return value_text(value)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_change_breaks_loading(tmp_path: Path, data: st.DataObject) -> None:
    base = data.draw(st.sampled_from(BASES))
    assert base is not None
    tree = copy.deepcopy(base.plain())
    for _ in range(data.draw(st.integers(1, 3))):
        spots = _spots(tree)
        path = data.draw(st.sampled_from(spots))
        how = data.draw(st.sampled_from(["replace", "drop", "add"]))
        _change(tree, path, how, data.draw(JUNK))
    path = tmp_path / "mutant.yaml"
    text = "\n".join(f"{_text(key)}: {_text(value)}" for key, value in tree.items()) + "\n"
    path.write_text(text, encoding="utf-8")
    errors: Sequence[ScenarioError] = ()
    try:
        scenario = load_scenario(path)
    except ScenarioErrors as caught:
        errors = caught.errors
    if not errors:
        path.write_text(scenario.to_yaml(), encoding="utf-8")
        assert load_scenario(path) == scenario
    lines = text.split("\n")
    for error in errors:
        assert error.file == str(path)
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1
        assert error.message
        assert "Input should" not in error.message, error


def test_the_unchanged_bases_load(tmp_path: Path) -> None:
    path = tmp_path / "base.yaml"
    for base in BASES:
        assert base is not None
        path.write_text(_text(base.plain()), encoding="utf-8")
        assert load_scenario(path).title
    path.write_text("[]")
    with pytest.raises(ScenarioErrors):
        load_scenario(path)
