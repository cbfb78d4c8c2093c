"""The SimPy loop with integer nanoseconds, and the one way to put a call into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy
from simpy.events import NORMAL, EventPriority

LAST = EventPriority(2)
"""After everything else of an instant."""


class Call(simpy.events.Event):
    """An event that calls `act(value)` when it is due."""

    __slots__ = ("act",)

    def __init__(self, loop: Loop, act: Callable[[Any], None], value: Any) -> None:
        self.env = loop
        self._ok = True
        self._value = value
        self.act = act
        self.callbacks = _CALL  # type: ignore[assignment]


def _call(event: Any) -> None:
    event.act(event._value)


_CALL = (_call,)


class Loop(simpy.Environment):
    """SimPy's environment; `now` is an integer number of nanoseconds."""

    _now: int

    def __init__(self) -> None:
        super().__init__(initial_time=0)

    @property
    def now(self) -> int:
        return self._now

    def at(
        self,
        when_ns: int,
        act: Callable[[Any], None],
        value: Any = None,
        priority: EventPriority = NORMAL,
    ) -> None:
        """Call `act(value)` at `when_ns`, not before now.

        Calls of one instant run in order of priority, then in the order in which they were put in.
        """
        self.schedule(Call(self, act, value), priority, when_ns - self._now)
