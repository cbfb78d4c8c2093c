"""Resolve a scenario's faults and link rules: who, when, and the object that does it.

Owns the register of faults: what makes each of them from its settings. Must not know what a fault
does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from sim.engine.agent_faults import agent_fault
from sim.engine.clouds import firewall_rules
from sim.engine.faults import Entry
from sim.engine.genesis import Census
from sim.scenario import breakdowns as more
from sim.scenario import disturbances as asked
from sim.scenario import occurrence as when
from sim.scenario.adversaries import Twins
from sim.scenario.agent_faults import AgentFault, ShardLoss
from sim.scenario.model import Scenario
from sim.scenario.selection import ENDS, End, ProviderEnd, RegionEnd, RunningVersion, ZoneEnd
from sim.world.adversary.twins import Sides, halves
from sim.world.faults import Fault, Quota, Span
from sim.world.faults.amnesia_crash import AmnesiaCrash
from sim.world.faults.clock_skew import ClockSkew
from sim.world.faults.crash import Crash
from sim.world.faults.failing_disk import FailingDisk
from sim.world.faults.full_disk import FullDisk
from sim.world.faults.kms_outage import KmsOutage
from sim.world.faults.kms_throttle import KmsThrottle
from sim.world.faults.link_corruption import LinkCorruption
from sim.world.faults.link_delay import LinkDelay
from sim.world.faults.link_duplication import LinkDuplication
from sim.world.faults.link_loss import LinkLoss
from sim.world.faults.link_reordering import LinkReordering
from sim.world.faults.links import Ends
from sim.world.faults.occurrence import occurrences
from sim.world.faults.partition import Partition
from sim.world.faults.provider_outage import ProviderOutage
from sim.world.faults.region_outage import RegionOutage
from sim.world.faults.slow_disk import SlowDisk
from sim.world.faults.slow_node import SlowNode
from sim.world.faults.throttle import Throttle
from sim.world.faults.zone_outage import ZoneOutage
from sim.world.network.links import EVERYONE, Group, LinkRule

_WHOLE = 1_000_000
FOREVER = 1 << 62


def ends(end: End, census: Census) -> tuple[int, ...]:
    """Return the identities at one end of a link rule or in one group of a partition."""
    if isinstance(end, RegionEnd):
        return census.in_regions(end.regions)
    if isinstance(end, ZoneEnd):
        return census.in_zones(end.zones)
    if isinstance(end, ProviderEnd):
        return census.at_providers(end.providers)
    return tuple(sorted(end.ids))


def link_rules(
    scenario: Scenario, census: Census, entries: Iterable[Entry]
) -> tuple[LinkRule, ...]:
    """Return the links that clouds close, the scenario's link rules, then those of its faults.

    The first match decides.
    """
    rules = list(firewall_rules(scenario.clouds, census.regions))
    rules += [_link_rule(rule, census) for rule in scenario.network.rules]
    for entry in entries:
        rules.extend(entry.fault.rules(entry.spans, entry.flap_ns))
    for index, adversary in enumerate(scenario.adversaries):
        if isinstance(adversary, Twins) and adversary.cut:
            members = members_of(scenario, census, index)
            rules.extend(_cuts(adversary, members, census, index, scenario.duration_ns))
    return tuple(rules)


def fault_key(scenario: Scenario, index: int) -> str:
    """Name the draws of the fault at `index`."""
    name = scenario.faults[index].name
    return f"fault/{index if name is None else name}"


def version_of(scenario: Scenario, selection: Any) -> int | None:
    """Return the place of the rollout whose version an adversary owns; None: it owns none."""
    if not isinstance(selection, RunningVersion):
        return None
    return [fault.name for fault in scenario.faults].index(selection.rollout)


def members_of(scenario: Scenario, census: Census, index: int) -> tuple[int, ...]:
    """Return the validators that the adversary at `index` owns, or will while they run a version.

    Those of a version are ascending, and all that its rollout means to reach.
    """
    adversary: Any = scenario.adversaries[index]
    place = version_of(scenario, adversary.nodes)
    if place is None:
        return census.select(adversary.nodes, attack_key(index))
    rollout: Any = scenario.faults[place]
    return census.select(rollout.nodes, fault_key(scenario, place))


def attack_key(index: int) -> str:
    """Name the draws of the adversary at `index`."""
    return f"adversary/{index}"


def twin_sides(adversary: Twins, members: tuple[int, ...], census: Census) -> Sides | None:
    """Return who stands on which side of the twins `members`; None where that is drawn."""
    if adversary.sides is None:
        return None
    first, second = (ends(side, census) for side in adversary.sides)
    return (
        tuple(i for i in first if i not in members),
        tuple(i for i in second if i not in members),
    )


def _cuts(
    adversary: Twins, members: tuple[int, ...], census: Census, index: int, duration_ns: int
) -> Iterator[LinkRule]:
    """Yield the rules that part the two sides, turn after turn."""
    fixed, key = twin_sides(adversary, members, census), census.key(attack_key(index))
    others = [i for i in range(len(census.regions)) if i not in members]
    at_ns = adversary.start_ns
    end_ns = duration_ns + 1 if adversary.end_ns is None else adversary.end_ns
    while at_ns < end_ns:
        turn, until_ns = 0, end_ns
        if adversary.turn_ns is not None:
            turn = at_ns // adversary.turn_ns
            until_ns = min(end_ns, (turn + 1) * adversary.turn_ns)
        first, second = fixed or halves(others, key, turn)
        if not first or not second:
            return
        sides = Group(nodes=first), Group(nodes=second)
        yield LinkRule(
            "drop",
            *sides,
            both_ways=True,
            start_ns=at_ns,
            end_ns=until_ns,
            probability_ppb=10**9,
            delay_ns=0,
        )
        at_ns = until_ns


def _link_rule(rule: asked.Rule, census: Census) -> LinkRule:
    ends_of = rule.between or (rule.source, rule.target)
    sides = [EVERYONE if end is None else Group(nodes=ends(end, census)) for end in ends_of]
    return LinkRule(
        rule.kind,
        sides[0],
        sides[1],
        both_ways=rule.between is not None,
        start_ns=rule.start_ns,
        end_ns=FOREVER if rule.end_ns is None else rule.end_ns,
        probability_ppb=rule.probability_ppb,
        delay_ns=rule.amount_ns if isinstance(rule, asked.DelayRule) else 0,
    )


class Strike(NamedTuple):
    """What a fault is made of besides its settings."""

    nodes: tuple[int, ...]
    place: str
    census: Census


MAKERS: dict[type[Any], Callable[[Any, Strike], Fault]] = {
    asked.Crash: lambda f, s: Crash(s.nodes),
    asked.AmnesiaCrash: lambda f, s: AmnesiaCrash(s.nodes),
    asked.SlowNode: lambda f, s: SlowNode(s.nodes, f.factor_micro),
    asked.Throttle: lambda f, s: Throttle(s.nodes, f.bandwidth_left_ppm),
    asked.Partition: lambda f, s: Partition(
        tuple(ends(group, s.census) for group in f.groups), f.one_way
    ),
    more.LinkLoss: lambda f, s: LinkLoss(_links(f, s.census), f.probability_ppb),
    more.LinkDelay: lambda f, s: LinkDelay(_links(f, s.census), f.probability_ppb, f.amount_ns),
    more.LinkDuplication: lambda f, s: LinkDuplication(_links(f, s.census), f.probability_ppb),
    more.LinkReordering: lambda f, s: LinkReordering(
        _links(f, s.census), f.probability_ppb, f.within_ns
    ),
    more.LinkCorruption: lambda f, s: LinkCorruption(_links(f, s.census), f.probability_ppb),
    more.ZoneOutage: lambda f, s: ZoneOutage(s.nodes, s.place, f.cut_off),
    more.RegionOutage: lambda f, s: RegionOutage(s.nodes, s.place, f.cut_off),
    more.ProviderOutage: lambda f, s: ProviderOutage(s.nodes, s.place, f.cut_off),
    more.ClockSkew: lambda f, s: ClockSkew(
        s.nodes, f.ahead_ns - f.behind_ns, f.rate_micro - _WHOLE
    ),
    more.SlowDisk: lambda f, s: SlowDisk(s.nodes, f.write_ns),
    more.FailingDisk: lambda f, s: FailingDisk(s.nodes, f.share_ppm),
    more.FullDisk: lambda f, s: FullDisk(s.nodes),
    more.KmsOutage: lambda f, s: KmsOutage(s.nodes),
    more.KmsThrottle: lambda f, s: KmsThrottle(
        _accounts(f, s),
        None if f.quota_nhz is None else Quota(f.quota_nhz, f.burst),
        f.delay_ns,
    ),
}
"""By the settings' type: the fault on those that it strikes at one time."""


