"""What the agent plane is built from: frozen integers, no scenario, no units left to parse.

Owns: the shapes, bounds and defaults of `PlaneParameters` and its parts.
Must not know: YAML, how slices are solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from sim.world.agents.kinds import GRID_NS, KINDS, PPM, TRANSACTION
from sim.world.routing.parameters import RoutingParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson:
    """Arrivals without memory; `rate_nhz` is events in 10**9 seconds an online agent."""

    rate_nhz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Two-state MMPP, the same state for all agents; mean sojourns `calm_ns` and `burst_ns`."""

    rate_nhz: int
    burst_rate_nhz: int
    calm_ns: int
    burst_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diurnal:
    """rate x (1 + amplitude x cos(2 pi (t - peak - phase[region]) / period))."""

    rate_nhz: int
    amplitude_ppm: int
    period_ns: int
    peak_ns: int = 0
    phases_ns: tuple[int, ...] = ()
    """By region; empty: the same everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """`share_ppm` of the agents each wait for their commit, think (exponential), send the next."""

    think_ns: int
    share_ppm: int = PPM


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """To whom messages and lookups by id go.

    First `locality_ppm` of them: uniform in the sender's region. Of the others, `community_ppm`:
    uniform in the sender's community of `members` agents. The rest: by popularity rank r with
    probability proportional to r**-exponent (`zipf_exponent_micro` 0 is uniform).
    """

    locality_ppm: int = 0
    community_ppm: int = 0
    members: int = 2
    zipf_exponent_micro: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One kind of workload. Sizes are uniform in [size_bytes, size_bytes + size_spread_bytes].

    `signature_bytes` of a message do not compress; the rest is sent at `ratio_ppm` of its length.
    """

    kind: int
    arrivals: Poisson | Bursts | Diurnal | ClosedLoop
    size_bytes: int
    size_spread_bytes: int = 0
    signature_bytes: int = 0
    ratio_ppm: int = PPM
    destinations: Destinations = Destinations()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClass:
    """The last mile of `share_ppm` of the agents; delays follow the network's jitter shape."""

    share_ppm: int
    median_ns: int
    spread_ns: int
    loss_ppb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """c servers, FIFO. Work of a job: `work_ns` + `per_kib_ns` x size / 1024 (rounded down)."""

    servers: int
    work_ns: int
    per_kib_ns: int = 0
    queue: int = 1_000_000
    """Most jobs that may wait; more are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction of a gateway's agents lane for messages between gateways."""

    bits_per_s: int
    queue: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """What a gateway keeps for messages that it passes on inside its region: workers, lanes."""

    station: Station
    uplink: Link
    downlink: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Close at `count` items or `size_bytes` on the wire, or `age_ns` after the first item."""

    count: int
    size_bytes: int
    age_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Weibull lengths of sessions and absences; the run starts in equilibrium (residual lives).

    Lengths are bounded below by the 100 ms grid.
    """

    on_shape_micro: int
    on_scale_ns: int
    off_shape_micro: int
    off_scale_ns: int
    renew_within_ns: int = 0
    """A returning agent renews its lease at GRID_NS plus a keyed part of this; 0: it does not."""
    renew_bytes: int = 0
    """Size of such a renewal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationLimits:
    """Token buckets for registrations, one a gateway and one for all; rate 0: no limit."""

    gateway_rate_nhz: int = 0
    gateway_burst: int = 1
    rate_nhz: int = 0
    burst: int = 1


DHT_GATEWAYS, DHT_ROUTERS, DHT_AGENTS = range(3)
"""Who is a node of the DHT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dht:
    """A DHT in place of one hop; `routing.deadline_ns` is the lookup timeout."""

    routing: RoutingParameters
    nodes: int = DHT_GATEWAYS
    per_region: int = 0
    """Routers a region."""
    zones: tuple[int, ...] = ()
    """Zone of each node, numbered over all regions; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where gateways learn locations: shards with replicas, caches, lookup timer."""

    shards: tuple[int, ...]
    """Node that first hosts each shard; an agent's shard is a keyed hash of it."""
    station: Station
    dht: Dht | None = None
    """How a question finds its host; None: the gateway knows the shard's."""
    replicas: int = 1
    """Hosts of each shard, in as many regions (`sim.world.registry.placement`)."""
    quorum_reads: bool = False
    """Whether an answer waits until most replicas have confirmed it."""
    quorum_writes: bool = False
    """Whether a write is acknowledged, and in force, only when most replicas have it."""
    replication_lag_ns: int = 0
    """How long the copies of a write wait before they leave."""
    record_bytes: int = 7_552
    """Size of a record that moves to another host."""
    limits: RegistrationLimits = RegistrationLimits()
    re_home: bool = False
    """Whether agents of a gateway that is known to be down move to their secondary."""
    query_bytes: int = 0
    """Size of a query, for the work of a shard."""
    cache_slots: int = 8_192
    """Entries of each gateway's direct-mapped cache; 0: no cache, no single flight."""
    cache_ttl_ns: int = 30_000_000_000
    timeout_ns: int = 1_000_000_000
    """Also the time after which a node that is down is known to be."""
    lease_ns: int = 0
    """Life of a registration without renewal; 0: for ever."""
    registered_ppm: int = PPM
    """Agents registered at the start, with residual leases; the others must register first."""

    @property
    def recorded(self) -> bool:
        """Whether a record has versions: copies that lag, or homes that move."""
        return self.replicas > 1 or self.re_home


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """`attempts` in all; waits grow by `backoff_ppm` / 10**6 up to `max_ns`, plus keyed jitter."""

    attempts: int
    timeout_ns: int
    backoff_ppm: int = 2 * PPM
    max_ns: int = 60_000_000_000
    jitter_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """What a gateway keeps for agents that are offline."""

    messages_per_agent: int
    ttl_ns: int = 0
    """Age at which a stored message is dropped at its agent's return; 0: never."""
    release_delay_ns: int = GRID_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Dissemination:
    """How closed transaction batches reach all validators.

    `uplink_bps`, `downlink_bps`: the lane of dissemination at every validator. `fanout` 0: star,
    else a relay tree. `verify_ns` for each signature, all `workers` on one batch.
    """

    batch: Batch
    uplink_bps: int
    downlink_bps: int
    verify_ns: int
    workers: int
    header_bytes: int = 64
    fanout: int = 0
    retain_ns: int = 60_000_000_000
    """Committed batches older than this leave memory; whoever still lacks one may pull it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which agents, or which nodes of a DHT: by one of the first five, drawn by a keyed hash.

    A larger share contains the smaller ones. For agents `hosts` are home gateways, for nodes those
    who serve them.
    """

    numbers: tuple[int, ...] | None = None
    """Rows of agents; members of a DHT."""
    random: int | None = None
    share_ppm: int | None = None
    region: int | None = None
    hosts: tuple[int, ...] | None = None
    near: int | None = None
    """Only with `random`, for nodes: so many that are nearest to this agent's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Owned agents send at a rate of their own while the attack is on."""

    who: Chosen
    kind: int
    rate_nhz: int
    """Messages in 10**9 seconds an owned agent that is online."""
    size_bytes: int
    to: Chosen | None = None
    """To whom, or about whom; None: to anybody."""
    shard: int | None = None
    """Only those of the chosen whose record lies in this shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malice:
    """Owned nodes of the DHT misbehave while the attack is on.

    `malice`: of `sim.world.routing.parameters`.
    """

    who: Chosen
    malice: int
    victims: Chosen | None = None
    """Agents; then owned nodes lie about their keys only."""
    adjacent: bool = False
    """Owned nodes have the ids next to the victims' keys from the start."""
    planted_ppm: int = 0
    """Share of all nodes' contacts that owned nodes replace."""


