"""Twins: two copies of one identity, each a real validator core, on two sides of a split network.

Owns the routing between two cores that share a name, a key, a computer and a line. Source: Bano,
Sonnino, Chursin, Perelman, Malkhi, "Twins: BFT systems made robust", arXiv:2004.10617: with two
correct copies of a faulty identity and a schedule of partitions, every attack on safety by
equivocation, double voting or lost memory is covered without writing it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar

from sim.protocol.effects import (
    Broadcast,
    Certified,
    Persist,
    PersistentState,
    RequestBlocks,
    RequestPayload,
    Send,
    SetTimer,
)
from sim.protocol.events import (
    BlocksReceived,
    Event,
    MessageReceived,
    PayloadReady,
    Restarted,
    Started,
    TimerFired,
)
from sim.protocol.messages import (
    EvidenceMessage,
    Message,
    Proposal,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.validator import Validator
from sim.world.adversary import Alarm, Attack, Edited
from sim.world.network.dissemination import star_order

_SECOND_S = 1 << 32
"""Added to the second copy's questions about payload, so that answers find it."""
_SAID_KEPT = 512

Sides = tuple[tuple[int, ...], tuple[int, ...]]
"""Who is on the first copy's side, and who on the second's."""

Armed = tuple[tuple[int, int, str], int]
"""A timer's id and when it is due."""


def halves(others: Sequence[int], key: int, turn: int) -> Sides:
    """Draw the sides of one turn: a keyed half of the others and the rest."""
    order = star_order(others, key, turn)
    middle = (len(order) + 1) // 2
    return tuple(sorted(order[:middle])), tuple(sorted(order[middle:]))


class Copies(Attack):
    """Two cores an identity: the first serves one side, the second the other.

    Copies of one number hear one another; a copy never hears its double. What members say to one
    another is told apart by what the second copies said, so that two equal statements may change
    places, which changes nothing. Payload that is offered to one copy isn't offered to the other.
    Who may yet become a member, as a version spreads, is a friend: it hears both copies.
    """

    def __init__(self, key: int) -> None:
        self._key = key
        self._second: dict[int, Validator] = {}
        self._disk: dict[int, PersistentState] = {}
        self._timers: dict[int, dict[str, Armed]] = {}
        self._said: dict[tuple[int, int], deque[object]] = {}

    def sides(self, now_ns: int) -> Sides:
        """Return who of the others is on whose side now."""
        raise NotImplementedError

    def begin(self, me: int, now_ns: int) -> list[Edited]:
        core = self._second.get(me)
        self._timers[me] = {}
        if core is None:
            core = self._second[me] = self.scene.copy(me)
            return self._second_does(me, Started(), now_ns)
        return self._second_does(me, Restarted(self._disk.get(me)), now_ns)

    def see(self, me: int, event: Event, now_ns: int) -> list[Edited] | None:
        if isinstance(event, MessageReceived | BlocksReceived):
            message = event.response if isinstance(event, BlocksReceived) else event.message
            number = self._heard_by(me, event.sender, message, now_ns)
            if number == 0:
                return None
            return self._second_does(me, event, now_ns) if number == 1 else []
        if isinstance(event, PayloadReady) and event.request_id >= _SECOND_S:
            own = event._replace(request_id=event.request_id - _SECOND_S)
            return self._second_does(me, own, now_ns)
        return None

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return self._limited(me, effects, 0, now_ns)

    def woken(self, me: int, token: Any, now_ns: int) -> list[Edited]:
        timer_id, due_ns = token
        if self._timers[me].get(timer_id[2]) != (timer_id, due_ns):
            return []
        del self._timers[me][timer_id[2]]
        return self._second_does(me, TimerFired(timer_id), now_ns)

    def _heard_by(self, me: int, sender: int, message: Message, now_ns: int) -> int | None:
        """Return which copy of `me` hears a message: 0, 1, or None of them."""
        if sender in self.scene.cores:
            said = self._said.get((sender, me))
            content = _content(message)
            if said is not None and content in said:
                said.remove(content)
                return 1
            return 0
        sides = self.sides(now_ns)
        return next((number for number in (0, 1) if sender in sides[number]), None)

    def _second_does(self, me: int, event: Event, now_ns: int) -> list[Edited]:
        effects = list[Edited](self._second[me].handle(event, now_ns))
        return self._limited(me, effects, 1, now_ns)

    def _limited(self, me: int, effects: list[Edited], number: int, now_ns: int) -> list[Edited]:
        """Let what copy `number` sends reach its side only, and what the second does be its own."""
        friends = [member for member in self.scene.cores if member != me]
        audience = (*friends, *self.sides(now_ns)[number])
        out: list[Edited] = []
        for effect in effects:
            if isinstance(effect, Broadcast):
                order = star_order(audience, self._key, now_ns)
                out += (self._sent(me, Send(to, effect.message), number) for to in order)
            elif isinstance(effect, Send):
                if effect.to == me or effect.to in audience:
                    out.append(self._sent(me, effect, number))
            elif isinstance(effect, RequestBlocks):
                # The driver makes a message of it that no other can be taken for.
                if effect.peer in audience:
                    self._note(me, effect.peer, ("request", *effect[1:]), number)
                    out.append(effect)
            elif number == 0:
                out.append(effect)
            else:
                out += self._of_the_second(me, effect, now_ns)
        return out

    def _sent(self, me: int, send: Send, number: int) -> Send:
        self._note(me, send.to, _content(send.message), number)
        return send

    def _note(self, me: int, to: int, content: object, number: int) -> None:
        if number == 1 and to in self.scene.cores:
            said = self._said.setdefault((me, to), deque(maxlen=_SAID_KEPT))
            said.append(content)

    shows: ClassVar[tuple[type[Any], ...]] = (Certified,)
    """What is observed of second copies: their certificates are as real as any."""

    def _of_the_second(self, me: int, effect: Edited, now_ns: int) -> list[Edited]:
        """Keep its timers, disk and questions apart."""
        if isinstance(effect, SetTimer):
            armed = (effect.timer_id, now_ns + effect.delay_ns)
            self._timers[me][effect.timer_id[2]] = armed
            return [Alarm(armed, effect.delay_ns)]
        if isinstance(effect, RequestPayload):
            return [effect._replace(request_id=effect.request_id + _SECOND_S)]
        if isinstance(effect, Persist):
            self._disk[me] = effect.state
        return [effect] if isinstance(effect, self.shows) else []


