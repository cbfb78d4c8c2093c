"""Rules of `agents.directory`: copies that fit the regions, ids that suffice, nothing ignored.

Owns: what no single field of the directory can say. Must not know: YAML, places in files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.scenario.directory import AgentNodes, Directory, OneHop, RouterNodes
from sim.scenario.rulebook import Finding, needs
from sim.scenario.selection import ByStake, ByWeight, Ids, InRegion, Random

DEFAULT_ALPHA = 3
"""Questions in flight (Maymounkov and Mazieres, "Kademlia", 2002, section 2.3)."""
COLLISIONS_PER_RUN = 2_000
"""2^id_bits >= n^2 x 1,000 keeps the chance that two of n ids are equal below 1 / 2,000."""
_WHERE = ("agents", "directory")


def gateways_and_regions(agents: Any, validators: Any) -> tuple[int, int]:
    """Return how many gateways there are, and the most regions that they can lie in."""
    places = validators.placement.each(validators.count)
    chosen = agents.gateways
    if isinstance(chosen, Ids):
        own = [places[i] for i in chosen.ids if i < len(places)]
    elif isinstance(chosen, InRegion):
        own = [place for place in places if place == chosen.region]
    else:
        own = places
    regions = len(dict.fromkeys(own))
    for kind, field in ((Random, "random"), (ByStake, "by_stake"), (ByWeight, "by_weight")):
        if isinstance(chosen, kind):
            count = int(getattr(chosen, field))
            return min(count, len(own)), min(count, regions)
    return len(own), regions


@needs("agents", "validators")
def _replicas(agents: Any, validators: Any) -> Iterator[Finding]:
    if agents is None:
        return
    directory: Directory = agents.directory
    _, regions = gateways_and_regions(agents, validators)
    if directory.replicas > regions:
        yield (
            (*_WHERE, "replicas"),
            f"{directory.replicas} replicas, but gateways are in {regions} "
            f"region{'s' if regions != 1 else ''} and no two copies share one: ask for at most "
            f"{regions}, or place gateways in more regions",
        )
    if directory.replicas == 1:
        single = (
            ("reads", directory.reads == "quorum", "a quorum of one replica is that replica"),
            ("writes", directory.writes == "quorum", "a quorum of one replica is that replica"),
            ("replication_lag", directory.replication_lag_ns > 0, "there is no copy to send"),
            (
                "record_size",
                directory.record_size_bytes is not None,
                "no record moves to another host",
            ),
        )
        for name, stated, why in single:
            if stated:
                yield (*_WHERE, name), f"{why}: state `replicas` of 2 or more, or leave it out"
    elif directory.writes == "quorum" and directory.replication_lag_ns:
        yield (
            (*_WHERE, "replication_lag"),
            "copies that a quorum waits for leave at once: use `writes: one`, or leave it out",
        )


@needs("agents")
def _limits(agents: Any) -> Iterator[Finding]:
    if agents is None or agents.directory.registration_limits is None:
        return
    limits, where = agents.directory.registration_limits, (*_WHERE, "registration_limits")
    if limits.gateway_rate_nhz is None and limits.rate_nhz is None:
        yield where, "limits nothing: state `gateway_rate` or `rate`"
    for rate, burst in (("gateway_rate", "gateway_burst"), ("rate", "burst")):
        if getattr(limits, burst) is not None and getattr(limits, f"{rate}_nhz") is None:
            yield (*where, burst), f"bursts of what? State `{rate}` too"
    if agents.workload.registrations is None:
        yield where, "nobody registers: state `workload.registrations`, or leave the limits out"


@needs("agents", "validators")
def _moves(agents: Any, validators: Any) -> Iterator[Finding]:
    if agents is not None and agents.directory.re_home:
        gateways, _ = gateways_and_regions(agents, validators)
        if gateways < 2:
            yield (*_WHERE, "re_home"), "there is one gateway only, nobody can move to another"


@needs("agents", "validators")
def _routing(agents: Any, validators: Any) -> Iterator[Finding]:
    if agents is None or isinstance(agents.directory.routing, OneHop):
        return
    routing, where = agents.directory.routing, (*_WHERE, "routing")
    if agents.directory.shards is not None:
        yield (
            (*_WHERE, "shards"),
            f"a `{routing.kind}` directory has no shards, hosts hold what lies nearest to their "
            "nodes' ids: leave it out, or use `one_hop`",
        )
    if routing.style == "recursive" and routing.alpha is not None:
        yield (
            (*where, "alpha"),
            "a recursive lookup has one question in flight: use `iterative`, or leave it out",
        )
    if (routing.alpha or 1) > routing.k:
        yield (*where, "alpha"), f"{routing.alpha} is above k, {routing.k}: a bucket has no more"
    if routing.disjoint_paths > routing.k:
        yield (
            (*where, "disjoint_paths"),
            f"{routing.disjoint_paths} is above k, {routing.k}: paths start at different contacts",
        )
    yield from _ids(routing, agents, validators)


def dht_nodes(agents: Any, validators: Any) -> int:
    """Return how many nodes the directory's DHT has, at most."""
    gateways, regions = gateways_and_regions(agents, validators)
    who = agents.directory.routing.nodes
    if isinstance(who, AgentNodes):
        return int(agents.count)
    return regions * who.per_region if isinstance(who, RouterNodes) else gateways


def _ids(routing: Any, agents: Any, validators: Any) -> Iterator[Finding]:
    nodes = dht_nodes(agents, validators)
    needed = (nodes * nodes * COLLISIONS_PER_RUN // 2 - 1).bit_length()
    if nodes > 1 and needed > routing.id_bits:
        yield (
            (*_WHERE, "routing", "id_bits"),
            f"{routing.id_bits} bits are too few for {nodes:,} nodes: 2^id_bits must reach 1,000 "
            f"times the square of that, so state {needed} or more",
        )
