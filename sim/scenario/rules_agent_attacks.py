"""Rules of attacks and faults on agents: whom there is to strike, what has a DHT, who contradicts.

Owns: what may be asked of them. Must not know: YAML, places in files, how they are carried out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from sim.scenario.agent_adversaries import (
    AgentAdversary,
    AgentSpam,
    Eclipse,
    LookupDrop,
    LookupMisroute,
    LyingHost,
    RegistrationFlood,
    TablePoisoning,
)
from sim.scenario.agent_faults import AgentFault, MassDisconnect, OverloadBurst, ShardLoss
from sim.scenario.agents import ClosedLoop
from sim.scenario.directory import AgentNodes, OneHop
from sim.scenario.quantities import SHARE
from sim.scenario.rulebook import Finding, needs
from sim.scenario.rules_adversaries import overlap
from sim.scenario.rules_directory import dht_nodes, gateways_and_regions
from sim.scenario.selection import (
    AgentIds,
    AgentShare,
    AtGateways,
    Ids,
    InRegion,
    NearKey,
    RandomAgents,
)

ON_NODES = (LookupDrop, LookupMisroute, Eclipse, TablePoisoning)
_WHOLE = 1_000_000


def _struck(adversaries: Any, faults: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield what strikes agents, with its path."""
    for section, items in (("adversaries", adversaries), ("faults", faults)):
        for index, item in enumerate(items):
            if isinstance(item, AgentAdversary | AgentFault):
                yield (section, index), item


@needs("agents", maybe=("adversaries", "faults"))
def _there_are_agents(agents: Any, adversaries: Any, faults: Any) -> Iterator[Finding]:
    for path, item in _struck(adversaries, faults):
        if agents is None:
            message = f"`{item.kind}` strikes agents, and there are none: state `agents`"
            yield (*path, "kind"), message


@needs("agents", "validators", maybe=("adversaries", "faults"))
def _somebody_is_chosen(
    agents: Any, validators: Any, adversaries: Any, faults: Any
) -> Iterator[Finding]:
    if agents is None:
        return
    for path, item in _struck(adversaries, faults):
        for key in ("agents", "target", "victims"):
            selection = getattr(item, key, None)
            if selection is not None:
                where = (*path, "to" if key == "target" else key)
                yield from _agents(where, selection, agents, validators)
        if isinstance(item, ON_NODES):
            yield from _nodes((*path, "nodes"), item.nodes, agents, validators)
        if isinstance(item, MassDisconnect) and item.region is not None:
            yield from _inhabited((*path, "region"), item.region, agents)
        for rank, region in enumerate(getattr(item, "regions", ())):
            yield from _inhabited((*path, "regions", rank), region, agents)


def _agents(
    path: tuple[Any, ...], selection: Any, agents: Any, validators: Any
) -> Iterator[Finding]:
    if isinstance(selection, AgentIds):
        if not selection.ids:
            yield (*path, "ids"), "names nobody"
        for rank, number in enumerate(selection.ids):
            if number >= agents.count:
                last = agents.count - 1
                message = f"there is no agent {number}: {agents.count:,} agents, 0 to {last}"
                yield (*path, "ids", rank), message
    elif isinstance(selection, InRegion):
        yield from _inhabited((*path, "region"), selection.region, agents)
    elif isinstance(selection, RandomAgents) and selection.random > agents.count:
        yield (*path, "random"), f"{selection.random:,} of {agents.count:,} agents"
    elif isinstance(selection, AtGateways):
        yield from _gateways(path, selection, agents, validators)
    elif isinstance(selection, AgentShare):
        yield from _share(path, selection, agents.count, "agents")


def _nodes(
    path: tuple[Any, ...], selection: Any, agents: Any, validators: Any
) -> Iterator[Finding]:
    routing = agents.directory.routing
    if isinstance(routing, OneHop):
        yield (
            path,
            "a `one_hop` directory asks hosts directly and has no nodes to own: state "
            "`agents.directory.routing` as `kademlia` or `hierarchical`",
        )
        return
    count = dht_nodes(agents, validators)
    if isinstance(selection, RandomAgents) and selection.random > count:
        yield (*path, "random"), f"{selection.random:,} of {count:,} nodes of the DHT"
    elif isinstance(selection, AgentShare):
        yield from _share(path, selection, count, "nodes of the DHT")
    elif isinstance(selection, AtGateways):
        yield from _gateways(path, selection, agents, validators)
    elif isinstance(selection, InRegion):
        if isinstance(routing.nodes, AgentNodes):
            yield from _inhabited((*path, "region"), selection.region, agents)
        elif selection.region not in validators.placement.each(validators.count):
            yield (*path, "region"), f"no node of the DHT lies in `{selection.region}`"
    elif isinstance(selection, NearKey):
        if selection.near >= agents.count:
            message = f"there is no agent {selection.near}: {agents.count:,} agents"
            yield (*path, "near"), message
        if selection.nodes >= count:
            yield (*path, "nodes"), f"{selection.nodes:,} of {count:,} nodes leave nobody honest"


def _share(path: tuple[Any, ...], selection: Any, count: int, what: str) -> Iterator[Finding]:
    if count * selection.share_ppm < _WHOLE:
        share = SHARE.format(selection.share_ppm)
        yield (*path, "share"), f"{share} of {count:,} {what} is nobody: state `random: 1` or more"


def _inhabited(path: tuple[Any, ...], region: str, agents: Any) -> Iterator[Finding]:
    placement = agents.placement
    amounts = placement.amounts or (1,) * len(placement.regions)
    homes = [name for name, amount in zip(placement.regions, amounts, strict=True) if amount]
    if region not in homes:
        yield path, f"no agent lives in `{region}`: they live in {', '.join(homes)}"


