"""Bring the validators of a lost region up at its site, and move them home when it is back.

Owns: health checks, the decision, promotion, routing and fail-back as steps in simulated time, and
their rows. Must not know: what a fault is made of, how records travel.

While the weight that runs makes a quorum nothing is ordered. A place whose validators still run is
held back, though nobody reaches it: an identity never runs twice. Who comes up has the blocks of
the site's copy. Before it signs, it fetches from who is left what it lacks up to the newest
certificate, and it votes in later views only: while a quorum and the rest overlap, it contradicts
nothing that it may have signed in the lost place. Where they don't, no fence helps, and what only
the lost place knew is gone. Left out: an epoch that only the lost place had opened (in its first
view it may vote again), a second move of who has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sim.engine.faults import Timetable
from sim.engine.loop import Loop
from sim.engine.node import Core, Node
from sim.engine.observer import Observer
from sim.engine.replication import Copy, Pair, Replication, chain_of
from sim.engine.transport import Transport
from sim.monitor.base import NOBODY
from sim.protocol.chain import Chain
from sim.protocol.effects import PersistentState
from sim.protocol.events import BlocksReceived
from sim.protocol.messages import BlocksRequest, BlocksResponse, wire_size_bytes
from sim.protocol.sync import ANYTHING, answer
from sim.protocol.types import Block
from sim.protocol.validator import Validator
from sim.record.recorder import Sink
from sim.world.chance import Chance
from sim.world.cloud.recovery import Stages
from sim.world.crypto.suites import SIGNATURE_BYTES
from sim.world.faults import Fault
from sim.world.faults.occurrence import Lifetimes
from sim.world.faults.places import Outage
from sim.world.network.links import stopped
from sim.world.network.regions import provider_of
from sim.world.network.stations import serialisation_ns

CAUGHT_UP_NS = 100_000_000
"""How often it is looked whether a validator that moved home has caught up."""
_LOADED_BLOCKS = 64
_EVERYONE_NS = 1 << 62


@dataclass(slots=True)
class Place:
    """What is known of a region with a site. Times: -1 while it does not apply."""

    pair: Pair
    failed: int = 0
    """Health checks in a row that got no answer."""
    lost_ns: int = -1
    """When it was lost, until a block that was proposed later is committed."""
    gone: bool = False
    """Whether it is known to have failed, by the checks."""
    ordered: bool = False
    """Whether its promotion is under way."""
    held: bool = False
    """Whether that waits for the end of validators that still run."""
    promoted: bool = False
    returning: bool = False
    """Whether its way home is under way."""
    struck: int = 0
    """Outages in force at its site while its validators are there."""


class Standby:
    """The operators and automation of one run."""

    def __init__(
        self,
        *,
        env: Loop,
        replication: Replication,
        stages: Stages,
        fail_back: Lifetimes | None,
        timetable: Timetable,
        transport: Transport,
        observer: Observer,
        chance: Chance,
        core: Callable[[int], Core],
        healed: Callable[[int], None],
        sink: Sink,
    ) -> None:
        self._env = env
        self._replication = replication
        self._stages = stages
        self._fail_back = fail_back
        self._timetable = timetable
        self._transport = transport
        self._links = transport.links
        self._observer = observer
        self._core = core
        self._healed = healed
        self._row = sink.append_row
        self._draws = chance.stream("clouds/recovery")
        self._places = [Place(pair) for pair in replication.pairs.values()]
        self._nodes = timetable.nodes
        self._homes = [node.region for node in self._nodes]
        self._decided_ns = -1
        """When it was decided, or will be, that lost regions come up elsewhere; -1: nobody asks."""

    def start(self) -> None:
        """Arm the health checks, at a phase of their own."""
        first = int(self._draws.integers(self._stages.check_every_ns))
        self._env.at(first, self._check, first)

    # -- what happens to places ---------------------------------------------------------------

    def told(self, fault: Fault, begins: bool) -> None:
        """Hear that a fault has begun or ended: it may be a place, or a site, that it struck."""
        now = self._env.now
        for place in self._places:
            if isinstance(fault, Outage) and place.promoted:
                self._strike(place, fault, begins)
            if begins and place.lost_ns < 0 and not place.promoted and self._lost(place, fault):
                place.lost_ns = now
                self._note(place, "lost", place.pair.stream.age_ns(now))
            elif not begins and place.promoted and self._concerns(place, fault):
                self._came_back(place)

    def _lost(self, place: Place, fault: Fault) -> bool:
        """Say whether all of a region is down now, or has just been cut off."""
        if isinstance(fault, Outage) and fault.cut_off:
            return all(node in fault.nodes for node in place.pair.members)
        return not self._runs(place) and self._concerns(place, fault)

    def _concerns(self, place: Place, fault: Fault) -> bool:
        return any(node in fault.nodes for node in place.pair.members)

    def _strike(self, place: Place, fault: Outage, begins: bool) -> None:
        """Let an outage of the site stop who has come up there; they keep what they had."""
        site = place.pair.site
        if fault.cut_off or fault.place not in (site, provider_of(site)):
            return
        place.struck += 1 if begins else -1
        if place.struck != int(begins):
            return
        for node in place.pair.members:
            if begins and self._nodes[node].up:
                self._timetable.stop(node)
            elif not begins and not self._nodes[node].up:
                self._timetable.start(node, amnesia=False)
        if not begins:
            self._came_back(place)

    def _sound(self, place: Place) -> bool:
        return all(self._timetable.sound(node) for node in place.pair.members)

    def committed(self, block: Block, now_ns: int) -> None:
        """Hear of a block's first commit: the chain is back with one proposed after the loss."""
        proposed_ns = self._observer.proposed_ns(block.id)
        for place in self._places:
            if 0 <= place.lost_ns < proposed_ns:
                self._note(place, "back", now_ns - place.lost_ns)
                place.lost_ns = -1

    def wrote(self, block: Block, now_ns: int) -> None:
        """Hear of a block's first commit, and let each region write it."""
        self._replication.committed(block, now_ns)
        self.committed(block, now_ns)

    def finish(self, now_ns: int) -> None:
        """Write what the end of the run has cut off."""
        for place in self._places:
            if place.lost_ns >= 0:
                self._note(place, "not_back", now_ns - place.lost_ns)

    # -- checks and the decision --------------------------------------------------------------

    def _check(self, now_ns: int) -> None:
        """Look at every region; decide where so much is gone that the rest makes no quorum."""
        stages = self._stages
        for place in self._places:
            if place.promoted:
                continue
            if self._answers(place):
                if place.gone:
                    place.gone = False
                    self._note(place, "returned")
                place.failed = 0
                continue
            place.failed += 1
            if place.failed == stages.checks_failed:
                place.gone = True
                self._note(place, "detected")
        self._decide(now_ns)
        self._env.at(now_ns + stages.check_every_ns, self._check, now_ns + stages.check_every_ns)

    def _answers(self, place: Place) -> bool:
        """Say whether a validator of a region answers a check from its site, if the site stands."""
        host, now = place.pair.host, self._env.now
        for node in place.pair.members:
            if not self._nodes[node].up:
                continue
            ways = ((host, node), (node, host))
            verdicts = [self._links.judge(*way, now, _EVERYONE_NS) for way in ways]
            if not any(map(stopped, verdicts)):
                return True
        return False

    def _quorate(self) -> bool:
        """Say whether the weight that runs makes a quorum of the newest epoch."""
        newest = self._observer.epochs()[-1]
        weights = newest.weights.weights
        gone = {node for place in self._places if place.gone for node in place.pair.members}
        there = (n for n in self._nodes if n.up and n.id not in gone)
        return sum(weights[node.id] for node in there) >= newest.quorum

    def _decide(self, now_ns: int) -> None:
        wanted = [p for p in self._places if p.gone and not p.promoted and not p.ordered]
        if not wanted or self._stages.standby == "none" or self._quorate():
            if not wanted:
                self._decided_ns = -1
            return
        if self._decided_ns < 0:
            self._decided_ns = now_ns + self._stages.decision.draw_ns(self._draws)
            self._env.at(self._decided_ns, self._order)
        elif self._decided_ns <= now_ns:
            self._order(None)

    def _order(self, _: None) -> None:
        """Have every region that is gone come up elsewhere."""
        for place in self._places:
            if place.gone and not place.promoted and not place.ordered:
                place.ordered = True
                self._note(place, "decided")
                taken = self._stages.promotion.draw_ns(self._draws) + self._stages.restore_ns
                self._env.at(self._env.now + taken, self._ready, place)

    # -- promotion ----------------------------------------------------------------------------

    def _cancelled(self, place: Place) -> bool:
        """Give up where the place has come back; wait where it runs what would come up twice.

        And where its site is down as well.
        """
        if not place.gone:
            place.ordered = place.held = False
            self._note(place, "cancelled")
        elif self._runs(place) or not self._site_stands(place):
            if not place.held:
                self._note(place, "held_back")
            place.held = True
            self._env.at(self._env.now + self._stages.check_every_ns, self._ready, place)
        else:
            return False
        return True

    def _runs(self, place: Place) -> bool:
        return any(self._nodes[node].up for node in place.pair.members)

    def _site_stands(self, place: Place) -> bool:
        site = self._transport.tables.index(place.pair.site)
        homes = enumerate(self._homes)
        return any(home == site and self._timetable.sound(node) for node, home in homes)

    def _ready(self, place: Place) -> None:
        if self._cancelled(place):
            return
        self._note(place, "readied")
        ttl_ns = self._stages.routing_ttl_ns
        self._env.at(self._env.now + int(self._draws.integers(ttl_ns + 1)), self._promote, place)

    def _promote(self, place: Place) -> None:
        """Make the cores of a region's validators from the site's copy and from who is left."""
        if self._cancelled(place):
            return
        self._note(place, "routed")
        pair = place.pair
        copy = pair.stream.copy
        cores = [self._restored(node, copy) for node in pair.members]
        best = self._best()
        # A round trip, and what they lack, one after the other from who has the newest certificate.
        taken = 2 * self._replication.delay_ns(pair)
        if best is not None:
            fetched = sum(load(core, chain_of(best), None) for core in cores)
            taken += serialisation_ns(fetched, best.uplink.bits_per_s)
        self._env.at(self._env.now + taken, self._come_up, (place, cores, copy.written_ns))

    def _come_up(self, due: tuple[Place, list[Validator], int]) -> None:
        """Let a region's validators run at its site."""
        place, cores, written_ns = due
        if self._cancelled(place):
            return
        pair = place.pair
        pair.away = place.promoted = True
        place.ordered = place.held = place.gone = False
        place.failed = place.struck = 0
        region = self._transport.tables.index(pair.site)
        floor = self._floor(pair.stream.copy)
        for node, core in zip(pair.members, cores, strict=True):
            self._timetable.leave(node, away=True)
            self._move(node, region, pair.host)
            self._timetable.replace(node, core)
            self._nodes[node].persisted = floor
            self._note(place, "promoted", written_ns, node)
            self._timetable.start(node, amnesia=True)
        self._healed(self._env.now)

    def _move(self, node: int, region: int, like: int) -> None:
        self._transport.relocate(self._nodes[node], region)
        self._links.stand_in(node, like)

    def _restored(self, node: int, copy: Copy) -> Validator:
        """Make the core of a validator that knows the blocks of a copy and nothing else."""
        core = cast("Validator", self._core(node))
        load(core, chain_of(self._nodes[node]), copy.marks.height)
        return core

    def _best(self) -> Node | None:
        """Return who of those that run has the newest certificate; None: nobody runs."""
        up = [node for node in self._nodes if node.up]
        chains = {node.id: chain_of(node) for node in up}

        def newest(node: Node) -> tuple[int, int]:
            return chains[node.id].epoch.epoch, chains[node.id].high_qc.view

        return max(up, key=newest, default=None)

    def _floor(self, copy: Copy) -> PersistentState | None:
        """Return what binds all who come up: they vote in no view up to the newest of all, V.

        They time out in V, for those who are left may need them to leave it. A lost validator can
        have voted in V + 1 at most, and then one of them proposed there: it will not do so again,
        and nobody votes in a view without a proposal.
        """
        up = [node for node in self._nodes if node.up]
        states = [s for s in (*(n.persisted for n in up), *copy.marks.signed) if s is not None]
        if not states:
            return None
        epoch = max(state.epoch for state in states)
        newest = [state for state in states if state.epoch == epoch]
        known = [state.high_qc for state in newest]
        known += [qc for qc in (chain_of(n).high_qc for n in up) if qc.epoch == epoch]
        best = max(known, key=lambda qc: qc.view)
        view = max(best.view + 1, *(state.last_voted_view for state in newest))
        return PersistentState(epoch, view, view + 1, best, None)

    # -- the way home -------------------------------------------------------------------------

    def _came_back(self, place: Place) -> None:
        """Note that a lost place stands again; order its validators home after a while."""
        if place.returning or place.struck or not self._sound(place):
            return
        self._note(place, "returned")
        if self._fail_back is not None:
            place.returning = True
            after = self._fail_back.draw_ns(self._draws)
            self._env.at(self._env.now + after, self._order_back, place)

    def _order_back(self, place: Place) -> None:
        if self._given_up(place):
            return
        self._note(place, "ordered_back")
        self._replication.send_back(place.pair, lambda _: self._synced(place))

    def _given_up(self, place: Place) -> bool:
        """Stop the way home where the home has failed again; its next return begins anew."""
        if self._sound(place) and not place.struck:
            return False
        place.returning = False
        return True

    def _synced(self, place: Place) -> None:
        if not self._given_up(place):
            self._note(place, "synced")
            self._next(place)

    def _next(self, place: Place) -> None:
        """Stop the next validator at the site, copy its last writes, start it at home."""
        pair = place.pair
        home = self._transport.tables.index(pair.region)
        waiting = [node for node in pair.members if self._nodes[node].region != home]
        if not waiting:
            place.promoted = place.returning = False
            self._replication.resume(pair)
            self._note(place, "failed_back")
        elif not self._given_up(place):
            self._timetable.stop(waiting[0])
            delay = self._replication.delay_ns(pair)
            self._env.at(self._env.now + delay, self._arrive, (place, waiting[0], home))

    def _arrive(self, due: tuple[Place, int, int]) -> None:
        place, node, home = due
        self._timetable.leave(node, away=False)
        self._move(node, home, node)
        self._note(place, "moved_back", 0, node)
        if self._timetable.sound(node):
            self._timetable.start(node, amnesia=False)
        self._wait((place, node, self._observer.height))

    def _wait(self, due: tuple[Place, int, int]) -> None:
        """Go on with the next one once this one has every block that was committed by then."""
        place, node, height = due
        if chain_of(self._nodes[node]).tree.final.height >= height:
            self._next(place)
        else:
            self._env.at(self._env.now + CAUGHT_UP_NS, self._wait, due)

    def _note(self, place: Place, step: str, value_ns: int = 0, node: int = NOBODY) -> None:
        self._row(
            "recovery",
            time_ns=self._env.now,
            region=place.pair.region,
            step=step,
            node=node,
            value_ns=value_ns,
        )


def load(core: Validator, chain: Chain, height: int | None) -> int:
    """Give `core` the blocks of another one's chain, up to a height or all; return their bytes."""
    above, fetched = core.chain.tree.final.height, 0
    while height is None or above < height:
        epoch = core.chain.epoch.epoch
        response = answer(chain, BlocksRequest(ANYTHING, above, epoch), _LOADED_BLOCKS)
        known = [b for b in response.blocks if height is None or b.height <= height]
        if len(known) < len(response.blocks):
            following = response.blocks[len(known)]
            response = BlocksResponse(tuple(known), None, following.justify)
        fetched += wire_size_bytes(response, SIGNATURE_BYTES)
        core.handle(BlocksReceived(NOBODY, response), 0)
        if core.chain.epoch.epoch > epoch:
            above = core.chain.epoch.root_height
        elif known and known[-1].id in core.chain.tree:
            above = known[-1].height
        else:
            break
    return fetched
