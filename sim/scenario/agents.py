"""The agents of a scenario: who they are, what they send, and the stages it flows through.

Owns: the `agents` section, in integers. Stages are those of `sim.world.agents`.
Must not know: how the plane solves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.directory import DEFAULT_DIRECTORY, Directory
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
from sim.scenario.selection import Selection

AgentRate: TypeAlias = Annotated[int, rate("0 /s", "1000 /s")]
PayloadSize: TypeAlias = Annotated[int, size("1 B", "1 MiB")]
PayloadSpread: TypeAlias = Annotated[int, size("0 B", "1 MiB")]


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
    renew_within_ns: Annotated[int, duration("0 s", "1 d")] = 0
    """A returning agent renews its lease at a random time within this; `0 s`: it does not."""
    renew_size_bytes: PayloadSize = 4_691
    """Length of that renewal: an ML-DSA-87 signature (4,627 B) and 64 B of entry."""


Sessions: TypeAlias = Annotated[AlwaysOn | WeibullSessions, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every agent is an equally likely destination, but for what `locality` keeps near."""

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
    """Agents form communities of equal size across regions."""

    __pydantic_config__ = STRICT
    kind: Literal["community"]
    """Told apart by this."""
    members: Annotated[int, Count(2, 1_000_000)] = 100
    """Agents a community."""
    locality_ppm: Annotated[int, share()] = 0
    """Share of the messages that are drawn from the sender's own region."""
    inside_ppm: Annotated[int, share()] = 800_000
    """Share of the others that are drawn from the sender's community."""
    exponent_micro: Annotated[int, decimal("0", "4")] = 0
    """Popularity (as for `zipf`) of those who get the rest."""


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
    share_ppm: Annotated[int, share("0.0001 %", "100 %")] = 1_000_000
    """Share of the agents that do so; the others submit nothing."""


