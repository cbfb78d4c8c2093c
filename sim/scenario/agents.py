"""The agents of a scenario: who they are, what they send, and the stages it flows through.

Owns: the `agents` section, in integers. Stages are those of `sim.world.agents`.
Must not know: how the plane solves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.fields import (
    Count,
    Placed,
    Placement,
    decimal,
    duration,
    probability,
    rate,
    share,
    size,
)

AgentRate: TypeAlias = Annotated[int, rate("0 /s", "1000 /s")]
PayloadSize: TypeAlias = Annotated[int, size("1 B", "1 MiB")]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlwaysOn:
    """Agents never leave."""

    __pydantic_config__ = STRICT
    kind: Literal["always_on"] = "always_on"
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeibullSessions:
    """Sessions and absences of Weibull lengths, with residual lives at the start of the run.

    Defaults: Kad, later crawls (Steiner et al. 2007, Eurecom RR-07-205).
    """

    __pydantic_config__ = STRICT
    kind: Literal["weibull"]
    """Told apart by this."""
    on_shape_micro: Annotated[int, decimal("0.2", "10")] = 615_110
    """Shape of session lengths."""
    on_scale_ns: Annotated[int, duration("1 s", "365 d")] = 10_172_310_000_000
    """Scale of session lengths."""
    off_shape_micro: Annotated[int, decimal("0.2", "10")] = 476_480
    """Shape of the times between two sessions."""
    off_scale_ns: Annotated[int, duration("1 s", "365 d")] = 24_820_590_000_000
    """Scale of the times between two sessions."""


Sessions: TypeAlias = Annotated[AlwaysOn | WeibullSessions, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every other agent is an equally likely destination, within what `locality` leaves."""

    __pydantic_config__ = STRICT
    kind: Literal["uniform"] = "uniform"
    """Told apart by this."""
    locality_ppm: Annotated[int, share()] = 0
    """Share of the messages that are drawn from the sender's own region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zipf:
    """Destinations by popularity rank r with probability proportional to 1/r**exponent."""

    __pydantic_config__ = STRICT
    kind: Literal["zipf"]
    """Told apart by this."""
    exponent_micro: Annotated[int, decimal("0", "4")] = 1_000_000
    """0 is uniform; word and web popularity lie near 1."""
    locality_ppm: Annotated[int, share()] = 0
    """Share of the messages that are drawn from the sender's own region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """Agents form communities of equal size; `inside` of the messages stay in the sender's."""

    __pydantic_config__ = STRICT
    kind: Literal["community"]
    """Told apart by this."""
    members: Annotated[int, Count(2, 1_000_000)] = 100
    """Agents a community."""
    inside_ppm: Annotated[int, share()] = 800_000
    """Share of the messages that stay inside."""
    locality_ppm: Annotated[int, share()] = 0
    """Share of the other messages that are drawn from the sender's own region."""


