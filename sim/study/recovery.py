"""RTO and RPO of a scenario's network, by the stages of recovery, over many losses of each place.

Owns: which places can be lost, incidents' lengths, draws, the table. `confirm` loses regions in
whole runs, to compare. Must not know: how stages take their time, how results are printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from sim.engine.clouds import stages_of
from sim.engine.genesis import stakes, validator_regions
from sim.protocol.adaptive_quorum import quorum_weight
from sim.protocol.types import Block
from sim.scenario.breakdowns import RegionOutage
from sim.scenario.checks import Safety
from sim.scenario.exposure import genesis_weights
from sim.scenario.model import Scenario
from sim.study.statistics.intervals import Interval, proportion_interval
from sim.world.chance import Chance
from sim.world.cloud.recovery import PPM, Episode, episode
from sim.world.faults.occurrence import figures
from sim.world.network.regions import provider_of, spread_over_zones

if TYPE_CHECKING:
    from sim.engine.world import World

RTO_NS, RPO_NS = 30 * 60 * 10**9, 15 * 60 * 10**9
"""Targets of the source document ("Multi-Region Replication")."""
SCOPES = ("zone", "region", "provider")
LOSS_NS = 5 * 10**9
"""When `confirm` loses a region: blocks are committed by then."""
PATIENCE_NS = 3 * 3_600 * 10**9
"""How long `confirm` waits for a region to come up at its site: longer than people decide."""
STEP_NS = 250_000_000
"""How often `confirm` looks whether it may stop."""
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
    weights, quorum = _weights(scenario)
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


def _weights(scenario: Scenario) -> tuple[tuple[int, ...], int]:
    """Return the voting weights at genesis and what makes a quorum of them."""
    dealt = stakes(scenario.validators, Chance(scenario.seed, 0))
    weights = genesis_weights(scenario.validators, scenario.weights, dealt).weights
    return weights, quorum_weight(sum(weights), scenario.quorum.initial_level)


@dataclass(frozen=True, slots=True)
class Loss:
    """What the loss of a place leaves: shares of the weight at genesis, in millionths."""

    place: Place
    left_ppm: int
    quorum_ppm: int
    goes_on: bool
    """Whether the rest makes a quorum."""


def losses(scenario: Scenario, scope: str) -> list[Loss]:
    """Say of each place of a scope (zone, region, provider) what its loss leaves."""
    weights, quorum = _weights(scenario)
    whole = sum(weights)
    found = []
    for place in places(scenario):
        if place.scope == scope:
            left = whole - sum(weights[node] for node in place.validators)
            shares = left * PPM // whole, -(-quorum * PPM // whole)
            found.append(Loss(place, *shares, goes_on=left >= quorum))
    return found


def meets(row: Mapping[str, int]) -> bool:
    """Say whether a recovery is within both targets; without a copy it is not."""
    gone_ns = max(row["chain_lost_ns"], row["records_lost_ns"])
    return row["rto_ns"] <= RTO_NS and row["records_lost_ns"] >= 0 and gone_ns <= RPO_NS


@dataclass(frozen=True, slots=True)
class Ranking:
    """Topologies by the share of a scope's losses that meet both targets, best first.

    `best`: those that the draws do not tell apart from the first: their intervals overlap.
    """

    scope: str
    shares: tuple[tuple[str, Interval], ...]
    best: tuple[str, ...]


def rankings(data: pl.DataFrame) -> list[Ranking]:
    """Rank the scenarios of `recoveries`, named in a column `scenario`, scope by scope."""
    found = []
    for scope in SCOPES:
        shares = []
        for (name,), rows in data.filter(scope=scope).group_by("scenario", maintain_order=True):
            met = sum(meets(row) for row in rows.iter_rows(named=True))
            shares.append((str(name), proportion_interval(met, len(rows))))
        shares.sort(key=lambda each: (-each[1].estimate, each[0]))
        if shares:
            least = shares[0][1].lower
            best = tuple(name for name, share in shares if share.upper >= least)
            found.append(Ranking(scope, tuple(shares), best))
    return found


def chosen(ranked: Sequence[Ranking]) -> tuple[str, ...]:
    """Return the topologies that no other one is better than, whichever place is lost."""
    first = ranked[0].shares if ranked else ()
    return tuple(name for name, _ in first if all(name in each.best for each in ranked))


def _row(scope: str, place: str, incident_ns: int, found: Episode) -> dict[str, object]:
    names = ("how", "detection_ns", "decision_ns", "promotion_ns", "routing_ns", "consensus_ns")
    more = ("rto_ns", "chain_lost_ns", "records_lost_ns")
    shown = {name: getattr(found, name) for name in (*names, *more)}
    return {"scope": scope, "place": place, "incident_ns": incident_ns, **shown}


def confirm(
    scenario: Scenario, runs: int, regions: Sequence[str] = ()
) -> Iterator[tuple[str, int]]:
    """Lose a region in whole runs and yield (region, time until the chain is back; -1: it is not).

    It is back with the first commit of a block that was proposed after the loss: what had been
    under way is committed by the rest, quorum or not. Each run loses the next region for good, with
    another seed; only consensus runs, without agents. It is waited for as long as eight views of
    the longest timer may take, or `PATIENCE_NS` where the region has to come up at its site.
    `regions`: only these are lost.
    """
    from sim.engine.build import build
    from sim.record.recorder import NullRecorder

    regions = regions or [place.name for place in places(scenario) if place.scope == "region"]
    at_ns = LOSS_NS
    stands = standing(scenario)
    for number in range(runs):
        region = regions[number % len(regions)]
        until_ns = at_ns + 8 * scenario.consensus.timer_max_ns
        if region in stands:
            until_ns = at_ns + PATIENCE_NS
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
        yield region, _back_ns(world, at_ns, until_ns)


def standing(scenario: Scenario) -> tuple[str, ...]:
    """Name the regions that have a site and without which the rest makes no quorum."""
    sites = {} if scenario.clouds is None else scenario.clouds.recovery.sites
    lost = (loss for loss in losses(scenario, "region") if not loss.goes_on)
    return tuple(loss.place.name for loss in lost if loss.place.name in sites)


def _back_ns(world: World, at_ns: int, until_ns: int) -> int:
    """Return the time from `at_ns` to the first commit of a later block; -1: none in time."""
    observer, waited = world.observer, list[int]()

    def first_commit(block: Block, now_ns: int) -> None:
        if observer.proposed_ns(block.id) > at_ns:
            waited.append(now_ns - at_ns)

    observer.first_commits.append(first_commit)
    world.start()
    now_ns = at_ns
    while now_ns < until_ns and not waited:
        now_ns += STEP_NS
        world.advance(now_ns)
    return waited[0] if waited else -1


def quantile(values: Sequence[int], q: float) -> int:
    """Return the q-quantile as one of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
