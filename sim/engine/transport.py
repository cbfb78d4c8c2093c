"""Move messages between validators: uplink, wire, downlink, verification, core.

Owns every instant between an effect and the event that it becomes at a peer. A delivery is one
object that is due twice: when its last bit can have arrived (downlink), and when its verification
is done (core). A node's own statements leave in the order in which it made them.
Relays of a tree or gossip forward what they have decoded, before they verify it.
Must not know: what messages mean, beyond their size and the signatures they carry.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sim.engine.agenda import Happening
from sim.engine.load import NO_LOAD, Load, load_of
from sim.engine.loop import Loop
from sim.engine.meter import Flow, Meter
from sim.engine.node import Node
from sim.engine.tap import Tap
from sim.protocol.baselines.messages import ReproposalMessage
from sim.protocol.messages import STATEMENTS, Message, Proposal, TimeoutCertificateMessage
from sim.scenario.model import Dissemination, Star, Tree
from sim.world.chance import U64, Chance, begin, proceed, proceed_array
from sim.world.crypto.costs import CostModel, attempt_thresholds
from sim.world.network.dissemination import gossip_peers, star_order, tree
from sim.world.network.links import CORRUPT, DELAY, DROP, DUPLICATE, Links
from sim.world.network.tables import NetworkTables

_LOSS_BITS: Final = 30
_LOSS_MASK: Final = (1 << _LOSS_BITS) - 1
_PACKET_BYTES: Final = 1460
_VERIFIED_KEPT: Final = 256
"""Certificates that a node remembers as verified; an older one is verified again."""
_RELAYED_KEPT: Final = 1024
_VECTOR_FROM: Final = 24
"""Fan-outs of at least this many copies draw their delays as one array."""


ARRIVING: Final = 0
RECEIVED: Final = 1
VERIFIED: Final = 2
REVOKED: Final = 3


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
    `risk`: draws of the loss hash below this can have lost a packet on the worst of all paths.
    """

    __slots__ = (
        "certificates",
        "event",
        "flow",
        "message",
        "relay",
        "risk",
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
        risk: int = 0,
    ) -> None:
        self.sender = sender
        self.message = message
        self.size_bytes = size_bytes
        self.certificates = load.certificates
        self.work_ns = work_ns
        self.flow = flow
        self.relay = relay
        self.verified = True
        self.risk = risk
        self.event: Any = None
        """What the receivers' cores are told: the same for all, made once by who delivers."""

    def corrupted(self) -> Copy:
        """Return what arrives in its place where its signatures no longer hold."""
        load = Load(0, self.certificates)
        twin = Copy(
            self.sender, self.message, self.size_bytes, load, self.work_ns, self.flow, self.relay
        )
        twin.verified = False
        return twin


class Delivery(Happening):
    """One copy on its way to one receiver, between the regions of `pair`.

    It is due once for each stage: `ARRIVING` when its last bit can have come in at the earliest,
    `RECEIVED` where the downlink was busy then, `VERIFIED` when the receiver's computer is done.
    Nothing comes of it once it is `REVOKED`: its sender crashed before it had left.
    """

    __slots__ = ("copy", "life", "pair", "receiver", "stage", "transport")

    def __init__(
        self, transport: Transport, receiver: Node, pair: int, copy: Copy, stage: int
    ) -> None:
        self.transport = transport
        self.receiver = receiver
        self.life = receiver.life
        self.pair = pair
        self.copy = copy
        self.stage = stage

    def happen(self) -> None:
        stage = self.stage
        if stage == VERIFIED:
            self.transport.hand_over(self)
        elif stage == ARRIVING:
            self.transport.arrive(self)
        elif stage == RECEIVED:
            self.transport.receive(self)


class Addressee:
    """Who is told when a message reaches a core."""

    def deliver(self, node: Node, copy: Copy) -> None:
        """Hand `copy` to the core of `node`."""
        raise NotImplementedError


