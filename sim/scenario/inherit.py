"""`extends`: what a scenario takes over from its parent.

Owns: the merge. Maps of settings merge key by key; lists, tagged unions and placements are one
value each and replace the parent's whole.
Must not know: files.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sim.scenario.document import Node
from sim.scenario.fields import yaml_key
from sim.scenario.model import Scenario
from sim.scenario.resolved import field_types, optional_member

NOT_INHERITED = ("name", "title", "question", "sweep")
"""Every scenario states its own."""


def merged(child: Node, parent: Node) -> Node:
    """Return the child's tree completed from the parent's; neither is changed."""
    assert isinstance(parent.content, dict)
    content = {key: node for key, node in parent.content.items() if key not in NOT_INHERITED}
    kept = Node(parent.place, content, parent.keys)
    return _merge(child, kept, Scenario)


def _merge(child: Node, parent: Node, annotation: Any) -> Node:
    members = _members(annotation)
    if (
        members is None
        or not isinstance(child.content, dict)
        or not isinstance(parent.content, dict)
    ):
        return child
    content = dict(parent.content)
    keys = dict(parent.keys)
    for key, node in child.content.items():
        inherited = content.get(key)
        inner = members.get(key, members.get("*"))
        content[key] = node if inherited is None else _merge(node, inherited, inner)
        keys[key] = child.keys[key]
    return Node(child.place, content, keys)


def _members(annotation: Any) -> dict[str, Any] | None:
    """Return the annotations inside a map of settings by key (`*`: any), None for one value."""
    annotation = optional_member(annotation)
    if isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__"):
        hints = field_types(annotation)
        return {yaml_key(item.name): hints[item.name] for item in fields(annotation)}
    if getattr(annotation, "__origin__", None) is dict:
        return {"*": annotation.__args__[1]}
    return None
