"""Count what a world holds: every object that can be reached from it, by where it hangs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_PLAIN = (int, float, str, bytes, bool, type(None), type, ModuleType)


def census(root: object) -> Counter[str]:
    """Return the number of items by owner: `Class.attribute` for containers, class for objects.

    Items of containers inside containers count with the attribute that holds the outermost.
    Arrays count their elements.
    """
    counts: Counter[str] = Counter()
    seen: dict[int, object] = {}
    stack: list[tuple[str, object]] = [("", root)]
    while stack:
        where, found = stack.pop()
        if isinstance(found, _PLAIN) or id(found) in seen:
            continue
        seen[id(found)] = found
        for place, size, items in _parts(where, found):
            counts[place] += size
            stack.extend(items)
    return counts


def _parts(where: str, found: Any) -> Iterator[tuple[str, int, list[tuple[str, Any]]]]:
    """Yield (place, what it counts, what hangs there with its own place)."""
    kind = type(found)
    if isinstance(found, dict):
        values = [*found.keys(), *found.values()]
        yield where, len(found), [(where, value) for value in values]
    elif hasattr(found, "_fields"):
        inside = [(f"{kind.__name__}.{name}", getattr(found, name)) for name in found._fields]
        yield kind.__name__, 1, inside
    elif isinstance(found, (list, tuple, deque, set, frozenset)):
        yield where, len(found), [(where, value) for value in found]
    elif isinstance(found, np.ndarray):
        yield where, found.size, []
    elif isinstance(found, MethodType):
        yield where, 0, [(where, found.__self__)]
    elif isinstance(found, FunctionType):
        cells = [cell.cell_contents for cell in found.__closure__ or ()]
        yield where, 0, [(found.__qualname__, value) for value in cells]
    elif kind.__module__.startswith(("sim.", "simpy.")):
        yield kind.__name__, 1, [(f"{kind.__name__}.{n}", v) for n, v in _attributes(found)]


def _attributes(found: Any) -> Iterator[tuple[str, Any]]:
    for kind in type(found).__mro__:
        slots = getattr(kind, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(found, name):
                yield name, getattr(found, name)
    yield from getattr(found, "__dict__", {}).items()
