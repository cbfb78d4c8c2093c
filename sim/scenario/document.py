"""Read strict YAML 1.2 into values that know their place.

Owns: syntax, duplicate keys, and the plain scalars that YAML versions read differently (`on`,
`1e3`, `0123`), which are refused. Numbers stay exact (int, Decimal).
Must not know: which keys exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from sim.scenario.errors import ScenarioError

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 50_000

Scalar: TypeAlias = str | int | bool | Decimal


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value or a key stands; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def error(self, message: str) -> ScenarioError:
        return ScenarioError(self.file, self.line, self.column, message)


class Refused:
    """Stands for a value that was refused already, so that it is reported once."""

    def __repr__(self) -> str:
        return "Refused()"


REFUSED = Refused()


@dataclass(slots=True)
class Node:
    """A value with its place. `content`: a scalar, REFUSED, a list of nodes, or nodes by key."""

    place: Place
    content: Scalar | Refused | list[Node] | dict[str, Node]
    keys: dict[str, Place] = field(default_factory=dict)

    def plain(self) -> Any:
        """Return the value without its places."""
        if isinstance(self.content, dict):
            return {key: node.plain() for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.plain() for node in self.content]
        return self.content


_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+", re.ASCII)
_TRAPS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.ASCII), message)
    for pattern, message in (
        (
            r"(?i:yes|no|on|off|y|n)",
            "is a boolean in YAML 1.1 and text in YAML 1.2; write `true` or `false`, or quote it",
        ),
        (r"True|TRUE|False|FALSE", "is written `true` or `false` here"),
        (r"~|null|Null|NULL|", "is no value; leave the key out for its default"),
        (
            r"[-+]?0[0-9]+(?:\.[0-9]*)?",
            "has a leading zero, octal in YAML 1.1; drop the zero, or quote it",
        ),
        (
            r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+",
            "has an exponent; write the number out",
        ),
        (r"[-+]?0[xXoObB][0-9a-fA-F]+", "is not decimal; write the number in decimal"),
        (
            r"[-+]?[0-9][0-9_]*_[0-9_.]*",
            "has underscores, a number in YAML 1.1 and text in YAML 1.2; leave them out",
        ),
        (
            r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?",
            "is a base-60 number in YAML 1.1 and text in YAML 1.2; quote it",
        ),
        (
            r"[-+]?\.[0-9]+|[-+]?[0-9]+\.|\+[0-9.]+",
            "is a number written short; write it like `0.5` or `5`",
        ),
        (r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "is not a finite number"),
        (
            r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*",
            "is a date in YAML 1.1 and text in YAML 1.2; quote it",
        ),
    )
)


def read_document(text: str, file: str, errors: list[ScenarioError]) -> Node | None:
    """Return the one document of `text`, or None where its syntax is beyond reading.

    Appends to `errors`; a value that is refused stays in the tree as REFUSED.
    """
    if len(text) > MAX_CHARACTERS:
        errors.append(ScenarioError(file, 1, 1, f"longer than {MAX_CHARACTERS} characters"))
        return None
    if _unreadable(text, file, errors):
        return None
    return _Reader(file, 1, 0, errors).read(text)


def read_value(text: str, rank: int, offset: int, errors: list[ScenarioError]) -> Node | None:
    """Return the value of override `rank` (from 1); `text` starts at column `offset` + 1."""
    if "\n" in text:
        errors.append(ScenarioError("--set", rank, offset + 1, "an override is one line"))
        return None
    return _Reader("--set", rank, offset, errors).read(text)


def _unreadable(text: str, file: str, errors: list[ScenarioError]) -> bool:
    found = len(errors)
    for number, line in enumerate(text.split("\n"), 1):
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if "\t" in indent and line.strip():
            column = indent.index("\t") + 1
            errors.append(ScenarioError(file, number, column, "a tab indents; use spaces"))
        if line.startswith("%"):
            errors.append(ScenarioError(file, number, 1, "directives have no place here"))
        control = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]", line)
        if control:
            message = f"control character U+{ord(control[0]):04X}"
            errors.append(ScenarioError(file, number, control.start() + 1, message))
    return len(errors) > found


class _Stop(Exception):
    """Reading cannot go on; the reason is among the errors."""


class _Reader:
    """Turn the events of one document into nodes."""

    def __init__(self, file: str, line: int, offset: int, errors: list[ScenarioError]) -> None:
        self.file = file
        self.line = line
        self.offset = offset
        self.errors = errors
        self.nodes = 0

    def read(self, text: str) -> Node | None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        events = YAML(typ="safe", pure=True).parse(text)
        try:
            return self._document(events)
        except _Stop:
            return None
        except MarkedYAMLError as error:
            place = self._place(error.problem_mark or error.context_mark)
            context = f" {error.context}" if error.context else ""
            self.errors.append(place.error(f"not YAML: {error.problem}{context}"))
        except YAMLError as error:
            self.errors.append(ScenarioError(self.file, self.line, 1, f"not YAML: {error}"))
        return None

    def _document(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        for event in events:
            name = type(event).__name__
            if name in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
                continue
            if name == "DocumentStartEvent":
                if root is not None:
                    self._refuse(event, "a second document; a file holds one scenario")
                    raise _Stop
            else:
                root = self._node(event, events, 1)
        if root is None:
            self.errors.append(ScenarioError(self.file, self.line, self.offset + 1, "empty"))
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            limit = f"{MAX_DEPTH} levels deep" if depth > MAX_DEPTH else f"{MAX_NODES} values"
            self._refuse(event, f"more than {limit}")
            raise _Stop
        place = self._place(event.start_mark)
        name = type(event).__name__
        if name == "AliasEvent":
            self._refuse(event, f"alias *{event.anchor}: write the value out, or use `extends`")
            return Node(place, REFUSED)
        if event.anchor is not None:
            self._refuse(event, f"anchor &{event.anchor}: write the value out, or use `extends`")
        if event.tag not in (None, "!"):
            self._refuse(event, f"tag {event.tag}: values have no tags here")
        if name == "ScalarEvent":
            return Node(place, self._scalar(event, place))
        if name == "SequenceStartEvent":
            return Node(place, list(self._items(events, depth)))
        return self._mapping(place, events, depth)

    def _items(self, events: Iterator[Any], depth: int) -> Iterator[Node]:
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                return
            yield self._node(event, events, depth + 1)

    def _mapping(self, place: Place, events: Iterator[Any], depth: int) -> Node:
        content: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key_node = self._node(event, events, depth + 1)
            value_event = next(events)
            if getattr(value_event, "value", None) == "" and value_event.style is None:
                # The parser places a value that is left out at the next token.
                value_event.start_mark = event.start_mark
            value = self._node(value_event, events, depth + 1)
            key = key_node.content
            if isinstance(key, Refused):
                continue
            if not isinstance(key, str):
                self.errors.append(key_node.place.error("a key is text; quote it if it is meant"))
            elif key == "<<":
                self.errors.append(key_node.place.error("merge key `<<`: use `extends`"))
            elif key in content:
                first = keys[key]
                self.errors.append(
                    key_node.place.error(f"`{key}` stands here twice; first at line {first.line}")
                )
            else:
                content[key] = value
                keys[key] = key_node.place
        return Node(place, content, keys)

    def _scalar(self, event: Any, place: Place) -> Scalar | Refused:
        text: str = event.value
        if event.style is not None:
            return text
        for pattern, message in _TRAPS:
            if pattern.fullmatch(text):
                subject = f"`{text}` " if text else "nothing "
                self.errors.append(place.error(subject + message))
                return REFUSED
        if text in ("true", "false"):
            return text == "true"
        if len(text) <= 40 and _INTEGER.fullmatch(text):
            return int(text)
        if len(text) <= 40 and _DECIMAL.fullmatch(text):
            return Decimal(text)
        return text

    def _place(self, mark: Any) -> Place:
        if mark is None:
            return Place(self.file, self.line, self.offset + 1)
        shift = self.offset if mark.line == 0 else 0
        return Place(self.file, self.line + mark.line, mark.column + 1 + shift)

    def _refuse(self, event: Any, message: str) -> None:
        self.errors.append(self._place(event.start_mark).error(message))


def reads_as_text(value: str) -> bool:
    """Return whether `value`, written plain, is read as that text by every YAML version."""
    if value in ("true", "false") or _INTEGER.fullmatch(value) or _DECIMAL.fullmatch(value):
        return False
    return not any(pattern.fullmatch(value) for pattern, _ in _TRAPS)
