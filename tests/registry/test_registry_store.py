"""The registry's calls: answers, refusals with their reasons, frames, growth, hand-over, memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world import registry as registry_package
from sim.world.agents.draws import keys_of
from sim.world.agents.population import draw_population
from sim.world.chance import Chance
from sim.world.registry import columns
from sim.world.registry.agent_registry import AgentRegistry
from sim.world.registry.index import kernels
from sim.world.registry.limits import RegistrationLimits, TokenBucket
from sim.world.registry.parameters import RegistryParameters
from sim.world.registry.record_store import RecordStore
from tests.agents.cases import basic
from tests.agents.cases import network as tables
from tests.registry.registry_example import tour
from tests.registry.registry_pair import CAPABILITIES, MS, NODES, REGION, network, parameters

SECOND_NS = 10**9


def registry(**changed: Any) -> AgentRegistry:
    return AgentRegistry(parameters(**changed), network=network())


def sample(count: int, seed: int = 1) -> pl.DataFrame:
    dice = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "ident": dice.permutation(np.arange(count, dtype=np.uint64) * 977 + 5),
            "home": dice.integers(0, NODES, count),
            "region": dice.integers(0, 4, count),
            "capability": dice.integers(0, CAPABILITIES, count),
            "lease_until_ns": dice.integers(1, 60 * SECOND_NS, count),
            "version": np.ones(count, dtype=np.int64),
        }
    )


def test_an_agents_life() -> None:
    one = AgentRegistry(RegistryParameters(lease_ns=10 * SECOND_NS, node_region=(0, 0)))
    got = one.register(7, home=0, region=0, capability=3, now_ns=0)
    assert (got.accepted, got.reason, got.version, got.host) == (True, "registered", 1, 0)
    assert one.renew(7, now_ns=4 * SECOND_NS).version == 2
    assert one.re_home(7, home=1, now_ns=5 * SECOND_NS).reason == "re_homed"
    record = one.get(7)
    assert record == columns.Record(7, 1, 0, 3, 14 * SECOND_NS, 3)
    assert one.read(7, gateway=0, now_ns=13 * SECOND_NS).reason == "found"
    late = one.read(7, gateway=0, now_ns=14 * SECOND_NS)
    assert (late.reason, late.record, late.stale) == ("lease_ended", record, False)
    assert one.renew(7, now_ns=14 * SECOND_NS).reason == "lease_ended"
    assert one.expire(14 * SECOND_NS).tolist() == [7]
    assert one.renew(7, now_ns=14 * SECOND_NS).reason == "not_registered"
    assert one.register(7, home=0, region=0, capability=1, now_ns=15 * SECOND_NS).version == 1
    assert one.leave(7, now_ns=16 * SECOND_NS).reason == "left"
    assert one.get(7) is None
    assert len(one) == one.count() == len(one.find(1)) == 0
    assert one.counts["lease_ended"] == 2


def test_stale_answers_are_told_until_the_copy_is_there() -> None:
    """The next replica lags by the way there and a second; its answer decides, and is counted."""
    one = registry(replication_lag_ns=SECOND_NS)
    first = one.register(7, home=0, region=0, capability=0, now_ns=0)
    one.register(7, home=4, region=0, capability=0, now_ns=10 * SECOND_NS)
    near = one.read(7, gateway=0, now_ns=10 * SECOND_NS)
    assert (near.host, near.stale, near.record.home if near.record else -1) == (
        first.host,
        False,
        4,
    )
    other = one.read(7, gateway=0, now_ns=10 * SECOND_NS, attempt=1)
    assert (other.stale, other.missed, other.record.home if other.record else -1) == (True, 1, 0)
    fresh = one.read(7, gateway=0, now_ns=12 * SECOND_NS, attempt=1)
    assert (fresh.stale, fresh.record) == (False, one.get(7))
    assert one.counts["stale"] == 1
    assert one.pending_writes() == 0


def test_a_crash_loses_what_was_not_copied_and_a_quorum_prevents_it() -> None:
    for writes, lost in (("one", 1), ("quorum", 0)):
        one = registry(writes=writes, replication_lag_ns=SECOND_NS)
        got = one.register(7, home=0, region=0, capability=0, now_ns=0)
        crash = one.crash(got.host, got.acknowledged_ns)
        assert len(crash.lost) == lost
        assert (one.get(7) is None) == bool(lost)
    one = registry(writes="quorum")
    got = one.register(7, home=0, region=0, capability=0, now_ns=0)
    assert got.acknowledged_ns > 2 * MS
    assert one.crash(got.host, 1).failed == ((7, 1),)


def test_an_expired_record_leaves_nothing_behind_for_the_next() -> None:
    """A lease ends before the copy arrives; who gets the row next is answered for itself."""
    one = registry(replication_lag_ns=10 * SECOND_NS, lease_ns=SECOND_NS)
    one.register(7, home=0, region=0, capability=0, now_ns=0)
    assert one.expire(2 * SECOND_NS).tolist() == [7]
    assert one.pending_writes() == 0
    one.register(8, home=0, region=0, capability=0, now_ns=2 * SECOND_NS)
    assert one.pending_writes() == 1
    for attempt in range(3):
        assert one.read(8, gateway=0, now_ns=2 * SECOND_NS, attempt=attempt).missed <= 1


def test_limits_refuse_registrations_before_anything_else() -> None:
    limits = RegistrationLimits(TokenBucket(10**9, 2), TokenBucket(10**9, 3))
    one = registry(limits=limits)
    reasons = [
        one.register(ident, home=home, region=0, capability=0, now_ns=0).reason
        for ident, home in enumerate([0, 0, 0, 1, 1])
    ]
    limited = ["gateway_rate_limited", "registered", "registry_rate_limited"]
    assert reasons == ["registered", "registered", *limited]
    assert len(one) == 3


def test_shards_move_when_hosts_stay_away_and_come_home() -> None:
    one = registry(timeout_ns=100 * MS)
    for ident in range(200):
        one.register(ident, home=0, region=0, capability=0, now_ns=0)
    shard = one.shard_of(5)
    before = one.hosts(shard)
    now_ns = 10 * SECOND_NS
    one.crash(before[0], now_ns)
    assert one.rebalance(now_ns + 100 * MS, record_bytes=1_000) == ()
    now_ns += SECOND_NS
    moves = one.rebalance(now_ns, record_bytes=1_000)
    sizes = {load.shard: load.records for load in one.hot_shards(by="records")}
    assert {m.shard for m in moves} >= {shard}
    assert all(m.size_bytes == 1_000 * sizes[m.shard] for m in moves)
    assert before[0] not in one.hosts(shard)
    assert one.read(5, gateway=before[0], now_ns=now_ns).record == one.get(5)
    one.re_home(5, home=3, now_ns=now_ns)
    one.recover(before[0], now_ns + SECOND_NS)
    back = one.rebalance(now_ns + SECOND_NS, record_bytes=1_000)
    assert one.hosts(shard) == before
    assert {m.target for m in back} == {before[0]}
    for attempt in range(3):
        answer = one.read(5, gateway=0, now_ns=now_ns + SECOND_NS, attempt=attempt)
        assert (answer.stale, answer.record) == (False, one.get(5))


def test_frames_go_in_and_out() -> None:
    frame = sample(5_000)
    one = AgentRegistry.from_frame(frame, parameters(), network=network())
    out = one.to_frame()
    assert out.select(pl.all().cast(pl.Int64)).equals(
        frame.sort("ident").select(pl.all().cast(pl.Int64))
    )
    again = AgentRegistry.from_frame(out, parameters(), network=network())
    assert again.to_frame().equals(out)
    rich = frame.filter((pl.col("capability") == 1) & (pl.col("region") == 2))
    assert one.count(1, region=2) == len(rich)
    found = one.find(1, region=2, limit=10_000, turn=17)
    assert sorted(found.tolist()) == rich["ident"].sort().to_list()
    alive = rich.filter(pl.col("lease_until_ns") > 30 * SECOND_NS)
    assert one.count(1, region=2, alive_at_ns=30 * SECOND_NS) == len(alive)
    assert sum(load.records for load in one.hot_shards(99)) == len(frame)


def test_a_population_starts_with_who_is_registered() -> None:
    """Half of the plane's agents have a lease at the start; those are the records, no others."""
    plane = basic(directory=replace(basic().directory, registered_ppm=500_000, lease_ns=SECOND_NS))
    people = draw_population(plane, tables(2), keys_of(Chance(3, 0)))
    p = RegistryParameters(
        node_region=plane.node_region, regions=2, capabilities=plane.capabilities
    )
    one = AgentRegistry.from_population(people, p)
    leased = np.flatnonzero(people.lease_until_ns > 0).tolist()
    assert len(one) == len(leased) == plane.agents // 2
    for agent in range(plane.agents):
        record = one.get(int(people.ident[agent]))
        assert (record is not None) == (agent in leased)
        if record is not None:
            names = ("home", "region", "capability", "lease_until_ns")
            assert [int(getattr(people, n)[agent]) for n in names] == list(record[1:5])


