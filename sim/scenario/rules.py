"""Rules between the fields of a scenario, in the domain's words: people, places, times.

Owns: what no single field can say (sums, orders, identities that exist, limits of the protocol).
Must not know: YAML, places in files. The other `rules_...` modules hold the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from sim.scenario.adversaries import Adversary
from sim.scenario.breakdowns import LinkFault, RegionOutage, ZoneOutage
from sim.scenario.disturbances import Partition
from sim.scenario.errors import Key
from sim.scenario.exposure import genesis_stakes
from sim.scenario.model import (
    Consensus,
    Gossip,
    Ledger,
    ListedStake,
    Network,
    Quorum,
    Tree,
    Validators,
    Weights,
)
from sim.scenario.quantities import DURATION, SHARE
from sim.scenario.recording import Record
from sim.scenario.rulebook import Finding, needs
from sim.scenario.rules_faults import empty_place, homes, nobody_there, which_links
from sim.scenario.selection import (
    SELECTORS,
    ByStake,
    ByWeight,
    Ids,
    IdsEnd,
    InRegion,
    InZone,
    OfProvider,
    Random,
    RegionEnd,
    ZoneEnd,
)

LEAST_VALIDATORS = 4
SELECTED = ("nodes", "hosts", "gateways")
"""Keys under which faults and adversaries select validators."""
_WHOLE = 1_000_000


def candidates(validators: Validators) -> int:
    """Return how many identities may join later."""
    if validators.candidates is None:
        return 0
    return sum(validators.candidates.placement.amounts or ())


@needs("validators")
def _enough_validators(validators: Validators) -> Iterator[Finding]:
    if validators.count < LEAST_VALIDATORS:
        yield (
            ("validators", "count"),
            f"{validators.count} validators tolerate no fault: Byzantine agreement needs "
            f"n >= 3f + 1, so at least {LEAST_VALIDATORS}",
        )
    amounts = validators.placement.amounts
    if amounts is not None and sum(amounts) != validators.count:
        yield (
            ("validators", "placement"),
            f"places {sum(amounts)} validators, `count` is {validators.count}",
        )


@needs("validators", "ledger")
def _stakes(validators: Validators, ledger: Ledger) -> Iterator[Finding]:
    rule = validators.stake
    if isinstance(rule, ListedStake) and len(rule.amounts) != validators.count:
        message = f"{len(rule.amounts)} amounts for {validators.count} validators"
        yield ("validators", "stake", "amounts"), message
        return
    able = sum(stake >= ledger.min_stake for stake in genesis_stakes(validators))
    if able < LEAST_VALIDATORS:
        yield (
            ("validators", "stake"),
            f"{able} validators hold the minimum stake of {ledger.min_stake}; "
            f"consensus needs at least {LEAST_VALIDATORS} members",
        )


@needs("validators", "ledger")
def _genesis_reputation(validators: Validators, ledger: Ledger) -> Iterator[Finding]:
    scores = ledger.reputation
    if not scores.floor_ppm <= scores.prior_ppm <= scores.ceiling_ppm:
        yield ("ledger", "reputation"), "needs floor <= prior <= ceiling"
    elif not scores.floor_ppm <= validators.initial_reputation_ppm <= scores.ceiling_ppm:
        yield (
            ("validators", "initial_reputation"),
            f"{SHARE.format(validators.initial_reputation_ppm)} lies outside the ledger's "
            f"floor and ceiling, {SHARE.format(scores.floor_ppm)} to "
            f"{SHARE.format(scores.ceiling_ppm)}",
        )


@needs("weights")
def _weights_add_up(weights: Weights) -> Iterator[Finding]:
    total = weights.stake_ppm + weights.reputation_ppm + weights.uptime_ppm
    if total != _WHOLE:
        message = f"stake, reputation and uptime add up to {SHARE.format(total)}, not 100 %"
        yield ("weights",), message


@needs("quorum")
def _thresholds_rise(quorum: Quorum) -> Iterator[Finding]:
    for key in ("byzantine", "timeouts_per_block", "missed"):
        low, high = getattr(quorum, f"{key}_ppm")
        if low > high:
            yield ("quorum", key), "the threshold of level 1 is above that of level 2"


@needs("consensus", "validators")
def _consensus_fits(consensus: Consensus, validators: Validators) -> Iterator[Finding]:
    if consensus.timer_max_ns < consensus.timer_base_ns:
        yield ("consensus", "timer_max"), "is below `timer_base`"
    if consensus.min_block_interval_ns >= consensus.timer_base_ns:
        yield (
            ("consensus", "min_block_interval"),
            f"{DURATION.format(consensus.min_block_interval_ns)} is not below `timer_base`, "
            f"{DURATION.format(consensus.timer_base_ns)}: every view would time out",
        )
    if consensus.epoch_blocks < consensus.late_vote_leaders + 3:
        yield (
            ("consensus", "epoch_blocks"),
            f"an epoch needs `late_vote_leaders` + 3 blocks, {consensus.late_vote_leaders + 3}, "
            "for its attendance to count",
        )
    way = consensus.dissemination
    if isinstance(way, Tree | Gossip) and way.fanout >= validators.count:
        yield (
            ("consensus", "dissemination", "fanout"),
            f"{way.fanout} is not below the number of validators, {validators.count}; "
            "use `{kind: star}`",
        )


# -- regions --------------------------------------------------------------------------------------


@needs("network", "validators", maybe=("agents", "faults", "adversaries"))
def _regions_exist(
    network: Network, validators: Validators, agents: Any, faults: Any, adversaries: Any
) -> Iterator[Finding]:
    from sim.world.network.regions import known_regions

    known = [*known_regions(), *network.regions]
    for name in network.regions:
        if name in known_regions() or "/" in name:
            yield ("network", "regions", Key(name)), "the name is taken, or holds a `/`"
    used = [*_placed("validators", validators.placement)]
    if validators.candidates is not None:
        used += _placed("validators", validators.candidates.placement, "candidates")
    if agents is not None:
        used += _placed("agents", agents.placement)
        used += _selected_regions(("agents", "gateways"), agents.gateways)
    used += _end_regions(network, faults, adversaries)
    used += _outage_regions(faults)
    for section, items in (("faults", faults), ("adversaries", adversaries)):
        for index, item in enumerate(items):
            for key in SELECTED:
                used += _selected_regions((section, index, key), getattr(item, key, None))
    for path, name in used:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            yield path, f"region `{name}` is not known{hint}"


def _placed(section: str, placement: Any, *inner: str) -> list[tuple[Any, str]]:
    path = (section, *inner, "placement")
    if placement.amounts is None:
        return [((*path, index), name) for index, name in enumerate(placement.regions)]
    return [((*path, Key(name)), name) for name in placement.regions]


def _selected_regions(path: tuple[Any, ...], selection: Any) -> list[tuple[Any, str]]:
    if isinstance(selection, InZone):
        return [((*path, "zone"), selection.zone.rpartition("/")[0])]
    return [((*path, "region"), selection.region)] if isinstance(selection, InRegion) else []


def _outage_regions(faults: Any) -> list[tuple[Any, str]]:
    found = []
    for index, fault in enumerate(faults):
        path = ("faults", index)
        if isinstance(fault, RegionOutage):
            found += [((*path, "regions", i), name) for i, name in enumerate(fault.regions)]
        elif isinstance(fault, ZoneOutage):
            zones = [name.rpartition("/")[0] for name in fault.zones]
            found += [((*path, "zones", i), name) for i, name in enumerate(zones)]
    return found


def _end_regions(network: Network, faults: Any, adversaries: Any) -> list[tuple[Any, str]]:
    found = []
    for path, end in _ends(network, faults, adversaries):
        if isinstance(end, RegionEnd):
            found += [((*path, "regions", i), name) for i, name in enumerate(end.regions)]
        elif isinstance(end, ZoneEnd):
            zones = [name.rpartition("/")[0] for name in end.zones]
            found += [((*path, "zones", i), name) for i, name in enumerate(zones)]
    return found


def _ends(network: Network, faults: Any, adversaries: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every end of a link rule, group of a partition, victim or side, with its path."""
    rules: list[tuple[tuple[Any, ...], Any]] = []
    rules += [(("network", "rules", i), rule) for i, rule in enumerate(network.rules)]
    rules += [(("faults", i), f) for i, f in enumerate(faults) if isinstance(f, LinkFault)]
    for path, rule in rules:
        for side, end in enumerate(rule.between or ()):
            yield (*path, "between", side), end
        if rule.source is not None:
            yield (*path, "from"), rule.source
        if rule.target is not None:
            yield (*path, "to"), rule.target
    for index, fault in enumerate(faults):
        if isinstance(fault, Partition):
            for rank, group in enumerate(fault.groups):
                yield ("faults", index, "groups", rank), group
    for index, adversary in enumerate(adversaries):
        if not isinstance(adversary, Adversary):
            continue
        for key in ("victims", "gateways", "validators", "protected"):
            if getattr(adversary, key, None) is not None:
                yield ("adversaries", index, key), getattr(adversary, key)
        for rank, side in enumerate(getattr(adversary, "sides", None) or ()):
            yield ("adversaries", index, "sides", rank), side


