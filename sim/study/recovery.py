"""RTO and RPO of a scenario's network, by the stages of recovery, over many losses of each place.

Owns: which places can be lost, incidents' lengths, draws, the table. `confirm` loses regions in
whole runs, to compare. Must not know: how stages take their time, how results are printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from sim.engine.clouds import stages_of
from sim.engine.genesis import stakes, validator_regions
from sim.protocol.adaptive_quorum import quorum_weight
from sim.scenario.breakdowns import RegionOutage
from sim.scenario.checks import Safety
from sim.scenario.exposure import genesis_weights
from sim.scenario.model import Scenario
from sim.world.chance import Chance
from sim.world.cloud.recovery import Episode, episode
from sim.world.faults.occurrence import figures
from sim.world.network.regions import provider_of, spread_over_zones

RTO_NS, RPO_NS = 30 * 60 * 10**9, 15 * 60 * 10**9
"""Targets of the source document ("Multi-Region Replication")."""
SCOPES = ("zone", "region", "provider")
LOSS_NS = 5 * 10**9
"""When `confirm` loses a region: blocks are committed by then."""
STEP_NS = 10_000_000
"""How closely `confirm` looks."""
_INCIDENTS = {"aws": "incident_aws", "az": "incident_azure", "gcp": "incident_gcp"}


@dataclass(frozen=True, slots=True)
class Place:
    """Something that can be lost at once: a zone, a region, a provider."""

    scope: str
    name: str
    provider: str
    validators: frozenset[int]


def places(scenario: Scenario) -> list[Place]:
    """Return all places that hold validators at genesis."""
    regions = validator_regions(scenario)[: scenario.validators.count]
    found: dict[tuple[str, str], list[int]] = {}
    for index, (region, zone) in enumerate(zip(regions, spread_over_zones(regions), strict=True)):
        provider = provider_of(region)
        for key in (("zone", zone), ("region", region), ("provider", provider)):
            found.setdefault(key, []).append(index)
    return [
        Place(scope, name, provider_of(name.partition("/")[0]), frozenset(members))
        for (scope, name), members in found.items()
    ]


def recoveries(scenario: Scenario, draws: int) -> pl.DataFrame:
    """Draw `draws` losses of each scope, places in turn; one row each, times in ns.

    Draws depend on the seed and the place only, so that two topologies that share a place see the
    same incidents there. Raises ValueError for fewer than 1 draw.
    """
    if draws < 1:
        raise ValueError(f"{draws} draws: need 1 or more")
    dealt = stakes(scenario.validators, Chance(scenario.seed, 0))
    weights = genesis_weights(scenario.validators, scenario.weights, dealt).weights
    quorum = quorum_weight(sum(weights), scenario.quorum.initial_level)
    how = stages_of(scenario)
    rows = []
    for scope in SCOPES:
        some = [place for place in places(scenario) if place.scope == scope]
        for number, place in enumerate(some):
            stream = Chance(scenario.seed, 0).stream(f"recovery/{scope}/{place.name}")
            incidents = figures()[_INCIDENTS.get(place.provider, "incident_aws")].lifetimes
            for _ in range(draws // len(some) + (number < draws % len(some))):
                length = incidents.draw_ns(stream)
                found = episode(how, weights, place.validators, quorum, length, stream)
                rows.append(_row(scope, place.name, length, found))
    return pl.DataFrame(rows)


def _row(scope: str, place: str, incident_ns: int, found: Episode) -> dict[str, object]:
    names = ("how", "detection_ns", "decision_ns", "promotion_ns", "routing_ns", "consensus_ns")
    more = ("rto_ns", "chain_lost_ns", "records_lost_ns")
    shown = {name: getattr(found, name) for name in (*names, *more)}
    return {"scope": scope, "place": place, "incident_ns": incident_ns, **shown}


def confirm(scenario: Scenario, runs: int) -> Iterator[tuple[str, int]]:
    """Lose a region in whole runs and yield (region, time to the next commit; -1: none came).

    Each run loses the next region, with another seed; only consensus runs, without agents. It is
    waited for as long as eight views of the longest timer may take.
    """
    from sim.engine.build import build
    from sim.record.recorder import NullRecorder

    regions = [place.name for place in places(scenario) if place.scope == "region"]
    at_ns = LOSS_NS
    until_ns = at_ns + 8 * scenario.consensus.timer_max_ns
    for number in range(runs):
        region = regions[number % len(regions)]
        fault = RegionOutage(kind="region_outage", regions=(region,), at_ns=at_ns)
        alone = replace(
            scenario,
            agents=None,
            faults=(fault,),
            adversaries=(),
            operations=(),
            expect=(Safety(safety="held"),),
            seed=scenario.seed + number,
            duration_ns=until_ns,
        )
        world = build(alone, 0, NullRecorder())
        world.start()
        world.advance(at_ns)
        before = world.observer.blocks_committed
        now_ns = at_ns
        while now_ns < until_ns and world.observer.blocks_committed == before:
            now_ns += STEP_NS
            world.advance(now_ns)
        yield region, now_ns - at_ns if world.observer.blocks_committed > before else -1


def quantile(values: Sequence[int], q: float) -> int:
    """Return the q-quantile as one of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