def test_turns_show_different_agents_and_all_of_them() -> None:
    one = AgentRegistry.from_frame(sample(300), parameters(), network=network())
    total = one.count(2)
    seen = [int(one.find(2, limit=1, turn=turn)[0]) for turn in range(total)]
    assert sorted(seen) == sorted(one.find(2, limit=total).tolist())


def test_many_are_looked_up_at_once() -> None:
    frame = sample(100)
    one = AgentRegistry.from_frame(frame, parameters(), network=network())
    asked = [int(frame["ident"][3]), 1, int(frame["ident"][0])]
    many = one.get_many(asked)
    assert many["known"].tolist() == [True, False, True]
    for place in (0, 2):
        record = one.get(asked[place])
        assert record is not None
        assert [int(many[name][place]) for name in columns.Record._fields] == list(record)
    assert many["home"][1] == many["lease_until_ns"][1] == 0


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("home", NODES, f"home: .* must be 0 to {NODES - 1}"),
        ("capability", CAPABILITIES, "capability: .* must be 0 to 2"),
        ("lease_until_ns", 0, "lease_until_ns: 0 to .* must be 1 to"),
        ("ident", 5, "agent 5 is given twice"),
        ("region", None, "nulls in region"),
    ],
)
def test_bad_frames_are_refused(column: str, value: int | None, message: str) -> None:
    frame = sample(20).sort("ident", descending=True)
    values = [*frame[column].to_list()[1:], value]
    other = frame.with_columns(pl.Series(column, [value, *values[:-1]]))
    if column == "ident":
        other = frame.with_columns(pl.Series(column, [5, *values[:-2], 5], dtype=pl.UInt64))
    with pytest.raises(ValueError, match=message):
        AgentRegistry.from_frame(other, parameters(), network=network())
    with pytest.raises(ValueError, match=f"lacks {column}"):
        AgentRegistry.from_frame(frame.drop(column), parameters(), network=network())


