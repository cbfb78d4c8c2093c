"""Who is up, since when: a node's last two states, and the word that tells most of it.

Owns: the words, how states change between lookups. Must not know: ids, rings, lookups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sim.world.routing.nodes import Bundle

ALWAYS_NS = -(1 << 62)
"""Start of a state that has always been."""
MOMENT_SHIFT, MOMENT_ZERO, MOMENT_LAST = 28, 1 << 14, (1 << 15) - 1
"""A moment is a time in units of 2**28 ns (0.27 s), counted from 2**14 of them before the start;
the first and the last stand for all that is further away."""


def with_states(bundle: Bundle, up: Any, since_ns: Any, before_ns: Any) -> Bundle:
    """Set who is up, since when, and when the state before began; arrays by node, before the run.

    Times may be negative: what lay before the run is known as far as it is given. Returns `bundle`.
    """
    bundle.node["up"], bundle.node["since_ns"] = up, since_ns
    bundle.node["before_ns"] = before_ns
    bundle.states[:] = words_of(bundle.node)[bundle.at]
    always = (bundle.node["up"] == 1) & (bundle.node["since_ns"] == ALWAYS_NS)
    bundle.constants["changed"] = int(not always.all())
    return bundle


def change_states(bundle: Bundle, nodes: NDArray[Any], up: Any, t_ns: int) -> None:
    """Let each of `nodes` come (1) or go (0) at `t_ns`; who is so already stays as it was."""
    rows = bundle.node
    changed = rows["up"][nodes] != up
    which = nodes[changed]
    if len(which):
        rows["before_ns"][which] = rows["since_ns"][which]
        rows["since_ns"][which] = t_ns
        rows["up"][which] = np.asarray(up)[changed]
        bundle.states[bundle.places[:, which]] = words_of(rows[which])
        bundle.constants["changed"] = 1


def words_of(node: Any) -> NDArray[np.int32]:
    """Pack states: moment of the one before << 16 | moment of the present one << 1 | up."""
    before, since = (
        np.clip((node[name] >> MOMENT_SHIFT) + MOMENT_ZERO, 0, MOMENT_LAST).astype(np.int32)
        for name in ("before_ns", "since_ns")
    )
    words: NDArray[np.int32] = (before << 16) | (since << 1) | node["up"].astype(np.int32)
    return words
