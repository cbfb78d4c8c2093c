"""Let the lanes of each link lend each other what they leave, at every boundary of the grid.

Owns the one moment, once in 100 simulated ms and before everything else then, at which the agents'
use of the cell that ends is told to the validators' lanes, and the agents get their rates for the
cell that begins. The rule itself is `sim.world.network.stations.SharedLane`'s.
Must not know: what is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simpy.events import URGENT

from sim.engine.loop import Loop
from sim.engine.node import Node
from sim.world.agents.changes import LinkRates
from sim.world.agents.kinds import GRID_NS, PPM, SECOND_NS
from sim.world.network.stations import Link, SharedLane

if TYPE_CHECKING:
    from sim.world.agents.plane import AgentPlane


class Lending:
    """The agents' lanes of all links, from the plane's side and from the validators'."""

    def __init__(self, env: Loop, plane: AgentPlane, nodes: list[Node]) -> None:
        self._env = env
        self._plane = plane
        self._lanes = tuple([_agents_lane(node.links[way]) for node in nodes] for way in range(2))
        self._reserved = tuple([lane.reserved_bits_per_s for lane in way] for way in self._lanes)
        """Rates that the plane was built with."""

    def start(self) -> None:
        """Lend nothing in the first cell; arm the first boundary."""
        for lane in (lane for way in self._lanes for lane in way):
            lane.book(-1, lane.reserved_bits_per_s * GRID_NS // SECOND_NS)
        self._env.at(GRID_NS, self._boundary, GRID_NS, URGENT)

    def _boundary(self, now_ns: int) -> None:
        self._plane.advance(now_ns)
        cell = now_ns // GRID_NS - 1
        for lanes, used in zip(self._lanes, self._plane.take_use().tolist(), strict=True):
            for lane, bits in zip(lanes, used, strict=True):
                lane.book(cell, bits)
        self.renew(now_ns)
        self._env.at(now_ns + GRID_NS, self._boundary, now_ns + GRID_NS, URGENT)

    def renew(self, now_ns: int) -> None:
        """Tell the plane, which is at `now_ns`, the rates in force: throttles, then loans."""
        cell = now_ns // GRID_NS
        up, down = (
            tuple(
                # Rounded up: what is lent is never exceeded.
                -(-reserved * PPM // lane.rate_in(cell))
                for lane, reserved in zip(lanes, own, strict=True)
            )
            for lanes, own in zip(self._lanes, self._reserved, strict=True)
        )
        self._plane.apply(LinkRates(uplink_ppm=up, downlink_ppm=down))


def _agents_lane(link: Link) -> SharedLane:
    lane = link.agents
    assert isinstance(lane, SharedLane)
    return lane
