"""Rules of the `faults` section: who, where and when something breaks.

Owns: what may be asked of faults and of the ends of links. Must not know: YAML, places in files,
how faults are carried out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from sim.scenario.agent_faults import MassDisconnect, ShardLoss
from sim.scenario.breakdowns import (
    ClockSkew,
    KmsThrottle,
    LinkFault,
    Outage,
    Rollout,
    ZoneOutage,
)
from sim.scenario.disturbances import AmnesiaCrash, Crash, Partition
from sim.scenario.exposure import in_place, named, outage_places
from sim.scenario.model import Validators, Weights
from sim.scenario.occurrence import Known, lifetimes
from sim.scenario.quantities import DURATION
from sim.scenario.rulebook import Finding, hint, needs
from sim.scenario.selection import Ids, IdsEnd, InRegion, InZone, OfProvider, RegionEnd, ZoneEnd

MOST_OCCURRENCES = 10_000
"""Expected begins of one fault in a run; each is a row a validator, and an event or two."""
_WHOLE = 1_000_000


# -- who and where --------------------------------------------------------------------------------


@needs("faults", "validators")
def _groups_are_apart(faults: Any, validators: Validators) -> Iterator[Finding]:
    regions = homes(validators)
    for index, fault in enumerate(faults):
        if not isinstance(fault, Partition):
            continue
        if not fault.groups:
            yield ("faults", index, "groups"), "a partition needs at least one group"
        seen: dict[Any, None] = {}
        for rank, group in enumerate(fault.groups):
            names, members = _names(group), end_members(group, regions)
            twice = [name for name in names if name in seen]
            twice += [i for i in members if i in seen and i not in names][: not twice]
            for what in twice:
                yield ("faults", index, "groups", rank), f"`{what}` is in two groups"
            seen.update(dict.fromkeys([*names, *members]))


def homes(validators: Validators) -> list[str]:
    """Return the region of every identity: genesis validators first, then candidates."""
    found = validators.placement.each(validators.count)
    if validators.candidates is not None:
        placement = validators.candidates.placement
        found += placement.each(sum(placement.amounts or ()))
    return found


def _names(end: Any) -> tuple[Any, ...]:
    if isinstance(end, IdsEnd):
        return end.ids
    if isinstance(end, RegionEnd):
        return end.regions
    return end.zones if isinstance(end, ZoneEnd) else tuple(end.providers)


def _place(end: Any, name: str) -> InRegion | InZone | OfProvider:
    if isinstance(end, RegionEnd):
        return InRegion(region=name)
    return InZone(zone=name) if isinstance(end, ZoneEnd) else OfProvider(provider=name)


def end_members(end: Any, regions: list[str]) -> list[int]:
    """Return who is at an end of a link, of those that run in `regions`."""
    if isinstance(end, IdsEnd):
        return sorted(end.ids)
    return sorted(i for name in end_names(end) for i in in_place(_place(end, name), regions))


def end_names(end: Any) -> tuple[str, ...]:
    """Return the places that an end of a link names; none for identities."""
    return () if isinstance(end, IdsEnd) else _names(end)


def nobody_there(path: tuple[Any, ...], end: Any, regions: list[str]) -> Iterator[Finding]:
    """Yield what is wrong with the places of an end of a link: unknown, given twice, empty."""
    key = "regions"
    if isinstance(end, ZoneEnd):
        key = "zones"
    elif not isinstance(end, RegionEnd):
        key = "providers"
    names = end_names(end)
    if not names and not isinstance(end, IdsEnd):
        yield (*path, key), "names nobody"
    for rank, name in enumerate(names):
        yield from empty_place((*path, key, rank), _place(end, name), regions)


def empty_place(path: tuple[Any, ...], place: Any, regions: list[str]) -> Iterator[Finding]:
    """Yield that nobody runs in a place; a region that is not known is another rule's finding."""
    from sim.world.network.regions import known_regions, provider_of, zones_of

    if in_place(place, regions):
        return
    if isinstance(place, OfProvider):
        there = list(dict.fromkeys(provider_of(region) for region in regions))
        yield path, f"no validator runs at `{place.provider}`; providers: {', '.join(there)}"
    elif isinstance(place, InZone):
        region = place.zone.rpartition("/")[0]
        if region in regions and place.zone not in zones_of(region):
            yield path, f"`{region}` has {len(zones_of(region))} zone(s)"
        elif region in regions or region in known_regions():
            yield path, f"no validator runs in `{place.zone}`"
    elif place.region in known_regions():
        yield path, f"no validator runs in `{place.region}`"


