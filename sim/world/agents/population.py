"""The agents as columns: who they are, where they live, whether they are online.

Owns: one row an agent, structure of arrays, and how rows are drawn at the start.
Must not know: messages, stations, slices.

Rows are ordered by region, inside a region by home gateway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.draws import (
    POPULATION,
    SESSION,
    SESSION_PAST,
    Table,
    weibull_mean_ns,
    weibull_residual_table,
    weibull_table,
)
from sim.world.agents.kinds import NEVER, PPM
from sim.world.agents.parameters import PlaneParameters, Sessions
from sim.world.chance import I64, U64, interpolate_array, mix, mix_array
from sim.world.kernels import aligned_rows, line_dtype
from sim.world.network.tables import NetworkTables

ALWAYS_NS = 1 << 61
"""Next toggle of an agent that never leaves."""
FIRST_TOGGLE = 2
"""Draws 0 and 1 of an agent's session key gave its state and residual life."""


AGENT_ROW = np.dtype(
    [
        ("ident", np.uint64),
        ("session", np.int64),
        ("lease_until_ns", np.int64),
        ("toggles", np.int32),
        ("sequence", np.int32),
        ("stored_head", np.int32),
        ("stored", np.int32),
        ("capability", np.uint16),
    ],
    align=True,
)
"""What few messages need of an agent."""

CONTACT_ROW = line_dtype(
    ("home", np.uint16),
    ("secondary", np.uint16),
    ("access", np.uint8),
    ("region", np.uint8),
    ("marks", np.uint8),
    itemsize=8,
)
"""What every message needs of both its ends, at random: eight agents a cache line, for at a million
agents a miss costs as much as a stage."""

ONLINE, UNSURE, LEASED = 1, 2, 4
"""Marks. UNSURE: the session toggles before the horizon, so only the agent's row knows; else ONLINE
tells. LEASED: the lease lasts beyond the horizon; else only the row knows."""


class Population(NamedTuple):
    """Columns of N agents, views of the rows. `session` is next_toggle_ns << 1 | online."""

    row: NDArray[Any]
    """AGENT_ROW[N]."""
    contacts: NDArray[Any]
    """CONTACT_ROW[N]; marks are set at the horizon."""
    ident: U64
    region: NDArray[np.uint8]
    home: NDArray[np.uint16]
    secondary: NDArray[np.uint16]
    access: NDArray[np.uint8]
    capability: NDArray[np.uint16]
    session: I64
    toggles: NDArray[np.int32]
    """Number of the next session draw."""
    lease_until_ns: I64
    """0: not registered; NEVER: no lease to renew."""
    sequence: NDArray[np.int32]
    """Number of the agent's next closed-loop transaction."""
    stored_head: NDArray[np.int32]
    """Newest message stored for the agent, by slot; -1: none."""
    stored: NDArray[np.int32]


class SessionTables(NamedTuple):
    """Duration tables by whether the agent is online: [0] absence, [1] session."""

    whole: tuple[Table, Table]
    residual: tuple[Table, Table]
    online_ppb: int


class Affine(NamedTuple):
    """A keyed permutation of 0 .. modulus - 1: x -> (factor x + offset) mod modulus."""

    factor: int
    inverse: int
    offset: int
    modulus: int

    def forward(self, x: NDArray[Any]) -> I64:
        return np.asarray((x.astype(np.int64) * self.factor + self.offset) % self.modulus)

    def backward(self, y: NDArray[Any]) -> I64:
        moved = (y.astype(np.int64) - self.offset) % self.modulus
        return np.asarray(moved * self.inverse % self.modulus)


def affine(key: int, purpose: int, modulus: int) -> Affine:
    """Draw a permutation; the factor is the coprime next above a keyed place."""
    factor = 1 + mix(key, purpose, 0) % modulus
    while math.gcd(factor, modulus) != 1:
        factor += 1
    factor %= modulus
    inverse = pow(factor, -1, modulus) if modulus > 1 else 0
    return Affine(factor, inverse, mix(key, purpose, 1) % modulus, modulus)


def session_tables(sessions: Sessions) -> SessionTables:
    """Tabulate lengths and residual lives; the chance of being online is a ratio of means."""
    on = (sessions.on_shape_micro / PPM, float(sessions.on_scale_ns))
    off = (sessions.off_shape_micro / PPM, float(sessions.off_scale_ns))
    mean_on, mean_off = weibull_mean_ns(*on), weibull_mean_ns(*off)
    return SessionTables(
        (weibull_table(*off), weibull_table(*on)),
        (weibull_residual_table(*off), weibull_residual_table(*on)),
        round(1e9 * mean_on / (mean_on + mean_off)),
    )


def draw_population(parameters: PlaneParameters, network: NetworkTables, keys: U64) -> Population:
    """Draw all rows. Same parameters and keys, same columns."""
    count = parameters.agents
    index = np.arange(count, dtype=np.int64)
    home, secondary, region = _placement(parameters, network)
    key = int(keys[POPULATION])
    bits = mix_array(key, index, 1)
    shares = np.cumsum([c.share_ppm for c in parameters.access])
    access = np.searchsorted(shares, _below(bits, PPM), side="right")
    capability = _below(mix_array(key, index, 2), parameters.capabilities)
    lease_ns = parameters.directory.lease_ns
    if lease_ns:
        residual = 1 + (mix_array(key, index, 3) % np.uint64(lease_ns)).astype(np.int64)
    else:
        residual = np.full(count, NEVER, dtype=np.int64)
    order = registration_order(parameters, keys)
    lease = np.where(order.forward(index) < registered_count(parameters), residual, 0)
    row = aligned_rows(AGENT_ROW, count)
    row["ident"] = mix_array(key, index, 0)
    row["capability"] = capability
    contacts = aligned_rows(CONTACT_ROW, count)
    contacts["region"], contacts["home"], contacts["secondary"] = region, home, secondary
    contacts["access"] = access
    row["session"] = _sessions(parameters.sessions, int(keys[SESSION]), index)
    row["toggles"], row["lease_until_ns"], row["stored_head"] = FIRST_TOGGLE, lease, -1
    columns = (
        (contacts if name in (CONTACT_ROW.names or ()) else row)[name]
        for name in Population._fields[2:]
    )
    return Population(row, contacts, *columns)


