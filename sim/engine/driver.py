"""Execute the effects of validators under SimPy, and feed them events.

Owns the dispatch from effect to action, timers, what is persisted, and the answers to payload and
block requests. The core runs unchanged: this file and `sim.live` are the only places that differ
between a simulation and real sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, get_args

from sim.engine.loop import Loop
from sim.engine.node import Node
from sim.engine.transport import Addressee, Copy, Transport
from sim.engine.witness import Witness
from sim.protocol.effects import (
    Broadcast,
    Certified,
    Committed,
    Dropped,
    Observation,
    Persist,
    RequestBlocks,
    RequestPayload,
    Send,
    SetTimer,
    ViewChanged,
)
from sim.protocol.events import (
    BlocksReceived,
    Event,
    MessageReceived,
    PayloadReady,
    TimerFired,
)
from sim.protocol.messages import (
    STATEMENTS,
    BlocksRequest,
    BlocksResponse,
    Message,
    Proposal,
    wire_size_bytes,
)
from sim.world.adversary import Alarm, Corrupted, Edited, Later
from sim.world.agents.kinds import NEVER
from sim.world.crypto.signing import Edge
from sim.world.payload import Payload


class Driver(Addressee):
    """Drive all validators of one run.

    `witness` sees every observation in order, `drafted(proposal, now_ns)` every proposal that is
    held back as it is made, `proposed(proposal, now_ns, size_bytes)` every
    proposal as it leaves, `stated(node, now_ns, message)` every message that a validator signs,
    before it is signed, `heard(node, now_ns, message)` every message of a doubtful sender that is
    about to reach a core and verifies, `corrupted(node)` whom an adversary takes over in the
    course of the run.
    """

    def __init__(
        self,
        *,
        env: Loop,
        nodes: list[Node],
        payload: Payload,
        edge: Edge,
        signature_bytes: int,
        witness: Witness,
        drafted: Callable[[Proposal, int], None],
        proposed: Callable[[Proposal, int, int], None],
        stated: Callable[[int, int, Message], None],
        heard: Callable[[int, int, Message], None],
        corrupted: Callable[[int], None],
    ) -> None:
        self.env = env
        self.agenda = env.agenda
        self.nodes = nodes
        self.payload = payload
        self.edge = edge
        self.signature_bytes = signature_bytes
        self._witness = witness
        self.drafted = drafted
        self.proposed = proposed
        self.stated = stated
        self.heard = heard
        self.corrupted = corrupted
        self.transport: Transport
        self._actions: dict[type, Callable[[Node, Any], None]] = {
            Send: self._send,
            Broadcast: self._broadcast,
            SetTimer: self._set_timer,
            Persist: self._persist,
            RequestPayload: self._request_payload,
            RequestBlocks: self._request_blocks,
            Certified: self._certified,
            Dropped: self._dropped,
            Later: self._hold_back,
            Alarm: self._set_alarm,
            Corrupted: self._corrupted,
        }
        for kind in get_args(Observation):
            self._actions.setdefault(kind, self._observed)
        self._sizes: dict[type, int] = {}
        self._last_signed: tuple[Any, Any, int] = (None, None, 0)
        self._answers: deque[tuple[Node, Event]] = deque()

    # -- events in ----------------------------------------------------------------------------

    def deliver(self, node: Node, copy: Copy) -> None:
        """Hand a message that arrived to the core of `node`."""
        event = copy.event
        if event is None:
            event = self._event(node, copy)
        now = self.agenda.now_ns
        effects = node.validator.handle(event, now)
        if effects:
            self.execute(node, effects)
            if self._answers:
                self._answer(now)

    def _event(self, node: Node, copy: Copy) -> Event:
        """Say what the core of `node` is told; remember it where all are told the same."""
        sender, message, verified = copy.sender, copy.message, copy.verified
        doubted = verified and self.edge.doubts(sender)
        if doubted and sender != node.id:
            verified = self.edge.verify(sender, message)
            if verified:
                self.heard(node.id, self.agenda.now_ns, message)
        event: Event
        if type(message) is BlocksResponse:
            event = BlocksReceived(sender, message, verified)
        else:
            event = tuple.__new__(MessageReceived, (sender, message, verified))
        if not doubted:
            copy.event = event
        return event

    def handle(self, node: Node, event: Event) -> None:
        """Let `node` handle one event and carry out what it asks, answers included."""
        now = self.agenda.now_ns
        effects = node.validator.handle(event, now)
        if effects:
            self.execute(node, effects)
            if self._answers:
                self._answer(now)

    def _answer(self, now_ns: int) -> None:
        while self._answers:
            node, answer = self._answers.popleft()
            self.execute(node, node.validator.handle(answer, now_ns))

    def execute(self, node: Node, effects: Sequence[Edited]) -> None:
        """Carry out `effects` in order."""
        actions = self._actions
        for effect in effects:
            if isinstance(effect, Send):
                self._send(node, effect)
            elif isinstance(effect, Persist):
                node.persisted = effect.state
            elif isinstance(effect, SetTimer):
                self._set_timer(node, effect)
            elif isinstance(effect, (Committed, ViewChanged)):
                self._witness.observe(node.id, self.agenda.now_ns, effect)
            else:
                actions[type(effect)](node, effect)

    def _hold_back(self, node: Node, held: Later) -> None:
        effect = held.effect
        if isinstance(effect, (Send, Broadcast)) and type(effect.message) is Proposal:
            self.drafted(effect.message, self.agenda.now_ns)
        release = self.agenda.now_ns + held.delay_ns
        self.agenda.at(release, self._released, (node, node.life, held.effect))

    def _released(self, due: tuple[Node, int, Any]) -> None:
        node, life, effect = due
        if node.up and life == node.life:
            self._actions[type(effect)](node, effect)

    def _set_alarm(self, node: Node, alarm: Alarm) -> None:
        due = self.agenda.now_ns + alarm.delay_ns
        self.agenda.at(due, self.wake, (node, node.life, alarm.token))

    def wake(self, due: tuple[Node, int, Any]) -> None:
        """Let the mind of `node` act of itself: an alarm is due, or (token None) its attack."""
        node, life, token = due
        if node.mind is not None and node.up and life == node.life:
            self.execute(node, node.mind.woken(token, self.agenda.now_ns))
            self._answer(self.agenda.now_ns)

    def _corrupted(self, node: Node, effect: Corrupted) -> None:
        self.corrupted(node.id)

    # -- effects out --------------------------------------------------------------------------

    def _observed(self, node: Node, effect: Any) -> None:
        self._witness.observe(node.id, self.agenda.now_ns, effect)

    def _certified(self, node: Node, effect: Certified) -> None:
        # Who collected a certificate has verified its signatures one by one.
        self.transport.remember(node, ((effect.qc.id(), 0),))
        self._witness.observe(node.id, self.agenda.now_ns, effect)

    def _dropped(self, node: Node, effect: Dropped) -> None:
        if effect.refs:
            self.payload.give_back(node.id, effect.refs)
        self._witness.observe(node.id, self.agenda.now_ns, effect)

    def _send(self, node: Node, effect: Send) -> None:
        to, message = effect
        ready = self.agenda.now_ns
        if self.edge.owes(node.id, message):
            message, ready = self._signed(node, message)
        if to == node.id:
            self.transport.loop_back(node, message, ready)
            return
        size = self._size(message)
        if type(message) is Proposal:
            self.proposed(message, self.agenda.now_ns, size)
        self.transport.send(node, to, message, size, ready)

    def _broadcast(self, node: Node, effect: Broadcast) -> None:
        message, ready = effect.message, self.agenda.now_ns
        if self.edge.owes(node.id, message):
            message, ready = self._signed(node, message)
        size = self._size(message)
        if type(message) is Proposal:
            self.proposed(message, self.agenda.now_ns, size)
        self.transport.broadcast(node, message, size, ready)

    def _size(self, message: Message) -> int:
        """Return the size on the wire; all votes are equal, and so are all timeouts."""
        kind = type(message)
        size = self._sizes.get(kind)
        if size is None:
            size = wire_size_bytes(message, self.signature_bytes)
            if kind in STATEMENTS:
                self._sizes[kind] = size
        return size

    def _signed(self, node: Node, message: Message) -> tuple[Message, int]:
        """Sign what its sender owes; charge its computer for it.

        What one `handle` both sends to itself and broadcasts is one object, signed once.
        """
        last = self._last_signed
        if last[0] is message:
            return last[1], last[2]
        self.stated(node.id, self.agenda.now_ns, message)
        signed, ready = self.edge.sign(node.id, message), self.transport.sign(node)
        self._last_signed = (message, signed, ready)
        return signed, ready

    def _set_timer(self, node: Node, effect: SetTimer) -> None:
        """Arm the latest timer of its purpose; a superseded one never reaches the core.

        One call a purpose counts at a time: when it comes early it is put in again.
        """
        timer_id, delay_ns = effect
        purpose = timer_id[2]
        due = self.agenda.now_ns + delay_ns
        pending = node.timers.get(purpose)
        if pending is None or pending[2] > due:
            self._schedule_timer(node, timer_id, due)
        else:
            node.timers[purpose] = (timer_id, due, pending[2])

    def _schedule_timer(self, node: Node, timer_id: tuple[int, int, str], due: int) -> None:
        node.timers[timer_id[2]] = (timer_id, due, due)
        self.agenda.at(due, self._timer_due, (node, node.life, timer_id[2], due))

    def due_ns(self, node: int) -> dict[str, int]:
        """Return when the armed timers of a validator are due, by purpose."""
        return {purpose: timer[1] for purpose, timer in self.nodes[node].timers.items()}

    def move_timer(self, node: int, purpose: str, due_ns: int) -> None:
        """Let an armed timer be due at another time, not before now."""
        struck = self.nodes[node]
        self._schedule_timer(struck, struck.timers[purpose][0], due_ns)

    def _timer_due(self, alarm: tuple[Node, int, str, int]) -> None:
        node, life, purpose, wake = alarm
        armed = node.timers.get(purpose)
        if not node.up or life != node.life or armed is None or armed[2] != wake:
            return
        timer_id, due, _ = armed
        if due > self.agenda.now_ns:
            self._schedule_timer(node, timer_id, due)
            return
        del node.timers[purpose]
        self.handle(node, TimerFired(timer_id))

    def _persist(self, node: Node, effect: Persist) -> None:
        node.persisted = effect.state

    def _request_payload(self, node: Node, effect: RequestPayload) -> None:
        now = self.agenda.now_ns
        if not effect.refs:
            refs = self.payload.new_refs(node.id, now)
            self._answers.append((node, PayloadReady(refs, effect.request_id)))
            return
        ready = self.payload.ready_ns(node.id, effect.refs, now)
        answer = PayloadReady(effect.refs, effect.request_id)
        if ready <= now:
            self._answers.append((node, answer))
        elif ready < NEVER:
            self.agenda.at(ready, self._woken, (node, node.life, answer))

    def _woken(self, due: tuple[Node, int, Event]) -> None:
        node, life, answer = due
        if node.up and life == node.life:
            self.handle(node, answer)

    def _request_blocks(self, node: Node, effect: RequestBlocks) -> None:
        request = BlocksRequest(effect.wanted, effect.above_height, effect.epoch)
        size = wire_size_bytes(request, self.signature_bytes)
        self.transport.send(node, effect.peer, request, size, self.agenda.now_ns)