def timetable(scenario: Scenario, census: Census) -> list[Entry]:
    """Return the faults of a scenario with the validators they strike, and when.

    Rollouts are left out: what becomes of one may depend on the run (`sim.engine.rollouts`).
    """
    entries: list[Entry] = []
    for index, fault in enumerate(scenario.faults):
        key = fault_key(scenario, index)
        if isinstance(fault, AgentFault):
            spans: tuple[Span, ...] = (Span(fault.at_ns, None),)
            if not isinstance(fault, ShardLoss):
                spans = _spans(fault, f"{key}/times", census, scenario.duration_ns)
            for span in spans:
                made = agent_fault(scenario, fault, census, (index, key), span)
                entries.append(Entry(index, made, (span,)))
            continue
        if isinstance(fault, more.Rollout):
            continue
        flap = fault.flap_ns if isinstance(fault, asked.Partition) else None
        make = MAKERS[type(fault)]
        for strike, spans in _strikes(fault, key, census, scenario.duration_ns):
            if spans:
                entries.append(Entry(index, make(fault, strike), spans, flap))
    return entries


def _strikes(
    fault: Any, key: str, census: Census, duration_ns: int
) -> Iterator[tuple[Strike, tuple[Span, ...]]]:
    """Yield whom a fault strikes, and when: together, each at its own times, or one each time."""
    everybody = list(_parties(fault, key, census))
    how = getattr(fault, "strikes", "all")

    def spans(name: str) -> tuple[Span, ...]:
        return _spans(fault, f"{key}/{name}", census, duration_ns)

    if how == "each":
        for strike in everybody:
            yield strike, spans(f"times/{strike.place or strike.nodes[0]}")
    elif how == "one":
        stream = census.stream(f"{key}/whom")
        for span in spans("times"):
            yield everybody[int(stream.integers(len(everybody)))], (span,)
    elif isinstance(fault, more.Outage):
        together = spans("times")
        for strike in everybody:
            yield strike, together
    else:
        nodes = tuple(node for strike in everybody for node in strike.nodes)
        yield Strike(nodes, "", census), spans("times")


