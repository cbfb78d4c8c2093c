"""The `clouds` section: networks, who may talk to whom, keys, audit trails, backups.

Owns: its fields. Allowances decide which links exist in a run, and all of it what
`creto-sim export` writes. Must not know: how templates look, what a provider calls things.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.fields import Count, Marker, Text, bandwidth, duration, rate, size
from sim.scenario.occurrence import Distribution, Instant, Known, Lognormal
from sim.scenario.quantities import QuantityError

T = TypeVar("T")
_DAY_NS, _MINUTE_NS = 86_400 * 10**9, 60 * 10**9
ANYWHERE = "0.0.0.0/0"
_DECISION = Lognormal(kind="lognormal", median_ns=10 * _MINUTE_NS, sigma_micro=700_000)
_RESTART = Known(kind="known", figure="vm_restart")
_LAG = Lognormal(kind="lognormal", median_ns=_MINUTE_NS // 2, sigma_micro=1_000_000)
TUNNEL_BITS_PER_S = 1_250_000_000
"""AWS Site-to-Site VPN quotas: 1.25 Gbit/s a tunnel."""


@dataclass(frozen=True, slots=True)
class Addresses(Marker):
    """A block of IPv4 addresses, kept as text."""

    def parse(self, value: object) -> str:
        if not isinstance(value, str):
            raise QuantityError('expected a block of addresses, like "10.20.0.0/16"')
        try:
            return str(ipaddress.IPv4Network(value))
        except ValueError as error:
            raise QuantityError(f"`{value}` is no block of IPv4 addresses: {error}") from None

    def plain(self, value: str) -> str:
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\d+\.\d+\.\d+\.\d+/\d+$"}


Block: TypeAlias = Annotated[str, Addresses()]
PlaceName: TypeAlias = Annotated[str, Text(64, what="a region or a provider")]
Port: TypeAlias = Annotated[int, Count(1, 65_535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorTraffic:
    """Validators may send to validators. What no allowance lets pass is dropped on the way."""

    __pydantic_config__ = STRICT
    kind: Literal["validators"]
    """Told apart by this."""
    source: tuple[PlaceName, ...] = ()
    """Regions or providers of the senders; left out, all."""
    target: tuple[PlaceName, ...] = ()
    """Regions or providers of the receivers; left out, all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTraffic:
    """Agents may reach gateways."""

    __pydantic_config__ = STRICT
    kind: Literal["agents"]
    """Told apart by this."""
    networks: tuple[Block, ...] = (ANYWHERE,)
    """Where agents come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTraffic:
    """Operators may administer machines."""

    __pydantic_config__ = STRICT
    kind: Literal["operators"]
    """Told apart by this."""
    networks: tuple[Block, ...]
    """Where operators come from; never everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTraffic:
    """Monitoring may read metrics."""

    __pydantic_config__ = STRICT
    kind: Literal["metrics"]
    """Told apart by this."""
    networks: tuple[Block, ...]
    """Where it asks from; never everywhere."""


