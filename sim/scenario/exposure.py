"""How much voting weight at genesis is in bad hands, as far as the scenario settles it.

Owns: lower bounds of Byzantine and of unavailable weight, and the limits of the quorum.
Must not know: draws. Where chance decides who is chosen, the lightest choice counts, so that what
is refused is refused rightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from statistics import NormalDist
from typing import Any

from sim.protocol.adaptive_quorum import LEVELS
from sim.protocol.types import WeightTable
from sim.protocol.weighted_voting import WeightParameters, weight_table
from sim.scenario.adversaries import (
    AdaptiveCorruption,
    Adversary,
    DoubleVote,
    Equivocate,
    LevelThenSilence,
    Sleeper,
    Twins,
)
from sim.scenario.breakdowns import (
    FailingDisk,
    FullDisk,
    KmsOutage,
    Outage,
    ProviderOutage,
    RegionOutage,
    ZoneOutage,
)
from sim.scenario.disturbances import AmnesiaCrash, Crash
from sim.scenario.model import (
    EqualStake,
    ListedStake,
    LognormalStake,
    Validators,
    Weights,
    ZipfStake,
)
from sim.scenario.selection import (
    ByStake,
    ByWeight,
    Heaviest,
    Ids,
    InRegion,
    InZone,
    Lightest,
    OfProvider,
    Random,
    RunningVersion,
    up_to_share,
)

_WHOLE = 1_000_000
DOUBLE_SIGNERS = (Equivocate, DoubleVote, Twins)
"""Adversaries whose validators sign conflicting statements, so that their weight may count on both
sides of a fork. (A silent one may not; who does so in old epochs only has no weight any more.)"""

GONE = (Crash, FailingDisk, FullDisk, KmsOutage)
"""Faults whose validators do not vote while they last."""


def safety_limit_ppm(level: int) -> int:
    """Return 2q - 1 of a level: safety holds while Byzantine weight is below it."""
    numerator, denominator = LEVELS[level]
    return (2 * numerator - denominator) * _WHOLE // denominator


def liveness_limit_ppm(level: int) -> int:
    """Return 1 - q of a level: the chain is live while unavailable weight is within it."""
    numerator, denominator = LEVELS[level]
    return (denominator - numerator) * _WHOLE // denominator


def byzantine_ppm(validators: Validators, weights: Weights, adversaries: Any, faults: Any) -> int:
    """Return the least share of the weight that may sign twice, adversaries and amnesia together.

    Amnesia makes a validator forget what it voted for, so it may vote twice in good faith. A
    version that signs twice may be called off before anybody runs it.
    """
    bad = [item.nodes for item in adversaries if _signs_twice(item) and not _by_version(item)]
    for item in adversaries:
        if isinstance(item, LevelThenSilence):
            members = named(item.nodes, validators, weights)
            if members is not None:
                bad.append(Ids(ids=tuple(members[: item.provokers])))
    bad += [item.nodes for item in faults if isinstance(item, AmnesiaCrash)]
    return _least_share(validators, weights, bad)


def outage_places(outage: Outage) -> list[InRegion | InZone | OfProvider]:
    """Return the selections of the validators in each place that an outage names."""
    if isinstance(outage, RegionOutage):
        return [InRegion(region=name) for name in outage.regions]
    if isinstance(outage, ZoneOutage):
        return [InZone(zone=name) for name in outage.zones]
    assert isinstance(outage, ProviderOutage)
    return [OfProvider(provider=name) for name in outage.providers]


def _for_good(fault: Any) -> bool:
    """Say whether a fault lasts to the end of the run, for all whom it names."""
    partial = isinstance(fault, FailingDisk) and fault.share_ppm < _WHOLE
    drawn = fault.every is not None or fault.lasting is not None
    return fault.until_ns is None and not drawn and not partial


def _by_version(adversary: Any) -> bool:
    """Say whether an adversary owns a version, hence nobody for certain."""
    return isinstance(adversary.nodes, RunningVersion)


def _signs_twice(adversary: Any) -> bool:
    if isinstance(adversary, Sleeper):
        return adversary.then != "silent"
    return isinstance(adversary, DOUBLE_SIGNERS)


def unavailable_ppm(validators: Validators, weights: Weights, adversaries: Any, faults: Any) -> int:
    """Return the least share of the weight that is Byzantine, or down, to the end of the run."""
    bad = [
        item.nodes
        for item in adversaries
        if isinstance(item, Adversary)
        and item.end_ns is None
        and not _by_version(item)
        and not isinstance(item, AdaptiveCorruption)
    ]
    for fault in faults:
        if isinstance(fault, GONE) and _for_good(fault):
            bad.append(fault.nodes)
        elif isinstance(fault, Outage) and not fault.cut_off and _for_good(fault):
            bad += outage_places(fault)
    return _least_share(validators, weights, bad)


def genesis_stakes(validators: Validators) -> list[int]:
    """Return the genesis stakes; lognormal ones in ascending order, before they are dealt out."""
    rule, count = validators.stake, validators.count
    if isinstance(rule, EqualStake):
        return [rule.amount] * count
    if isinstance(rule, ListedStake):
        return list(rule.amounts)[:count] + [0] * (count - len(rule.amounts))
    if isinstance(rule, ZipfStake):
        exponent = rule.exponent_micro / _WHOLE
        return [max(1, int(rule.largest / (rank + 1) ** exponent)) for rank in range(count)]
    normal, sigma = NormalDist(), rule.sigma_micro / _WHOLE
    return [
        max(1, round(rule.median * exp(sigma * normal.inv_cdf((rank + 0.5) / count))))
        for rank in range(count)
    ]


def genesis_weights(
    validators: Validators, weights: Weights, stakes: Sequence[int] | None = None
) -> WeightTable:
    """Return the voting weights at genesis, of `stakes` or in the order of `genesis_stakes`."""
    return weight_table(
        genesis_stakes(validators) if stakes is None else list(stakes),
        [validators.initial_reputation_ppm] * validators.count,
        [validators.initial_uptime_ppm] * validators.count,
        WeightParameters(
            stake_ppm=weights.stake_ppm,
            reputation_ppm=weights.reputation_ppm,
            uptime_ppm=weights.uptime_ppm,
            cap_ppm=weights.cap_ppm,
            combine=weights.combine,
        ),
    )


def named(selection: Any, validators: Validators, weights: Weights) -> list[int] | None:
    """Return whom a selection names for certain, None where chance or a rollout decides."""
    if isinstance(selection, RunningVersion):
        return None
    if isinstance(selection, Ids):
        return [index for index in selection.ids if index < validators.count]
    if isinstance(selection, InRegion | InZone | OfProvider):
        return in_place(selection, validators.placement.each(validators.count))
    if isinstance(validators.stake, LognormalStake):  # dealt out by chance
        return None
    table = genesis_weights(validators, weights)
    return _named(selection, validators, genesis_stakes(validators), table.weights)


def _least_share(validators: Validators, weights: Weights, selections: list[Any]) -> int:
    """Return the least share, in ppm, that the union of the selections can own."""
    if not selections or not any(genesis_stakes(validators)):
        return 0
    stakes, table = genesis_stakes(validators), genesis_weights(validators, weights)
    settled: dict[int, None] = {}
    least = 0
    for selection in selections:
        chosen = _named(selection, validators, stakes, table.weights)
        if chosen is None:
            least = max(least, sum(sorted(table.weights)[: _how_many(selection, validators)]))
        else:
            settled.update(dict.fromkeys(chosen))
    owned = sum(table.weights[index] for index in settled)
    return max(owned, least) * _WHOLE // table.total


def _how_many(selection: Any, validators: Validators) -> int:
    if isinstance(selection, Random):
        return selection.random
    return len(selection.ids) if isinstance(selection, Ids) else 0


def _named(
    selection: Any, validators: Validators, stakes: list[int], weights: tuple[int, ...]
) -> list[int] | None:
    """Return whom a selection names, None where chance decides."""
    if isinstance(selection, ByStake | ByWeight):
        values = stakes if isinstance(selection, ByStake) else list(weights)
        many = selection.by_stake if isinstance(selection, ByStake) else selection.by_weight
        return sorted(range(len(values)), key=lambda index: (-values[index], index))[:many]
    if isinstance(selection, Heaviest):
        return list(up_to_share(weights, selection.heaviest_ppm, heaviest=True))
    if isinstance(selection, Lightest):
        return list(up_to_share(weights, selection.lightest_ppm, heaviest=False))
    dealt = not isinstance(validators.stake, EqualStake | ListedStake | ZipfStake)
    if isinstance(selection, Random) or dealt:
        return None
    if isinstance(selection, Ids):
        return [index for index in selection.ids if index < validators.count]
    return in_place(selection, validators.placement.each(validators.count))


def in_place(selection: InRegion | InZone | OfProvider, regions: Sequence[str]) -> list[int]:
    """Return who of those that run in `regions`, one each, is in the place selected, ascending."""
    from sim.world.network.regions import provider_of, spread_over_zones

    if isinstance(selection, InRegion):
        places, name = regions, selection.region
    elif isinstance(selection, InZone):
        places, name = spread_over_zones(regions), selection.zone
    else:
        places, name = [provider_of(region) for region in regions], selection.provider
    return [index for index, place in enumerate(places) if place == name]
