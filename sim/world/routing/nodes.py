"""Who is a DHT node, under which id, in which rings: the arrays that lookups read.

Owns: members, ids, sorted rings with their prefix index, the layout of `Bundle`.
Must not know: how a lookup goes.

Rings lie one after another in `ids`: the world (ring 0), region r (ring 1 + r), zone z (ring
1 + regions + z). Inside a ring ids ascend. No table of contacts is stored: see `kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.chance import I64, U64, Chance, mix, mix_array
from sim.world.kernels import aligned_rows, line_dtype, records
from sim.world.network.regions import split_site
from sim.world.network.tables import NetworkTables
from sim.world.routing.parameters import (
    HIERARCHICAL,
    HONEST,
    MAX_ALPHA,
    MAX_K,
    REGION,
    WORLD,
    ZONE,
    RoutingParameters,
    check_id_bits,
)
from sim.world.routing.states import ALWAYS_NS, words_of

I32 = NDArray[np.int32]

PURPOSES = ("node", "agent", "capability", "contact", "refresh", "hop", "planted")
NODE_KEY, AGENT_KEY, CAPABILITY_KEY, CONTACT_DRAW, REFRESH_DRAW, HOP_DRAW, PLANTED_DRAW = range(
    len(PURPOSES)
)

SHORTLIST_FACTOR = 4
"""An iterative lookup remembers the 4k nearest nodes it has heard of."""
SEEN_WORDS = 64
"""Marks for positions drawn: 64 of each word."""
MAX_REGIONS = 255
CELL_NODES_BITS = 3
"""A cell of a prefix index holds 4 to 8 nodes on average: less than two cache lines of ids."""

NODE_ROW = line_dtype(
    ("ident", np.uint64),
    ("since_ns", np.int64),
    ("before_ns", np.int64),
    ("access_ns", np.int64),
    ("host", np.int32),
    ("zone", np.int32),
    ("region", np.int16),
    ("site", np.int16),
    ("up", np.uint8),
    ("malice", np.uint8),
)
"""A node. `up` since `since_ns`; the state before that began at `before_ns`. `site` is its row in
the network's tables; `access_ns` is paid on every message to or from it."""

RING_ROW = np.dtype(
    [("first", np.int64), ("last", np.int64), ("cells", np.int64), ("bits", np.int64)]
)
"""Positions first .. last - 1; its index begins at `cells` and resolves `bits` bits."""

CONSTANTS = (
    "nodes",
    "regions",
    "inner",
    "iterative",
    "k",
    "b",
    "id_bits",
    "alpha",
    "disjoint_paths",
    "proximity",
    "rpc_timeout_ns",
    "rpc_bytes",
    "contact_bytes",
    "refresh_ns",
    "deadline_ns",
    "agents",
    "changed",
    "malicious",
    "planted_ppm",
    "aimed",
    "cuts",
    "lookups",
)
CONSTANTS_ROW = np.dtype([(name, np.int64) for name in CONSTANTS])
"""`inner`: kind of the innermost ring. `agents`: nodes are agents. `changed`: a node has ever come
or gone. `malicious`: there are such nodes. `planted_ppm`: share of contacts that they replaced.
`aimed`: the running lookup's key is aimed at. `cuts`: some hosts cannot reach others. `lookups`:
how many there were, which marks `stamp`."""

TALLY = ("buckets", "short", "contacts", "stale")
BUCKETS, SHORT, CONTACTS, STALE = range(len(TALLY))

LOOKUP_FIELDS = (
    "depth",
    "rounds",
    "rpcs",
    "messages",
    "bytes",
    "crossings",
    "timeouts",
    "delay_ns",
    "back_ns",
    "owner",
    "host",
    "outcome",
    "ring",
)
LOOKUP = np.dtype([(name, np.int64) for name in LOOKUP_FIELDS])
"""What a lookup came to; `ring` is the kind of the ring in which it ended."""

HEARD = np.dtype(
    [
        ("distance", np.uint64),
        ("node", np.int64),
        ("status", np.int64),
        ("depth", np.int64),
        ("arrive_ns", np.int64),
    ]
)
"""A node that a lookup has heard of."""
FLIGHT = np.dtype(
    [
        ("finish_ns", np.int64),
        ("number", np.int64),
        ("node", np.int64),
        ("depth", np.int64),
        ("wave", np.int64),
        ("alive", np.int64),
    ]
)
"""A question under way."""


