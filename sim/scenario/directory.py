"""The directory of a scenario: how an agent is found, where its registration lies, what limits it.

Owns: the `agents.directory` section, in integers. Models are those of `sim.world.routing` and
`sim.world.registry`. Must not know: how lookups are solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.fields import Count, Flag, duration, rate, share, size
from sim.scenario.selection import MAX_VALIDATORS


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayNodes:
    """Each gateway is one node of the DHT."""

    __pydantic_config__ = STRICT
    kind: Literal["gateways"] = "gateways"
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterNodes:
    """Some routers in each region that has a gateway, hosted by its gateways in turn."""

    __pydantic_config__ = STRICT
    kind: Literal["routers"]
    """Told apart by this."""
    per_region: Annotated[int, Count(1, 100_000)] = 4
    """Nodes a region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentNodes:
    """Every agent is a node of the DHT while it is online."""

    __pydantic_config__ = STRICT
    kind: Literal["agents"]
    """Told apart by this."""


DhtNodes: TypeAlias = Annotated[GatewayNodes | RouterNodes | AgentNodes, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneHop:
    """Every gateway knows the hosts of every shard: a question goes straight there."""

    __pydantic_config__ = STRICT
    kind: Literal["one_hop"] = "one_hop"
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dht:
    """What every DHT has."""

    __pydantic_config__ = STRICT
    nodes: DhtNodes = GatewayNodes()
    """Who is a node."""
    k: Annotated[int, Count(1, 64)] = 20
    """Contacts a bucket (Maymounkov and Mazieres, "Kademlia", 2002, section 2.2)."""
    b: Annotated[int, Count(1, 8)] = 1
    """Bits of an id that a hop resolves; a level of a table has 2^b - 1 buckets."""
    id_bits: Annotated[int, Count(8, 64)] = 64
    """Length of an id; 2^id_bits must reach 1,000 times the square of the number of nodes, so that
    fewer than one run in 2,000 would draw two nodes of one id."""
    style: Literal["recursive", "iterative"] = "recursive"
    """Nodes hand a question on, or the asker asks them one after another."""
    alpha: Annotated[int, Count(1, 16)] | None = None
    """Questions that an iterative lookup has in flight; left out, 3. Recursive ones have one."""
    disjoint_paths: Annotated[int, Count(1, 8)] = 1
    """Lookups of one question over paths without a common node; the first answer counts."""
    proximity: Annotated[bool, Flag()] = True
    """Prefer contacts of a node's own region where a bucket has a choice."""
    rpc_timeout_ns: Annotated[int, duration("1 ms", "1 min")] = 500_000_000
    """Time that a contact which is gone costs."""
    rpc_size_bytes: Annotated[int, size("1 B", "64 KiB")] = 96
    """Length of a question or of an answer's head: IP and UDP headers (48 B with IPv6), a 20-byte
    target, a transaction id and the sender's contact (28 B)."""
    contact_size_bytes: Annotated[int, size("0 B", "4 KiB")] = 38
    """Length of one contact in an answer: a 20-byte id, an IPv6 address and a port (BEP 32)."""
    refresh_ns: Annotated[int, duration("1 s", "365 d")] = 3_600_000_000_000
    """Age that a bucket's contacts reach before they are looked up anew (Kademlia: one hour)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kademlia(_Dht):
    """One flat ring over all regions."""

    kind: Literal["kademlia"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchical(_Dht):
    """Rings within rings: zone, region, world (Ganesan et al., "Canon in G Major", 2004)."""

    kind: Literal["hierarchical"]
    """Told apart by this."""


Routing: TypeAlias = Annotated[OneHop | Kademlia | Hierarchical, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationLimits:
    """Token buckets for registrations; a rate that is left out does not limit."""

    __pydantic_config__ = STRICT
    gateway_rate_nhz: Annotated[int, rate("0.001 /s", "1000000 /s")] | None = None
    """Registrations that one gateway passes on."""
    gateway_burst: Annotated[int, Count(1, 10_000_000)] | None = None
    """Registrations that it passes on at once after a calm; left out, 100."""
    rate_nhz: Annotated[int, rate("0.001 /s", "10000000 /s")] | None = None
    """Registrations that all gateways together pass on."""
    burst: Annotated[int, Count(1, 100_000_000)] | None = None
    """Registrations that they pass on at once after a calm; left out, 1,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where gateways learn what they do not know: shards at gateways, replicas, caches."""

    __pydantic_config__ = STRICT
    routing: Routing = OneHop()
    """How a question finds the host of its answer."""
    shards: Annotated[int, Count(1, MAX_VALIDATORS)] | None = None
    """Gateways that host a shard, taken from each region in turn; left out, all of them. For
    `one_hop`: in a DHT every host of a node holds what lies nearest to its ids."""
    servers: Annotated[int, Count(1, 1_024)] = 2
    """Servers of a shard."""
    service_ns: Annotated[int, duration("1 ns", "10 s")] = 20_000
    """Time that a server takes for one query, whatever its length."""
    service_per_kib_ns: Annotated[int, duration("0 s", "1 s")] = 0
    """Further time for each KiB of a query."""
    queue: Annotated[int, Count(1, 10_000_000)] = 50_000
    """Queries that may wait at a shard; more are refused."""
    query_bytes: Annotated[int, size("0 B", "64 KiB")] = 64
    """Length of a gateway's own query."""
    replicas: Annotated[int, Count(1, 16)] = 1
    """Copies of each record, in as many regions."""
    reads: Literal["nearest", "quorum"] = "nearest"
    """The nearest replica answers alone, or after most replicas have confirmed."""
    writes: Literal["one", "quorum"] = "one"
    """A write is acknowledged by one replica, or after most of them have it."""
    replication_lag_ns: Annotated[int, duration("0 s", "1 h")] = 0
    """How long a copy of an acknowledged write waits before it leaves for the other replicas."""
    record_size_bytes: Annotated[int, size("1 B", "1 MiB")] | None = None
    """Length of a record that moves to another host; left out, 7,552 B: a registration as it was
    signed, of an ML-DSA-87 public key (2,592 B), a signature (4,627 B) and 333 B of entry."""
    registration_limits: RegistrationLimits | None = None
    """Limits on registrations; left out, none."""
    re_home: Annotated[bool, Flag()] = False
    """Agents whose gateway is known to be down move to their secondary one, for good."""
    cache_slots: Annotated[int, Count(0, 10_000_000)] = 8_192
    """Locations that a gateway remembers; 0: none."""
    cache_ttl_ns: Annotated[int, duration("0 s", "1 d")] = 30_000_000_000
    """How long a gateway trusts a location, from the start of its lookup."""
    timeout_ns: Annotated[int, duration("100 ms", "10 min")] = 1_000_000_000
    """How long a gateway waits for an answer; who is down for longer is known to be."""
    lease_ns: Annotated[int, duration("0 s", "365 d")] = 0
    """Life of a registration that is not renewed; `0 s`: for ever. Leases start with a residual
    life uniform up to this, so some run out before their first renewal; who may come back then is
    said at `workload.registrations`."""
    registered_ppm: Annotated[int, share()] = 1_000_000
    """Share of the agents that are registered at the start."""


DEFAULT_DIRECTORY = Directory()
"""What a scenario has that says nothing of its directory."""
