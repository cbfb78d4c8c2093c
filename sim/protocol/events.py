"""What a driver tells a validator. `Validator.handle(event, now_ns)` takes one of these."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from sim.protocol.effects import PersistentState
from sim.protocol.messages import BlocksResponse, Message
from sim.protocol.types import Operation, PayloadRef, ValidatorId


class MessageReceived(NamedTuple):
    """`verified` is False when any signature that the message carries failed at the edge."""

    sender: ValidatorId
    message: Message
    verified: bool = True


class TimerFired(NamedTuple):
    """The timer set under `timer_id`; a stale one (superseded view) must have no effect."""

    timer_id: tuple[int, int, str]
    """(epoch, view, purpose)."""


class PayloadReady(NamedTuple):
    """Answer to RequestPayload: these references are held by this validator now."""

    refs: tuple[PayloadRef, ...]
    request_id: int


class BlocksReceived(NamedTuple):
    """A peer's answer to RequestBlocks."""

    sender: ValidatorId
    response: BlocksResponse
    verified: bool = True


class Restarted(NamedTuple):
    """First event after a crash: what was persisted, or None after an amnesia crash."""

    persisted: PersistentState | None


class Started(NamedTuple):
    """First event of a validator's first life."""


class OperationSubmitted(NamedTuple):
    """A local operator hands an operation to this validator."""

    operation: Operation


Event: TypeAlias = (
    MessageReceived
    | TimerFired
    | PayloadReady
    | BlocksReceived
    | Restarted
    | Started
    | OperationSubmitted
)
