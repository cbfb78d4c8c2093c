"""Show every observation of a run to the monitors and to the tables, in this order."""

from __future__ import annotations

from sim.engine.observer import Observer
from sim.monitor.watch import Watch
from sim.protocol.effects import Observation


class Witness:
    """Both who watch a run, behind one call."""

    __slots__ = ("_observer", "_watch")

    def __init__(self, watch: Watch, observer: Observer) -> None:
        self._watch = watch
        self._observer = observer

    def observe(self, node: int, now_ns: int, observation: Observation) -> None:
        """Show one observation of one validator."""
        self._watch.observe(node, now_ns, observation)
        self._observer.observe(node, now_ns, observation)
