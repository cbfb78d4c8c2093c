"""What adversaries can do to a random plane, and when they begin and end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sim.world.agents import changes, kinds
from sim.world.agents import parameters as p
from sim.world.routing.parameters import DROP, POISON

PPM = 1_000_000


def pick(draw: DrawFn, *values: Any) -> Any:
    """Draw one of some values."""
    return draw(st.sampled_from(values))


def assaults(
    draw: DrawFn, nodes: int, regions: int, directory: p.Directory
) -> tuple[p.Assault, ...]:
    """Draw what adversaries can do: floods, lies, and malice where there is a DHT."""
    who = (
        p.Chosen(random=3),
        p.Chosen(share_ppm=400_000),
        p.Chosen(region=regions - 1),
        p.Chosen(hosts=(0, 1)),
        p.Chosen(numbers=(1, 2)),
    )
    lie = pick(draw, p.STALE_LIE, p.DENY) if directory.recorded else p.DENY
    found: list[p.Assault] = [
        p.Flood(
            who=pick(draw, *who),
            kind=pick(draw, kinds.MESSAGE, kinds.LOOKUP_ID, kinds.TRANSACTION),
            rate_nhz=pick(draw, 4 * 10**9, 30 * 10**9),
            size_bytes=400,
            to=pick(draw, None, *who),
        ),
        p.Flood(
            who=pick(draw, *who),
            kind=kinds.REGISTRATION,
            rate_nhz=9 * 10**9,
            size_bytes=7_552,
            shard=pick(draw, None, 0),
        ),
        p.Lies(nodes=tuple(range(0, nodes, pick(draw, 1, 2))), lie=lie),
    ]
    for _ in range(2 if directory.dht else 0):
        victims = pick(draw, None, p.Chosen(random=4))
        found.append(
            p.Malice(
                who=pick(draw, *who[:4], p.Chosen(near=0, random=2)),
                malice=pick(draw, DROP, POISON),
                victims=victims,
                adjacent=victims is not None and pick(draw, True, False),
                planted_ppm=pick(draw, 0, 300_000, PPM),
            )
        )
    return tuple(found)


def attacks(parameters: p.PlaneParameters) -> list[st.SearchStrategy[changes.Change]]:
    """Draw surges, lost shards, beginnings and ends of the plane's assaults."""
    surge = st.builds(
        changes.Surge,
        factor_ppm=st.sampled_from((PPM, 2 * PPM, 3_500_000)),
        place=st.integers(0, 1),
        kinds=st.sampled_from(((), (kinds.MESSAGE,), (kinds.REGISTRATION, kinds.LOOKUP_ID))),
        regions=st.sampled_from(((), (0,))),
    )
    shard = st.integers(0, len(parameters.directory.shards) - 1)
    node = st.integers(0, len(parameters.node_region) - 1)
    loss = st.builds(
        changes.ShardLoss,
        nodes=st.lists(node, min_size=1, unique=True).map(tuple),
        shards=st.lists(shard, min_size=1, unique=True).map(tuple),
    )
    if not parameters.assaults:
        return [surge, loss]
    place = st.integers(0, len(parameters.assaults) - 1)
    # More beginnings than ends, so that several are on at once.
    on = st.builds(changes.Attack, place, st.sampled_from((True, True, False)))
    return [surge, loss, on, on, on]


def besieged(plane: p.PlaneParameters) -> p.PlaneParameters:
    """Let everything be attacked: by floods, lying hosts and, where there is a DHT, its nodes."""
    rate = 20 * 10**9
    spam = p.Flood(who=p.Chosen(random=3), kind=kinds.MESSAGE, rate_nhz=rate, size_bytes=900)
    sybils = p.Flood(
        who=p.Chosen(share_ppm=300_000),
        kind=kinds.REGISTRATION,
        rate_nhz=rate,
        size_bytes=7_552,
        shard=1,
    )
    lies = [p.Lies(nodes=(0, 1), lie=p.STALE_LIE), p.Lies(nodes=(2, 3), lie=p.DENY)]
    nodes = [
        p.Malice(who=p.Chosen(share_ppm=200_000), malice=POISON, planted_ppm=400_000),
        p.Malice(
            who=p.Chosen(random=8), malice=DROP, victims=p.Chosen(numbers=(5, 30)), adjacent=True
        ),
        p.Malice(who=p.Chosen(near=7, random=4), malice=POISON, victims=p.Chosen(numbers=(7,))),
    ]
    dht = plane.directory.dht is not None
    return replace(plane, assaults=(spam, sybils, *lies, *(nodes if dht else ())))


def siege(plane: p.PlaneParameters) -> list[tuple[int, changes.Change]]:
    """Begin all assaults, end them, and break what is left (ms, change)."""
    places = range(len(plane.assaults))
    begin = [(100 + 130 * place, changes.Attack(place, True)) for place in places]
    end = [(1_290 + 50 * place, changes.Attack(place, False)) for place in places]
    away = changes.Disconnect(
        share_ppm=600_000, back_ns=10**9, spread_ns=2 * 10**8, register_bytes=7_552
    )
    losses = [
        (900, changes.ShardLoss(nodes=(0,), shards=(0, 1))),
        (1_430, changes.ShardLoss(nodes=(0, 1, 2, 3), shards=(1,))),
    ]
    return [*begin, *end, (705, away), *losses]
