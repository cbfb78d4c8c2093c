"""Rules of `clouds.recovery.sites`: copies that outlast what they are there for.

Owns: what a topology must have to keep the replica rules that it states, and what a run can move.
Must not know: YAML, places in files, how anybody is moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from sim.protocol.adaptive_quorum import quorum_weight
from sim.scenario.clouds import Recovery, ServiceKeys, entry_at
from sim.scenario.exposure import genesis_weights
from sim.scenario.model import EqualStake, ListedStake, Validators, ZipfStake
from sim.scenario.quantities import DURATION, SHARE
from sim.scenario.rulebook import Finding, hint, needs
from sim.world.network.regions import provider_of

_WHERE = ("clouds", "recovery")
_WHOLE = 1_000_000
_ONLY_WITH_SITES = (
    ("survives", "survives"),
    ("stream_bits_per_s", "stream"),
    ("records", "records"),
    ("fail_back", "fail_back"),
)


def _sites(clouds: Any) -> Mapping[str, str]:
    return {} if clouds is None else clouds.recovery.sites


def _regions(validators: Validators) -> list[str]:
    return [site.partition("/")[0] for site in validators.placement.each(validators.count)]


@needs("clouds")
def _nothing_to_copy_to(clouds: Any) -> Iterator[Finding]:
    if clouds is None:
        return
    recovery = clouds.recovery
    if recovery.sites and recovery.standby == "none":
        yield (
            (*_WHERE, "sites"),
            "sites, but nothing stands ready there: state `standby: warm` or `standby: backup`",
        )
    for name, key in _ONLY_WITH_SITES:
        if not recovery.sites and getattr(recovery, name) != getattr(Recovery(), name):
            yield (*_WHERE, key), "is of sites, and there are none: state `sites`, or leave it out"
    times = [each.at_ns for each in recovery.records]
    for place, (earlier, later) in enumerate(pairwise(times)):
        if later <= earlier:
            yield (
                (*_WHERE, "records", place + 1, "at"),
                f"{DURATION.format(later)} does not follow {DURATION.format(earlier)}: put them "
                "in order of time",
            )


@needs("clouds", "validators")
def _sites_are_elsewhere(clouds: Any, validators: Validators) -> Iterator[Finding]:
    regions = list(dict.fromkeys(_regions(validators)))
    for region, site in _sites(clouds).items():
        where = (*_WHERE, "sites", region)
        strange = next((name for name in (region, site) if name not in regions), None)
        if strange is not None:
            meant = hint(strange, regions, f"they are in {', '.join(regions)}", cutoff=0.6)
            yield (
                where,
                f"no validator is in `{strange}`, and sites use the links of the validators there: "
                f"{meant}",
            )
        elif region == site:
            yield where, f"a copy in {region} itself is lost with it: name another region"
        elif clouds.recovery.survives == "provider" and provider_of(region) == provider_of(site):
            yield (
                where,
                f"{site} is lost with {region} where {provider_of(region)} fails, and the copies "
                "must survive a provider: name a region of another one",
            )


@needs("clouds", "validators", "weights", "quorum")
def _copies_outlast_what_they_are_for(
    clouds: Any, validators: Validators, weights: Any, quorum: Any
) -> Iterator[Finding]:
    """Yield each region without a site of a place whose loss leaves no quorum."""
    sites = _sites(clouds)
    if not sites or not isinstance(validators.stake, EqualStake | ListedStake | ZipfStake):
        # Stakes that are dealt out by chance settle no region's weight.
        return
    table = genesis_weights(validators, weights)
    needed = quorum_weight(table.total, quorum.initial_level)
    regions = _regions(validators)
    homes = regions
    if clouds.recovery.survives == "provider":
        homes = [provider_of(region) for region in regions]
    for lost in dict.fromkeys(homes):
        gone = [node for node, home in enumerate(homes) if home == lost]
        left = table.total - sum(table.weights[node] for node in gone)
        if left >= needed:
            continue
        for region in dict.fromkeys(regions[node] for node in gone):
            if region not in sites:
                share = SHARE.format(left * _WHOLE // table.total)
                yield (
                    (*_WHERE, "sites"),
                    f"without {lost} {share} of the weight is left, which is no quorum, and "
                    f"{region} has no site: name one, or place validators so that the rest is one",
                )


@needs("clouds")
def _keys_move(clouds: Any) -> Iterator[Finding]:
    for region, site in _sites(clouds).items():
        if isinstance(entry_at(clouds.custody, region), ServiceKeys):
            yield (
                (*_WHERE, "sites", region),
                f"the keys of {region} lie in its own key service, and nobody could sign with them "
                f"in {site}: let its validators hold them, or leave its site out",
            )


@needs("clouds", "agents", "adversaries", "compliance")
def _only_validators_move(
    clouds: Any, agents: Any, adversaries: Any, compliance: Any
) -> Iterator[Finding]:
    if not _sites(clouds):
        return
    where = (*_WHERE, "sites")
    if agents is not None:
        yield where, "validators that come up elsewhere take no agents along: leave `agents` out"
    if adversaries:
        yield where, "whom an adversary owns comes up nowhere else: leave `adversaries` out"
    if compliance is not None:
        yield where, "compliance does not move with its validators: leave `compliance` out"


@needs("clouds", "consensus", "duration")
def _copies_are_whole(clouds: Any, consensus: Any, duration: int) -> Iterator[Finding]:
    if not _sites(clouds):
        return
    interval, kept = consensus.min_block_interval_ns, consensus.store_blocks
    if interval * kept < duration:
        blocks = f"{-(-duration // interval):,}" if interval else "any number"
        remedy = "state a `consensus.min_block_interval`"
        if interval:
            remedy = f"state `consensus.store_blocks: {-(-duration // interval)}`"
        yield (
            (*_WHERE, "sites"),
            f"who comes up elsewhere is given all blocks of the run, {blocks} may come in "
            f"{DURATION.format(duration)}, and validators keep {kept:,}: {remedy}",
        )
