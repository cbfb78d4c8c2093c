"""Rules of the `clouds` section: networks that fit and stay apart, rules that name somebody.

Owns: what no single field of the clouds can say. Must not know: YAML, places in files, templates.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from sim.scenario.checks import TRAIL_COUNTS, TRAIL_DURATIONS
from sim.scenario.clouds import (
    ANYWHERE,
    MetricsTraffic,
    OperatorTraffic,
    ServiceKeys,
    ValidatorTraffic,
)
from sim.scenario.rulebook import Finding, expecting, hint, needs
from sim.scenario.rules_faults import unknown_figure
from sim.world.cloud.deployment import PROVIDERS, default_blocks, holds, partition_of
from sim.world.network.regions import zones_of


def placed_regions(validators: Any) -> dict[str, int]:
    """Return how many genesis validators are in each region that has any, zones put together."""
    counts: dict[str, int] = {}
    for site in validators.placement.each(validators.count):
        region = site.partition("/")[0]
        counts[region] = counts.get(region, 0) + 1
    return counts


def refers_to_nobody(name: str, regions: dict[str, int]) -> str | None:
    """Say that a name is neither a region with validators nor its provider; None if it is."""
    names = [*regions, *dict.fromkeys(region.partition(":")[0] for region in regions)]
    if name in names:
        return None
    meant = hint(name, names, f"validators are in {', '.join(regions)}", cutoff=0.6)
    return f"`{name}` refers to nobody: no validator is there; {meant}"


@needs("clouds", "validators")
def _providers(clouds: Any, validators: Any) -> Iterator[Finding]:
    if clouds is None:
        return
    for region in placed_regions(validators):
        if region.partition(":")[0] not in PROVIDERS:
            yield (
                ("validators", "placement"),
                f"{region} is a region of no provider that plans are written for "
                f"({', '.join(PROVIDERS)}): place validators elsewhere, or leave `clouds` out",
            )


@needs("clouds", "validators")
def _networks(clouds: Any, validators: Any) -> Iterator[Finding]:
    if clouds is None:
        return
    regions = placed_regions(validators)
    blocks = default_blocks(list(regions))
    for region, block in clouds.networks.items():
        where = ("clouds", "networks", region)
        unknown = refers_to_nobody(region, regions)
        if unknown or region not in regions:
            yield where, unknown or f"`{region}` is a provider: networks belong to regions"
            continue
        blocks[region] = block
        zones = len(zones_of(region))
        if not holds(block, zones, regions[region]):
            yield (
                where,
                f"{block} does not hold {regions[region]} validators in {zones} "
                f"zone{'s' if zones > 1 else ''}: each zone's subnet is a /28 to a /16 and loses 5 "
                "addresses to the cloud; ask for a /22",
            )
    named = list(blocks.items())
    for place, (region, block) in enumerate(named):
        for other, its in named[place + 1 :]:
            if ipaddress.IPv4Network(block).overlaps(ipaddress.IPv4Network(its)):
                key = other if other in clouds.networks else region
                yield (
                    ("clouds", "networks", key),
                    f"{region} has {block} and {other} has {its}: they share addresses, and "
                    "neither peering nor tunnels could tell them apart; give one another block",
                )


@needs("clouds", "validators")
def _allowances(clouds: Any, validators: Any) -> Iterator[Finding]:
    if clouds is None:
        return
    regions = placed_regions(validators)
    for index, each in enumerate(clouds.allow):
        where = ("clouds", "allow", index)
        if isinstance(each, ValidatorTraffic):
            for key, names in (("from", each.source), ("to", each.target)):
                for place, name in enumerate(names):
                    unknown = refers_to_nobody(name, regions)
                    if unknown:
                        yield (*where, key, place), unknown
        elif isinstance(each, OperatorTraffic | MetricsTraffic):
            for place, block in enumerate(each.networks):
                if block == ANYWHERE:
                    yield (
                        (*where, "networks", place),
                        f"{each.kind} from everywhere: administrative ports are never open to the "
                        "world; name the networks that they come from",
                    )
    if not any(isinstance(each, ValidatorTraffic) for each in clouds.allow):
        yield (
            ("clouds", "allow"),
            "no validator may talk to another one, so nothing could ever be agreed: add "
            "`{kind: validators}`",
        )
    ports = clouds.ports
    taken = (ports.validators, ports.agents, ports.metrics, ports.administration)
    if len(set(taken)) < len(taken):
        yield ("clouds", "ports"), f"two services listen at one port: {', '.join(map(str, taken))}"


@needs("clouds", "validators")
def _replicas(clouds: Any, validators: Any) -> Iterator[Finding]:
    if clouds is None:
        return
    regions = placed_regions(validators)
    for region, target in clouds.replicas.items():
        where = ("clouds", "replicas", region)
        unknown = refers_to_nobody(region, regions) or refers_to_nobody(target, regions)
        if unknown or region not in regions or target not in regions:
            yield where, unknown or "copies go from a region to a region"
        elif region.startswith("az:"):
            yield (
                where,
                f"Azure copies {region} to the region that it has paired with it: leave it out",
            )
        elif region == target:
            yield where, f"a copy in {region} itself is lost with it: name another region"
        elif partition_of(region) != partition_of(target):
            yield (
                where,
                f"{region} is in {partition_of(region)}, {target} in {partition_of(target)}: "
                "storage is not copied across separate clouds; name a region of the same one",
            )


@needs("clouds", "validators", "faults", "compliance")
def _trails_have_records(
    clouds: Any, validators: Any, faults: Any, compliance: Any
) -> Iterator[Finding]:
    if clouds is None or not clouds.audit.delivery:
        return
    regions = placed_regions(validators)
    wrong: list[Finding] = []
    for place, drawn in clouds.audit.delivery.items():
        where = ("clouds", "audit", "delivery", place)
        unknown = refers_to_nobody(place, regions)
        wrong += [(where, unknown)] if unknown else []
        wrong += unknown_figure(where, drawn)
    yield from wrong
    signed = any(isinstance(each, ServiceKeys) for each in clouds.custody.values())
    if not wrong and not faults and not signed and compliance is None:
        yield (
            ("clouds", "audit", "delivery"),
            "nothing in this run is recorded, so there is nothing to deliver: state faults, keys "
            "in a service (`clouds.custody`) or `compliance`, or leave it out",
        )


@needs("clouds", "expect")
def _trails_are_measured(clouds: Any, expect: Any) -> Iterator[Finding]:
    if clouds is None or not clouds.audit.delivery:
        for path, metric in expecting(expect, TRAIL_COUNTS + TRAIL_DURATIONS):
            yield (
                path,
                f"`{metric}` is of the clouds' trails, and none is followed: state "
                "`clouds: {audit: {delivery: ...}}`, or leave it out",
            )
