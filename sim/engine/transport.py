"""Move messages between validators: uplink, wire, downlink, verification, core.

Owns every instant between an effect and the event that it becomes at a peer. A delivery is one
SimPy event object that is scheduled twice: when its last bit can have arrived (downlink), and when
its verification is done (core). A node's own statements leave in the order in which it made them.
Relays of a tree or gossip forward what they have decoded, before they verify it.
Must not know: what messages mean, beyond their size and the signatures they carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import simpy
from simpy.events import NORMAL

from sim.engine.load import Load, load_of
from sim.engine.node import Node
from sim.protocol.messages import Message, Proposal, TimeoutCertificateMessage
from sim.world.chance import MASK, Chance, mix, mix_array
from sim.world.crypto.costs import CostModel
from sim.world.network.dissemination import Dissemination, gossip_peers, permutation
from sim.world.network.links import LinkRules
from sim.world.network.stations import Cpu, serialisation_ns
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
    """How one broadcast spreads: the keyed order of all nodes, its origin first."""

    __slots__ = ("fanout", "key", "kind", "order")

    def __init__(self, kind: str, key: int, order: Sequence[int], fanout: int) -> None:
        self.kind = kind
        self.key = key
        self.order = order
        self.fanout = fanout


class Delivery(simpy.events.Event):
    """One copy of a message on its way to one receiver."""

    __slots__ = (
        "life",
        "load",
        "message",
        "position",
        "receiver",
        "relay",
        "sender",
        "size_bytes",
        "verified",
    )

    def __init__(
        self,
        env: simpy.Environment,
        receiver: Node,
        sender: int,
        message: Message,
        size_bytes: int,
        load: Load,
    ) -> None:
        # The base constructor is spelled out here: it is a third of a delivery's cost.
        self.env = env
        self._ok = True
        self._value = None
        self.receiver = receiver
        self.life = receiver.life
        self.sender = sender
        self.message = message
        self.size_bytes = size_bytes
        self.load = load
        self.relay: Relay | None = None
        self.position = 0
        self.verified = True


class Transport:
    """The wires and computers of all validators.

    `deliver(node, sender, message, verified)` is called when a message reaches a core;
    `lose(reason, message)` when one is lost.
    """

    def __init__(
        self,
        *,
        env: simpy.Environment,
        nodes: list[Node],
        tables: NetworkTables,
        costs: CostModel,
        rules: LinkRules,
        dissemination: Dissemination,
        chance: Chance,
        deliver: Callable[[Node, int, Message, bool], None],
        lose: Callable[[str, Message], None],
    ) -> None:
        self.env = env
        self.nodes = nodes
        self.tables = tables
        self.costs = costs
        self.rules = rules
        self.dissemination = dissemination
        self._deliver = deliver
        self._lose = lose
        self._delay_key = chance.key("validators/delay")
        self._order_key = chance.key("validators/broadcast-order")
        self._sign_key = chance.key("validators/sign")
        self._regions = np.array([node.region for node in nodes], dtype=np.int64)
        self._loss = tables.loss_ppb.tolist()
        self._on_arrival = (self._arrive,)
        self._on_received = (self._received,)
        self._on_verified = (self._hand_over,)
        self.messages = 0
        self.bytes = 0

    # -- leaving ------------------------------------------------------------------------------

    def sign(self, node: Node, statements: int) -> int:
        """Return when `node` has signed `statements` statements made now."""
        ready = self.env.now
        for _ in range(statements):
            node.sequence += 1
            cost = self.costs.sign_ns(mix(self._sign_key, node.id, node.sequence))
            ready = node.cpu.serve(self.env.now, cost)
        return ready

    def loop_back(self, node: Node, message: Message, ready_ns: int) -> None:
        """Hand `node` its own message once it is signed: nothing is sent, nothing verified."""
        event = Delivery(self.env, node, node.id, message, 0, _NO_LOAD)
        event.callbacks = self._on_verified  # type: ignore[assignment]
        self.env.schedule(event, NORMAL, ready_ns - self.env.now)

    def send(self, source: Node, to: int, message: Message, size_bytes: int, ready_ns: int) -> None:
        """Send one copy to one node, leaving no earlier than `ready_ns`."""
        target = self.nodes[to]
        departed = source.uplink.send(ready_ns, size_bytes, to)
        source.sequence += 1
        bits = mix(self._delay_key, source.id << 32 | to, source.sequence)
        delay = self.tables.delay_ns(source.region, target.region, bits)
        event = Delivery(self.env, target, source.id, message, size_bytes, load_of(message))
        self._launch(event, source, departed, delay, bits)

    def broadcast(self, source: Node, message: Message, size_bytes: int, ready_ns: int) -> None:
        """Send to every other node, as the scenario's dissemination says."""
        source.sequence += 1
        key = mix(self._order_key, source.id, source.sequence)
        order = permutation(key, len(self.nodes), source.id)
        kind = self.dissemination.kind
        if kind == "star" or type(message) not in _SPREAD:
            relay = None
            positions = range(1, len(order))
        elif kind == "tree":
            relay = Relay("tree", key, order, self.dissemination.fanout)
            positions = _children(0, relay)
        else:
            relay = Relay("gossip", key, order, self.dissemination.fanout)
            source.relayed[(source.id, key)] = None
            positions = _peers(source.id, relay)
        self.fan_out(
            source, source.id, message, size_bytes, ready_ns, order, positions, relay, True
        )

    def fan_out(
        self,
        source: Node,
        origin: int,
        message: Message,
        size_bytes: int,
        ready_ns: int,
        order: Sequence[int],
        positions: Sequence[int],
        relay: Relay | None,
        verified: bool,
    ) -> None:
        """Send one copy to the node at each of `positions` in `order`, one after the other."""
        source.sequence += 1
        load = load_of(message)
        targets = [order[position] for position in positions]
        bits, delays = self._draw(source, targets)
        depart = source.uplink.send
        for index, position in enumerate(positions):
            departed = depart(ready_ns, size_bytes, targets[index])
            target = self.nodes[targets[index]]
            event = Delivery(self.env, target, origin, message, size_bytes, load)
            event.relay = relay
            event.position = position
            event.verified = verified
            self._launch(event, source, departed, delays[index], bits[index])

    def _draw(self, source: Node, targets: list[int]) -> tuple[list[int], list[int]]:
        if len(targets) < _VECTOR_FROM:
            bits = [mix(self._delay_key, source.id << 32 | to, source.sequence) for to in targets]
            regions = [self.nodes[to].region for to in targets]
            delay = self.tables.delay_ns
            return bits, [delay(source.region, r, b) for r, b in zip(regions, bits, strict=True)]
        chosen = np.array(targets, dtype=np.int64)
        drawn = mix_array(self._delay_key, source.id << 32 | chosen, source.sequence)
        delays = self.tables.delay_array(source.region, self._regions[chosen], drawn)
        return drawn.tolist(), delays.tolist()

    def _launch(self, event: Delivery, source: Node, departed: int, delay: int, bits: int) -> None:
        target = event.receiver
        size = event.size_bytes
        delay += self._retransmission(source, target, size, delay, bits)
        if self.rules.active:
            verdict = self.rules.verdict(source, target, self.env.now, bits)
            if verdict.drop:
                self._lose(verdict.reason, event.message)
                return
            delay += verdict.delay_ns
            if verdict.copies > 1:
                self._duplicate(event, departed + delay)
            if verdict.corrupt:
                event.verified = False
        earliest = departed + delay + serialisation_ns(size, target.downlink.bits_per_s)
        event.callbacks = self._on_arrival  # type: ignore[assignment]
        self.env.schedule(event, NORMAL, earliest - self.env.now)

    def _duplicate(self, event: Delivery, arrives_ns: int) -> None:
        target = event.receiver
        twin = Delivery(self.env, target, event.sender, event.message, event.size_bytes, event.load)
        twin.callbacks = self._on_arrival  # type: ignore[assignment]
        earliest = arrives_ns + serialisation_ns(event.size_bytes, target.downlink.bits_per_s)
        self.env.schedule(twin, NORMAL, earliest - self.env.now)

    def _retransmission(self, source: Node, target: Node, size: int, delay: int, bits: int) -> int:
        """Return the delay of repairing lost packets: the transport under us is reliable.

        Probability (n packets x loss) capped at 1, cost one more round trip: TCP and QUIC repair
        a loss by fast retransmission.
        """
        loss = self._loss[source.region][target.region]
        if loss == 0:
            return 0
        packets = -(-size // _PACKET_BYTES)
        lost = (bits & _LOSS_MASK) * 1_000_000_000 < (loss * packets) << _LOSS_BITS
        return 2 * delay if lost else 0

    # -- arriving -----------------------------------------------------------------------------

    def _arrive(self, event: Any) -> None:
        node: Node = event.receiver
        if not node.up or event.life != node.life:
            self._lose("receiver_down", event.message)
            return
        now = self.env.now
        size = event.size_bytes
        lane = node.downlink
        first_bit = now - serialisation_ns(size, lane.bits_per_s)
        finish = lane.send(first_bit, size, event.sender)
        if finish > now:
            event.callbacks = self._on_received
            self.env.schedule(event, NORMAL, finish - now)
        else:
            self._received(event)

    def _received(self, event: Any) -> None:
        node: Node = event.receiver
        if event.relay is not None and not self._relay(node, event):
            return
        now = self.env.now
        loose, certificates = event.load
        costs = self.costs
        work = loose * costs.verify_ns + costs.decode_ns(event.size_bytes)
        fresh = sum(n for key, n in certificates if key not in node.verified)
        if fresh:
            done = _serve_split(node.cpu, now, work + fresh * costs.verify_ns)
        else:
            done = node.cpu.serve(now, work)
        event.callbacks = self._on_verified
        self.env.schedule(event, NORMAL, done - now)

    def _relay(self, node: Node, event: Delivery) -> bool:
        """Forward a tree or gossip copy; False when this copy is a duplicate."""
        relay = event.relay
        assert relay is not None
        mark = (event.sender, relay.key)
        if mark in node.relayed:
            self._lose("duplicate", event.message)
            return False
        node.relayed[mark] = None
        if len(node.relayed) > _RELAYED_KEPT:
            del node.relayed[next(iter(node.relayed))]
        if relay.kind == "tree":
            positions: Sequence[int] = _children(event.position, relay)
        else:
            positions = _peers(node.id, relay)
        if positions:
            self.fan_out(
                node,
                event.sender,
                event.message,
                event.size_bytes,
                self.env.now,
                relay.order,
                positions,
                relay,
                event.verified,
            )
        return True

    def _hand_over(self, event: Any) -> None:
        node: Node = event.receiver
        if not node.up or event.life != node.life:
            self._lose("receiver_down", event.message)
            return
        certificates = event.load[1]
        if certificates and event.verified:
            self.remember(node, certificates)
        self.messages += 1
        self.bytes += event.size_bytes
        self._deliver(node, event.sender, event.message, event.verified)

    def remember(self, node: Node, certificates: Sequence[tuple[bytes, int]]) -> None:
        """Note certificates that `node` has verified or made: it will not verify them again."""
        known = node.verified
        for key, _ in certificates:
            known[key] = None
        while len(known) > _VERIFIED_KEPT:
            del known[next(iter(known))]


def _serve_split(cpu: Cpu, now_ns: int, work_ns: int) -> int:
    """Share the verification of a certificate out to all workers; return when the last is done."""
    part = -(-work_ns // cpu.workers)
    return max([cpu.serve(now_ns, part) for _ in range(cpu.workers)])


_NO_LOAD = Load(0)
_SPREAD = (Proposal, TimeoutCertificateMessage)
"""What is spread by tree or gossip; small statements always go straight."""


def _children(position: int, relay: Relay) -> range:
    first = position * relay.fanout + 1
    return range(min(first, len(relay.order)), min(first + relay.fanout, len(relay.order)))


def _peers(me: int, relay: Relay) -> list[int]:
    peers = gossip_peers(relay.key & MASK, me, len(relay.order), relay.fanout)
    places = {node: place for place, node in enumerate(relay.order)}
    return [places[peer] for peer in peers]
