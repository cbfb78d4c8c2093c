"""Rules of who holds consensus keys: services that somebody uses, faults that meet one.

Owns: what no single field of the custody can say. Must not know: YAML, places in files, how keys
sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.scenario.breakdowns import KmsOutage, KmsThrottle
from sim.scenario.checks import KEY_COUNTS, KEY_DURATIONS
from sim.scenario.clouds import Clouds, ServiceKeys, entry_at
from sim.scenario.exposure import named
from sim.scenario.model import Validators, Weights
from sim.scenario.quantities import DURATION
from sim.scenario.rulebook import Finding, expecting, needs
from sim.scenario.rules_clouds import placed_regions, refers_to_nobody


@needs("clouds", "validators")
def _services_are_used(clouds: Clouds | None, validators: Validators) -> Iterator[Finding]:
    if clouds is None:
        return
    regions = placed_regions(validators)
    for place, custody in clouds.custody.items():
        where = ("clouds", "custody", place)
        unknown = refers_to_nobody(place, regions)
        if unknown:
            yield where, unknown
        if not isinstance(custody, ServiceKeys):
            continue
        if custody.latency_p99_ns < custody.latency_ns:
            yield (
                (*where, "latency_p99"),
                f"{DURATION.format(custody.latency_p99_ns)} is less than the median, "
                f"{DURATION.format(custody.latency_ns)}: state `latency_p99` of at least that",
            )


@needs("clouds", "validators", "weights", "faults")
def _key_faults_meet_services(
    clouds: Clouds | None, validators: Validators, weights: Weights, faults: Any
) -> Iterator[Finding]:
    """Once a scenario says who holds keys, faults of key services strike those that it says."""
    if clouds is None or not clouds.custody:
        return
    homes = validators.placement.each(validators.count)
    remote = {
        region: isinstance(entry_at(clouds.custody, region), ServiceKeys)
        for region in dict.fromkeys(homes)
    }
    for index, fault in enumerate(faults):
        if not isinstance(fault, KmsOutage | KmsThrottle):
            continue
        where = ("faults", index, "nodes")
        struck = named(fault.nodes, validators, weights)
        if struck is None:
            if not all(remote.values()):
                local = ", ".join(region for region, held in remote.items() if not held)
                yield (
                    where,
                    f"may choose validators of {local}, who hold their keys themselves: select by "
                    "`region` or `provider`",
                )
            struck = []
        for region in dict.fromkeys(homes[node] for node in struck):
            if not remote[region]:
                yield (
                    where,
                    f"validators of {region} hold their keys themselves, so there is no service "
                    "that could fail them: select others, or change `clouds.custody`",
                )
            elif isinstance(fault, KmsThrottle):
                inside, all_of = sum(homes[n] == region for n in struck), homes.count(region)
                if inside < all_of:
                    yield (
                        where,
                        f"strikes {inside} of {all_of} validators of {region}, who share one key "
                        "service: select the whole region",
                    )
        if isinstance(fault, KmsThrottle) and fault.quota_nhz and fault.per != "region":
            yield (
                ("faults", index),
                "the quota is that of an account in a region, shared by its validators: state "
                "`per: region`",
            )


@needs("clouds", "validators", "expect")
def _services_are_measured(
    clouds: Clouds | None, validators: Validators, expect: Any
) -> Iterator[Finding]:
    """Refuse to expect something of key services where no validator's key lies in one."""
    held = clouds is not None and any(
        isinstance(entry_at(clouds.custody, region), ServiceKeys)
        for region in placed_regions(validators)
    )
    if not held:
        for path, metric in expecting(expect, KEY_COUNTS + KEY_DURATIONS):
            yield (
                path,
                f"`{metric}` is of key services, and no validator's key lies in one: state "
                "`clouds: {custody: {aws: {kind: service}}}`, or leave it out",
            )