def test_bad_calls_are_refused_with_what_exists() -> None:
    one = registry()
    with pytest.raises(ValueError, match="node 8 does not exist: 0 to 7"):
        one.register(1, home=8, region=0, capability=0, now_ns=0)
    with pytest.raises(ValueError, match="region 4 does not exist: 0 to 3"):
        one.find(0, region=4)
    with pytest.raises(ValueError, match="capability 3 does not exist: 0 to 2"):
        one.count(3)
    with pytest.raises(ValueError, match=r"identity -1 does not exist: 0 to 2\*\*64 - 1"):
        one.register(-1, home=0, region=0, capability=0, now_ns=0)
    with pytest.raises(ValueError, match="limit 0"):
        one.find(0, limit=0)
    with pytest.raises(ValueError, match="operations or records"):
        one.hot_shards(by="heat")
    one.expire(10)
    with pytest.raises(ValueError, match="time goes back: 9 ns after 10 ns"):
        one.expire(9)
    with pytest.raises(ValueError, match="3 replicas need the network"):
        AgentRegistry(parameters())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"placement": ((0, 4),)}, "two hosts of a shard share a region"),
        ({"placement": ((0, 1), (1,))}, "unlike many hosts"),
        ({"placement": ((0, 8),)}, "a shard's host is no node"),
        ({"placement": ()}, "needs a shard"),
        ({"capabilities": 0}, "1 to 65,536 capabilities, has 0"),
        ({"reads": "all"}, "reads: all; nearest or quorum"),
        ({"lease_ns": -1}, "times below 0"),
    ],
)
def test_bad_parameters_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters(**changed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 4)), max_size=300))
def test_index_and_lists_survive_any_order(steps: list[tuple[int, int, int]]) -> None:
    """Rows come, move between lists, go and are used again; the pool is laid out anew and anew."""
    store = RecordStore(capabilities=5, regions=4, shards=3, shard_key=1)
    model: dict[int, tuple[int, int]] = {}
    for ident, region, capability in steps:
        row = store.row_of(ident)
        if ident in model and region == 0:
            del model[ident]
            store.put(row, None)
            store.free_row(row)
            continue
        if row < 0:
            row = store.take_row(ident)
        store.put(row, columns.Record(ident, 0, region, capability, 9, store.next_version(row)))
        model[ident] = (region, capability)
    assert len(store) == len(model)
    for region in range(4):
        for capability in range(5):
            found = store.find(capability, region, 99, -1, 0).tolist()
            assert sorted(found) == [i for i in sorted(model) if model[i] == (region, capability)]
    for ident in range(41):
        assert (store.record(store.row_of(ident)) is not None) == (ident in model)


