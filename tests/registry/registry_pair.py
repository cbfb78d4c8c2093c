"""A registry and its twin that are called alike, and compared after every call."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from sim.world.chance import Chance
from sim.world.network.jitter import shape_table
from sim.world.network.tables import NetworkTables
from sim.world.registry.agent_registry import AgentRegistry
from sim.world.registry.columns import Record
from sim.world.registry.parameters import Receipt, RegistryParameters
from sim.world.registry.placement import first_hosts, place
from tests.registry.registry_twin import Twin

MS = 1_000_000
NODES, REGIONS, CAPABILITIES = 8, 4, 3
REGION = tuple(node % REGIONS for node in range(NODES))

IDENTS = tuple(range(1, 7))


def network() -> NetworkTables:
    """Regions in a row, 20 ms from one to the next, 1 ms inside."""
    index = np.arange(REGIONS)
    distance = np.abs(index[:, None] - index[None, :])
    median = np.where(distance == 0, MS, distance * 20 * MS).astype(np.int64)
    spread = np.where(distance == 0, 0, 4 * MS).astype(np.int64)
    names = tuple(f"region-{i}" for i in range(REGIONS))
    shape = np.array(shape_table(), dtype=np.int64)
    return NetworkTables(names, median, spread, np.zeros_like(median), shape)


def parameters(**changed: Any) -> RegistryParameters:
    values: dict[str, Any] = {
        "placement": place(first_hosts(range(NODES), REGION, 3), range(NODES), REGION, 3),
        "node_region": REGION,
        "regions": REGIONS,
        "capabilities": CAPABILITIES,
        "service_ns": MS,
        "timeout_ns": 100 * MS,
    }
    return RegistryParameters(**{**values, **changed})


def values_of(record: Record | None) -> tuple[int, int, int, int] | None:
    if record is None:
        return None
    return record.home, record.region, record.capability, record.lease_until_ns


class Pair:
    """A registry and its twin, and what senders believe."""

    def __init__(self, p: RegistryParameters, seed: int) -> None:
        tables, chance = network(), Chance(seed, 0)
        self.p = p
        self.registry = AgentRegistry(p, network=tables, chance=chance)
        self.twin = Twin(p, tables, chance)
        self.now_ns = 0
        self.believed: dict[int, tuple[int, Any]] = {}
        """By agent: when its last accepted write is acknowledged, and the values."""

    def tick(self) -> int:
        self.twin.advance(self.now_ns)
        return self.now_ns

    def wrote(self, ident: int, values: Any, gateway: int, attempt: int, got: Receipt) -> None:
        expected = self.twin.write(ident, values, gateway, attempt)
        assert got.accepted == (expected == "written")
        if got.accepted:
            assert got.acknowledged_ns == self.twin.ops[ident][-1].acknowledged_ns
            self.believed[ident] = (got.acknowledged_ns, values)
        else:
            assert got.reason == expected

    def wait(self, ms: int) -> None:
        self.now_ns += ms * MS
        self.tick()

    def register(self, ident: int, home: int, region: int, capability: int, attempt: int) -> None:
        now_ns = self.tick()
        got = self.registry.register(
            ident, home=home, region=region, capability=capability, now_ns=now_ns, attempt=attempt
        )
        values = (home, region, capability, self.p.lease_until(now_ns))
        self.wrote(ident, values, home, attempt, got)

    def change(self, ident: int, what: str, home: int) -> None:
        now_ns = self.tick()
        more = {"home": home} if what == "re_home" else {}
        got: Receipt = getattr(self.registry, what)(ident, now_ns=now_ns, **more)
        old = self.twin.newest(ident)
        if old is None or old[3] <= now_ns:
            assert got.reason == ("not_registered" if old is None else "lease_ended")
            return
        new: Any = {
            "renew": (*old[:3], self.p.lease_until(now_ns)),
            "re_home": (home, *old[1:]),
            "leave": None,
        }[what]
        self.wrote(ident, new, home if what == "re_home" else old[0], 0, got)

    def read(self, ident: int, gateway: int, attempt: int) -> None:
        now_ns = self.tick()
        got = self.registry.read(ident, gateway=gateway, now_ns=now_ns, attempt=attempt)
        reason, seen, stale = self.twin.read(ident, gateway, attempt)
        assert (got.reason, values_of(got.record), got.stale) == (reason, seen, stale)
        if self.p.reads == self.p.writes == "quorum":
            assert not stale

    def expire(self) -> None:
        got = self.registry.expire(self.tick())
        ended = self.twin.expire()
        assert sorted(got.tolist()) == sorted(ended)
        for ident in ended:
            self.believed.pop(ident, None)

    def crash(self, node: int) -> None:
        now_ns = self.tick()
        self.compare(self.registry.crash(node, now_ns), self.twin.crash(node))

    def crash_region(self, region: int) -> None:
        now_ns = self.tick()
        for node in range(region, NODES, REGIONS):
            self.compare(self.registry.crash(node, now_ns), self.twin.crash(node))

    def recover(self, node: int) -> None:
        now_ns = self.tick()
        self.compare(self.registry.recover(node, now_ns), self.twin.recover(node))

    def recover_all(self) -> None:
        for node in range(NODES):
            self.recover(node)

    def populate(self) -> None:
        """Register everybody, and let all copies arrive."""
        for ident in IDENTS:
            home = ident % NODES
            self.register(ident, home, REGION[home], ident % CAPABILITIES, 0)
        self.wait(1_000)

    def compare(self, got: Any, expected: tuple[list[int], list[int]]) -> None:
        assert Counter(ident for ident, _ in got.lost) == Counter(expected[0])
        assert Counter(ident for ident, _ in got.failed) == Counter(expected[1])
        if self.p.writes == "quorum":
            assert not got.lost
        for ident, _ in (*got.lost, *got.failed):
            self.believed.pop(ident, None)

    def check(self) -> None:
        self.the_newest_records_are_the_twins()
        self.what_was_acknowledged_is_there()

    def the_newest_records_are_the_twins(self) -> None:
        known = {ident: self.twin.newest(ident) for ident in IDENTS}
        alive = {ident: values for ident, values in known.items() if values}
        assert {i: values_of(self.registry.get(i)) for i in known} == known
        assert len(self.registry) == len(alive)
        for capability in range(CAPABILITIES):
            for region in (None, 0, REGIONS - 1):
                matching = {
                    ident
                    for ident, values in alive.items()
                    if values[2] == capability and region in (None, values[1])
                }
                found = self.registry.find(capability, region=region, turn=self.now_ns // MS)
                assert len(found) == len(matching)
                assert set(found.tolist()) == matching
                assert self.registry.count(capability, region=region) == len(matching)
        lasting = {i for i, values in alive.items() if values[3] > self.now_ns}
        assert self.registry.count(alive_at_ns=self.now_ns) == len(lasting)

    def what_was_acknowledged_is_there(self) -> None:
        """Under quorum writes nothing that a sender believes is ever lost."""
        for ident, (acknowledged_ns, values) in self.believed.items():
            if acknowledged_ns <= self.now_ns:
                assert self.twin.newest(ident) == values
                assert values_of(self.registry.get(ident)) == values
