"""A deployment as frozen values: sites, addresses, who may talk to whom, what is kept how long.

Owns: what both providers' plans have in common, and what can be said of it: subnets by zone, which
links exist. Must not know: templates, scenarios, runs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sim.world.cloud.custody import Custody

PROVIDERS = ("aws", "az")
"""Providers that plans are written for."""
PAIRED = "the region that Azure has paired with it"
RESERVED_ADDRESSES = 5
"""Of each subnet (AWS: VPC user guide, "Subnet CIDR blocks"; Azure: "Virtual network FAQ")."""
FIRST_BLOCK = ipaddress.IPv4Network("10.16.0.0/16")


@dataclass(frozen=True, slots=True)
class Subnet:
    """One zone's part of a region's network, and how many validators it holds."""

    zone: int
    block: str
    validators: int


@dataclass(frozen=True, slots=True)
class Site:
    """One region of a provider. `zones`: how many it has; `replica`: where its trail is copied;
    `custody`: the key service that signs votes, None where validators do.

    Azure copies to the region that it has paired with a region, which is not for a plan to choose.
    """

    region: str
    block: str
    zones: int
    validators: int
    replica: str | None = None
    custody: Custody | None = None

    @property
    def provider(self) -> str:
        return self.region.partition(":")[0]

    @property
    def name(self) -> str:
        """The provider's own name of the region."""
        return self.region.partition(":")[2]

    @property
    def partition(self) -> str:
        """The separate cloud that a region belongs to: accounts and keys end at its border."""
        return partition_of(self.region)

    def subnets(self) -> tuple[Subnet, ...]:
        """Cut the block into one subnet a zone, and spread validators evenly, first zones first."""
        bits = max(0, (self.zones - 1).bit_length())
        blocks = list(ipaddress.IPv4Network(self.block).subnets(prefixlen_diff=bits))
        each, rest = divmod(self.validators, self.zones)
        return tuple(
            Subnet(zone + 1, str(blocks[zone]), each + (zone < rest)) for zone in range(self.zones)
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """Validators of `source` may send to those of `target`; regions or providers, () is all."""

    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()

    def lets(self, source: str, target: str) -> bool:
        """Say whether a message from region `source` to region `target` may pass."""
        return _covers(self.source, source) and _covers(self.target, target)


def _covers(names: Sequence[str], region: str) -> bool:
    return not names or region in names or region.partition(":")[0] in names


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that both providers' plans are made of. Blocks of addresses are CIDR text."""

    name: str
    sites: tuple[Site, ...]
    flows: tuple[Flow, ...]
    agent_networks: tuple[str, ...]
    operator_networks: tuple[str, ...]
    metrics_networks: tuple[str, ...]
    validator_port: int
    agent_port: int
    metrics_port: int
    administration_port: int
    key_rotation_days: int
    audit_retention_days: int
    backup_hours: int
    backup_keep_days: int
    workers: int
    """Processor workers of a validator, all lanes."""
    settings: Mapping[str, str]
    """What validators are configured with."""

    def peers(self, site: Site) -> tuple[Site, ...]:
        """Return the sites whose validators may send to those of `site`, its own first."""
        return tuple(
            other
            for other in sorted(self.sites, key=lambda each: each.region != site.region)
            if any(flow.lets(other.region, site.region) for flow in self.flows)
        )

    def reached(self, site: Site) -> tuple[Site, ...]:
        """Return the sites to whose validators those of `site` may send, in the plan's order."""
        return tuple(
            other
            for other in self.sites
            if any(flow.lets(site.region, other.region) for flow in self.flows)
        )

    def signing_key(self, pod: str) -> str:
        """Return the name under which a key service keeps the key of a validator's pod."""
        return f"{self.name}-{pod}"

    def visitors(self) -> tuple[tuple[str, tuple[str, ...], int], ...]:
        """Return (who, networks, port) of everybody but validators who may come in."""
        return (
            ("agents", self.agent_networks, self.agent_port),
            ("operators", self.operator_networks, self.administration_port),
            ("metrics", self.metrics_networks, self.metrics_port),
        )

    def linked(self, site: Site) -> tuple[Site, ...]:
        """Return the other sites to or from which a message of `site` may pass."""
        return tuple(
            other
            for other in self.sites
            if other.region != site.region
            and any(
                flow.lets(site.region, other.region) or flow.lets(other.region, site.region)
                for flow in self.flows
            )
        )


def pod(number: int) -> str:
    """Return the name of a validator in its region's cluster, from 0."""
    return f"validator-{number}"


def closed_links(flows: Sequence[Flow], regions: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the ordered pairs of regions between which no flow lets a message pass.

    Inside a region too: machines of one network need an allowance as well.
    """
    known = tuple(dict.fromkeys(regions))
    return tuple(
        (source, target)
        for source in known
        for target in known
        if not any(flow.lets(source, target) for flow in flows)
    )


def partition_of(region: str) -> str:
    """Return the separate cloud of a region: aws-us-gov, aws, AzureUSGovernment, AzureCloud."""
    provider, _, name = region.partition(":")
    if provider == "aws":
        return "aws-us-gov" if name.startswith("us-gov-") else "aws"
    return "AzureUSGovernment" if name.startswith("usgov") else "AzureCloud"


def default_blocks(regions: Sequence[str]) -> dict[str, str]:
    """Give each region 65,536 addresses of its own, from 10.16.0.0 on."""
    first = int(FIRST_BLOCK.network_address)
    size = FIRST_BLOCK.num_addresses
    return {
        region: str(ipaddress.IPv4Network((first + place * size, FIRST_BLOCK.prefixlen)))
        for place, region in enumerate(regions)
    }


def default_replica(region: str, regions: Sequence[str]) -> str | None:
    """Return the next region of the same separate cloud, or None if it is the only one."""
    if region.startswith("az:"):
        return PAIRED
    same = [each for each in regions if partition_of(each) == partition_of(region)]
    return same[(same.index(region) + 1) % len(same)] if len(same) > 1 else None


def holds(block: str, zones: int, validators: int) -> bool:
    """Say whether a block has subnets for all zones, with addresses for all validators."""
    bits = max(0, (zones - 1).bit_length())
    network = ipaddress.IPv4Network(block)
    length = network.prefixlen + bits
    if network.prefixlen < 16 or length > 28:
        return False
    return -(-validators // zones) <= (1 << (32 - length)) - RESERVED_ADDRESSES
