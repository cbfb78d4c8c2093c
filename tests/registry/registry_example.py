"""A short tour of the agent registry, as a notebook would call it; its output is in the README."""

from __future__ import annotations

from sim.world.chance import Chance
from sim.world.network.tables import build_tables
from sim.world.registry.agent_registry import AgentRegistry
from sim.world.registry.parameters import RegistryParameters
from sim.world.registry.placement import first_hosts, place

SITES = ("aws:us-gov-west-1", "aws:us-gov-east-1", "az:usgovvirginia")
MS = 1_000_000


def tour() -> list[str]:
    """Return what happens to a fresh write when its region goes down, by `writes`."""
    region = tuple(node % 3 for node in range(30))  # 30 gateways, three regions
    told = []
    for writes in ("one", "quorum"):
        registry = AgentRegistry(
            RegistryParameters(
                placement=place(first_hosts(range(30), region), range(30), region, 3),
                node_region=region,
                regions=3,
                writes=writes,
                replication_lag_ns=500 * MS,
            ),
            network=build_tables(SITES),
            chance=Chance(1, 0),
        )
        for agent in range(9_000):
            registry.register(
                agent,
                home=agent % 30,
                region=agent % 3,
                capability=agent % 64,
                now_ns=agent * MS // 10,
            )
        moved = registry.register(7, home=1, region=1, capability=7, now_ns=2_000 * MS)
        answer = registry.read(7, gateway=2, now_ns=2_100 * MS)
        wait_ms = (moved.acknowledged_ns - 2_000 * MS) // MS
        home = answer.record.home if answer.record else None
        state = "stale" if answer.stale else "fresh"
        told.append(f"{writes} | confirmed after {wait_ms} ms | from region 2: home {home} {state}")
        lost = sum(len(registry.crash(node, 2_100 * MS).lost) for node in range(1, 30, 3))
        newest = registry.get(7)
        home = newest.home if newest else None
        told.append(f"{writes} | region 1 down: lost {lost} | agent 7 at home {home}")
    found = registry.find(7, region=1, limit=3)
    told.append(f"{found} {registry.count(7)} {registry.hot_shards(1)}")
    return told


if __name__ == "__main__":
    print("\n".join(tour()))