class Neighbours:
    """Which gateway an agent falls back on: the others of its region in turn, then nearer regions'.

    `median_ns`: by region pair.
    """

    def __init__(self, parameters: PlaneParameters, median_ns: Sequence[Sequence[int]]) -> None:
        by_region: dict[int, list[int]] = {}
        for gateway in parameters.gateways:
            by_region.setdefault(parameters.node_region[gateway], []).append(gateway)
        regions = range(len(parameters.placement))
        near = [
            sorted(by_region, key=lambda r, here=here: (r != here, median_ns[here][r], r))  # type: ignore[misc]
            for here in regions
        ]
        self.served_by = [order[0] for order in near]
        """By region: the region of its gateways."""
        self.own = [len(by_region[order[0]]) for order in near]
        self.order = [[g for r in order for g in by_region[r]] for order in near]
        """By region: all gateways, the `own` first ones in turn."""

    def after(self, region: int, gateway: int, left: int, known_down: Sequence[bool]) -> int:
        """Return the secondary of an agent that moved to `gateway`; `left` where there is none."""
        order, own = self.order[region], self.own[region]
        place = order.index(gateway)
        turn = order[place + 1 : own] + order[: min(place, own)] + order[own:]
        for other in turn:
            if other not in (gateway, left) and not known_down[other]:
                return other
        return left


def registration_order(parameters: PlaneParameters, keys: U64) -> Affine:
    """Permute agents: those that map below `registered_count` start registered."""
    return affine(int(keys[POPULATION]), 4, parameters.agents)


def registered_count(parameters: PlaneParameters) -> int:
    return parameters.agents * parameters.directory.registered_ppm // PPM


def bytes_per_agent() -> int:
    """Bytes of one row of `Population`."""
    return AGENT_ROW.itemsize + CONTACT_ROW.itemsize


def _placement(
    parameters: PlaneParameters, network: NetworkTables
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Spread each region's agents evenly over its gateways, in order.

    The secondary is the next gateway of the region, else the first of the nearest other region.
    """
    by_region: dict[int, list[int]] = {}
    for gateway in parameters.gateways:
        by_region.setdefault(parameters.node_region[gateway], []).append(gateway)
    homes, seconds, regions = [], [], []
    for region, agents in enumerate(parameters.placement):
        near = sorted(by_region, key=lambda r: (r != region, network.median_ns[region, r], r))
        own = np.array(by_region[near[0]], dtype=np.int32)
        place = np.arange(agents, dtype=np.int64) * len(own) // max(agents, 1)
        homes.append(own[place])
        if len(own) > 1:
            seconds.append(own[(place + 1) % len(own)])
        else:
            other = np.array(by_region[near[min(1, len(near) - 1)]], dtype=np.int32)
            seconds.append(other[np.arange(agents) % len(other)])
        regions.append(np.full(agents, region, dtype=np.uint8))
    return np.concatenate(homes), np.concatenate(seconds), np.concatenate(regions)


def _sessions(sessions: Sessions | None, key: int, index: I64) -> I64:
    if sessions is None:
        return np.full(len(index), (ALWAYS_NS << 1) | 1, dtype=np.int64)
    tables = session_tables(sessions)
    draw = ((mix_array(key, index, 0) >> np.uint64(32)) * np.uint64(10**9)) >> np.uint64(32)
    online = draw.astype(np.int64) < tables.online_ppb
    bits = mix_array(key, index, 1)
    lives = [interpolate_array(np.array(t, dtype=np.int64), bits) for t in tables.residual]
    # A residual life may be shorter than the grid: it is the end of a session that is not.
    until = np.maximum(np.where(online, lives[1], lives[0]) * 1_000, 1)
    return np.asarray((until << 1) | online, dtype=np.int64)


def past_sessions(sessions: Sessions, keys: U64, online: NDArray[Any]) -> tuple[I64, I64]:
    """Draw when each agent's state at the start began, and when the state before that did.

    Ages have the distribution of residual lives (Cox, "Renewal Theory", 1962, section 5.2), drawn
    apart from what is left: the pair's dependence is lost. Negative times.
    """
    tables, key = session_tables(sessions), int(keys[SESSION_PAST])
    index = np.arange(len(online), dtype=np.int64)

    def drawn(pair: tuple[Table, Table], state: NDArray[Any], number: int) -> I64:
        bits = mix_array(key, index, number)
        off, on = (interpolate_array(np.array(table, dtype=np.int64), bits) for table in pair)
        return np.asarray(np.maximum(np.where(state, on, off) * 1_000, 1), dtype=np.int64)

    since = -drawn(tables.residual, online == 1, 0)
    return since, since - drawn(tables.whole, online == 0, 1)


def _below(bits: U64, bound: int) -> I64:
    return (((bits >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)
