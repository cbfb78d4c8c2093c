"""What a capacity search turns: load, agents, validators, bandwidth; and what relieves a station.

Owns: how a scenario is made larger or smaller in one respect, and what becomes of its expectations
then. Must not know: how trials are run or searched.

Traffic that must at least get through grows with the traffic that is offered: at k times the load
`messages_delivered at_least 10,000` asks for k times as many. Otherwise more load would meet it
all the easier, and no amount of it would show a limit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from sim.scenario.agents import ClosedLoop, Workload
from sim.scenario.checks import Check, CountCheck, Level
from sim.scenario.model import Scenario
from sim.scenario.quantities import BANDWIDTH, DURATION
from sim.scenario.resolved import to_plain
from sim.scenario.validate import validate

Resource: TypeAlias = Literal["load", "agents", "validators", "bandwidth"]
RESOURCES: tuple[Resource, ...] = get_args(Resource)
WHOLE = 1_000
"""The scenario's own load: amounts of `load` are thousandths of it."""

TRAFFIC = (
    "messages_offered",
    "messages_delivered",
    "messages_stored",
    "transactions_committed",
    "lookups",
)
"""Counts in proportion to the load, and to the time simulated."""
PACED = ("blocks_committed", "epochs", "consensus_messages")
"""Counts in proportion to the time simulated."""


class Unworkable(ValueError):
    """A scenario that cannot be turned that way, in the domain's words."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a trial is held to. `set_aside`: what its time is too short to show, in words."""

    checks: tuple[Check, ...]
    set_aside: tuple[str, ...] = ()


def own_amount(scenario: Scenario, of: Resource) -> int:
    """Return how much of a resource the scenario states; Unworkable where it has none."""
    if of in ("load", "agents") and scenario.agents is None:
        raise Unworkable(f"capacity of {of} needs agents, and the scenario has none")
    if of == "load":
        return WHOLE
    if of == "agents":
        assert scenario.agents is not None
        return scenario.agents.count
    if of == "validators":
        return scenario.validators.count
    return scenario.network.bandwidth_bits_per_s


def grows(of: Resource) -> bool:
    """Whether the most that holds is searched (load, agents), or the least (what carries it)."""
    return of in ("load", "agents")


def amount_text(of: Resource, amount: int) -> str:
    """Write an amount for people: `1.5x`, `1,000,000 agents`, `7 validators`, `5 Gbit/s`."""
    if of == "load":
        return f"{amount / WHOLE:.3g}x"
    if of == "bandwidth":
        return BANDWIDTH.approximate(amount, 4)
    return f"{amount:,} {of}"


def trial_scenario(
    scenario: Scenario, of: Resource, amount: int, *, duration_ns: int, replicates: int
) -> Scenario:
    """Return the scenario with so much of a resource, for so long. Raises Unworkable."""
    ratio = amount / own_amount(scenario, of) if grows(of) else 1.0
    held_to = expectations(scenario, ratio, duration_ns)
    made = replace(
        turned(scenario, of, amount),
        name=f"{of}-{amount}",
        duration_ns=duration_ns,
        replicates=replicates,
        expect=held_to.checks,
    )
    return checked(made, amount_text(of, amount))


def checked(scenario: Scenario, what: str) -> Scenario:
    """Return the scenario; Unworkable, with all that is wrong, where it is not valid."""
    _, findings = validate(to_plain(scenario))
    if findings:
        words = "; ".join(f"{'.'.join(str(s) for s in path)}: {why}" for path, why in findings)
        raise Unworkable(f"at {what} the scenario is not valid: {words}")
    return scenario


def turned(scenario: Scenario, of: Resource, amount: int) -> Scenario:
    """Return the scenario with so much of a resource, all else as it is; not checked yet."""
    if of == "bandwidth":
        return replace(scenario, network=replace(scenario.network, bandwidth_bits_per_s=amount))
    if of == "validators":
        placement = scenario.validators.placement
        if placement.amounts is not None:
            placement = replace(placement, amounts=placement.counts(amount))
        validators = replace(scenario.validators, count=amount, placement=placement)
        return replace(scenario, validators=validators)
    assert scenario.agents is not None
    if of == "agents":
        return replace(scenario, agents=replace(scenario.agents, count=amount))
    workload = _loaded(scenario.agents.workload, amount)
    return replace(scenario, agents=replace(scenario.agents, workload=workload))