STALE_LIE, DENY = 1, 2
"""How a host of the registry lies: with the version before the newest, or that there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lies:
    """Hosts of the registry answer falsely while the attack is on."""

    nodes: tuple[int, ...]
    lie: int


Assault: TypeAlias = Flood | Malice | Lies
_Assault = TypeVar("_Assault", Flood, Malice, Lies)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneParameters:
    """Everything the plane is, apart from the network tables and chance.

    Nodes are validators; a gateway is a node that serves agents, and `PayloadRef.gateway` is its
    node index. Regions are rows of the network tables.
    """

    placement: tuple[int, ...]
    """Agents by region; their sum is the population."""
    node_region: tuple[int, ...]
    """Region of each validator."""
    gateways: tuple[int, ...]
    """Nodes that serve agents, ascending. A region without one is served by the nearest region
    that has one."""
    traffic: tuple[Traffic, ...]
    """At most one for each kind."""
    access: tuple[AccessClass, ...]
    ingress: Station
    egress: Station
    uplink: Link
    downlink: Link
    directory: Directory
    batch: Batch
    dissemination: Dissemination
    retries: Retries
    store: Store
    sessions: Sessions | None = None
    """None: always online."""
    admission_rate_nhz: int = 20_000 * 10**9
    """Requests in 10**9 seconds that a gateway admits."""
    admission_burst: int = 20_000
    capabilities: int = 64
    batch_header_bytes: int = 64
    relay: Relay | None = None
    """How messages go on from the gateway at which they enter another region; None: they go
    straight to their receiver's."""
    count_batches: bool = False
    """Whether batches that are sent are counted by pair of regions."""
    sample_ppm: int = 0
    """Share of messages whose exact times are kept as rows."""
    metered: bool = False
    """Whether bits on links are booked by grid cell, for lanes that lend each other capacity."""
    assaults: tuple[Assault, ...] = ()
    """What adversaries can do; `changes.Attack` turns each on and off."""

    @property
    def agents(self) -> int:
        return sum(self.placement)

    def assaults_of(self, kind: type[_Assault]) -> list[_Assault]:
        """Return the assaults of one kind, in order."""
        return [assault for assault in self.assaults if isinstance(assault, kind)]

    def __post_init__(self) -> None:
        problems = [text for holds, text in self._demands() if not holds]
        if problems:
            raise ValueError("agent plane: " + "; ".join(problems))

    def _demands(self) -> list[tuple[bool, str]]:
        nodes = len(self.node_region)
        kinds = [t.kind for t in self.traffic]
        stations = [self.ingress, self.egress, self.directory.station]
        if self.relay is not None:
            stations.append(self.relay.station)
        retries, directory = self.retries, self.directory
        largest = max((t.size_bytes + t.size_spread_bytes for t in self.traffic), default=0)
        think = [t.arrivals for t in self.traffic if isinstance(t.arrivals, ClosedLoop)]
        loops = [t.kind for t in self.traffic if isinstance(t.arrivals, ClosedLoop)]
        return [
            (self.agents >= 2, f"needs two agents or more, has {self.agents}"),
            (self.agents < 1 << 31, f"at most 2**31 - 1 agents, has {self.agents}"),
            (bool(self.gateways), "needs a gateway"),
            (list(self.gateways) == sorted(set(self.gateways)), "gateways must ascend"),
            (all(0 <= g < nodes for g in self.gateways), "a gateway is no node"),
            (all(0 <= r < len(self.placement) for r in self.node_region), "unknown region"),
            (all(0 <= k < len(KINDS) for k in kinds), "unknown kind of traffic"),
            (len(kinds) == len(set(kinds)), "two workloads of one kind"),
            (all(k == TRANSACTION for k in loops), "only transactions close a loop on commits"),
            (all(a.think_ns >= GRID_NS for a in think), f"think times below {GRID_NS} ns"),
            (sum(a.share_ppm for a in self.access) == PPM, "access shares must sum to 10**6"),
            (nodes < 1 << 16, f"at most 65,535 nodes, has {nodes}"),
            (len(self.placement) < 256, "at most 255 regions"),
            (
                all(s.work_ns + s.per_kib_ns * (largest // 1024 + 1) < 1 << 31 for s in stations),
                "work of one request must stay below 2**31 ns",
            ),
            (len(self.access) < 256, "at most 255 access classes"),
            (all(s.servers > 0 and s.work_ns > 0 for s in stations), "stations need servers, work"),
            (all(t.size_bytes >= t.signature_bytes for t in self.traffic), "size < signature"),
            (bool(directory.shards), "the directory needs a shard"),
            (all(0 <= s < nodes for s in directory.shards), "a shard's host is no node"),
            (directory.timeout_ns >= GRID_NS, f"lookup timeout below {GRID_NS} ns"),
            (1 <= directory.replicas <= 16, "replicas must be 1 to 16"),
            (1 <= retries.attempts <= 255, "attempts must be 1 to 255"),
            (retries.timeout_ns >= GRID_NS, f"retry timeout below {GRID_NS} ns"),
            (retries.backoff_ppm >= PPM, "backoff below 1"),
            (self.store.release_delay_ns >= GRID_NS, f"release delay below {GRID_NS} ns"),
            (
                self.batch.age_ns > 0 and self.dissemination.batch.age_ns > 0,
                "batch age must be > 0",
            ),
            (self.admission_rate_nhz > 0 and self.admission_burst > 0, "admission of nothing"),
            (1 <= self.capabilities <= 65_536, "capabilities must be 1 to 65,536"),
            (self.dissemination.workers > 0, "verification needs a worker"),
            (
                directory.dht is not None or not self.assaults_of(Malice),
                "malicious nodes need a DHT",
            ),
            (
                all(one.lie == DENY for one in self.assaults_of(Lies)) or directory.recorded,
                "an older version needs records that have versions",
            ),
        ]