Allowance: TypeAlias = Annotated[
    ValidatorTraffic | AgentTraffic | OperatorTraffic | MetricsTraffic, ByKind()
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports that validators listen at."""

    __pydantic_config__ = STRICT
    validators: Port = 7_000
    """Consensus, and batches between gateways."""
    agents: Port = 443
    """Agents' traffic."""
    metrics: Port = 9_464
    """OpenMetrics (the OpenTelemetry exporters' usual one)."""
    administration: Port = 22
    """Secure shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Keys of disks, backups and audit trails; each cloud keeps its own."""

    __pydantic_config__ = STRICT
    rotation_ns: Annotated[int, duration("90 d", "2560 d")] = 365 * _DAY_NS
    """How often they rotate (AWS KMS: 90 to 2,560 days, 365 by default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalKeys:
    """Validators hold their consensus keys and sign on their own processors."""

    __pydantic_config__ = STRICT
    kind: Literal["local"]
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKeys:
    """The region's key service holds them: each statement waits for its answer."""

    __pydantic_config__ = STRICT
    kind: Literal["service"]
    """Told apart by this."""
    quota_nhz: Annotated[int, rate("1 /h", "1000000 /s")] | None = None
    """Signatures that it grants all validators of the region together, an account's quota; more
    wait for their turn. Left out, the provider's own: 1,000 /s at AWS, 200 /s at Azure."""
    burst: Annotated[int, Count(1, 1_000_000)] | None = None
    """How many it grants at once after a rest; left out, what the provider counts a quota over:
    1 s at AWS, 10 s at Azure."""
    latency_ns: Annotated[int, duration("0 s", "1 min")] = 50_000_000
    """Median time to an answer (reports of AWS KMS: 50 to 200 ms a signature)."""
    latency_p99_ns: Annotated[int, duration("0 s", "10 min")] = 200_000_000
    """Its 99th percentile."""


Custody: TypeAlias = Annotated[LocalKeys | ServiceKeys, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTrail:
    """The clouds' own records of who did what to the deployment."""

    __pydantic_config__ = STRICT
    retention_ns: Annotated[int, duration("1 d", "3650 d")] = 365 * _DAY_NS
    """How long records can't be changed or deleted."""
    delivery: dict[str, Distribution] = field(default_factory=dict)
    """Time until a record can be read outside its region, by region or provider (a region's own
    entry comes first), such as `{kind: known, figure: cloudtrail_delivery}`; left out, runs don't
    follow the trail there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskBackups:
    """Copies of validators' disks in their region."""

    __pydantic_config__ = STRICT
    every_ns: Annotated[int, duration("1 h", "7 d")] = 3_600 * 10**9
    """Time between two (AWS Backup takes no shorter one than an hour)."""
    keep_ns: Annotated[int, duration("1 d", "3650 d")] = 35 * _DAY_NS
    """How long one is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRate:
    """What a region writes beside the chain, from a time on: audit records, personal data."""

    __pydantic_config__ = STRICT
    at_ns: Instant
    """From when."""
    rate_bits_per_s: Annotated[int, bandwidth("1 bit/s", "1 Tbit/s")]
    """How much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What is done when so much is lost that the rest makes no quorum.

    While the rest makes one, consensus goes on by itself and none of this happens.
    """

    __pydantic_config__ = STRICT
    checks_every_ns: Annotated[int, duration("1 s", "1 h")] = 30 * 10**9
    """Time between two health checks (Amazon Route 53: 30 s; 10 s costs more)."""
    checks_failed: Annotated[int, Count(1, 100)] = 3
    """Failed checks in a row that raise the alarm (Amazon Route 53: 3)."""
    decision: Distribution = _DECISION
    """From the alarm to the order: people, unless it is `fixed` and short (assumption)."""
    standby: Literal["none", "warm", "backup"] = "none"
    """What lost validators return on: nothing but their own machines; machines elsewhere to which
    their state is streamed; machines elsewhere that are filled from the last backup."""
    promotion: Distribution = _RESTART
    """From the order to running validators, their state being there."""
    state_bytes: Annotated[int, size("1 MB", "100000 GB")] = 100 * 1024**3
    """What a backup restores, a validator (assumption)."""
    restore_bits_per_s: Annotated[int, bandwidth("1 Mbit/s", "1 Tbit/s")] = 10**9
    """How fast it is restored, a validator (assumption)."""
    routing_ttl_ns: Annotated[int, duration("0 s", "1 d")] = 60 * 10**9
    """How long old addresses are believed: the time to live of names."""
    lag: Distribution = _LAG
    """Age of the newest record that has reached the standby (assumption)."""
    sites: dict[str, PlaceName] = field(default_factory=dict)
    """Where the validators of a region come up when it is lost, region by region: a run then sends
    its records there, promotes and fails back. Left out, recovery is only drawn by stages."""
    survives: Literal["region", "provider"] = "region"
    """The largest place whose loss the sites have to outlast."""
    stream_bits_per_s: Annotated[int, bandwidth("1 kbit/s", "1 Tbit/s")] = TUNNEL_BITS_PER_S
    """What one region's stream to its site can carry (AWS Site-to-Site VPN: 1.25 Gbit/s)."""
    records: tuple[RecordRate, ...] = ()
    """What each region with a site writes beside the chain; left out, nothing."""
    fail_back: Distribution | None = None
    """From the return of a lost place to the order to move back; left out, nobody moves back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clouds:
    """What surrounds the validators in their clouds."""

    __pydantic_config__ = STRICT
    networks: dict[str, Block] = field(default_factory=dict)
    """Addresses of a region's machines; left out, 10.16.0.0/16 and those after it."""
    allow: tuple[Allowance, ...] = (
        ValidatorTraffic(kind="validators"),
        AgentTraffic(kind="agents"),
    )
    """Who may talk to whom; all else is refused."""
    ports: Ports = Ports()
    """Where validators listen."""
    keys: Keys = Keys()
    """Keys at rest."""
    custody: dict[str, Custody] = field(default_factory=dict)
    """Who holds consensus keys, by region or provider (a region's own entry comes first); left
    out, validators do."""
    audit: AuditTrail = AuditTrail()
    """Audit trails."""
    backups: DiskBackups = DiskBackups()
    """Backups."""
    recovery: Recovery = Recovery()
    """What is done when a quorum is lost."""
    replicas: dict[str, PlaceName] = field(default_factory=dict)
    """Where an AWS region's audit trail is copied to; left out, the next region of its separate
    cloud, if there is one. Azure copies to the region that it has paired with it."""


def entry_at(entries: Mapping[str, T], region: str) -> T | None:
    """Return a region's entry, else its provider's, of what is stated by place."""
    return entries.get(region, entries.get(region.partition(":")[0]))
