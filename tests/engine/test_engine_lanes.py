"""Lanes that lend each other what they leave: both gain, no link carries too much for long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.engine import run as running
from sim.engine.node import Node
from sim.engine.world import World
from sim.world.agents.state import CELLS
from sim.world.network.stations import SharedLane
from tests.engine.worlds import AGENTS, BUSY, MS, Ran, crash, ran, world

GRID_NS = 100 * MS
BATCH_BITS = 8 * 2_048 * 8
"""A batch of messages, eight of them, which may be on the wire at a boundary."""
ROUNDING = 200
"""Parts are rounded up to bits, one a transmission and cell."""
RATE = 20_000_000
NET: dict[str, Any] = {"bandwidth": "20 Mbit/s", "flow_limit": "1 Gbit/s"}
IDLE = {
    **AGENTS,
    "workload": {"messages": {"arrivals": {"kind": "poisson", "rate": "0.1 /s"}}},
}
EAGER = {
    **AGENTS,
    "count": 200,
    "workload": {
        "messages": {"arrivals": {"kind": "poisson", "rate": "20 /s"}, "size": "2 KiB"},
        "transactions": {"arrivals": {"kind": "poisson", "rate": "1 /s"}},
    },
}


def laned(folder: Path, lanes: str, agents: dict[str, Any], **more: Any) -> Ran:
    settings: dict[str, Any] = {
        "duration": "4 s",
        "network": {**NET, "lanes": lanes},
        "agents": agents,
        "validators": {"count": 7},
        "consensus": {"timer_base": "2 s"},
    }
    return ran(folder, **settings | more)


def test_consensus_is_faster_with_what_agents_leave(tmp_path: Path) -> None:
    """Blocks of 28 kB to six others take 68 ms a hop on half of the link, 34 ms on all of it."""
    alone, idle, eager = (
        laned(tmp_path / name, lanes, agents)
        for name, lanes, agents in (
            ("alone", "isolated", IDLE),
            ("idle", "shared", IDLE),
            ("eager", "shared", EAGER),
        )
    )
    apart, among_idle, among_eager = (
        done.metric("block_latency_p50_ns") for done in (alone, idle, eager)
    )
    assert among_idle < 0.75 * apart
    assert among_idle < 0.75 * among_eager
    assert idle.metric("blocks_committed") > 1.3 * alone.metric("blocks_committed")


def test_agents_are_faster_with_what_consensus_leaves(tmp_path: Path) -> None:
    """A fifth of the link is what 4,000 messages a second are too many for; validators are slow."""
    seldom = {"timer_base": "4 s", "min_block_interval": "1 s"}
    network = {**NET, "consensus_share": "60 %"}
    alone, shared = (
        laned(tmp_path / lanes, lanes, EAGER, consensus=seldom, network={**network, "lanes": lanes})
        for lanes in ("isolated", "shared")
    )
    name = "delivery_latency_p50_ns"
    assert shared.metric(name) < 0.2 * alone.metric(name)
    assert shared.metric("messages_delivered") > 1.2 * alone.metric("messages_delivered")
    # Batches of transactions leave over the loan, too.
    name = "commit_latency_p50_ns"
    assert shared.metric(name) < alone.metric(name)


def carried_into(made: World, node: Node, way: int, cell: int) -> int:
    """Bits of a cell that are handed in when it begins: they keep the rate they had then."""
    assert made.plane is not None
    lane = node.links[way].consensus
    assert isinstance(lane, SharedLane)
    ahead = int(made.plane._world.use.bits[way, node.id, cell % CELLS])
    return lane._used_bits.get(cell, 0) + ahead + BATCH_BITS


@pytest.mark.parametrize("share", ["20 %", "70 %"])
def test_a_link_is_overcommitted_by_what_the_cell_before_left_at_most(
    share: str, tmp_path: Path
) -> None:
    """Booked bits of both lanes, of every node, direction and cell, against the link's."""
    made = world(
        tmp_path,
        network={"bandwidth": "20 Mbit/s", "lanes": "shared", "consensus_share": share},
        agents=EAGER,
        validators={"count": 7},
        consensus={"timer_base": "2 s", "min_block_interval": "300 ms"},
    )
    assert made.plane is not None
    made.start()
    capacity = RATE * GRID_NS // 10**9
    before: dict[tuple[int, int], list[int]] = {}
    used = [0, 0]
    over = 0
    for cell in range(40):
        carried = [[carried_into(made, node, way, cell) for way in range(2)] for node in made.nodes]
        made.advance((cell + 1) * GRID_NS)
        for node in made.nodes:
            for way, link in enumerate(node.links):
                sent, left = [], 0
                for place, lane in enumerate((link.consensus, link.agents)):
                    assert isinstance(lane, SharedLane)
                    sent.append(lane._used_bits.get(cell, 0))
                    used[place] += sent[place]
                    reserve = lane.reserved_bits_per_s * GRID_NS // 10**9
                    earlier = before.get((node.id, way), [reserve, reserve])[place]
                    left += max(0, reserve - earlier)
                most = capacity + left + carried[node.id][way] + ROUNDING
                assert sum(sent) <= min(most, 2 * capacity + ROUNDING), (cell, node.id, way)
                over += sum(sent) > capacity
                before[node.id, way] = sent
    assert min(used) > 20 * 10**6
    assert over > 10