def _gateways(
    path: tuple[Any, ...], selection: Any, agents: Any, validators: Any
) -> Iterator[Finding]:
    chosen = agents.gateways
    known = chosen.ids if isinstance(chosen, Ids) else tuple(range(validators.count))
    if not selection.gateways:
        yield (*path, "gateways"), "names nobody"
    for rank, gateway in enumerate(selection.gateways):
        if gateway not in known:
            yield (*path, "gateways", rank), f"validator {gateway} is no gateway of agents"


# -- what each of them needs ----------------------------------------------------------------------


@needs("agents", "validators", maybe=("adversaries",))
def _attacks_have_an_aim(agents: Any, validators: Any, adversaries: Any) -> Iterator[Finding]:
    if agents is None:
        return
    directory = agents.directory
    versions = directory.replicas > 1 or directory.re_home
    for index, attack in enumerate(adversaries):
        path = ("adversaries", index)
        if isinstance(attack, AgentSpam) and attack.what == "transactions" and attack.target:
            yield (*path, "to"), "transactions have no receiver: leave it out, or send `messages`"
        elif isinstance(attack, RegistrationFlood) and attack.shard is not None:
            yield from _shards((*path, "shard"), (attack.shard,), agents, validators)
        elif isinstance(attack, LyingHost) and attack.lie == "stale" and not versions:
            yield (
                (*path, "lie"),
                "records have no older version that a host could show: state "
                "`agents.directory.replicas` of 2 or more, or lie with `deny`",
            )


def _shards(
    path: tuple[Any, ...], shards: tuple[int, ...], agents: Any, validators: Any
) -> Iterator[Finding]:
    if not isinstance(agents.directory.routing, OneHop):
        yield (
            path,
            f"a `{agents.directory.routing.kind}` directory has no shards: leave it out, or use "
            "`one_hop`",
        )
        return
    gateways, _ = gateways_and_regions(agents, validators)
    count = min(agents.directory.shards or gateways, gateways)
    for shard in shards:
        if shard >= count:
            yield path, f"there is no shard {shard}: {count} shards, 0 to {count - 1}"


@needs("agents", "validators", maybe=("faults",))
def _faults_have_an_aim(agents: Any, validators: Any, faults: Any) -> Iterator[Finding]:
    if agents is None:
        return
    for index, fault in enumerate(faults):
        path = ("faults", index)
        if isinstance(fault, OverloadBurst):
            yield from _bursts(path, fault, agents.workload)
        elif isinstance(fault, ShardLoss):
            if fault.hosts is None and fault.shards is None:
                yield path, "loses everything everywhere: state `hosts` or `shards`"
            if fault.shards == ():
                yield (*path, "shards"), "names none"
            yield from _shards(
                (*path, "kind" if fault.shards is None else "shards"),
                fault.shards or (0,),
                agents,
                validators,
            )


def _bursts(path: tuple[Any, ...], fault: OverloadBurst, load: Any) -> Iterator[Finding]:
    flows = {
        "messages": load.messages,
        "transactions": load.transactions,
        "lookups_by_id": load.lookups.by_id,
        "lookups_by_capability": load.lookups.by_capability,
        "registrations": load.registrations,
        "renewals": load.renewals,
    }
    for rank, kind in enumerate(fault.kinds):
        where = (*path, "kinds", rank)
        if flows[kind] is None:
            yield where, f"the agents' workload has no `{kind}` to multiply"
        elif isinstance(flows[kind].arrivals, ClosedLoop):
            yield (
                where,
                "agents in a closed loop wait for their commits, so their rate is no setting: use "
                "open arrivals (`poisson`)",
            )


# -- minds that contradict each other -------------------------------------------------------------


@needs("adversaries", "agents")
def _one_mind_a_table(adversaries: Any, agents: Any) -> Iterator[Finding]:
    """Refuse two minds on one node, one table or one host of the directory at one time."""
    attacks: list[tuple[int, Any]] = [
        (i, a) for i, a in enumerate(adversaries) if isinstance(a, AgentAdversary)
    ]
    for (i, first), (j, second) in combinations(attacks, 2):
        if not overlap(first, second):
            continue
        what = _contradiction(first, second)
        if what is not None:
            key = "hosts" if isinstance(second, LyingHost) else "nodes"
            yield (
                ("adversaries", j, key),
                f"{what} in two minds: adversaries {i} ({first.kind}) and {j} ({second.kind}); "
                "give them other ones or other times",
            )


def _contradiction(first: Any, second: Any) -> str | None:
    if isinstance(first, TablePoisoning) and isinstance(second, TablePoisoning):
        return "the tables of the DHT are"
    if isinstance(first, ON_NODES) and isinstance(second, ON_NODES):
        apart = _word(first) == _word(second) or _disjoint(first.nodes, second.nodes)
        return None if apart else "a node of the DHT may be"
    if isinstance(first, LyingHost) and isinstance(second, LyingHost):
        apart = first.lie == second.lie or _disjoint(first.hosts, second.hosts)
        return None if apart else "a host of the registry may be"
    return None


def _word(attack: Any) -> str:
    """Return what owned nodes do with a question."""
    fixed = {LookupDrop: "drop", LookupMisroute: "misroute"}
    return fixed.get(type(attack)) or str(attack.then)


def _disjoint(first: Any, second: Any) -> bool:
    """Say whether two selections certainly share nobody."""
    for kind, key in ((AtGateways, "gateways"), (Ids, "ids")):
        if isinstance(first, kind) and isinstance(second, kind):
            theirs = getattr(second, key)
            return not any(member in theirs for member in getattr(first, key))
    both = isinstance(first, InRegion) and isinstance(second, InRegion)
    return both and first.region != second.region
