"""Check plain YAML values against the model and make a Scenario of them.

Owns: pydantic's part (types, bounds, unions, unknown keys) in the domain's words, then the rules
between fields. Everything that is wrong is found in one pass.
Must not know: files and places; errors name the path of the value.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeAlias

from sim.scenario.choices import TAG
from sim.scenario.errors import Key
from sim.scenario.fields import yaml_key
from sim.scenario.model import Point, Scenario
from sim.scenario.quantities import QuantityError
from sim.scenario.resolved import field_types, optional_member, to_plain

Path: TypeAlias = tuple[str | int, ...]
Finding: TypeAlias = tuple[Path, str]
"""Where, as keys and indices; and what is wrong with it."""

MISSING = "is missing"
"""How the message of a finding ends whose key is not there."""


@cache
def _adapter(key: str | None) -> Any:
    """Return the validator of the whole scenario (None) or of one section."""
    from pydantic import TypeAdapter

    if key is None:
        return TypeAdapter(Scenario)
    return TypeAdapter(_section_types()[key])


@cache
def _section_types() -> dict[str, Any]:
    hints = field_types(Scenario)
    return {yaml_key(item.name): hints[item.name] for item in fields(Scenario)}


def validate(plain: Mapping[str, Any]) -> tuple[Scenario | None, list[Finding]]:
    """Return the scenario, or None and all findings. `plain`: as `Node.plain` returns it."""
    from pydantic import ValidationError

    from sim.scenario.rulebook import broken_rules

    plain = _completed(plain, Scenario)
    try:
        scenario: Scenario = _adapter(None).validate_python(plain)
    except ValidationError as error:
        findings = [item for each in error.errors() for item in _findings(each, plain)]
        return None, findings + broken_rules(_sound_sections(plain, findings))
    sections = {yaml_key(f.name): getattr(scenario, f.name) for f in fields(Scenario)}
    findings = broken_rules(sections)
    return (None if findings else scenario), findings


def _completed(plain: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Fill up each map of settings that is there from the default of the field it is of.

    `{age: 1 s}` for a field whose default is a batch of 2,000 items keeps the 2,000 items, not
    the default of any batch.
    """
    completed = dict(plain)
    hints = field_types(kind)
    for item in fields(kind):
        key, inner = yaml_key(item.name), optional_member(hints[item.name])
        given = completed.get(key)
        if not hasattr(inner, "__pydantic_config__") or not isinstance(given, Mapping):
            continue
        if is_dataclass(item.default) and not isinstance(item.default, type):
            given = {**to_plain(item.default), **given}
        completed[key] = _completed(given, inner)
    return completed


