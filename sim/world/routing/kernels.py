"""Lookups: what other kernels call.

Owns: the paths of a lookup put together, keys, nodes that come and go.
Must not know: how a path runs, what is looked up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.kernels import compiled, inlined, mix64
from sim.world.routing.contacts.kernels import moment_of
from sim.world.routing.iterative.kernels import run_path as run_iterative
from sim.world.routing.malice.kernels import is_aimed
from sim.world.routing.nodes import AGENT_KEY, CAPABILITY_KEY
from sim.world.routing.parameters import FOUND, POISONED, REGION, TIMED_OUT, WORLD
from sim.world.routing.recursive.kernels import run_path as run_recursive
from sim.world.routing.tables.kernels import closest

__all__ = ["agent_key", "capability_key", "closest", "route", "route_many", "set_up"]


@compiled
def route(
    B: Any,
    source: int,
    key: Any,
    home_region: int,
    t_ns: int,
    ident: int,
    attempt: int,
    out: Any,
) -> None:
    """Look `key` up from node `source` at `t_ns`; fill the LOOKUP record `out`.

    `home_region`: region of the record's home, -1 where it lies in the world's ring only. `ident`
    and `attempt` key the delays. See the README of this folder for the fields.
    """
    c = B.constants[0]
    c.lookups += 1
    c.aimed = 0
    if len(B.aims) > 0:
        c.aimed = is_aimed(B, key)
    goal = WORLD
    if c.inner != WORLD and home_region == np.int64(B.node[source].region):
        goal = REGION
    clear(out)
    for path in range(c.disjoint_paths):
        clear(B.path[0])
        if c.iterative != 0:
            run_iterative(B, source, key, goal, t_ns, ident, attempt, path)
        else:
            run_recursive(B, source, key, goal, t_ns, ident, attempt, path)
        combine(out, B.path[0], path == 0)
    out.host = -1
    if out.outcome == POISONED or out.outcome == TIMED_OUT:
        out.owner = -1
    if out.owner >= 0:
        out.host = B.node[out.owner].host


@inlined
def clear(row: Any) -> None:
    """Set the counts of a lookup to zero."""
    row.depth = row.rounds = row.rpcs = row.messages = row.bytes = row.crossings = 0
    row.timeouts = row.delay_ns = row.back_ns = row.ring = 0
    row.owner = row.host = -1
    row.outcome = TIMED_OUT


@inlined
def combine(out: Any, p: Any, first: bool) -> None:
    """Add a path: messages sum up, the result is the first that found, else the last that failed.

    Among paths that failed alike the longest counts; an answer, even a wrong one, goes before a
    missed deadline.
    """
    out.rpcs += p.rpcs
    out.messages += p.messages
    out.bytes += p.bytes
    out.crossings += p.crossings
    out.timeouts += p.timeouts
    out.back_ns = max(out.back_ns, p.back_ns)
    found, was_found = p.outcome == FOUND, out.outcome == FOUND
    if found and was_found:
        better = p.delay_ns < out.delay_ns
    elif found or was_found:
        better = found
    elif (p.outcome == TIMED_OUT) != (out.outcome == TIMED_OUT):
        better = p.outcome != TIMED_OUT
    else:
        better = p.delay_ns > out.delay_ns
    if first or better:
        out.depth = p.depth
        out.rounds = p.rounds
        out.delay_ns = p.delay_ns
        out.owner = p.owner
        out.outcome = p.outcome
        out.ring = p.ring


@compiled
def route_many(
    B: Any, sources: Any, keys: Any, homes: Any, t_ns: int, first_ident: int, out: Any
) -> None:
    """Look many keys up, one after another, all at `t_ns`; `out`: a LOOKUP record each."""
    for i in range(len(sources)):
        route(B, sources[i], keys[i], homes[i], t_ns, first_ident + i, 0, out[i])


@compiled
def set_up(B: Any, node: int, up: int, t_ns: int) -> None:
    """Let a node come (1) or go (0) at `t_ns`; the same state again changes nothing."""
    row = B.node[node]
    if row.up == up:
        return
    row.before_ns = row.since_ns
    row.since_ns = t_ns
    row.up = up
    word = (moment_of(row.before_ns) << 16) | (moment_of(t_ns) << 1) | up
    for kind in range(len(B.places)):
        B.states[B.places[kind, node]] = word
    B.constants[0].changed = 1


@compiled
def agent_key(B: Any, agent: int) -> Any:
    """Return the key of an agent: its id where agents are nodes, else a keyed hash."""
    c = B.constants[0]
    if c.agents != 0:
        return B.node[B.node_of[agent]].ident
    shift = np.uint64(64 - c.id_bits)
    return (mix64(B.draw[AGENT_KEY], agent, 0) >> shift) << shift


@compiled
def capability_key(B: Any, capability: int) -> Any:
    """Return the key of a capability, a keyed hash."""
    shift = np.uint64(64 - B.constants[0].id_bits)
    return (mix64(B.draw[CAPABILITY_KEY], capability, 0) >> shift) << shift
