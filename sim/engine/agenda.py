"""What is due when: SimPy's own queue, and the fast way through it for events of ours.

Owns the present, the queue and the order of what is due at one instant: by priority, then in the
order in which it was put in. A happening is an event without what only processes need (a value,
success, callbacks): it is put into the queue that SimPy's events are in, and in their order.
Must not know: SimPy, and what happens.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

NORMAL: Final = 1
"""Priority of what is not special; the value of SimPy's constant."""


class Happening:
    """Something that is due once for each time it was put in."""

    __slots__ = ()

    def happen(self) -> None:
        """Do what is due now."""
        raise NotImplementedError


class Call(Happening):
    """Call `act(value)` when it is due."""

    __slots__ = ("_act", "_value")

    def __init__(self, act: Callable[[Any], None], value: Any) -> None:
        self._act = act
        self._value = value

    def happen(self) -> None:
        self._act(self._value)


class Agenda:
    """The present in nanoseconds and all that is due: (time, priority, sequence, event)."""

    __slots__ = ("_sequence", "now_ns", "queue")

    def __init__(self) -> None:
        self.now_ns = 0
        self.queue: list[tuple[Any, ...]] = []
        self._sequence = 0

    def put(self, when_ns: int, event: Any, priority: int = NORMAL) -> None:
        """Put in a happening, or an event of SimPy's, not before now."""
        self._sequence = number = self._sequence + 1
        heappush(self.queue, (when_ns, priority, number, event))

    def at(
        self, when_ns: int, act: Callable[[Any], None], value: Any = None, priority: int = NORMAL
    ) -> None:
        """Call `act(value)` at `when_ns`, not before now."""
        self.put(when_ns, Call(act, value), priority)

    def work_off(self) -> None:
        """Do everything that is due before the next event of SimPy's; time moves with it."""
        queue = self.queue
        while queue:
            entry = heappop(queue)
            event = entry[3]
            if not isinstance(event, Happening):
                heappush(queue, entry)
                return
            self.now_ns = entry[0]
            event.happen()