class Bundle(NamedTuple):
    """Everything that lookups read, and the memory that they scribble in."""

    constants: Any
    """CONSTANTS_ROW[1]."""
    draw: U64
    """Key of each purpose."""
    node: Any
    """NODE_ROW[n], by rank of id."""
    ids: U64
    """Ids by position: rings one after another."""
    at: I32
    """Node at each position."""
    region: NDArray[np.uint8]
    """Region of each node once more: the choice of contacts reads many."""
    states: I32
    """What the row of the node at each position says of its states: `states.words_of`."""
    places: I32
    """Where a node is in each kind of ring: [kind, node] -> position."""
    rings: Any
    """RING_ROW[rings]."""
    cells: I32
    """Position of the first id of each cell, and of the end."""
    node_of: I32
    """Node of each member."""
    member_of: I32
    """Member at each node."""
    bad: I32
    """Malicious nodes, ascending."""
    planted: I32
    """Positions of the nodes that stand in others' tables in place of honest ones, ascending."""
    aims: U64
    """Keys for which malicious nodes of AIMED lie, ascending."""
    cut: NDArray[np.uint8]
    """[host, host]: 1 where nothing passes from the first to the second."""
    median_ns: I64
    spread_ns: I64
    shape: I64
    """The network's tables, not copies: what changes there, changes here."""
    tally: I64
    """Counts of TALLY over all lookups."""
    stamp: I64
    """Which lookup and path last asked a node."""
    seen: U64
    found: I64
    """Scratch: positions drawn."""
    near: I64
    distance: U64
    heard: Any
    known: Any
    liars: Any
    flights: Any
    path: Any
    """Scratch: LOOKUP[1] of the path that runs."""

    def ring_of_region(self, region: int) -> int:
        """Return the ring of a region."""
        return 1 + region


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Who takes part: `host[m]` is the validator that serves for member m."""

    host: I32
    access_ns: I64
    agents: bool = False


def gateways(nodes: Sequence[int]) -> Members:
    """Let each gateway be one node; `nodes` are the validators that are gateways."""
    host = np.array(nodes, dtype=np.int32)
    return Members(host, np.zeros(len(host), dtype=np.int64))


def routers(nodes: Sequence[int], host_region: Sequence[int], per_region: int) -> Members:
    """Put `per_region` routers into each region with a gateway, hosted by its gateways in turn."""
    if per_region < 1:
        raise ValueError(f"routers: {per_region} a region; need 1 or more")
    host: list[int] = []
    for region in sorted({host_region[node] for node in nodes}):
        here = [node for node in nodes if host_region[node] == region]
        host += [here[i % len(here)] for i in range(per_region)]
    return gateways(host)


def agents(home: NDArray[Any], access_ns: NDArray[Any]) -> Members:
    """Let every agent be a node at its home gateway; `access_ns`: median delay of its access."""
    return Members(np.asarray(home, np.int32), np.asarray(access_ns, np.int64), agents=True)


def build(
    parameters: RoutingParameters,
    members: Members,
    host_site: Sequence[int] | NDArray[Any],
    network: NetworkTables,
    chance: Chance,
    *,
    host_zone: Sequence[int] | NDArray[Any] | None = None,
    ids: U64 | None = None,
) -> Bundle:
    """Sort members into rings.

    `host_site`: row of the network's tables by validator. `host_zone`: zone by validator, numbered
    over all regions; without it the sites are the zones where they name any, else there is no
    zone ring. `ids`: left-aligned ids by member instead of keyed ones. Raises ValueError where ids
    are too short for as many members, or double.
    """
    count = len(members.host)
    if not 1 <= count < 1 << 29:
        raise ValueError(f"routing: {count} nodes; need 1 to {(1 << 29) - 1}")
    draw = np.array([chance.key(f"routing/{name}") for name in PURPOSES], dtype=np.uint64)
    if ids is None:
        ids = own_ids(parameters, members, chance)
    order = np.argsort(ids, kind="stable")
    node = aligned_rows(NODE_ROW, count)
    _fill_nodes(node, members, order, ids, np.asarray(host_site), network)
    if count > 1 and (node["ident"][1:] == node["ident"][:-1]).any():
        raise ValueError("routing: two members have one id")
    zones = 0
    if parameters.kind == HIERARCHICAL:
        zones = _fill_zones(node, host_zone, np.asarray(host_site), network)
    regions = max(_site_regions(network)) + 1
    if regions > MAX_REGIONS:
        raise ValueError(f"routing: {regions} regions; at most {MAX_REGIONS}")
    positions, rings, cells = _rings(node, regions, zones)
    node_of = np.empty(count, dtype=np.int32)
    node_of[order] = np.arange(count, dtype=np.int32)
    k = parameters.k
    return Bundle(
        constants=_constants(parameters, count, regions, zones, members.agents),
        draw=draw,
        node=node,
        ids=node["ident"][positions],
        at=positions,
        region=node["region"].astype(np.uint8),
        states=words_of(node)[positions],
        places=_places(positions, count),
        rings=rings,
        cells=cells,
        node_of=node_of,
        member_of=order.astype(np.int32),
        bad=np.zeros(0, dtype=np.int32),
        planted=np.zeros(0, dtype=np.int32),
        aims=np.zeros(0, dtype=np.uint64),
        cut=np.zeros((len(host_site), len(host_site)), dtype=np.uint8),
        median_ns=_writable(network.median_ns),
        spread_ns=_writable(network.spread_ns),
        shape=_writable(network.shape),
        tally=np.zeros(len(TALLY), dtype=np.int64),
        stamp=np.zeros(count, dtype=np.int64),
        seen=np.zeros(SEEN_WORDS, dtype=np.uint64),
        found=np.zeros(2 * MAX_K, dtype=np.int64),
        near=np.zeros(2 * MAX_K + 1, dtype=np.int64),
        distance=np.zeros(2 * MAX_K, dtype=np.uint64),
        heard=records(np.zeros(SHORTLIST_FACTOR * k + 1, dtype=HEARD)),
        known=records(np.zeros(3 * MAX_K, dtype=HEARD)),
        liars=records(np.zeros(MAX_K + 1, dtype=HEARD)),
        flights=records(np.zeros(MAX_ALPHA, dtype=FLIGHT)),
        path=records(np.zeros(1, dtype=LOOKUP)),
    )


def with_links(bundle: Bundle, median_ns: I64, spread_ns: I64, shape: I64) -> Bundle:
    """Let lookups read other network tables, which the caller may change during the run."""
    return bundle._replace(median_ns=median_ns, spread_ns=spread_ns, shape=shape)


def with_malice(
    bundle: Bundle,
    malice: NDArray[Any],
    *,
    aims: U64 | None = None,
    planted: NDArray[Any] | None = None,
    planted_ppm: int = 0,
) -> Bundle:
    """Let nodes misbehave: `malice[node]` is HONEST, DROP or POISON, plus AIMED: for `aims` only.

    `planted`: by node, whether it may stand in others' tables; `planted_ppm` of all contacts that
    have such a node in their range are replaced by one. The bundle that is returned shares
    everything else with the one given, which must not be used on.
    """
    bundle.node["malice"] = malice
    bad = np.flatnonzero(bundle.node["malice"] != HONEST).astype(np.int32)
    bundle.constants["malicious"] = int(len(bad) > 0)
    bundle.constants["planted_ppm"] = planted_ppm
    where = np.zeros(len(bundle.node), dtype=np.bool_) if planted is None else planted
    return bundle._replace(
        bad=bad,
        planted=np.flatnonzero(where[bundle.at]).astype(np.int32),
        aims=np.unique(np.zeros(0, dtype=np.uint64) if aims is None else aims),
    )


def cut_off(bundle: Bundle, sources: Any, targets: Any, *, blocked: bool) -> None:
    """Let nothing, or everything, pass from hosts to hosts; a question needs both directions."""
    bundle.cut[np.ix_(np.asarray(sources, np.int64), np.asarray(targets, np.int64))] = blocked
    bundle.constants["cuts"] = int(bundle.cut.any())


def _places(positions: I32, count: int) -> I32:
    """Return the position of each node in each kind of ring."""
    places = np.empty((len(positions) // count, count), dtype=np.int32)
    for kind, row in enumerate(places):
        row[positions[kind * count : (kind + 1) * count]] = np.arange(count) + kind * count
    return places


def own_ids(parameters: RoutingParameters, members: Members, chance: Chance) -> U64:
    """Return the members' keyed ids, left-aligned. Raises ValueError where they are too short."""
    check_id_bits(parameters.id_bits, len(members.host))
    key = chance.key(f"routing/{PURPOSES[AGENT_KEY if members.agents else NODE_KEY]}")
    return _keyed_ids(key, len(members.host), parameters)