# -- identities -----------------------------------------------------------------------------------


@needs("network", "validators", maybe=("agents", "operations", "faults", "adversaries"))
def _identities_exist(
    network: Network,
    validators: Validators,
    agents: Any,
    operations: Any,
    faults: Any,
    attacks: Any,
) -> Iterator[Finding]:
    known = validators.count + candidates(validators)
    for index, operation in enumerate(operations):
        if operation.validator >= known:
            path = ("operations", index, "validator")
            yield path, _stranger(operation.validator, validators)
    selections: list[tuple[tuple[Any, ...], Any]] = []
    if agents is not None and agents.gateways is not None:
        selections.append((("agents", "gateways"), agents.gateways))
    for section, items in (("faults", faults), ("adversaries", attacks)):
        for index, item in enumerate(items):
            for key in SELECTED:
                chosen = getattr(item, key, None)
                if isinstance(chosen, tuple(SELECTORS.values())):
                    selections.append(((section, index, key), chosen))
    for path, selection in selections:
        yield from _selection(path, selection, validators)
    for path, end in _ends(network, faults, attacks):
        if isinstance(end, IdsEnd):
            yield from _listed((*path, "ids"), end.ids, validators)
        yield from nobody_there(path, end, homes(validators))


def _selection(path: tuple[Any, ...], selection: Any, validators: Validators) -> Iterator[Finding]:
    if isinstance(selection, Ids):
        yield from _listed((*path, "ids"), selection.ids, validators)
    for kind, key in ((Random, "random"), (ByStake, "by_stake"), (ByWeight, "by_weight")):
        if isinstance(selection, kind) and getattr(selection, key) > validators.count:
            message = f"{getattr(selection, key)} of {validators.count} validators"
            yield (*path, key), message
    places: tuple[tuple[type[Any], str], ...] = (
        (InRegion, "region"),
        (InZone, "zone"),
        (OfProvider, "provider"),
    )
    for place, key in places:
        if isinstance(selection, place):
            yield from empty_place((*path, key), selection, homes(validators)[: validators.count])


