"""What the scenario's clouds mean for a run: links that no allowance opens are closed.

Owns: turning allowances into link rules. Must not know: plans, templates, faults.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.scenario.clouds import Clouds, ValidatorTraffic
from sim.world.cloud.deployment import Flow, closed_links
from sim.world.network.links import FOREVER_NS, PPB, Group, LinkRule


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
