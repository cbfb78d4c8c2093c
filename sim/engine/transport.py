"""Move messages between validators: uplink, wire, downlink, verification, core.

Owns every instant between an effect and the event that it becomes at a peer. A delivery is one
SimPy event object that is scheduled twice: when its last bit can have arrived (downlink), and when
its verification is done (core). A node's own statements leave in the order in which it made them.
Relays of a tree or gossip forward what they have decoded, before they verify it.
Must not know: what messages mean, beyond their size and the signatures they carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
import simpy
from simpy.events import NORMAL

from sim.engine.load import NO_LOAD, Load, load_of
from sim.engine.loop import Loop
from sim.engine.meter import Flow, Meter
from sim.engine.node import Node
from sim.protocol.messages import (
    Message,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
)
from sim.scenario.model import Dissemination, Star, Tree
from sim.world.chance import Chance, mix, mix_array
from sim.world.crypto.costs import CostModel
from sim.world.network.dissemination import gossip_peers, star_order, tree
from sim.world.network.links import CORRUPT, DELAY, DROP, DUPLICATE, Links
from sim.world.network.tables import NetworkTables

_LOSS_BITS = 30
_LOSS_MASK = (1 << _LOSS_BITS) - 1
_PACKET_BYTES = 1460
_VERIFIED_KEPT = 256
"""Certificates that a node remembers as verified; an older one is verified again."""
_RELAYED_KEPT = 1024
_VECTOR_FROM = 8
"""Fan-outs of at least this many copies draw their delays as one array."""


class Relay:
    """How one broadcast spreads beyond its origin: by a tree, or by gossip."""

    __slots__ = ("children", "fanout", "message", "origin")

    def __init__(
        self, origin: int, message: int, children: dict[int, list[int]] | None, fanout: int
    ) -> None:
        self.origin = origin
        self.message = message
        self.children = children
        """Whom each node passes it to; None for gossip, where each draws its peers."""
        self.fanout = fanout


class Copy:
    """What all copies of one transmission share. `sender`: whose message it is.

    `work_ns`: what decoding and loose signatures cost a receiver; certificates come on top.
    """

    __slots__ = (
        "certificates",
        "flow",
        "message",
        "relay",
        "sender",
        "size_bytes",
        "verified",
        "work_ns",
    )

    def __init__(
        self,
        sender: int,
        message: Message,
        size_bytes: int,
        load: Load,
        work_ns: int,
        flow: Flow,
        relay: Relay | None = None,
    ) -> None:
        self.sender = sender
        self.message = message
        self.size_bytes = size_bytes
        self.certificates = load.certificates
        self.work_ns = work_ns
        self.flow = flow
        self.relay = relay
        self.verified = True


class Delivery(simpy.events.Event):
    """One copy on its way to one receiver, between the regions of `pair`."""

    __slots__ = ("copy", "life", "pair", "receiver")

    def __init__(self, env: Loop, receiver: Node, pair: int, copy: Copy) -> None:
        # The base constructor is spelled out here: it is a third of a delivery's cost.
        self.env = env
        self._ok = True
        self._value = None
        self.receiver = receiver
        self.life = receiver.life
        self.pair = pair
        self.copy = copy


class Transport:
    """The wires and computers of all validators.

    `deliver(node, sender, message, verified)` is called when a message reaches a core.
    """

    def __init__(
        self,
        *,
        env: Loop,
        nodes: list[Node],
        tables: NetworkTables,
        costs: CostModel,
        links: Links,
        dissemination: Dissemination,
        chance: Chance,
        meter: Meter,
        deliver: Callable[[Node, int, Message, bool], None],
    ) -> None:
        self.env = env
        self.nodes = nodes
        self.tables = tables
        self.costs = costs
        self.links = links
        self._dissemination = dissemination
        self._members = list(range(len(nodes)))
        self._meter = meter
        self._own = Flow(1)
        """Where messages to oneself are counted: nowhere."""
        self._statements: dict[type, tuple[int, Flow]] = {}
        """Work and flow of messages that are one statement: all of a kind are equal."""
        self._deliver = deliver
        self._delay_key = chance.key("validators/delay")
        self._order_key = chance.key("validators/broadcast-order")
        self._sign_key = chance.key("validators/sign")
        self._regions = np.array([node.region for node in nodes], dtype=np.int64)
        self._loss = tables.loss_ppb.tolist()
        self._lossless = not tables.loss_ppb.any()
        self._on_arrival = (self._arrive,)
        self._on_received = (self._received,)
        self._on_verified = (self._hand_over,)

    # -- leaving ------------------------------------------------------------------------------

    def sign(self, node: Node) -> int:
        """Return when `node` has signed a statement made now."""
        node.sequence += 1
        cost = self.costs.sign_ns(mix(self._sign_key, node.id, node.sequence))
        return node.cpu.serve(self.env._now, cost)  # type: ignore[arg-type]

    def _copy(
        self, sender: int, message: Message, size_bytes: int, relay: Relay | None = None
    ) -> Copy:
        fixed = self._statements.get(type(message))
        if fixed is not None:
            return Copy(sender, message, size_bytes, _ONE, fixed[0], fixed[1], relay)
        load = load_of(message)
        costs = self.costs
        work = load.loose * costs.verify_ns + costs.decode_ns(size_bytes)
        flow = self._meter.flow(message)
        if type(message) in (VoteMessage, TimeoutMessage):
            self._statements[type(message)] = (work, flow)
        return Copy(sender, message, size_bytes, load, work, flow, relay)

    def loop_back(self, node: Node, message: Message, ready_ns: int) -> None:
        """Hand `node` its own message once it is signed: nothing is sent, nothing verified."""
        copy = Copy(node.id, message, 0, NO_LOAD, 0, self._own)
        event = Delivery(self.env, node, 0, copy)
        event.callbacks = self._on_verified  # type: ignore[assignment]
        self.env.schedule(event, NORMAL, ready_ns - self.env.now)

    def send(self, source: Node, to: int, message: Message, size_bytes: int, ready_ns: int) -> None:
        """Send one copy to one node, leaving no earlier than `ready_ns`."""
        target = self.nodes[to]
        departed = source.uplink.send(ready_ns, size_bytes, to)
        source.sequence += 1
        bits = mix(self._delay_key, source.id << 32 | to, source.sequence)
        delay = self.tables.delay_ns(source.region, target.region, bits)
        copy = self._copy(source.id, message, size_bytes)
        self._launch(source, target, copy, departed, delay, bits)

    def broadcast(self, source: Node, message: Message, size_bytes: int, ready_ns: int) -> None:
        """Send to every other node, as the scenario's dissemination says."""
        source.sequence += 1
        number = source.id << 32 | source.sequence
        how = self._dissemination
        relay = None
        if isinstance(how, Star) or type(message) not in _SPREAD:
            others = [node for node in self._members if node != source.id]
            targets = star_order(others, self._order_key, number)
        elif isinstance(how, Tree):
            children = tree(self._members, source.id, how.fanout, self._order_key, number)
            relay = Relay(source.id, number, children, how.fanout)
            targets = children[source.id]
        else:
            relay = Relay(source.id, number, None, how.fanout)
            source.relayed[number] = None
            targets = gossip_peers(self._members, source.id, how.fanout, self._order_key, number)
        copy = self._copy(source.id, message, size_bytes, relay)
        self.fan_out(source, copy, targets, ready_ns)

    def fan_out(self, source: Node, copy: Copy, targets: list[int], ready_ns: int) -> None:
        """Send one copy to each of `targets`, one after the other on the uplink."""
        source.sequence += 1
        bits, delays = self._draw(source, targets)
        nodes = self.nodes
        ends = source.uplink.send_copies(ready_ns, copy.size_bytes, targets)
        for to, departed, delay, drawn in zip(targets, ends, delays, bits, strict=True):
            self._launch(source, nodes[to], copy, departed, delay, drawn)

    def _draw(self, source: Node, targets: list[int]) -> tuple[list[int], list[int]]:
        if len(targets) < _VECTOR_FROM:
            bits = [mix(self._delay_key, source.id << 32 | to, source.sequence) for to in targets]
            regions = [self.nodes[to].region for to in targets]
            delay = self.tables.delay_ns
            return bits, [delay(source.region, r, b) for r, b in zip(regions, bits, strict=True)]
        chosen = np.array(targets, dtype=np.int64)
        drawn = mix_array(self._delay_key, source.id << 32 | chosen, source.sequence)
        delays = self.tables.delay_array(
            np.full(len(targets), source.region), self._regions[chosen], drawn
        )
        return drawn.tolist(), delays.tolist()

    def _launch(
        self, source: Node, target: Node, copy: Copy, departed: int, delay: int, bits: int
    ) -> None:
        size = copy.size_bytes
        pair = source.region * self._meter.regions + target.region
        flow = copy.flow
        flow.offered[pair] += 1
        flow.offered_bytes[pair] += size
        event = Delivery(self.env, target, pair, copy)
        if not self._lossless:
            delay += self._retransmission(source, target, size, delay, bits)
        if not self.links.idle:
            judged = self._judged(event, source, departed, delay, bits)
            if judged is None:
                return
            delay = judged
        self._schedule_arrival(event, departed + delay)

    def _judged(
        self, event: Delivery, source: Node, departed: int, delay: int, bits: int
    ) -> int | None:
        """Apply the link rules; return the delay, or None where the message is lost."""
        target = event.receiver
        verdict = self.links.judge(source.id, target.id, self.env.now, bits)
        if verdict is None:
            return delay
        if verdict.kind == DROP:
            self._lose(event, "link_rule")
            return None
        if verdict.kind == DELAY:
            return delay + verdict.extra_ns
        if verdict.kind == CORRUPT:
            event.copy = copy(event.copy)
            event.copy.verified = False
        elif verdict.kind == DUPLICATE:
            twin = Delivery(self.env, target, event.pair, event.copy)
            self._schedule_arrival(twin, departed + delay + verdict.extra_ns)
        return delay

    def _schedule_arrival(self, event: Delivery, first_bit_ns: int) -> None:
        """Wake the receiver when the last bit can have come in at the earliest."""
        event.callbacks = self._on_arrival  # type: ignore[assignment]
        last = first_bit_ns + event.receiver.downlink.service_ns(event.copy.size_bytes)
        env = self.env
        env.schedule(event, NORMAL, last - env._now)

    def _lose(self, event: Delivery, reason: str) -> None:
        copy = event.copy
        self._meter.lost(reason, copy.message, event.pair, copy.size_bytes)

    def _retransmission(self, source: Node, target: Node, size: int, delay: int, bits: int) -> int:
        """Return the delay of repairing lost packets: the transport under us is reliable.

        Probability (n packets x loss) capped at 1, cost one more round trip: TCP and QUIC repair
        a loss by fast retransmission.
        """
        packets = -(-size // _PACKET_BYTES)
        loss = self._loss[source.region][target.region] * packets
        lost = (bits & _LOSS_MASK) * 1_000_000_000 < loss << _LOSS_BITS
        return 2 * delay if lost else 0

    # -- arriving -----------------------------------------------------------------------------

    def _arrive(self, event: Any) -> None:
        node: Node = event.receiver
        if not node.up or event.life != node.life:
            self._lose(event, "receiver_down")
            return
        now = self.env._now
        size = event.copy.size_bytes
        lane = node.downlink
        finish = lane.send(now - lane.service_ns(size), size)
        if finish > now:
            event.callbacks = self._on_received
            self.env.schedule(event, NORMAL, finish - now)
        else:
            self._received(event)

    def _received(self, event: Any) -> None:
        node: Node = event.receiver
        copy: Copy = event.copy
        if copy.relay is not None and not self._relay(node, event, copy.relay):
            return
        env = self.env
        now: int = env._now  # type: ignore[assignment]
        if copy.certificates:
            known = node.verified
            fresh = sum([n for key, n in copy.certificates if key not in known])
            work = copy.work_ns + fresh * self.costs.verify_ns
            done = node.cpu.serve_split(now, work) if fresh else node.cpu.serve(now, work)
        else:
            done = node.cpu.serve(now, copy.work_ns)
        event.callbacks = self._on_verified
        env.schedule(event, NORMAL, done - now)

    def _relay(self, node: Node, event: Delivery, relay: Relay) -> bool:
        """Forward a tree or gossip copy; False when this copy is a duplicate."""
        if relay.message in node.relayed:
            self._lose(event, "duplicate")
            return False
        node.relayed[relay.message] = None
        if len(node.relayed) > _RELAYED_KEPT:
            del node.relayed[next(iter(node.relayed))]
        if relay.children is not None:
            targets = relay.children.get(node.id, [])
        else:
            targets = gossip_peers(
                self._members, node.id, relay.fanout, self._order_key, relay.message
            )
        if targets:
            self.fan_out(node, event.copy, targets, self.env.now)
        return True

    def _hand_over(self, event: Any) -> None:
        node: Node = event.receiver
        copy: Copy = event.copy
        if not node.up or event.life != node.life:
            self._lose(event, "receiver_down")
            return
        if copy.certificates and copy.verified:
            self.remember(node, copy.certificates)
        flow = copy.flow
        flow.delivered[event.pair] += 1
        flow.delivered_bytes[event.pair] += copy.size_bytes
        self._deliver(node, copy.sender, copy.message, copy.verified)

    def remember(self, node: Node, certificates: Sequence[tuple[bytes, int]]) -> None:
        """Note certificates that `node` has verified or made: it will not verify them again."""
        known = node.verified
        for key, _ in certificates:
            known[key] = None
        while len(known) > _VERIFIED_KEPT:
            del known[next(iter(known))]


_ONE = Load(1)
_SPREAD = (Proposal, TimeoutCertificateMessage)
"""What is spread by tree or gossip; small statements always go straight."""