@needs("faults", "validators")
def _outages_strike_somebody(faults: Any, validators: Validators) -> Iterator[Finding]:
    regions = homes(validators)
    for index, fault in enumerate(faults):
        if not isinstance(fault, Outage):
            continue
        places = outage_places(fault)
        key = outage_key(fault)
        if not places:
            yield ("faults", index, key), "names no place"
        for rank, place in enumerate(places):
            path = ("faults", index, key, rank)
            if place in places[:rank]:
                yield path, "is named twice"
            yield from empty_place(path, place, regions)


def outage_key(fault: Outage) -> str:
    """Return the key under which an outage names its places."""
    if isinstance(fault, ZoneOutage):
        return "zones"
    return "regions" if hasattr(fault, "regions") else "providers"


# -- when -----------------------------------------------------------------------------------------


@needs("faults", "duration")
def _faults_end(faults: Any, duration: int) -> Iterator[Finding]:
    for index, fault in enumerate(faults):
        path = ("faults", index)
        if isinstance(fault, Rollout | ShardLoss):
            continue
        if fault.every is not None and fault.lasting is None:
            yield path, "comes by rates and never goes: state `lasting`"
        drawn = fault.every is not None or fault.lasting is not None
        if getattr(fault, "strikes", "all") != "all" and not drawn:
            yield (*path, "strikes"), "is for faults by rates: state `every` and `lasting`"
        if fault.until_ns is None and not drawn and isinstance(fault, Partition):
            yield path, "never heals: state `until`, or `lasting`"
        if fault.until_ns is None and not drawn and isinstance(fault, MassDisconnect):
            yield path, "nobody comes back: state `until`, or `lasting`"
        if isinstance(fault, AmnesiaCrash) and not drawn:
            if fault.until_ns is None:
                yield path, "never restarts, so it has nothing to forget: state `until`"
            elif fault.until_ns >= duration:
                yield (
                    (*path, "until"),
                    "is not before the end of the run: a validator that never restarts has "
                    "nothing to forget",
                )


@needs("faults", "duration", "validators", "weights")
def _rates_are_bounded(
    faults: Any, duration: int, validators: Validators, weights: Weights
) -> Iterator[Finding]:
    for index, fault in enumerate(faults):
        path = ("faults", index)
        wrong = False
        for key in ("every", "lasting"):
            found = list(unknown_figure((*path, key), getattr(fault, key, None)))
            yield from found
            wrong = wrong or bool(found)
        if wrong or getattr(fault, "every", None) is None or fault.lasting is None:
            continue
        end_ns = duration if fault.until_ns is None else min(duration, fault.until_ns)
        cycle_ns = mean_ns(fault.every) + mean_ns(fault.lasting)
        times = _times_over(fault, validators, weights) * (end_ns - fault.at_ns) // max(1, cycle_ns)
        if times > MOST_OCCURRENCES:
            yield (
                (*path, "every"),
                f"begins about {times:,} times in the run; at most {MOST_OCCURRENCES:,}: "
                "lengthen `every`",
            )


def unknown_figure(path: tuple[Any, ...], drawn: Any) -> Iterator[Finding]:
    """Yield that a distribution from the literature is none that is committed."""
    from sim.world.faults.occurrence import figures

    if isinstance(drawn, Known) and drawn.figure not in figures():
        yield (*path, "figure"), f"`{drawn.figure}` is not known; {hint(drawn.figure, figures())}"


