"""The committed JSON Schema is fresh, says what loading says, and every scenario names it."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from sim.scenario.fields import yaml_key
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.scenario.resolved import field_types, marker_of
from sim.scenario.schema import COMMENT, _dataclasses, committed_text, schema, schema_text

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "scenarios").glob("*.yaml"))


def test_the_committed_schema_is_fresh() -> None:
    assert committed_text() == schema_text(), "regenerate: python -m sim schema --write"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_scenario_names_the_schema_and_loads(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == COMMENT
    target = first.rsplit("=", 1)[1]
    assert (path.parent / target).resolve() == ROOT / "sim" / "scenario" / "schema.json"
    assert len(load_scenario(path).question) > 40


def test_the_four_scenarios_of_the_main_job_are_there() -> None:
    names = [path.stem for path in FILES]
    for name in ("million_agents", "smoke", "seven_nodes", "thousand_agents"):
        assert name in names


@pytest.mark.parametrize("kind", _dataclasses(Scenario), ids=lambda kind: kind.__name__)
def test_every_field_is_documented(kind: Any) -> None:
    whole = schema()
    part = whole if kind is Scenario else whole["$defs"][kind.__name__]
    assert part["description"]
    assert part["additionalProperties"] is False
    for item in fields(kind):
        text = part["properties"][yaml_key(item.name)]["description"]
        assert text.endswith((".", "?")), item.name


@pytest.mark.parametrize("kind", _dataclasses(Scenario), ids=lambda kind: kind.__name__)
def test_every_default_is_one_that_a_file_could_state(kind: Any) -> None:
    hints = field_types(kind)
    for item in fields(kind):
        marker = marker_of(hints[item.name])
        if marker is None or item.default is MISSING or item.default is None:
            continue
        if isinstance(item.default, tuple):
            continue
        assert marker.parse(marker.plain(item.default)) == item.default, item.name


def test_no_union_member_has_a_field_named_like_a_kind() -> None:
    """Errors inside a union are placed by telling its kind from its keys."""
    for kind in _dataclasses(Scenario):
        hints = field_types(kind)
        if "kind" in hints:
            keys = [yaml_key(item.name) for item in fields(kind)]
            for name in getattr(hints["kind"], "__args__", ()):
                assert name not in keys, kind


def test_patterns_take_what_parsing_takes() -> None:
    duration = schema()["properties"]["duration"]["pattern"]
    assert re.search(duration, "80 ms")
    assert re.search(duration, "1.5 h")
    assert not re.search(duration, "80")
    assert not re.search(duration, "1e3 ms")


def test_a_file_that_extends_needs_less() -> None:
    whole = schema()
    assert whole["required"] == ["schema", "title", "question"]
    assert "bandwidth" in whole["then"]["properties"]["network"]["required"]
    assert "required" not in whole["$defs"]["Network"]
    json.dumps(whole)
