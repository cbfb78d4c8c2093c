"""Monitors of what must keep happening, and of what must add up.

Owns: liveness, conservation of messages, of registrations, of stake. The engine hands in figures
that no observation carries.
"""

from __future__ import annotations

from collections.abc import Mapping

from sim.monitor.base import NOBODY, Handler, Monitor
from sim.protocol.effects import Committed


class Liveness(Monitor):
    """New heights are committed within a bound.

    The clock starts with the run, or at `start_ns`, and anew at each heal and at each first commit
    of a new height by an honest validator. Time under a fault counts: a heal forgives what went
    before it.
    """

    name = "liveness"

    def __init__(self, commit_within_ns: int, start_ns: int = 0) -> None:
        super().__init__()
        self._bound_ns = commit_within_ns
        self._start_ns = self._since_ns = start_ns
        self._height = 0

    def handlers(self) -> Mapping[type, Handler]:
        return {Committed: self._committed}

    def healed(self, now_ns: int) -> None:
        """Start the clock anew: the last fault or attack has just ended."""
        self._since_ns = max(now_ns, self._start_ns)

    def _committed(self, node: int, now_ns: int, seen: Committed) -> None:
        if seen.height <= self._height:
            return
        self._height = seen.height
        self._judge(node, now_ns)
        self._since_ns = max(now_ns, self._start_ns)

    def finish(self, now_ns: int) -> None:
        self._judge(NOBODY, now_ns)

    def _judge(self, node: int, now_ns: int) -> None:
        waited_ns = now_ns - self._since_ns
        if waited_ns > self._bound_ns:
            self._fire(
                node,
                now_ns,
                self._since_ns,
                height=self._height,
                waited_ns=waited_ns,
                bound_ns=self._bound_ns,
            )


class NoLostMessage(Monitor):
    """Every message offered is delivered, stored, in flight, or dropped for a stated reason."""

    name = "no_lost_message"

    def __init__(self) -> None:
        super().__init__()
        self._since_ns = 0
        self.lost: int | None = None
        """Messages without an account at the last look; negative when some count twice."""

    def conserve(
        self,
        now_ns: int,
        *,
        offered: int,
        delivered: int,
        stored: int,
        in_flight: int,
        dropped: Mapping[str, int],
    ) -> None:
        """Compare the agent plane's counters; `dropped` by reason, none of them empty."""
        self.lost = offered - delivered - stored - in_flight - sum(dropped.values())
        nameless = dropped.get("", 0)
        if self.lost or nameless:
            self._fire(
                NOBODY,
                now_ns,
                self._since_ns,
                lost=self.lost,
                dropped_without_reason=nameless,
                offered=offered,
                delivered=delivered,
                stored=stored,
                in_flight=in_flight,
                dropped=dict(sorted(dropped.items())),
            )
        self._since_ns = now_ns


class NoLostRegistration(Monitor):
    """What the agents' registry has acknowledged outlives the crash of a host."""

    name = "no_lost_registration"

    def __init__(self) -> None:
        super().__init__()
        self._since_ns = 0
        self._lost: dict[int, int] = {}

    def registry(self, now_ns: int, lost: Mapping[int, int]) -> None:
        """Take the acknowledged writes lost since the start, by the host that went down."""
        for node, count in sorted(lost.items()):
            fresh = count - self._lost.get(node, 0)
            if fresh:
                self._lost[node] = count
                self._fire(node, now_ns, self._since_ns, lost=fresh, host=node)
        self._since_ns = now_ns


class SupplyConservation(Monitor):
    """Stake is neither made nor lost: what is held adds up to what was minted."""

    name = "supply_conservation"

    def __init__(self) -> None:
        super().__init__()
        self._since_ns = 0

    def supply(self, now_ns: int, node: int, *, minted: int, held: Mapping[str, int]) -> None:
        """Compare a ledger's books: `held` by what it is (bonded, unbonding, free, burned)."""
        total = sum(held.values())
        negative = sorted(name for name, amount in held.items() if amount < 0)
        if total != minted or negative:
            self._fire(
                node,
                now_ns,
                self._since_ns,
                minted=minted,
                held=dict(sorted(held.items())),
                surplus=total - minted,
                negative=negative,
            )
        self._since_ns = now_ns
