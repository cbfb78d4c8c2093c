"""The JSON Schema of scenario files, for editors and for other programs.

Owns: generating `schema.json` from the model. The committed file is checked for freshness in the
tests; `python -m sim schema` prints it. Must not know: rules between fields.
"""

from __future__ import annotations

import json
import typing
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import resources
from typing import Any

from sim.scenario.choices import ByKey
from sim.scenario.fields import yaml_key
from sim.scenario.model import Scenario
from sim.scenario.resolved import field_types, has_default, optional_member, to_plain

FILE = "schema.json"
COMMENT = "# yaml-language-server: $schema=../sim/scenario/schema.json"
"""First line of every scenario of this repository."""


def schema_text() -> str:
    """Return the JSON Schema as the text of `schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def committed_text() -> str:
    """Return the text of the `schema.json` of this package."""
    return (resources.files("sim.scenario") / FILE).read_text(encoding="utf-8")


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12)."""
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        """Leave out defaults: pydantic would print integers where files have quantities."""

        def default_schema(self, schema: Any) -> dict[str, Any]:
            return self.generate_inner(schema["schema"])

    found: dict[str, Any] = TypeAdapter(Scenario).json_schema(
        by_alias=True, schema_generator=Generator, ref_template="#/$defs/{model}"
    )
    _tidy(found)
    _defaults(found, Scenario)
    for kind in _dataclasses(Scenario):
        part = found["$defs"].get(kind.__name__)
        if part is not None:
            _defaults(part, kind)
    found["properties"]["extends"] = {
        "type": "string",
        "description": "Path of a scenario whose settings this one completes, beside this file.",
    }
    # Who extends another scenario may take everything but these from it.
    found["required"] = ["schema", "title", "question"]
    found["if"] = {"not": {"required": ["extends"]}}
    found["then"] = _complete(Scenario)
    for kind in _mergeable(Scenario):
        if kind is not Scenario:
            found["$defs"][kind.__name__].pop("required", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _tidy(node: Any) -> None:
    """Drop generated titles, discriminators (OpenAPI's, not JSON Schema's) and null, which no file
    may hold."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        node.pop("discriminator", None)
        if isinstance(node.get("description"), str):
            node["description"] = " ".join(node["description"].split())
        for key in ("anyOf", "oneOf"):
            choices = [choice for choice in node.get(key, ()) if choice != {"type": "null"}]
            if len(choices) == 1:
                del node[key]
                node.update({name: choices[0][name] for name in choices[0] if name not in node})
        for value in node.values():
            _tidy(value)
    elif isinstance(node, list):
        for value in node:
            _tidy(value)


def _defaults(part: dict[str, Any], kind: Any) -> None:
    """State the defaults as files write them, and the descriptions of inherited fields."""
    from pydantic import TypeAdapter

    hints = field_types(kind)
    for base in kind.__mro__[1:]:
        if hasattr(base, "__pydantic_config__"):
            inherited = TypeAdapter(base).json_schema()
            _tidy(inherited)
            for key, described in inherited["properties"].items():
                if "description" in described:
                    part["properties"][key]["description"] = described["description"]
    for item in fields(kind):
        target = part["properties"][yaml_key(item.name)]
        if item.name == "kind" and "kind" not in part.get("required", ()):
            part["required"] = ["kind", *part.get("required", ())]
        elif item.default is not MISSING and item.default is not None:
            plain = to_plain(item.default, hints[item.name])
            target["default"] = json.loads(json.dumps(plain, default=float))


def _mergeable(kind: Any) -> list[Any]:
    """Return the dataclasses whose maps a child scenario completes instead of replacing."""
    found = [kind]
    for annotation in field_types(kind).values():
        inner = optional_member(annotation)
        if hasattr(inner, "__pydantic_config__"):
            found += _mergeable(inner)
    return found


def _complete(kind: Any) -> dict[str, Any]:
    """Return what a mergeable map must hold where there is no parent to take it from."""
    required = [yaml_key(item.name) for item in fields(kind) if not has_default(item)]
    required = [key for key in required if key != "name"]
    inner = {}
    for item in fields(kind):
        member = optional_member(field_types(kind)[item.name])
        if hasattr(member, "__pydantic_config__") and not is_dataclass(item.default):
            inner[yaml_key(item.name)] = _complete(member)
    parts: dict[str, Any] = {"required": required} if required else {}
    inner = {key: part for key, part in inner.items() if part}
    return {**parts, "properties": inner} if inner else parts


def _dataclasses(kind: Any) -> list[Any]:
    """Return every dataclass that a scenario can hold, each once."""
    found: dict[Any, None] = {}
    _collect(kind, found)
    return list(found)


def _collect(annotation: Any, found: dict[Any, None]) -> None:
    if isinstance(annotation, type) and hasattr(annotation, "__pydantic_config__"):
        if annotation not in found:
            found[annotation] = None
            for inner in field_types(annotation).values():
                _collect(inner, found)
        return
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, ByKey):
            for member in extra.kinds.values():
                _collect(member, found)
    for argument in typing.get_args(annotation):
        _collect(argument, found)
