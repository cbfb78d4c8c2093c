"""Whole registries in and out: Polars frames, populations of the agent plane.

Owns: which columns there are, of which types, and what they may hold.
Must not know: how a registry keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim.world.registry.columns import Record, empty_columns
from sim.world.registry.parameters import RegistryParameters

if TYPE_CHECKING:
    from sim.world.agents.population import Population

Table = dict[str, NDArray[Any]]

_TYPES = {name: getattr(empty_columns(1, 1, 1), name).dtype for name in Record._fields}


def frame_of(table: Table) -> pl.DataFrame:
    """Return columns of `Record` as a frame."""
    return pl.DataFrame({name: table[name] for name in Record._fields})


def table_of(frame: pl.DataFrame) -> Table:
    """Return a frame's columns of `Record`; raise ValueError if one lacks or holds nulls."""
    missing = [name for name in Record._fields if name not in frame.columns]
    if missing:
        raise ValueError(f"the frame lacks {', '.join(missing)}; needs {', '.join(Record._fields)}")
    empty = [name for name in Record._fields if frame[name].null_count()]
    if empty:
        raise ValueError(f"the frame has nulls in {', '.join(empty)}")
    return {name: frame[name].to_numpy() for name in Record._fields}


def registered(people: Population) -> Table:
    """Return the agents of a population that have a lease, as records of version 1."""
    rows = np.flatnonzero(people.lease_until_ns > 0)
    table: Table = {name: getattr(people, name)[rows] for name in Record._fields[:-1]}
    table["version"] = np.ones(len(rows), dtype=np.int64)
    return table


def checked(table: Table, parameters: RegistryParameters) -> Table:
    """Return columns in the registry's types; raise ValueError for what they cannot hold."""
    p = parameters
    bounds = {
        "ident": (0, (1 << 64) - 1),
        "home": (0, len(p.node_region) - 1),
        "region": (0, p.regions - 1),
        "capability": (0, p.capabilities - 1),
        "lease_until_ns": (1, (1 << 63) - 1),
        "version": (0, (1 << 32) - 1),
    }
    whole = {}
    for name, (low, high) in bounds.items():
        column = table[name]
        if len(column) and not low <= int(column.min()) <= int(column.max()) <= high:
            raise ValueError(
                f"{name}: {int(column.min())} to {int(column.max())}; must be {low} to {high}"
            )
        whole[name] = column.astype(_TYPES[name])
    return whole
