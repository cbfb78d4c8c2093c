"""What the scenario's clouds mean for a run: links that are closed, how losses are recovered from.

Owns: turning allowances into link rules, and the stages and sites of recovery into who sends copies
and who stands by. Must not know: plans, templates, faults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sim.engine.faults import Timetable
from sim.engine.observer import Observer
from sim.engine.replication import Marks, Pair, Replication, depot, piece_bytes
from sim.engine.standby import Standby
from sim.engine.transport import Transport
from sim.record.recorder import Sink
from sim.scenario.clouds import Clouds, ValidatorTraffic
from sim.scenario.model import Scenario
from sim.scenario.occurrence import lifetimes
from sim.world.cloud.deployment import Flow, closed_links
from sim.world.cloud.recovery import Stages
from sim.world.cloud.replication import Record, Stream
from sim.world.faults.occurrence import Lifetimes, figures
from sim.world.network.links import FOREVER_NS, PPB, Group, LinkRule

if TYPE_CHECKING:
    from sim.engine.build import Setting


def flows_of(clouds: Clouds) -> tuple[Flow, ...]:
    """Return which regions may send to which."""
    return tuple(
        Flow(each.source, each.target)
        for each in clouds.allow
        if isinstance(each, ValidatorTraffic)
    )


def firewall_rules(clouds: Clouds | None, sites: Sequence[str]) -> tuple[LinkRule, ...]:
    """Return the rules that drop what security groups would refuse.

    `sites`: region or zone of each identity. They come before all others: no other rule opens a
    link that no allowance opens. Where agents, operators and metrics come from is for plans alone:
    a run has no addresses outside the validators' networks.
    """
    if clouds is None:
        return ()
    regions = [site.partition("/")[0] for site in sites]
    return tuple(
        LinkRule(
            "drop",
            Group(regions=(source,)),
            Group(regions=(target,)),
            both_ways=False,
            start_ns=0,
            end_ns=FOREVER_NS,
            probability_ppb=PPB,
            delay_ns=0,
        )
        for source, target in closed_links(flows_of(clouds), regions)
    )


def stages_of(scenario: Scenario) -> Stages:
    """Return how a scenario's network recovers."""
    clouds = scenario.clouds or Clouds()
    asked, consensus = clouds.recovery, scenario.consensus
    restore_ns = 0
    if asked.standby == "backup":
        restore_ns = asked.state_bytes * 8 * 10**9 // asked.restore_bits_per_s
    return Stages(
        check_every_ns=asked.checks_every_ns,
        checks_failed=asked.checks_failed,
        decision=_stated(lifetimes(asked.decision)),
        standby=asked.standby,
        promotion=_stated(lifetimes(asked.promotion)),
        restore_ns=restore_ns,
        backup_every_ns=clouds.backups.every_ns,
        routing_ttl_ns=asked.routing_ttl_ns,
        lag=_stated(lifetimes(asked.lag)),
        restart=figures()["vm_restart"].lifetimes,
        timer_base_ns=consensus.timer_base_ns,
        timer_backoff_ppm=consensus.timer_backoff_ppm,
        timer_max_ns=consensus.timer_max_ns,
    )


def _stated(drawn: Lifetimes | None) -> Lifetimes:
    assert drawn is not None
    return drawn


def pairs_of(scenario: Scenario, sites: Sequence[str]) -> list[Pair]:
    """Return each region that has a site, with its validators; `sites`: region of each identity."""
    if scenario.clouds is None:
        return []
    recovery, network = scenario.clouds.recovery, scenario.network
    size = piece_bytes(recovery.stream_bits_per_s)
    depots = {
        site: depot(network.bandwidth_bits_per_s, network.consensus_share_ppm)
        for site in recovery.sites.values()
    }
    found = []
    for number, (region, site) in enumerate(recovery.sites.items()):
        members = tuple(node for node, home in enumerate(sites) if home == region)
        first = Record(0, 1, Marks(0, (None,) * len(members)))
        found.append(
            Pair(
                region=region,
                site=site,
                members=members,
                host=list(sites).index(site),
                number=number,
                stream=Stream(size, first),
                depot=depots[site],
            )
        )
    return found


def open_standby(
    setting: Setting,
    timetable: Timetable,
    transport: Transport,
    observer: Observer,
    healed: Callable[[int], None],
    sink: Sink,
) -> Standby | None:
    """Start the streams and those who watch over regions; None where no region has a site."""
    scenario, env, chance = setting.scenario, setting.env, setting.chance
    pairs = pairs_of(scenario, setting.regions)
    if not pairs or scenario.clouds is None:
        return None
    recovery, stages = scenario.clouds.recovery, stages_of(scenario)
    replication = Replication(
        env=env,
        nodes=timetable.nodes,
        pairs=pairs,
        transport=transport,
        chance=chance,
        rates=tuple((each.at_ns, each.rate_bits_per_s) for each in recovery.records),
        stream_bits_per_s=recovery.stream_bits_per_s,
        backup_every_ns=stages.backup_every_ns if stages.standby == "backup" else None,
        sink=sink,
    )
    standby = Standby(
        env=env,
        replication=replication,
        stages=stages,
        fail_back=lifetimes(recovery.fail_back),
        timetable=timetable,
        transport=transport,
        observer=observer,
        chance=chance,
        core=setting.core,
        healed=healed,
        sink=sink,
    )
    timetable.told = standby.told
    observer.first_commits.append(standby.wrote)
    replication.start()
    standby.start()
    return standby