def _sound_sections(plain: Mapping[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """Return the sections that can be checked against each other although others cannot."""
    bad = {path[0] if path else None for path, _ in findings}
    sound = {}
    for item in fields(Scenario):
        key = yaml_key(item.name)
        if key in bad:
            continue
        if key in plain:
            sound[key] = _adapter(key).validate_python(plain[key])
        elif item.default is not dataclasses.MISSING:
            sound[key] = item.default
    return sound


def _findings(error: Any, plain: Mapping[str, Any]) -> list[Finding]:
    path, value = _real_path(error["loc"], plain)
    kind = error["type"]
    if kind == "value_error":
        cause = error["ctx"]["error"]
        if isinstance(cause, QuantityError) and cause.parts:
            return [((*path, part), message) for part, message in cause.parts]
        return [(path, str(cause))]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        key = str(path[-1])
        return [((*path[:-1], Key(key)), _unknown_key(key, error["loc"], plain))]
    if kind == "missing":
        return [(path[:-1], f"`{path[-1]}` {MISSING}")]
    if kind.startswith("union_tag") and isinstance(value, Mapping) and "kind" in value:
        return [((*path, "kind"), _in_words(error, value))]
    if kind == "choice":
        return [(path, str(error["msg"]))]
    return [(path, _in_words(error, value))]


def _in_words(error: Any, value: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "union_tag_invalid":
        names = tuple(str(context["expected_tags"]).replace("'", "").split(", "))
        close = difflib.get_close_matches(str(context["tag"]), names, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"one of: {', '.join(names)}"
        return f"kind `{context['tag']}` is not known here; {hint}"
    if kind == "union_tag_not_found":
        return f"`kind` {MISSING}"
    if kind == "literal_error":
        return f"{_shown(value)} is not one of: {str(context['expected']).replace(chr(39), '')}"
    if kind in ("tuple_type", "list_type"):
        return "expected a list"
    if kind in ("dict_type", "dataclass_type", "model_attributes_type", "dataclass_exact_type"):
        return "expected a map of settings"
    if kind == "too_long":
        return f"expected {context['max_length']} items, found {context['actual_length']}"
    return str(error["msg"])


def _shown(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str | int) else "this"


def _real_path(location: tuple[str | int, ...], plain: Any) -> tuple[Path, Any]:
    """Drop the steps that name members of unions; return the path and the value there."""
    path: list[str | int] = []
    value = plain
    for step in location:
        if isinstance(step, str) and step.startswith(TAG):
            continue
        if isinstance(value, Mapping) and step not in value and value.get("kind") == step:
            continue
        path.append(step)
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            value = None
    return tuple(path), value


def _unknown_key(key: str, location: tuple[str | int, ...], plain: Mapping[str, Any]) -> str:
    known = known_keys(location[:-1], plain)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"`{key}` is not known here; did you mean `{close[0]}`?"
    return f"`{key}` is not known here; known: {', '.join(known)}"


def known_keys(location: tuple[str | int, ...], plain: Mapping[str, Any]) -> list[str]:
    """Return the keys of the dataclass at a pydantic location."""
    kind: Any = Scenario
    for step in location:
        kind = _step(kind, step)
    return [yaml_key(item.name) for item in fields(kind)]


def _step(annotation: Any, step: str | int) -> Any:
    """Return the dataclass or annotation one step of a location further in."""
    origin = typing.get_origin(annotation)
    if isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__"):
        hints = field_types(annotation)
        found = {yaml_key(item.name): hints[item.name] for item in fields(annotation)}
        return optional_member(found[str(step)])
    if origin is typing.Annotated:
        return _member(annotation, str(step))
    arguments = typing.get_args(annotation)
    if origin is tuple:
        fixed = arguments[-1] is not Ellipsis and isinstance(step, int)
        return optional_member(arguments[step if fixed else 0])  # type: ignore[index]
    return optional_member(arguments[1])


def _member(union: Any, tag: str) -> Any:
    """Return the member of an annotated union that `tag` names."""
    for extra in union.__metadata__:
        kinds = getattr(extra, "kinds", None)
        if kinds is not None:
            return kinds[tag.removeprefix(TAG)]
    for member in typing.get_args(typing.get_args(union)[0]):
        if tag in typing.get_args(field_types(member)["kind"]):
            return member
    raise KeyError(tag)


def set_path(plain: dict[str, Any], path: str, value: Any) -> Path:
    """Set `a.b.0.c` in a tree of plain values, making maps on the way. Returns the path.

    Raises QuantityError where the path leads through a value that is neither map nor list.
    """
    steps: list[str | int] = []
    at: Any = plain
    names = path.split(".")
    for rank, name in enumerate(names):
        last = rank == len(names) - 1
        if isinstance(at, dict):
            steps.append(name)
            at[name] = value if last else at.get(name, {})
            at = at[name]
        elif isinstance(at, list) and name.isdecimal() and int(name) < len(at):
            steps.append(int(name))
            at[int(name)] = value if last else at[int(name)]
            at = at[int(name)]
        else:
            raise QuantityError(f"`{path}` leads nowhere: there is no `{name}`")
    return tuple(steps)


def point_values(scenario: Scenario, ranks: tuple[int, ...]) -> tuple[dict[str, Any], list[Path]]:
    """Return the plain values of one point of the sweep, and the paths that it sets."""
    assert scenario.sweep is not None
    plain = to_plain(scenario)
    del plain["sweep"]
    paths = []
    for (path, values), rank in zip(scenario.sweep.axes, ranks, strict=True):
        paths.append(set_path(plain, path, values[rank]))
    return plain, paths


def value_text(value: Any) -> str:
    """Return a plain value on one line, as YAML's flow style writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {value_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(value_text(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def points(scenario: Scenario) -> tuple[Point, ...]:
    """Enumerate the points of a scenario that was loaded, so that each is known to be valid."""
    if scenario.sweep is None:
        return (Point(0, (), scenario),)
    found = []
    for index, ranks in enumerate(scenario.sweep.indices()):
        plain, _ = point_values(scenario, ranks)
        point, findings = validate(plain)
        if point is None:
            raise ValueError(f"point {index}: {findings}")
        settings = tuple(
            (path, value_text(values[rank]))
            for (path, values), rank in zip(scenario.sweep.axes, ranks, strict=True)
        )
        found.append(Point(index, settings, point))
    return tuple(found)
