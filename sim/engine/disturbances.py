"""Resolve a scenario's faults and link rules: who, when, and the object that does it."""

from __future__ import annotations

from collections.abc import Iterator

from sim.engine.faults import Entry
from sim.engine.genesis import Census
from sim.scenario import disturbances as asked
from sim.scenario.adversaries import Twins
from sim.scenario.model import Scenario
from sim.world.adversary.twins import Sides, halves
from sim.world.faults import Fault
from sim.world.faults.crash import Crash
from sim.world.faults.partition import Partition
from sim.world.faults.slow_node import SlowNode
from sim.world.faults.throttle import Throttle
from sim.world.network.links import EVERYONE, Group, LinkRule

FOREVER = 1 << 62


def ends(end: asked.End, census: Census) -> tuple[int, ...]:
    """Return the identities at one end of a link rule or in one group of a partition."""
    if isinstance(end, asked.RegionEnd):
        return census.in_regions(end.regions)
    return tuple(sorted(end.ids))


def link_rules(scenario: Scenario, census: Census) -> tuple[LinkRule, ...]:
    """Return the scenario's link rules, then those of its partitions; the first match decides."""
    rules = [_link_rule(rule, census) for rule in scenario.network.rules]
    for index, fault in enumerate(scenario.faults):
        if isinstance(fault, asked.Partition):
            made = _fault(fault, census, index)
            assert isinstance(made, Partition)
            rules.extend(made.rules(fault.at_ns, fault.until_ns, fault.flap_ns))
    for index, adversary in enumerate(scenario.adversaries):
        if isinstance(adversary, Twins) and adversary.cut:
            rules.extend(_cuts(adversary, census, index, scenario.duration_ns))
    return tuple(rules)


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


def _cuts(adversary: Twins, census: Census, index: int, duration_ns: int) -> Iterator[LinkRule]:
    """Yield the rules that part the two sides, turn after turn."""
    members = census.select(adversary.nodes, attack_key(index))
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


def timetable(scenario: Scenario, census: Census) -> list[Entry]:
    """Return the faults of a scenario with the validators they strike."""
    entries = []
    for index, fault in enumerate(scenario.faults):
        flap = fault.flap_ns if isinstance(fault, asked.Partition) else None
        made = _fault(fault, census, index)
        entries.append(Entry(index, made, fault.at_ns, fault.until_ns, flap))
    return entries


def _fault(fault: asked.Fault, census: Census, index: int) -> Fault:
    if isinstance(fault, asked.Partition):
        return Partition(tuple(ends(group, census) for group in fault.groups), fault.one_way)
    nodes = census.select(fault.nodes, f"fault/{index}")
    if isinstance(fault, asked.SlowNode):
        return SlowNode(nodes, fault.factor_micro)
    if isinstance(fault, asked.Throttle):
        return Throttle(nodes, fault.bandwidth_left_ppm)
    return Crash(nodes, amnesia=isinstance(fault, asked.AmnesiaCrash))