def _spans(fault: when.Timed, name: str, census: Census, duration_ns: int) -> tuple[Span, ...]:
    """Return when a fault is on; `name`: of its draws."""
    every, lasting = when.lifetimes(fault.every), when.lifetimes(fault.lasting)
    stream = census.stream(name)
    return tuple(occurrences(fault.at_ns, fault.until_ns, every, lasting, stream, duration_ns))


def _parties(fault: Any, key: str, census: Census) -> Iterator[Strike]:
    """Yield the places, or the validators one by one, that a fault may strike."""
    if isinstance(fault, more.RegionOutage):
        yield from (Strike(census.in_regions((p,)), p, census) for p in fault.regions)
    elif isinstance(fault, more.ZoneOutage):
        yield from (Strike(census.in_zones((p,)), p, census) for p in fault.zones)
    elif isinstance(fault, more.ProviderOutage):
        yield from (Strike(census.at_providers((p,)), p, census) for p in fault.providers)
    elif hasattr(fault, "nodes"):
        yield from (Strike((node,), "", census) for node in census.select(fault.nodes, key))


def _links(fault: more.LinkFault, census: Census) -> Ends:
    ends_of = fault.between or (fault.source, fault.target)
    sides = [EVERYONE if end is None else Group(nodes=ends(end, census)) for end in ends_of]
    both = fault.between is not None
    names = [_end_text(end) for end in ends_of]
    return Ends(sides[0], sides[1], both, f"{names[0]} {'-' if both else '>'} {names[1]}")


def _end_text(end: End | None) -> str:
    if end is None:
        return "all"
    names = next(getattr(end, key) for key, kind in ENDS.items() if isinstance(end, kind))
    return ",".join(str(name) for name in names)


def _accounts(fault: more.KmsThrottle, strike: Strike) -> tuple[tuple[int, ...], ...]:
    """Return who shares a quota with whom."""
    if fault.per == "validator":
        return tuple((node,) for node in strike.nodes)
    regions: dict[str, list[int]] = {}
    for node in strike.nodes:
        regions.setdefault(strike.census.regions[node], []).append(node)
    return tuple(tuple(nodes) for nodes in regions.values())