class Transport:
    """The wires and computers of all validators.

    What reaches a core goes to `addressee`. `revocable`: validators may crash, so what has not
    left yet has to be known.
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
        addressee: Addressee,
        revocable: bool,
    ) -> None:
        self.agenda = env.agenda
        self.nodes = nodes
        self.tables = tables
        self.costs = costs
        self.links = links
        self._dissemination = dissemination
        self._members = list(range(len(nodes)))
        self._meter = meter
        self._own = Flow("own", 1)
        """Where messages to oneself are counted: nowhere."""
        self._statements: dict[type, tuple[int, Flow, int]] = {}
        """Work, flow and risk of messages that are one statement: all of a kind are equal."""
        self._addressee = addressee
        self._delay_key = chance.key("validators/delay")
        self._order_key = chance.key("validators/broadcast-order")
        self._pairs: list[list[int] | None] = [None] * len(nodes)
        self._pair_array: list[U64 | None] = [None] * len(nodes)
        """By source: the draws of delays to every node, begun."""
        sign_key = chance.key("validators/sign")
        self._signing = [begin(sign_key, node.id) for node in nodes]
        self._attempts = attempt_thresholds()
        self._signing_ns = [
            costs.sign_fixed_ns + costs.sign_attempt_ns * (attempts + 1)
            for attempts in range(len(self._attempts) + 1)
        ]
        """By attempts in vain: what `CostModel.sign_ns` draws, looked up."""
        self._regions = np.array([node.region for node in nodes], dtype=np.int64)
        self._loss = tables.loss_ppb.tolist()
        self._worst_loss = int(tables.loss_ppb.max())
        self._ruled = not links.idle
        self._revocable = revocable
        self.tap: Tap | None = None
        """Who follows single messages, if anybody does."""
        self._region_count = meter.regions

    # -- leaving ------------------------------------------------------------------------------

    def sign(self, node: Node) -> int:
        """Return when `node` has signed a statement made now; a key service signed before now."""
        node.sequence = number = node.sequence + 1
        if node.keys_elsewhere:
            return self.agenda.now_ns
        bits = proceed(self._signing[node.id], number)
        cost = self._signing_ns[bisect_right(self._attempts, bits)]
        return node.cpu.serve(self.agenda.now_ns, cost)

    def _copy(
        self, sender: int, message: Message, size_bytes: int, relay: Relay | None = None
    ) -> Copy:
        fixed = self._statements.get(type(message))
        if fixed is not None:
            return Copy(sender, message, size_bytes, _ONE, fixed[0], fixed[1], relay, fixed[2])
        load = load_of(message)
        costs = self.costs
        work = load.loose * costs.verify_ns + costs.decode_ns(size_bytes)
        flow = self._meter.flow(message)
        risk = self._worst_loss * -(-size_bytes // _PACKET_BYTES) << _LOSS_BITS
        if type(message) in STATEMENTS:
            self._statements[type(message)] = (work, flow, risk)
        return Copy(sender, message, size_bytes, load, work, flow, relay, risk)

    def loop_back(self, node: Node, message: Message, ready_ns: int) -> None:
        """Hand `node` its own message once it is signed: nothing is sent, nothing verified."""
        copy = Copy(node.id, message, 0, NO_LOAD, 0, self._own)
        self.agenda.put(ready_ns, Delivery(self, node, 0, copy, VERIFIED))

    def send(self, source: Node, to: int, message: Message, size_bytes: int, ready_ns: int) -> None:
        """Send one copy to one node, leaving no earlier than `ready_ns`."""
        departed = source.uplink.send(ready_ns, size_bytes, to)
        source.sequence = number = source.sequence + 1
        begun = self._pairs[source.id] or self._begin(source)
        bits = proceed(begun[to], number)
        delay = self.tables.delay_ns(source.region, self.nodes[to].region, bits)
        copy = self._copy(source.id, message, size_bytes)
        self._launch(source, copy, to, departed, delay, bits)

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
        ends = source.uplink.send_copies(ready_ns, copy.size_bytes, targets)
        for place, to in enumerate(targets):
            self._launch(source, copy, to, ends[place], delays[place], bits[place])

    def _begin(self, source: Node) -> list[int]:
        """Begin the draws of delays from `source`: what depends on the pair of nodes alone."""
        key, first = self._delay_key, source.id << 32
        begun = self._pairs[source.id] = [begin(key, first | to) for to in self._members]
        self._pair_array[source.id] = np.array(begun, np.uint64)
        return begun

    def _draw(self, source: Node, targets: list[int]) -> tuple[list[int], list[int]]:
        begun = self._pairs[source.id] or self._begin(source)
        region, number = source.region, source.sequence
        if len(targets) < _VECTOR_FROM:
            nodes, delay = self.nodes, self.tables.delay_ns
            bits = [proceed(begun[to], number) for to in targets]
            return bits, [
                delay(region, nodes[to].region, b) for to, b in zip(targets, bits, strict=True)
            ]
        chosen = np.array(targets, dtype=np.int64)
        drawn = proceed_array(self._pair_array[source.id][chosen], number)  # type: ignore[index]
        delays = self.tables.delay_array(np.array(region), self._regions[chosen], drawn)
        return drawn.tolist(), delays.tolist()

    def _launch(
        self, source: Node, copy: Copy, to: int, departed: int, delay: int, bits: int
    ) -> None:
        """Wake the receiver when the last bit can have come in at the earliest."""
        target = self.nodes[to]
        size = copy.size_bytes
        pair = source.region * self._region_count + target.region
        flow = copy.flow
        flow.offered[pair] += 1
        flow.offered_bytes[pair] += size
        event = Delivery(self, target, pair, copy, ARRIVING)
        if self.tap is not None:
            self._follow(source, departed, event)
        if (bits & _LOSS_MASK) * 1_000_000_000 < copy.risk:
            delay += self.retransmission(source.region, target.region, size, delay, bits)
        if self._ruled:
            judged = self._judged(event, source, departed, delay, bits)
            if judged is None:
                return
            delay = judged
        if self._revocable:
            self._note(source, departed, event)
        self.agenda.put(departed + delay + target.downlink.service_ns(size), event)

    def _judged(
        self, event: Delivery, source: Node, departed: int, delay: int, bits: int
    ) -> int | None:
        """Apply the link rules; return the delay, or None where the message is lost."""
        target = event.receiver
        verdict = self.links.judge(source.id, target.id, self.agenda.now_ns, bits)
        if verdict is None:
            return delay
        if verdict.kind == DROP:
            self._lose(event, "link_rule")
            return None
        if verdict.kind == DELAY:
            return delay + verdict.extra_ns
        if verdict.kind == CORRUPT:
            event.copy = event.copy.corrupted()
        elif verdict.kind == DUPLICATE:
            twin = Delivery(self, target, event.pair, event.copy, ARRIVING)
            service = target.downlink.service_ns(event.copy.size_bytes)
            if self.tap is not None:
                self._follow(source, departed, twin)
            if self._revocable:
                self._note(source, departed, twin)
            self.agenda.put(departed + delay + verdict.extra_ns + service, twin)
        return delay

    def _follow(self, source: Node, departed_ns: int, event: Delivery) -> None:
        assert self.tap is not None
        copy, pair = event.copy, (source.id, event.receiver.id)
        self.tap.sent(
            event, self.agenda.now_ns, departed_ns, pair, copy.sender, copy.message, copy.size_bytes
        )

    def _note(self, source: Node, departed_ns: int, event: Delivery) -> None:
        """Remember what leaves later, and forget what has left meanwhile."""
        leaving, now = source.leaving, self.agenda.now_ns
        while leaving and leaving[0][0] <= now:
            leaving.popleft()
        leaving.append((departed_ns, event))

    def revoke(self, source: Node) -> None:
        """Lose what has not left a validator that crashes now: its last bit is still here."""
        now = self.agenda.now_ns
        for departed_ns, event in source.leaving:
            if departed_ns > now:
                event.stage = REVOKED
                self._lose(event, "sender_down")
        source.leaving.clear()

    def relocate(self, node: Node, region: int) -> None:
        """Let a validator that does not run now send from and receive at another region."""
        node.region = region
        self._regions[node.id] = region

    def _lose(self, event: Delivery, reason: str) -> None:
        copy = event.copy
        if self.tap is not None:
            self.tap.lost(event, self.agenda.now_ns, reason)
        self._meter.lost(reason, copy.message, event.pair, copy.size_bytes)

    def retransmission(self, source: int, target: int, size: int, delay: int, bits: int) -> int:
        """Return the delay of repairing packets lost between two regions: the transport under us is
        reliable.

        Probability (n packets x loss) capped at 1, cost one more round trip: TCP and QUIC repair
        a loss by fast retransmission.
        """
        packets = -(-size // _PACKET_BYTES)
        loss = self._loss[source][target] * packets
        lost = (bits & _LOSS_MASK) * 1_000_000_000 < loss << _LOSS_BITS
        return 2 * delay if lost else 0

    # -- arriving -----------------------------------------------------------------------------

    def arrive(self, event: Delivery) -> None:
        """Take a copy in: its last bit can be here now, if the downlink had nothing else to do."""
        node = event.receiver
        if event.life != node.life or not node.up:
            self._lose(event, "receiver_down")
            return
        now = self.agenda.now_ns
        finish = node.downlink.receive(now, event.copy.size_bytes)
        if finish > now:
            event.stage = RECEIVED
            self.agenda.put(finish, event)
        else:
            self.receive(event)

    def receive(self, event: Delivery) -> None:
        """Decode and verify what has come in, and relay it first where that is asked."""
        node, copy = event.receiver, event.copy
        if copy.relay is not None and not self._relay(node, event, copy.relay):
            return
        agenda = self.agenda
        now = agenda.now_ns
        work, fresh = copy.work_ns, 0
        if copy.certificates:
            known = node.verified
            for key, signatures in copy.certificates:
                if key not in known:
                    fresh += signatures
        if fresh:
            done = node.cpu.serve_split(now, work + fresh * self.costs.verify_ns)
        else:
            done = node.cpu.serve(now, work)
        event.stage = VERIFIED
        agenda.put(done, event)

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
            self.fan_out(node, event.copy, targets, self.agenda.now_ns)
        return True

    def hand_over(self, event: Delivery) -> None:
        """Hand a copy to the core of its receiver: it is verified now."""
        node, copy = event.receiver, event.copy
        if event.life != node.life or not node.up:
            self._lose(event, "receiver_down")
            return
        if copy.certificates and copy.verified:
            self.remember(node, copy.certificates)
        flow = copy.flow
        pair = event.pair
        flow.delivered[pair] += 1
        flow.delivered_bytes[pair] += copy.size_bytes
        if self.tap is not None:
            self.tap.delivered(event, self.agenda.now_ns, verified=copy.verified)
        self._addressee.deliver(node, copy)

    def remember(self, node: Node, certificates: Sequence[tuple[bytes, int]]) -> None:
        """Note certificates that `node` has verified or made: it will not verify them again."""
        known = node.verified
        for key, _ in certificates:
            known[key] = None
        while len(known) > _VERIFIED_KEPT:
            del known[next(iter(known))]


_ONE = Load(1)
_SPREAD = (Proposal, TimeoutCertificateMessage, ReproposalMessage)
"""What is spread by tree or gossip; small statements always go straight."""