def _writable(array: I64) -> I64:
    """Compiled kernels tell read-only arrays from others; they get one kind."""
    return array if array.flags.writeable else array.copy()


def _keyed_ids(key: int, count: int, parameters: RoutingParameters) -> U64:
    """Draw distinct ids; of two that collide the later member's is drawn again."""
    shift = np.uint64(64 - parameters.id_bits)
    ids = (mix_array(key, np.arange(count)) >> shift) << shift
    taken: dict[int, int] = {}
    _, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if (counts == 1).all():
        return np.asarray(ids, np.uint64)
    double = np.setdiff1d(np.arange(count), first)
    taken = {int(value): 1 for value in ids[first]}
    for member in double.tolist():
        value, again = int(ids[member]), 0
        while value in taken:
            again += 1
            value = mix(key, member, again) >> int(shift) << int(shift)
        taken[value] = 1
        ids[member] = value
    return np.asarray(ids, np.uint64)


def _site_regions(network: NetworkTables) -> list[int]:
    """Number regions by first appearance among the sites; a zone belongs to its region."""
    names: dict[str, int] = {}
    return [names.setdefault(split_site(site)[0], len(names)) for site in network.regions]


def _fill_nodes(
    node: Any,
    members: Members,
    order: NDArray[Any],
    ids: U64,
    host_site: NDArray[Any],
    network: NetworkTables,
) -> None:
    node["ident"] = ids[order]
    node["host"] = members.host[order]
    node["access_ns"] = members.access_ns[order]
    site = host_site[node["host"]]
    node["site"] = site
    node["region"] = np.array(_site_regions(network), dtype=np.int16)[site]
    node["up"] = 1
    node["since_ns"] = node["before_ns"] = ALWAYS_NS


