"""Attacks: one file each, as edits of the effects that an owned validator is about to have.

An attack sees what its members receive and changes what leaves them; it holds no keys but those of
the identities it owns, so it cannot forge: the driver signs an owned identity's statements only,
and lets nothing else pass as verified. A new attack is a subclass of `Attack`; then one line in
`sim.engine.attacks` and its fields in `sim.scenario.adversaries`.
Must not know: the event loop, tables, YAML.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

from sim.protocol.effects import Broadcast, Effect, Send
from sim.protocol.events import Event
from sim.protocol.messages import Message, Proposal, TimeoutMessage, VoteMessage
from sim.protocol.types import Block, Operation, Vote
from sim.protocol.validator import Validator


class Later(NamedTuple):
    """An effect that its validator holds back for `delay_ns`."""

    effect: Effect
    delay_ns: int


class Alarm(NamedTuple):
    """Ask to be woken with `token` after `delay_ns`; a crash of the validator forgets it."""

    token: Any
    delay_ns: int


class Corrupted(NamedTuple):
    """Say that the validator whose effects these are is no longer to be believed."""


Edited: TypeAlias = Effect | Later | Alarm | Corrupted


class Scene:
    """What a coalition has of its own: its members' cores, and the means to sign for them.

    `cores`: of the members only, ascending. `identities`: how many there are to address.
    `running`: where a version makes members of whoever runs it, those who run it now.
    `copy(me)` makes a second core of a member, at genesis; `sign(me, message)` and
    `sign_operation` fill in a member's own statement, outside of its computer's time. Errors:
    PermissionError for anybody who is no member.
    """

    def __init__(
        self,
        cores: Mapping[int, Validator],
        identities: int,
        *,
        copy: Callable[[int], Validator],
        sign: Callable[[int, Message], Message],
        sign_operation: Callable[[Operation], Operation],
        running: Container[int] | None = None,
    ) -> None:
        self.cores = cores
        self._named = tuple(sorted(cores))
        self._running = running
        self.identities = identities
        self._copy = copy
        self._sign = sign
        self._sign_operation = sign_operation

    def copy(self, me: int) -> Validator:
        return self._copy(self._member(me))

    def sign(self, me: int, message: Message) -> Message:
        return self._sign(self._member(me), message)

    def sign_operation(self, operation: Operation) -> Operation:
        self._member(operation.validator)
        return self._sign_operation(operation)

    @property
    def members(self) -> tuple[int, ...]:
        """Who is a member now, ascending."""
        if self._running is None:
            return self._named
        return tuple(member for member in self._named if member in self._running)

    def owns(self, who: int) -> bool:
        """Say whether somebody is a member now."""
        return who in self.cores and (self._running is None or who in self._running)

    def others(self) -> list[int]:
        """List everybody who is no member now, ascending."""
        return [i for i in range(self.identities) if not self.owns(i)]

    def _member(self, me: int) -> int:
        if me not in self.cores:
            raise PermissionError(f"validator {me} is none of {self._named}: its key is its own")
        return me


class Attack:
    """One attack of one coalition; its members share the instance, hence its mind.

    Constructors store settings; `join` hands over the scene once it is built. What a method
    returns is carried out in order. Subclasses override what they need.
    """

    kind: ClassVar[str]
    corrupts: ClassVar[bool] = False
    """Its members are honest until one of them is `Corrupted`."""
    scene: Scene

    def join(self, scene: Scene) -> None:
        """Take up what the coalition has of its own, before anything runs."""
        self.scene = scene

    def begin(self, me: int, now_ns: int) -> list[Edited]:
        """Return what member `me` does as the attack starts, and anew after each restart."""
        return []

    def see(self, me: int, event: Event, now_ns: int) -> list[Edited] | None:
        """Look at what member `me` is told. None: its core is told too.

        A list is carried out instead, as it is, and the core never hears of the event.
        """
        return None

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        """Return what leaves validator `me` instead of `effects`; order is part of it."""
        return effects

    def woken(self, me: int, token: Any, now_ns: int) -> list[Edited]:
        """Return what member `me` does as one of its alarms goes off."""
        return []


def message_of(effect: Edited) -> Message | None:
    """Return what a Send or Broadcast carries, None for any other effect."""
    return effect.message if isinstance(effect, Send | Broadcast) else None


def own_vote(effect: Edited, me: int) -> Vote | None:
    """Return the vote of `me` that an effect sends off, if it does."""
    message = message_of(effect)
    if isinstance(message, VoteMessage) and message.vote.voter == me:
        return message.vote
    return None


def own_block(effect: Edited, me: int) -> Block | None:
    """Return the block of `me` that an effect proposes, to whomever, if it does."""
    message = message_of(effect)
    if isinstance(message, Proposal) and message.block.proposer == me:
        return message.block
    return None


def place(effect: Edited, core: Validator) -> tuple[int, int]:
    """Return the (epoch, view) that an effect speaks of, else where its validator stands."""
    message = message_of(effect)
    if isinstance(message, VoteMessage):
        return message.vote.epoch, message.vote.view
    if isinstance(message, Proposal):
        return message.block.epoch, message.block.view
    if isinstance(message, TimeoutMessage):
        return message.timeout.epoch, message.timeout.view
    return core.epoch, core.view


def rebuilt(effects: Iterable[Edited], me: int, change: Callable[[Block], Block]) -> list[Edited]:
    """Return `effects` with `change` made to each block that `me` proposes.

    What goes to itself and to the others stays one object, which is signed once.
    """
    known: dict[bytes, Proposal] = {}
    out: list[Edited] = []
    for effect in effects:
        block = own_block(effect, me)
        if block is not None and isinstance(effect, Send | Broadcast):
            made = known.get(block.id)
            if made is None:
                changed = change(block)
                message = effect.message
                assert isinstance(message, Proposal)
                made = known[block.id] = message if changed is block else Proposal(changed)
            effect = effect._replace(message=made)
        out.append(effect)
    return out


def spread(effect: Broadcast, targets: Iterable[int]) -> list[Edited]:
    """Send to each of `targets` what was to go to everybody."""
    return [Send(to, effect.message) for to in targets]
