"""Whom adversaries own: agents, and nodes of the plane's DHT.

Owns: how a choice becomes rows. Must not know: what is done with them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.kinds import PPM
from sim.world.agents.parameters import Assault, Chosen, Lies
from sim.world.chance import I64, mix_array


def chosen(choice: Chosen, region: NDArray[Any], host: NDArray[Any], key: int) -> I64:
    """Return the rows that `choice` means, ascending; `region`, `host`: by row.

    `choice.near` is not looked at: who asks ranks rows by distance itself.
    """
    count = len(region)
    if choice.numbers is not None:
        return np.unique(np.array(choice.numbers, dtype=np.int64))
    if choice.region is not None:
        return np.flatnonzero(region == choice.region)
    if choice.hosts is not None:
        return np.flatnonzero(np.isin(host, choice.hosts))
    wanted = choice.random if choice.random is not None else count * (choice.share_ppm or 0) // PPM
    order = np.argsort(mix_array(key, np.arange(count)), kind="stable")
    return np.sort(order[:wanted])


def lies_of(assaults: Sequence[Assault], on: Collection[int], nodes: int) -> list[int]:
    """Return by node how its registry lies, 0 where it does not: the first that is on decides."""
    lies = [0] * nodes
    for place, assault in enumerate(assaults):
        if place in on and isinstance(assault, Lies):
            for node in assault.nodes:
                lies[node] = lies[node] or assault.lie
    return lies