def _fill_zones(node: Any, host_zone: Any, host_site: NDArray[Any], network: NetworkTables) -> int:
    """Give each node its zone; return how many there are, 0 for no zone ring."""
    if host_zone is None:
        if not any(split_site(site)[1] for site in network.regions):
            return 0
        host_zone = host_site
    zone_of_host = np.asarray(host_zone, dtype=np.int32)
    node["zone"] = zone_of_host[node["host"]]
    zones = int(zone_of_host.max()) + 1
    for zone in range(zones):
        here = node["region"][node["zone"] == zone]
        if len(here) and (here != here[0]).any():
            raise ValueError(f"routing: zone {zone} lies in two regions")
    return zones


def _rings(node: Any, regions: int, zones: int) -> tuple[I32, Any, I32]:
    """Return the node at each position, the rings, their prefix index."""
    count = len(node)
    kinds = [np.arange(count, dtype=np.int32)]
    sizes = [count]
    for column, groups in (("region", regions), ("zone", zones)):
        if groups:
            kinds.append(np.argsort(node[column], kind="stable").astype(np.int32))
            sizes += np.bincount(node[column], minlength=groups).tolist()
    positions = np.concatenate(kinds)
    rings = records(np.zeros(len(sizes), dtype=RING_ROW))
    cells = []
    start = cell = 0
    for number, size in enumerate(sizes):
        bits = max(1, size.bit_length() - CELL_NODES_BITS)
        heads = node["ident"][positions[start : start + size]] >> np.uint64(64 - bits)
        bounds = np.searchsorted(heads, np.arange((1 << bits) + 1, dtype=np.uint64))
        cells.append((bounds + start).astype(np.int32))
        rings[number] = (start, start + size, cell, bits)
        start += size
        cell += len(bounds)
    return positions, rings, np.concatenate(cells)


def _constants(p: RoutingParameters, count: int, regions: int, zones: int, are_agents: bool) -> Any:
    inner = WORLD if p.kind != HIERARCHICAL else ZONE if zones else REGION
    values = {
        "nodes": count,
        "regions": regions,
        "inner": inner,
        "iterative": p.style,
        "k": p.k,
        "b": p.b,
        "id_bits": p.id_bits,
        "alpha": p.alpha,
        "disjoint_paths": p.disjoint_paths,
        "proximity": int(p.proximity),
        "rpc_timeout_ns": p.rpc_timeout_ns,
        "rpc_bytes": p.rpc_bytes,
        "contact_bytes": p.contact_bytes,
        "refresh_ns": p.refresh_ns,
        "deadline_ns": p.deadline_ns,
        "agents": int(are_agents),
        "changed": 0,
        "malicious": 0,
        "planted_ppm": 0,
        "aimed": 0,
        "cuts": 0,
        "lookups": 0,
    }
    constants = records(np.zeros(1, dtype=CONSTANTS_ROW))
    for name in CONSTANTS:
        constants[name] = values[name]
    return constants