def _content(message: Message) -> object:
    """Return what a message says, signatures apart: they are filled in after it left."""
    if isinstance(message, VoteMessage):
        return ("vote", *message.vote[:4])
    if isinstance(message, TimeoutMessage):
        return ("timeout", *message.timeout[:5])
    if isinstance(message, Proposal):
        return ("proposal", message.block.id)
    if isinstance(message, EvidenceMessage):
        return ("evidence", *message.evidence.key())
    if type(message).__name__ == "BlocksRequest":
        return ("request", *message)
    return message


class Twins(Copies):
    """Run each member twice; cut the others into two sides that hear one copy each.

    Both copies are honest by themselves: together they equivocate, vote twice and contradict their
    timeouts. Each side is a network of its own, which certifies with the members' weight: two
    conflicting commits need members of 2q-1 of the weight, and every one of them is convicted once
    the sides meet. Below, at most one side goes on and the other catches up. `sides`: who is where;
    None draws halves anew each `turn_ns` (0: once). The links between the sides are cut by the
    scenario.
    """

    kind: ClassVar[str] = "twins"

    def __init__(self, key: int, sides: Sides | None, turn_ns: int) -> None:
        super().__init__(key)
        self._fixed = sides
        self._turn_ns = turn_ns
        self._drawn: tuple[int, Sides] | None = None

    def sides(self, now_ns: int) -> Sides:
        if self._fixed is not None:
            return self._fixed
        turn = now_ns // self._turn_ns if self._turn_ns else 0
        if self._drawn is None or self._drawn[0] != turn:
            cores, everyone = self.scene.cores, range(self.scene.identities)
            others = [i for i in everyone if i not in cores]
            self._drawn = (turn, halves(others, self._key, turn))
        return self._drawn[1]
