"""Resolve the faults that strike agents and their directory: whom, what, when.

Owns the one place where their settings become faults of `sim.world.faults`. Must not know how the
plane carries them out.
"""

from __future__ import annotations

from sim.engine.genesis import Census
from sim.engine.plane_parameters import region_names, registration_bytes, shard_hosts
from sim.scenario import agent_faults as asked
from sim.scenario.model import Scenario
from sim.world.agents.kinds import (
    LOOKUP_CAPABILITY,
    LOOKUP_ID,
    MESSAGE,
    REGISTRATION,
    RENEWAL,
    TRANSACTION,
)
from sim.world.faults import Fault, Span
from sim.world.faults.mass_disconnect import MassDisconnect
from sim.world.faults.overload_burst import OverloadBurst
from sim.world.faults.shard_loss import ShardLoss

KINDS = {
    "messages": MESSAGE,
    "transactions": TRANSACTION,
    "lookups_by_id": LOOKUP_ID,
    "lookups_by_capability": LOOKUP_CAPABILITY,
    "registrations": REGISTRATION,
    "renewals": RENEWAL,
}
"""Kinds of traffic by the words of a scenario."""


def agent_fault(
    scenario: Scenario, fault: asked.AgentFault, census: Census, name: tuple[int, str], span: Span
) -> Fault:
    """Return a fault that strikes agents for one span; `name`: its place, and that of its draws."""
    agents, (place, key) = scenario.agents, name
    assert agents is not None
    names = region_names(scenario)
    if isinstance(fault, asked.OverloadBurst):
        return OverloadBurst(
            place,
            fault.factor_micro,
            tuple(KINDS[kind] for kind in fault.kinds),
            tuple(names.index(region) for region in fault.regions),
        )
    if isinstance(fault, asked.ShardLoss):
        everyone = tuple(range(len(census.regions)))
        shards = range(len(shard_hosts(scenario, census)))
        return ShardLoss(
            everyone if fault.hosts is None else census.select(fault.hosts, key),
            tuple(shards) if fault.shards is None else tuple(sorted(fault.shards)),
        )
    assert span.until_ns is not None
    return MassDisconnect(
        share_ppm=fault.share_ppm,
        back_ns=span.until_ns,
        within_ns=fault.within_ns,
        region=None if fault.region is None else names.index(fault.region),
        homes=None if fault.gateways is None else census.select(fault.gateways, key),
        register_bytes=registration_bytes(agents) if fault.register else 0,
    )