def _loaded(workload: Workload, permille: int) -> Workload:
    loaded: Workload = _scaled(workload, permille)
    return loaded


def _scaled(value: Any, permille: int) -> Any:
    """Return a part of the workload with all its rates times permille / 1,000, rounded."""
    if isinstance(value, ClosedLoop):
        # Who waits for its last commit sends more by thinking less.
        return replace(value, think_ns=max(1, value.think_ns * WHOLE // permille))
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {}
    for item in dataclasses.fields(value):
        old = getattr(value, item.name)
        rate = item.name.endswith("_nhz")
        changed[item.name] = round(old * permille / WHOLE) if rate else _scaled(old, permille)
    return replace(value, **changed)


def expectations(scenario: Scenario, ratio: float, duration_ns: int) -> Expectations:
    """Return what a trial of `ratio` times the traffic, over this time, is held to."""
    time_ratio = duration_ns / scenario.duration_ns
    shorter = duration_ns < scenario.duration_ns
    kept: list[Check] = []
    aside: list[str] = []
    for check in scenario.expect:
        if isinstance(check, CountCheck) and check.at_least is not None:
            factor = None
            if check.metric in TRAFFIC:
                factor = ratio * time_ratio
            elif check.metric in PACED:
                factor = time_ratio
            if factor is not None:
                check = replace(check, at_least=int(check.at_least * factor))
            elif shorter:
                aside.append(f"{check.metric} at least {check.at_least:,}")
                continue
        elif isinstance(check, Level) and shorter:
            aside.append("the course of the quorum level")
            continue
        kept.append(check)
    if not kept:
        raise Unworkable(
            f"nothing that is expected can be judged in {DURATION.format(duration_ns)}"
        )
    return Expectations(tuple(kept), tuple(aside))


@dataclass(frozen=True, slots=True)
class Relief:
    """A scenario with the resource of a class of stations doubled: which setting, from what to."""

    setting: str
    before: str
    after: str
    scenario: Scenario


def relief(scenario: Scenario, station: str, lane: str) -> Relief | None:
    """Double what a class of stations has; None where no setting of the scenario is that."""
    if station in ("uplink", "downlink", "relay_uplink", "relay_downlink"):
        bits = scenario.network.bandwidth_bits_per_s
        network = replace(scenario.network, bandwidth_bits_per_s=2 * bits)
        text = BANDWIDTH.format
        wider = replace(scenario, network=network)
        return Relief("network.bandwidth", text(bits), text(2 * bits), wider)
    if station == "cpu":
        count = getattr(scenario.validators.workers, lane)
        workers = replace(scenario.validators.workers, **{lane: 2 * count})
        validators = replace(scenario.validators, workers=workers)
        more = replace(scenario, validators=validators)
        return Relief(f"validators.workers.{lane}", str(count), str(2 * count), more)
    if station == "block":
        name = {"transactions": "max_block_transactions", "batches": "max_block_refs"}[lane]
        count = getattr(scenario.consensus, name)
        consensus = replace(scenario.consensus, **{name: 2 * count})
        larger = replace(scenario, consensus=consensus)
        return Relief(f"consensus.{name}", f"{count:,}", f"{2 * count:,}", larger)
    if scenario.agents is None or station not in ("ingress", "egress", "shard", "relay"):
        return None
    part = {"shard": "directory", "relay": "next_hop"}.get(station, station)
    held = getattr(scenario.agents, part)
    doubled = replace(held, servers=2 * held.servers)
    agents = replace(scenario.agents, **{part: doubled})
    setting = f"agents.{part}.servers"
    return Relief(
        setting, str(held.servers), str(2 * held.servers), replace(scenario, agents=agents)
    )
