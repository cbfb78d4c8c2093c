"""Open the office of a run: its places, its people's log, and who keeps and watches that log.

Owns: the translation of a built setting into what the office takes. Must not know: what it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine.compliance.office import Ear, Office
from sim.engine.compliance.places import Places
from sim.engine.genesis import Census
from sim.engine.plane_parameters import region_names
from sim.monitor.watch import Watch
from sim.record.rocks import RocksStore
from sim.scenario.compliance import Audit
from sim.scenario.selection import Random
from sim.world.crypto.signer import RealSigner
from sim.world.network.links import Links

if TYPE_CHECKING:
    from sim.engine.build import Setting


def open_office(
    setting: Setting,
    ear: Ear,
    watch: Watch,
    links: Links,
    signer: RealSigner | None,
    store: RocksStore | None,
) -> Office:
    """Make the compliance of a run, told of what is recorded through `ear`."""
    scenario = setting.scenario
    asked = scenario.compliance
    assert asked is not None
    places = Places(
        env=setting.env,
        nodes=setting.nodes,
        regions=setting.regions,
        tables=setting.tables,
        links=links,
        transit=asked.transit,
        chance=setting.chance,
    )
    office = Office(
        asked,
        env=setting.env,
        places=places,
        costs=setting.costs,
        signer=signer,
        seed=scenario.seed,
        chance=setting.chance,
        recorder=ear,
        watch=watch,
        keepers=(asked.audit.keeper, _witnesses(asked.audit, setting.census)),
        agent_regions=() if scenario.agents is None else region_names(scenario),
        store=store,
        past=setting.past,
    )
    ear.heard = office.heard
    return office


def _witnesses(audit: Audit, census: Census) -> tuple[int, ...]:
    """Return who co-signs; the keeper is none of them, so one more is drawn in its place."""
    chosen, wanted = audit.witnesses, len(census.stakes)
    if isinstance(chosen, Random):
        wanted = chosen.random
        chosen = Random(random=min(wanted + 1, len(census.stakes)))
    drawn = census.select(chosen, "compliance/witnesses")
    return tuple(node for node in drawn if node != audit.keeper)[:wanted]
