"""What is refused, with the limit and the remedy; ids, members, declarations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.world.chance import Chance
from sim.world.routing import nodes
from sim.world.routing.kernels import route_many, set_up
from sim.world.routing.nodes import agents, build, gateways, routers, with_links
from sim.world.routing.parameters import (
    FOUND,
    HIERARCHICAL,
    ITERATIVE,
    TIMED_OUT,
    RoutingParameters,
    check_id_bits,
)
from sim.world.routing.verdict import declare
from tests.routing.worlds import HOUR, MS, blank, churned, network, world


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"k": 0}, "k 0: need 1 to 64"),
        ({"k": 65}, "k 65: need 1 to 64"),
        ({"b": 9}, "b 9: need 1 to 8"),
        ({"id_bits": 7}, "id_bits 7: need 8 to 64"),
        ({"alpha": 17}, "alpha 17: need 1 to 16"),
        ({"disjoint_paths": 0}, "disjoint_paths 0: need 1 to 8"),
        ({"kind": 2}, "kind 2: know 0 (kademlia), 1 (hierarchical)"),
        ({"style": -1}, "style -1: know 0 (recursive), 1 (iterative)"),
        ({"rpc_timeout_ns": 0}, "rpc_timeout"),
        ({"refresh_ns": 0}, "refresh"),
        ({"deadline_ns": -1}, "deadline"),
        ({"contact_bytes": 0}, "bytes"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        RoutingParameters(**settings)
    assert says in str(caught.value)


def test_too_short_ids_are_refused_with_the_length_that_would_do() -> None:
    with pytest.raises(ValueError, match=r"id_bits 48 are too few for 1,000,000 .* need 50"):
        check_id_bits(48, 1_000_000)
    check_id_bits(50, 1_000_000)
    check_id_bits(57, 10_000_000)
    with pytest.raises(ValueError, match="id_bits 20"):
        world(100, id_bits=20)


def test_ids_that_collide_are_drawn_again() -> None:
    ids = nodes._keyed_ids(5, 200, RoutingParameters(id_bits=8))
    assert len(np.unique(ids)) == 200
    assert (ids << np.uint64(8) == 0).all()
    people = agents(np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="one id"):
        build(RoutingParameters(), people, [0], network(1), Chance(1, 0), ids=ids[[0, 0]])


def test_an_id_depends_on_its_member_alone() -> None:
    small, large = world(50), world(500)
    for member in range(50):
        assert (
            small.node["ident"][small.node_of[member]] == large.node["ident"][large.node_of[member]]
        )
        assert small.member_of[small.node_of[member]] == member


def test_routers_sit_at_the_gateways_of_their_region_in_turn() -> None:
    region = [0, 0, 1, 1, 2]
    people = routers([0, 1, 3], region, 3)
    assert people.host.tolist() == [0, 1, 0, 3, 3, 3]
    assert gateways([0, 3]).host.tolist() == [0, 3]
    with pytest.raises(ValueError, match="routers: 0 a region"):
        routers([0], region, 0)


def test_a_zone_lies_in_one_region() -> None:
    people = gateways(range(4))
    p = RoutingParameters(kind=HIERARCHICAL)
    with pytest.raises(ValueError, match="zone 0 lies in two regions"):
        build(p, people, [0, 1, 0, 1], network(2), Chance(1, 0), host_zone=[0, 0, 1, 1])


def lookups(bundle: Any, count: int = 300, t_ns: int = 0) -> Any:
    rng, n, out = np.random.default_rng(4), len(bundle.node), blank(count)
    keys = rng.integers(2**63, size=count).astype(np.uint64) * np.uint64(2)
    sources = rng.choice(np.flatnonzero(bundle.node["up"]), count)
    route_many(bundle, sources, keys, np.full(count, -1), t_ns, 0, out)
    assert n
    return out


def test_tables_are_declared() -> None:
    bundle = world(3_000)
    assert declare(bundle).buckets == 0
    lookups(bundle)
    state = declare(bundle)
    assert (state.kind, state.short_ppm, state.stale_ppm) == ("converged", 0, 0)
    assert state.buckets > 300
    assert state.contacts > 3_000

    # Half are gone since before the last refresh: known, but buckets hold fewer.
    sparse = world(3_000)
    for node in range(0, 3_000, 2):
        set_up(sparse, node, 0, 0)
    lookups(sparse, t_ns=20 * HOUR)
    state = declare(sparse)
    assert (state.kind, state.stale_ppm) == ("under_filled", 0)
    assert state.short_ppm > 0

    bundle = churned(world(3_000), np.random.default_rng(1), 0.5, HOUR)
    out = lookups(bundle, t_ns=1)
    state = declare(bundle)
    assert state.kind == "stale"
    assert 100_000 < state.stale_ppm < 600_000
    assert out["timeouts"].sum() > 100


def test_a_dead_contact_costs_its_timeout() -> None:
    """Everybody but the asker dies after the refresh: every question times out."""
    timeout_ns = 250 * MS
    bundle = world(30, k=20, rpc_timeout_ns=timeout_ns)
    for node in range(1, 30):
        set_up(bundle, node, 0, 10 * HOUR)
    out = blank(1)
    key = bundle.node["ident"][[29]] ^ np.uint64(1)
    route_many(bundle, np.array([0]), key, np.array([-1]), 10 * HOUR, 0, out)
    assert out["timeouts"] == out["rpcs"] > 0
    assert out["delay_ns"] == out["timeouts"] * timeout_ns
    assert (out["owner"], out["outcome"]) == (0, FOUND)


def test_a_lookup_past_its_deadline_has_timed_out() -> None:
    late, free = lookups(world(3_000, deadline_ns=30 * MS)), lookups(world(3_000))
    missed = free["delay_ns"] > 30 * MS
    assert 0 < missed.sum() < len(missed)
    assert (missed == (late["outcome"] == TIMED_OUT)).all()
    assert (late["owner"][missed] == -1).all()
    assert (late["host"][missed] == -1).all()


def test_an_iterative_lookup_ends_at_its_deadline() -> None:
    limit_ns = 120 * MS
    late = lookups(world(3_000, style=ITERATIVE, deadline_ns=limit_ns))
    free = lookups(world(3_000, style=ITERATIVE))
    found = late["outcome"] == FOUND
    assert 0 < found.sum() < len(found)
    assert set(late["outcome"].tolist()) == {FOUND, TIMED_OUT}
    assert (late["delay_ns"][found] <= limit_ns).all()
    assert (free["back_ns"] > limit_ns).all()
    assert late["rpcs"].sum() < free["rpcs"].sum()


def test_links_can_change_during_a_run() -> None:
    bundle = world(500)
    median = bundle.median_ns.copy()
    shared = with_links(bundle, median, bundle.spread_ns, bundle.shape)
    before = lookups(shared)["delay_ns"].mean()
    median *= 10
    assert lookups(shared)["delay_ns"].mean() > 2 * before


def test_bytes_and_messages_add_up() -> None:
    p = RoutingParameters()
    out = lookups(world(2_000))
    assert (out["bytes"] == out["rpcs"] * p.rpc_bytes).all()
    assert (out["messages"] == out["rpcs"]).all()
    assert (out["depth"] == out["rpcs"]).all()
    out = lookups(world(2_000, style=ITERATIVE))
    answers = out["messages"] - out["rpcs"]
    assert (answers == out["rpcs"]).all()
    assert (out["bytes"] == out["messages"] * p.rpc_bytes + answers * p.k * p.contact_bytes).all()
    assert (out["back_ns"] > out["delay_ns"]).all()
    assert (out["rounds"] >= out["depth"]).all()
    one = lookups(world(2_000, style=ITERATIVE, alpha=1))
    assert (one["rounds"] == one["rpcs"]).all()
