"""Record single messages between validators, each copy from its uplink to its end.

Owns: what of a copy is written, and the copies on their way. Bounded by the messages in flight.
Must not know: how messages travel, and which of them a window keeps: the recorder does.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from sim.engine.meter import kind_of
from sim.protocol.messages import Message
from sim.record.recorder import Sink

NOWHERE = -1
"""Stands for the epoch or view of a message that is about none."""
_IN_FLIGHT = ("in_flight", "")


class _Sent(NamedTuple):
    """A copy on its way."""

    sent_ns: int
    departed_ns: int
    source: int
    destination: int
    origin: int
    message: Message
    size_bytes: int


class Tap:
    """Follow copies that are under way at some time of the window, ends included.

    `sent` and `ended` are called for every copy; of `delivery` it is asked only that it is one
    object from the one call to the other.
    """

    def __init__(self, recorder: Sink, from_ns: int, to_ns: int) -> None:
        self._row = recorder.append_row
        self._from_ns = from_ns
        self._to_ns = to_ns
        self._open: dict[Hashable, _Sent] = {}

    def sent(
        self,
        delivery: Any,
        now_ns: int,
        departed_ns: int,
        pair: tuple[int, int],
        origin: int,
        message: Message,
        size_bytes: int,
    ) -> None:
        """Note a copy that is handed to its sender's uplink; `pair`: source, destination."""
        if now_ns <= self._to_ns:
            self._open[delivery] = _Sent(now_ns, departed_ns, *pair, origin, message, size_bytes)

    def delivered(self, delivery: Any, now_ns: int, *, verified: bool) -> None:
        """Write a copy that its receiver's core is given."""
        self._end(delivery, now_ns, ("delivered" if verified else "corrupted", ""))

    def lost(self, delivery: Any, now_ns: int, reason: str) -> None:
        """Write a copy that never reaches a core."""
        self._end(delivery, now_ns, ("dropped", reason))

    def finish(self, now_ns: int) -> None:
        """Write what is still under way when the run ends."""
        for delivery in list(self._open):
            self._end(delivery, now_ns, _IN_FLIGHT)

    def _end(self, delivery: Any, now_ns: int, outcome: tuple[str, str]) -> None:
        copy = self._open.pop(delivery, None)
        if copy is None or now_ns < self._from_ns:
            return
        epoch, view = about(copy.message)
        self._row(
            "messages",
            sent_ns=copy.sent_ns,
            departed_ns=copy.departed_ns,
            ended_ns=now_ns,
            source=copy.source,
            destination=copy.destination,
            origin=copy.origin,
            kind=kind_of(type(copy.message)),
            epoch=epoch,
            view=view,
            size_bytes=copy.size_bytes,
            outcome=outcome[0],
            reason=outcome[1],
        )


def about(message: Message) -> tuple[int, int]:
    """Return the epoch and the view that a message is about; NOWHERE for what it does not name.

    Of many votes or blocks it is the first one's.
    """
    part: Any = message[0]
    if type(part) is tuple:
        part = part[0] if part else message
    if hasattr(part, "qc"):
        part = part.qc
    if not hasattr(part, "epoch"):
        part = message
    return getattr(part, "epoch", NOWHERE), getattr(part, "view", NOWHERE)