Destinations: TypeAlias = Annotated[Uniform | Zipf | Community, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson:
    """Arrivals without memory, at one rate."""

    __pydantic_config__ = STRICT
    kind: Literal["poisson"]
    """Told apart by this."""
    rate_nhz: AgentRate
    """Arrivals an online agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Calm and burst take turns for all agents at once (a two-state MMPP)."""

    __pydantic_config__ = STRICT
    kind: Literal["bursts"]
    """Told apart by this."""
    rate_nhz: AgentRate
    """Arrivals an online agent while it is calm."""
    burst_rate_nhz: AgentRate
    """Arrivals an online agent during a burst."""
    calm_ns: Annotated[int, duration("100 ms", "1 d")]
    """Mean length of a calm."""
    burst_ns: Annotated[int, duration("100 ms", "1 d")]
    """Mean length of a burst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diurnal:
    """A sine over the period: rate x (1 + amplitude x cos(2 pi (t - peak) / period))."""

    __pydantic_config__ = STRICT
    kind: Literal["diurnal"]
    """Told apart by this."""
    rate_nhz: AgentRate
    """Mean arrivals an online agent."""
    amplitude_ppm: Annotated[int, share()] = 500_000
    """How far the rate swings about its mean."""
    period_ns: Annotated[int, duration("1 s", "7 d")] = 86_400_000_000_000
    """Length of one swing."""
    peak_ns: Annotated[int, duration("0 s", "7 d")] = 0
    """When the rate is highest, after the start of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """Each agent waits for the commit of its transaction, thinks, and sends the next."""

    __pydantic_config__ = STRICT
    kind: Literal["closed_loop"]
    """Told apart by this."""
    think_ns: Annotated[int, duration("100 ms", "1 d")]
    """Mean of the exponential think time."""


Arrivals: TypeAlias = Annotated[Poisson | Bursts | Diurnal, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Direct messages from agent to agent."""

    __pydantic_config__ = STRICT
    arrivals: Arrivals
    """When agents send."""
    size_bytes: PayloadSize = 512
    """Length of one message before compression."""
    destinations: Destinations = Uniform()
    """To whom they send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """Signed transactions, batched by gateways and committed by consensus."""

    __pydantic_config__ = STRICT
    arrivals: Annotated[Poisson | Bursts | Diurnal | ClosedLoop, ByKind()]
    """When agents submit."""
    size_bytes: PayloadSize = 5_120
    """Length of one transaction, its 4,627-byte signature included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Questions to the directory that are not about a message at hand."""

    __pydantic_config__ = STRICT
    by_id_nhz: AgentRate = 0
    """Lookups of an agent's location, an online agent."""
    by_capability_nhz: AgentRate = 0
    """Lookups of an agent with a capability, an online agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What agents do. What is left out does not happen."""

    __pydantic_config__ = STRICT
    messages: Messages | None = None
    """Direct messages."""
    transactions: Transactions | None = None
    """Transactions."""
    lookups: Lookups = Lookups()
    """Lookups."""
    registrations_nhz: Annotated[int, rate("0 /s", "1000000 /s")] = 0
    """New registrations in the whole network: agents that change their entry."""
    renewals_nhz: AgentRate = 0
    """Lease renewals, an online agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The last mile between an agent and its gateway."""

    __pydantic_config__ = STRICT
    delay_ns: Annotated[int, duration("0 s", "10 s")] = 10_000_000
    """Median one-way delay."""
    spread_ns: Annotated[int, duration("0 s", "10 s")] = 20_000_000
    """How far the 99th percentile of the delay lies above the median."""
    loss_ppb: Annotated[int, probability("0 %", "50 %")] = 0
    """Probability that an attempt is lost on the way in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Token bucket and queue limit of each gateway."""

    __pydantic_config__ = STRICT
    rate_nhz: Annotated[int, rate("1 /s", "1000000 /s")] = 20_000_000_000_000
    """Requests that a gateway admits."""
    burst: Annotated[int, Count(1, 10_000_000)] = 20_000
    """Requests that it admits at once after a calm."""
    queue: Annotated[int, Count(1, 10_000_000)] = 50_000
    """Requests that may wait for its ingress; more are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """First come, first served, by so many servers."""

    __pydantic_config__ = STRICT
    servers: Annotated[int, Count(1, 1_024)]
    """Servers a gateway."""
    service_ns: Annotated[int, duration("1 ns", "10 s")]
    """Time that a server takes for one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a gateway collects for one next hop before it sends."""

    __pydantic_config__ = STRICT
    size_bytes: Annotated[int, size("1 KiB", "64 MiB")] = 65_536
    """A batch leaves once it is this large."""
    age_ns: Annotated[int, duration("1 ms", "10 s")] = 20_000_000
    """A batch leaves once its first item is this old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """Length after compression as a share of the length before, by payload class."""

    __pydantic_config__ = STRICT
    messages_ppm: Annotated[int, share("1 %", "100 %")] = 1_000_000
    """Of direct messages."""
    transactions_ppm: Annotated[int, share("1 %", "100 %")] = 1_000_000
    """Of transactions: nearly all of one is a signature, and signatures do not compress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where gateways learn an agent's location (`one_hop`): shards at gateways."""

    __pydantic_config__ = STRICT
    cache_ttl_ns: Annotated[int, duration("0 s", "1 d")] = 30_000_000_000
    """How long a gateway trusts a location, from the start of its lookup."""
    servers: Annotated[int, Count(1, 1_024)] = 2
    """Servers of a gateway's shard."""
    service_ns: Annotated[int, duration("1 ns", "10 s")] = 20_000
    """Time that a shard takes for one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """What an agent does when no answer comes."""

    __pydantic_config__ = STRICT
    timeout_ns: Annotated[int, duration("100 ms", "10 min")] = 2_000_000_000
    """Wait before the first retry, which goes to the secondary gateway."""
    backoff_micro: Annotated[int, decimal("1", "10")] = 2_000_000
    """Factor on the wait at each further retry."""
    limit: Annotated[int, Count(0, 16)] = 3
    """Retries; then the message is lost, with that reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """What a gateway keeps for agents that are offline."""

    __pydantic_config__ = STRICT
    messages_per_agent: Annotated[int, Count(0, 1_000_000)] = 100
    """Messages an agent; more are dropped, with that reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """The population, its workload and the stages between sender and receiver."""

    __pydantic_config__ = STRICT
    count: Annotated[int, Count(1, 100_000_000)]
    """How many agents."""
    placement: Annotated[Placement, Placed(share("0 %", "100 %"))]
    """Share of the agents a region, or a list of regions to spread evenly over."""
    capabilities: Annotated[int, Count(1, 65_536)] = 64
    """Kinds of capability; each agent has one."""
    sessions: Sessions = AlwaysOn()
    """When agents are online."""
    workload: Workload
    """What they do."""
    access: Access = Access()
    """Agent to gateway."""
    admission: Admission = Admission()
    """Limits of a gateway."""
    ingress: Station = Station(servers=4, service_ns=20_000)
    """Gateway, requests in."""
    egress: Station = Station(servers=4, service_ns=10_000)
    """Gateway, messages out to its agents."""
    directory: Directory = Directory()
    """Locations."""
    batch: Batch = Batch()
    """Messages between gateways."""
    transaction_batch: Batch = Batch(size_bytes=1_048_576, age_ns=100_000_000)
    """Transactions from a gateway to all validators."""
    compression: Compression = Compression()
    """On what gateways send one another."""
    retries: Retries = Retries()
    """When a request fails."""
    store: Store = Store()
    """For agents that are offline."""