TROUBLED: dict[str, Any] = {
    **BUSY,
    "network": {**BUSY["network"], "bandwidth": "30 Mbit/s", "lanes": "shared"},
    "faults": [
        *BUSY["faults"],
        crash([3], "1300 ms", "2200 ms"),
        {
            "kind": "throttle",
            "nodes": {"ids": [0, 2]},
            "at": "1650 ms",
            "until": "2800 ms",
            "bandwidth_left": "40 %",
        },
    ],
}


def test_loans_know_nothing_of_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults within cells and at their boundaries, with the plane solved ahead or not."""
    whole = ran(tmp_path / "whole", **TROUBLED)
    monkeypatch.setattr(running, "TICK_NS", 37 * MS + 1)
    parts = ran(tmp_path / "parts", **TROUBLED)
    assert whole.digest == parts.digest
    assert whole.rows("violations") == []
    network = {**TROUBLED["network"], "lanes": "isolated"}
    assert ran(tmp_path / "apart", **{**TROUBLED, "network": network}).digest != whole.digest


def test_a_throttled_lane_gets_its_part_of_what_is_left(tmp_path: Path) -> None:
    """Two fifths of 30 Mbit/s from 1,650 ms on: half of that reserved, the other half lent."""
    made = world(tmp_path, **TROUBLED)
    made.start()
    made.advance(1_699 * MS)
    (link, _) = made.nodes[0].links
    assert isinstance(link.agents, SharedLane)
    assert link.agents.reserved_bits_per_s == 6_000_000
    assert 6_000_000 <= link.agents.rate_in(16) <= 12_000_000
    assert made.plane is not None
    factor = int(made.plane._world.uplink.state["factor_ppm"][0])
    assert factor == -(-15_000_000 * 10**6 // link.agents.rate_in(16))
    assert made.plane._payload._lanes.uplink_ppm[0] == factor


def test_use_is_taken_once_at_each_boundary(tmp_path: Path) -> None:
    made = world(tmp_path, network={"lanes": "shared"}, agents=AGENTS)
    assert made.plane is not None
    made.plane.advance(GRID_NS // 2)
    with pytest.raises(ValueError, match="due at 100000000"):
        made.plane.take_use()
    made.plane.advance(GRID_NS)
    assert made.plane.take_use().shape == (2, 4)
    with pytest.raises(ValueError, match="due at 200000000"):
        made.plane.take_use()