def mean_ns(drawn: Any) -> int:
    """Return the mean of a distribution that a scenario states."""
    made = lifetimes(drawn)
    return 0 if made is None else made.mean_ns


def _times_over(fault: Any, validators: Validators, weights: Weights) -> int:
    """Return how many processes of its own a fault has."""
    if getattr(fault, "strikes", "all") != "each":
        return 1
    if isinstance(fault, Outage):
        return len(outage_places(fault))
    return how_many(fault.nodes, validators, weights)


def how_many(selection: Any, validators: Validators, weights: Weights) -> int:
    """Return how many validators a selection chooses; at most, where chance decides."""
    members = named(selection, validators, weights)
    if members is not None:
        return len(members)
    if isinstance(selection, InRegion | InZone | OfProvider):
        return len(in_place(selection, homes(validators)[: validators.count]))
    for key in ("random", "by_stake", "by_weight"):
        if hasattr(selection, key):
            return int(getattr(selection, key))
    return len(selection.ids) if isinstance(selection, Ids) else validators.count


@needs("faults")
def _names_differ(faults: Any) -> Iterator[Finding]:
    names = [fault.name for fault in faults]
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            first = names.index(name)
            yield (
                ("faults", index, "name"),
                f"`{name}` is the name of fault {first} too: they would share their draws",
            )


@needs("faults", "validators", "weights", "duration")
def _crashes_do_not_overlap(
    faults: Any, validators: Validators, weights: Weights, duration: int
) -> Iterator[Finding]:
    """Refuse a crash of who is certain to have crashed; one would say it.

    Drawn ones may overlap, and count once; amnesia within a crash is a disk wiped meanwhile.
    """
    crashes = [
        (index, fault, named(fault.nodes, validators, weights) or [])
        for index, fault in enumerate(faults)
        if isinstance(fault, Crash | AmnesiaCrash) and fault.every is None and fault.lasting is None
    ]
    for (i, first, down), (j, second, more) in combinations(crashes, 2):
        common = [node for node in down if node in more]
        ends = [duration if f.until_ns is None else f.until_ns for f in (first, second)]
        if (
            first.kind == second.kind
            and common
            and first.at_ns < ends[1]
            and second.at_ns < ends[0]
        ):
            yield (
                ("faults", j, "at"),
                f"validator {common[0]} is down then already: fault {i} ({first.kind}) lasts from "
                f"{DURATION.format(first.at_ns)} to {DURATION.format(ends[0])}",
            )


# -- what -----------------------------------------------------------------------------------------


@needs("faults")
def _faults_do_something(faults: Any) -> Iterator[Finding]:
    for index, fault in enumerate(faults):
        path = ("faults", index)
        if isinstance(fault, LinkFault):
            yield from which_links(path, fault)
        elif isinstance(fault, ClockSkew):
            if fault.ahead_ns and fault.behind_ns:
                yield path, "is both `ahead` and `behind`: state one of them"
            elif not fault.ahead_ns and not fault.behind_ns and fault.rate_micro == _WHOLE:
                yield path, "leaves the clock right: state `ahead`, `behind` or `rate`"
        elif isinstance(fault, KmsThrottle):
            if fault.quota_nhz is None and not fault.delay_ns:
                yield path, "limits nothing: state `quota`, `delay` or both"
            elif fault.quota_nhz is None and (fault.burst > 1 or fault.per != "validator"):
                yield path, "has no `quota` that `burst` or `per` could be of"


def which_links(path: tuple[Any, ...], rule: Any) -> Iterator[Finding]:
    """Yield what is wrong with the ends of a link rule, or of a fault of links."""
    one_way = rule.source is not None or rule.target is not None
    if rule.between is not None and one_way:
        yield path, "has both `between` and `from` or `to`"
    elif rule.between is None and not one_way:
        yield path, "names no links: state `between`, `from` or `to`"
