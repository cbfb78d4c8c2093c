"""The SimPy loop with integer nanoseconds, and the one way to put a call into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy
from simpy.events import NORMAL, Event, EventPriority

from sim.engine.agenda import Agenda

LAST = EventPriority(2)
"""After everything else of an instant."""


class Loop(simpy.Environment):
    """SimPy's environment; `now` is an integer number of nanoseconds.

    Its queue is the agenda's, where processes, timeouts and events of SimPy's stand among the
    happenings, in one order.
    """

    def __init__(self) -> None:
        self.agenda = Agenda()
        super().__init__(initial_time=0)
        self._queue = self.agenda.queue

    @property
    def now(self) -> int:
        return self.agenda.now_ns

    @property
    def _now(self) -> int:
        return self.agenda.now_ns

    @_now.setter
    def _now(self, now_ns: int) -> None:
        self.agenda.now_ns = now_ns

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """Put in an event of SimPy's; `delay` is an integer number of nanoseconds."""
        self.agenda.put(self.agenda.now_ns + int(delay), event, priority)

    def step(self) -> None:
        """Process the next event of SimPy's, and before it every happening that comes first."""
        self.agenda.work_off()
        super().step()

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
        self.agenda.at(when_ns, act, value, priority)