def _listed(
    path: tuple[Any, ...], ids: tuple[int, ...], validators: Validators
) -> Iterator[Finding]:
    if not ids:
        yield path, "names nobody"
    for index, identity in enumerate(ids):
        if identity >= validators.count + candidates(validators):
            yield (*path, index), _stranger(identity, validators)
        elif identity in ids[:index]:
            yield (*path, index), f"validator {identity} is named twice"


def _stranger(identity: int, validators: Validators) -> str:
    extra = candidates(validators)
    later = f" and {extra} candidates" if extra else ""
    last = validators.count + extra - 1
    return f"there is no validator {identity}: {validators.count} at genesis{later}, 0 to {last}"


# -- times ----------------------------------------------------------------------------------------


@needs("duration", "network", maybe=("operations", "faults", "adversaries"))
def _times(
    duration: int, network: Network, operations: Any, faults: Any, adversaries: Any
) -> Iterator[Finding]:
    for section, items, begin, end in (
        (("network", "rules"), network.rules, "start", "end"),
        (("faults",), faults, "at", "until"),
        (("adversaries",), adversaries, "start", "end"),
        (("operations",), operations, "at", ""),
    ):
        for index, item in enumerate(items):
            first = getattr(item, f"{begin}_ns")
            last = getattr(item, f"{end}_ns", None) if end else None
            if first >= duration:
                yield (
                    (*section, index, begin),
                    f"{DURATION.format(first)} is not before the end of the run, "
                    f"{DURATION.format(duration)}: it would never happen",
                )
            if last is not None and last <= first:
                message = f"`{end}` must be after `{begin}`, {DURATION.format(first)}"
                yield (*section, index, end), message


@needs("duration", "record")
def _window(duration: int, record: Record) -> Iterator[Finding]:
    window = record.window
    if window is None:
        return
    path = ("record", "window")
    if window.from_ns >= duration:
        message = f"is not before the end of the run, {DURATION.format(duration)}: it keeps nothing"
        yield (*path, "from"), message
    if window.to_ns < window.from_ns:
        yield (*path, "to"), f"is before `from`, {DURATION.format(window.from_ns)}"
    if record.detail == "messages" or record.detail == window.detail:
        yield (
            (*path, "detail"),
            f"keeps no more than the whole run at `detail: {record.detail}`: state less there, or "
            "leave the window out",
        )


@needs("network")
def _links(network: Network) -> Iterator[Finding]:
    for index, rule in enumerate(network.rules):
        yield from which_links(("network", "rules", index), rule)


@needs("operations", "validators")
def _operations(operations: Any, validators: Validators) -> Iterator[Finding]:
    for index, operation in enumerate(operations):
        if operation.kind == "unjail" and operation.amount:
            yield ("operations", index, "amount"), "`unjail` moves no stake"
        if operation.kind != "unjail" and not operation.amount:
            yield ("operations", index), f"`{operation.kind}` needs an `amount`"
        if operation.kind == "register" and operation.validator < validators.count:
            yield (
                ("operations", index, "validator"),
                f"validator {operation.validator} is registered at genesis; use `top_up`",
            )


@needs("crypto")
def _costs(crypto: Any) -> Iterator[Finding]:
    from sim.world.crypto.costs import load_costs

    try:
        load_costs(crypto.costs, crypto.suite)
    except (ValueError, OSError) as error:
        yield ("crypto", "costs"), str(error)
