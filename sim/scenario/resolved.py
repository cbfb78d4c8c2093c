"""A scenario back out: as plain YAML values, as YAML text, as a digest.

Owns: the inverse of reading; `load(to_yaml(s)) == s` for every scenario.
Must not know: files.
"""

from __future__ import annotations

import hashlib
import io
import json
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from sim.scenario.fields import Marker, yaml_key

if typing.TYPE_CHECKING:
    from sim.scenario.model import Scenario


@cache
def field_types(kind: type[Any]) -> dict[str, Any]:
    """Return the annotations of a scenario dataclass by field name, markers included."""
    return typing.get_type_hints(kind, include_extras=True)


def marker_of(annotation: Any) -> Marker | None:
    """Return the marker of an annotation, looking through `| None`."""
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, Marker):
            return extra
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            found = marker_of(member)
            if found is not None:
                return found
    return None


def optional_member(annotation: Any) -> Any:
    """Look through `| None`."""
    arguments = typing.get_args(annotation)
    others = [argument for argument in arguments if argument is not type(None)]
    return others[0] if len(arguments) == 2 and len(others) == 1 else annotation


def to_plain(value: Any, annotation: Any = None) -> Any:
    """Return the YAML values of a scenario or of a part of it, absent optional parts left out.

    Values are str, int, bool, Decimal, list and dict. `annotation`: the field that `value` is of.
    """
    if is_dataclass(value) and not isinstance(value, type) and marker_of(annotation) is None:
        hints = field_types(type(value))
        return {
            yaml_key(item.name): to_plain(getattr(value, item.name), hints[item.name])
            for item in sorted(fields(value), key=_kind_first)
            if getattr(value, item.name) is not None
        }
    marker = marker_of(annotation)
    if marker is not None and typing.get_origin(annotation) is not tuple:
        return marker.plain(value)
    if isinstance(value, tuple):
        return [
            to_plain(item, each)
            for item, each in zip(value, _items(annotation, value), strict=True)
        ]
    if isinstance(value, dict):
        item_type = typing.get_args(annotation)[1]
        return {key: to_plain(item, item_type) for key, item in value.items()}
    return value


def _items(annotation: Any, value: tuple[Any, ...]) -> list[Any]:
    """Return the annotation of each item of a tuple."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _items(typing.get_args(annotation)[0], value)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [a for a in typing.get_args(annotation) if a is not type(None)]
        return _items(members[0], value)
    arguments = typing.get_args(annotation)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return [arguments[0]] * len(value)
    return list(arguments)


def _kind_first(item: Any) -> int:
    return 0 if item.name == "kind" else 1


def digest(scenario: Scenario) -> str:
    """Return the SHA-256 (hex) of the resolved scenario's canonical JSON."""
    return hashlib.sha256(canonical_json(scenario).encode()).hexdigest()


def canonical_json(scenario: Scenario) -> str:
    """Return the resolved scenario as JSON without spaces, keys in the model's order."""
    return json.dumps(to_plain(scenario), separators=(",", ":"), default=str, ensure_ascii=True)


def to_yaml(scenario: Scenario) -> str:
    """Return YAML text of every field, defaults included, in the model's order."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Print decimals exactly and quote what YAML versions would read differently."""

    def decimal(representer: Any, value: Decimal) -> Any:
        return representer.represent_scalar("tag:yaml.org,2002:float", str(value))

    def text(representer: Any, value: str) -> Any:
        style = '"' if _needs_quotes(value) else None
        return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Representer.add_representer(Decimal, decimal)
    Representer.add_representer(str, text)
    yaml = YAML()
    yaml.Representer = Representer
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(to_plain(scenario), stream)
    return stream.getvalue()


def _needs_quotes(value: str) -> bool:
    from sim.scenario.document import reads_as_text

    return not (value.isprintable() and reads_as_text(value))


def has_default(item: Any) -> bool:
    """Return whether a dataclass field may be left out."""
    return item.default is not MISSING or item.default_factory is not MISSING