Arrivals: TypeAlias = Annotated[Poisson | Bursts | Diurnal, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Direct messages from agent to agent."""

    __pydantic_config__ = STRICT
    arrivals: Arrivals
    """When agents send."""
    size_bytes: PayloadSize = 512
    """Least length of a message before compression."""
    size_spread_bytes: PayloadSpread = 0
    """Lengths are uniform from `size` to `size` plus this."""
    signature_bytes: PayloadSpread = 0
    """What of the length is a signature, which does not compress (ML-DSA-87: 4627 B)."""
    destinations: Destinations = Uniform()
    """To whom they send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """Signed transactions, batched by gateways and committed by consensus."""

    __pydantic_config__ = STRICT
    arrivals: Annotated[Poisson | Bursts | Diurnal | ClosedLoop, ByKind()]
    """When agents submit."""
    size_bytes: Annotated[int, size("4627 B", "1 MiB")] = 5_120
    """Least length of a transaction, its 4,627-byte ML-DSA-87 signature included."""
    size_spread_bytes: PayloadSpread = 0
    """Lengths are uniform from `size` to `size` plus this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdLookups:
    """Questions where an agent is, by its identity, apart from those that messages need."""

    __pydantic_config__ = STRICT
    arrivals: Arrivals
    """When agents ask."""
    size_bytes: PayloadSize = 64
    """Length of a question."""
    destinations: Destinations = Uniform()
    """About whom they ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityLookups:
    """Questions for an agent that has a capability."""

    __pydantic_config__ = STRICT
    arrivals: Arrivals
    """When agents ask."""
    size_bytes: PayloadSize = 64
    """Length of a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Questions to the directory."""

    __pydantic_config__ = STRICT
    by_id: IdLookups | None = None
    """Where is this agent?"""
    by_capability: CapabilityLookups | None = None
    """Who can do this?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrations:
    """Agents enter the directory.

    Where `directory.registered` is below 100 %, only agents that start unregistered do; at 100 %
    any agent does, anew. Arrivals are drawn without a look at the directory. So an agent that
    starts registered and lets its lease run out comes back at 100 % only, when it happens to be
    drawn; below 100 % it stays out for good, for its renewals are refused as `not_registered`.
    """

    __pydantic_config__ = STRICT
    arrivals: Arrivals
    """When agents register."""
    size_bytes: PayloadSize = 7_552
    """Length: an ML-DSA-87 public key (2,592 B), a signature (4,627 B) and 333 B of entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewals:
    """Agents renew their lease in the directory."""

    __pydantic_config__ = STRICT
    arrivals: Arrivals
    """When agents renew."""
    size_bytes: PayloadSize = 4_691
    """Length: an ML-DSA-87 signature (4,627 B) and 64 B of entry."""


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
    registrations: Registrations | None = None
    """Registrations."""
    renewals: Renewals | None = None
    """Renewals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClass:
    """The last mile between gateways and a share of the agents."""

    __pydantic_config__ = STRICT
    share_ppm: Annotated[int, share("0.0001 %", "100 %")] = 1_000_000
    """Share of the agents."""
    delay_ns: Annotated[int, duration("0 s", "10 s")] = 10_000_000
    """Median one-way delay."""
    spread_ns: Annotated[int, duration("0 s", "10 s")] = 20_000_000
    """How far the 99th percentile of the delay lies above the median."""
    loss_ppb: Annotated[int, probability("0 %", "50 %")] = 0
    """Probability that a message is lost on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Token bucket of each gateway."""

    __pydantic_config__ = STRICT
    rate_nhz: Annotated[int, rate("1 /s", "1000000 /s")] = 20_000_000_000_000
    """Requests that a gateway admits."""
    burst: Annotated[int, Count(1, 10_000_000)] = 20_000
    """Requests that it admits at once after a calm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """First come, first served, by so many servers."""

    __pydantic_config__ = STRICT
    servers: Annotated[int, Count(1, 1_024)]
    """Servers a gateway."""
    service_ns: Annotated[int, duration("1 ns", "10 s")]
    """Time that a server takes for one request, whatever its length."""
    service_per_kib_ns: Annotated[int, duration("0 s", "1 s")] = 0
    """Further time for each KiB of its length."""
    queue: Annotated[int, Count(1, 10_000_000)] = 50_000
    """Requests that may wait; more are refused, with that reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a gateway collects before it sends: the first limit that is reached closes it."""

    __pydantic_config__ = STRICT
    count: Annotated[int, Count(1, 1_000_000)] = 1_000
    """Items."""
    size_bytes: Annotated[int, size("1 KiB", "64 MiB")] = 65_536
    """Length on the wire."""
    age_ns: Annotated[int, duration("1 ms", "10 s")] = 20_000_000
    """Time since its first item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """Straight to the gateway of the receiver."""

    __pydantic_config__ = STRICT
    kind: Literal["direct"] = "direct"
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryGateway:
    """What goes to another region enters it at one of its gateways (for each gateway outside, one
    drawn by key), which unpacks it and sends it on in batches inside the region."""

    __pydantic_config__ = STRICT
    kind: Literal["entry_gateway"]
    """Told apart by this."""
    servers: Annotated[int, Count(1, 1_024)] = 4
    """Workers a gateway that do nothing else than unpack and sort."""
    service_ns: Annotated[int, duration("1 ns", "10 s")] = 5_000
    """Time that a worker takes for one message (assumption: a quarter of ingress, for neither
    sender nor admission is looked at)."""
    service_per_kib_ns: Annotated[int, duration("0 s", "1 s")] = 0
    """Further time for each KiB of its length."""
    queue: Annotated[int, Count(1, 10_000_000)] = 50_000
    """Messages that may wait; more are refused, with that reason."""
    link_share_ppm: Annotated[int, share("1 %", "90 %")] = 250_000
    """Share of the messages' part of each link that is kept for what is sent on."""


NextHop: TypeAlias = Annotated[Direct | EntryGateway, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """Length after compression as a share of the length before; signatures do not compress."""

    __pydantic_config__ = STRICT
    messages_ppm: Annotated[int, share("1 %", "100 %")] = 1_000_000
    """Of direct messages, but for their signatures."""
    transactions_ppm: Annotated[int, share("1 %", "100 %")] = 1_000_000
    """Of transactions, but for their signatures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """What an agent does when no answer comes."""

    __pydantic_config__ = STRICT
    timeout_ns: Annotated[int, duration("100 ms", "10 min")] = 2_000_000_000
    """Wait before the first retry, which goes to the secondary gateway."""
    backoff_micro: Annotated[int, decimal("1", "10")] = 2_000_000
    """Factor on the wait at each further retry."""
    max_ns: Annotated[int, duration("100 ms", "1 h")] = 60_000_000_000
    """Longest wait."""
    jitter_ns: Annotated[int, duration("0 s", "10 min")] = 0
    """A random time up to this is added to each wait."""
    limit: Annotated[int, Count(0, 16)] = 3
    """Retries; then the message is lost, with the last reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """What a gateway keeps for agents that are offline."""

    __pydantic_config__ = STRICT
    messages_per_agent: Annotated[int, Count(0, 1_000_000)] = 100
    """Messages an agent; more are dropped, with that reason."""
    ttl_ns: Annotated[int, duration("0 s", "365 d")] = 0
    """Age at which a message is dropped at its agent's return; `0 s`: never."""
    release_delay_ns: Annotated[int, duration("100 ms", "10 min")] = 100_000_000
    """Time between an agent's return and the release of what was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """The population, its workload and the stages between sender and receiver."""

    __pydantic_config__ = STRICT
    count: Annotated[int, Count(2, 100_000_000)]
    """How many agents."""
    placement: Annotated[Placement, Placed(share("0 %", "100 %"))]
    """Share of the agents a region, or a list of regions to spread evenly over."""
    gateways: Selection | None = None
    """Validators that serve agents; left out, all genesis validators. A region without one is
    served by the nearest region that has one."""
    capabilities: Annotated[int, Count(1, 65_536)] = 64
    """Kinds of capability; each agent has one."""
    sessions: Sessions = AlwaysOn()
    """When agents are online."""
    workload: Workload
    """What they do."""
    access: tuple[AccessClass, ...] = (AccessClass(),)
    """Classes of last mile; their shares add up to 100 %."""
    admission: Admission = Admission()
    """Limits of a gateway."""
    ingress: Station = Station(servers=4, service_ns=20_000)
    """Gateway, requests in."""
    egress: Station = Station(servers=4, service_ns=10_000)
    """Gateway, messages out to its agents."""
    directory: Directory = DEFAULT_DIRECTORY
    """Locations."""
    batch: Batch = Batch()
    """Messages from gateway to gateway."""
    next_hop: NextHop = Direct()
    """Where those batches go."""
    transaction_batch: Batch = Batch(count=2_000, size_bytes=1_048_576, age_ns=250_000_000)
    """Transactions from a gateway to all validators."""
    transaction_fanout: Annotated[int, Count(2, 1_000)] | None = None
    """Children of a validator in the relay tree of transaction batches; left out, the gateway
    sends to everyone."""
    compression: Compression = Compression()
    """Of what gateways send one another."""
    retries: Retries = Retries()
    """When a request fails."""
    store: Store = Store()
    """For agents that are offline."""