def test_rows_of_who_left_are_used_again() -> None:
    """500 agents come and go one after another; the columns stay at their first 64 rows."""
    one = registry()
    for ident in range(500):
        now_ns = ident * SECOND_NS
        one.register(ident, home=0, region=0, capability=0, now_ns=now_ns)
        assert one.leave(ident, now_ns=now_ns).version == 2
        assert one.get(ident) is None
    assert one._store.capacity() == 64


def test_hosts_that_know_all_only_together_serve_again_together() -> None:
    """Replicas in three regions in a row: the middle one is in both quorums, each end in one.

    After all three crashed neither end may serve alone, since it lacks the other's write; both
    together may.
    """
    one = registry(writes="quorum", replication_lag_ns=10 * SECOND_NS)
    shards = [sorted(one.hosts(s), key=lambda h: REGION[h]) for s in range(3)]
    shard = next(s for s, row in enumerate(shards) if REGION[row[2]] - REGION[row[0]] == 2)
    low, middle, high = shards[shard]
    first, second = [i for i in range(100) if one.shard_of(i) == shard][:2]
    assert one.register(first, home=low, region=0, capability=0, now_ns=0).host == low
    assert one.register(second, home=high, region=0, capability=0, now_ns=0).host == high
    now_ns = SECOND_NS
    for node in (middle, low, high):
        assert not one.crash(node, now_ns).lost
    one.recover(low, now_ns)
    assert one.read(first, gateway=low, now_ns=now_ns).reason == "host_down"
    one.recover(high, now_ns)
    for ident in (first, second):
        for node in (low, high):
            answer = one.read(ident, gateway=node, now_ns=now_ns)
            assert (answer.host, answer.record, answer.stale) == (node, one.get(ident), False)
    one.recover(middle, now_ns)
    one.expire(now_ns)
    assert one.pending_writes() == 0


def test_growth_keeps_everything() -> None:
    one = AgentRegistry(RegistryParameters(capabilities=1))
    for ident in range(3_000):
        one.register(ident * 7, home=0, region=0, capability=0, now_ns=ident)
    assert sorted(one.find(0, limit=5_000).tolist()) == [ident * 7 for ident in range(3_000)]
    assert [one.get(ident * 7) is not None for ident in range(3_000)] == [True] * 3_000


def test_a_record_takes_less_than_50_bytes() -> None:
    """All columns, the hash index and the lists, by the records that fit."""
    frame = sample(200_000)
    one = AgentRegistry.from_frame(frame, parameters(), network=network())
    assert one.bytes_per_agent() <= 50
    fields = columns.empty_columns(1, 1, 1)
    assert sum(getattr(fields, name).itemsize for name in columns.ROW_FIELDS) == 29


def test_no_list_is_longer_than_its_room() -> None:
    """After growth of many small lists each row is where its list says."""
    store = RecordStore(capabilities=200, regions=2, shards=1, shard_key=0)
    dice = np.random.default_rng(3)
    for ident in range(4_000):
        row = store.take_row(ident)
        capability = int(dice.integers(0, 200) ** 2 // 200)
        store.put(row, columns.Record(ident, 0, ident % 2, capability, 5, 1))
    c = store._columns
    assert (c.size <= c.room).all()
    assert int(c.tally[kernels.POOLED]) <= len(c.pool)
    for segment in range(400):
        span = range(int(c.start[segment]), int(c.start[segment] + c.size[segment]))
        assert [int(c.place[c.pool[place]]) for place in span] == list(span)


def test_the_readme_shows_real_output() -> None:
    text = (Path(registry_package.__file__).parent / "README.md").read_text(encoding="utf-8")
    for line in tour():
        assert f"    {line}\n" in text
