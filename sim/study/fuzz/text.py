"""A scenario as the shortest text that reads well: a line a section where it fits.

Owns the layout. Must not know what a scenario means: it is given plain YAML values.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100


def scenario_text(plain: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return YAML text that loads to `plain`; each comment is a line of its own before it.

    A section stands in one line where that fits; else its keys share lines, and list items have
    one each.
    """
    lines = [f"# {comment}" for comment in comments]
    for key, value in plain.items():
        lines += _section(key, value)
    return "\n".join(lines) + "\n"


def _section(key: str, value: Any) -> list[str]:
    line = f"{key}: {flow(value)}"
    if len(line) <= WIDTH or not isinstance(value, Mapping | list) or not value:
        return [line]
    if isinstance(value, list):
        return [f"{key}:", *(f"  - {flow(item)}" for item in value)]
    return _wrapped(f"{key}: {{", [f"{name}: {flow(item)}" for name, item in value.items()])


def _wrapped(opening: str, items: list[str]) -> list[str]:
    """Return a flow map over as few lines as its items fit on."""
    lines, line = list[str](), opening
    for rank, item in enumerate(items):
        part = item + ("}" if rank == len(items) - 1 else ",")
        if line not in (opening, "  ") and len(line) + 1 + len(part) > WIDTH:
            lines.append(line)
            line = "  "
        line += part if line in (opening, "  ") else f" {part}"
    return [*lines, line]


def flow(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """Quote what would not be read as that text; a comma would end an item."""
    from sim.scenario.document import reads_as_text

    plain = reads_as_text(text) and text[:1].isalnum() and not any(c in text for c in ",{}[]#")
    if plain and ": " not in text and text == text.strip():
        return text
    from ruamel.yaml import YAML

    stream = io.StringIO()
    yaml = YAML()
    yaml.width = 1 << 16
    yaml.default_flow_style = True
    yaml.dump([text], stream)
    return stream.getvalue().strip()[1:-1]
