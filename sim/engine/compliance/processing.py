"""Services that process personal data, and how far behind their knowledge of consents is.

Owns: the copies of the consents at the replicas (kept fresh by messages from the controller), each
read of a subject's row, and the table of processing. Must not know: requests of subjects.

A replica goes by what it has heard. One that has heard nothing for longer than the bound processes
nothing: so the bound on a withdrawal holds in an outage too, at the price of availability.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from sim.engine.compliance.places import Places
from sim.engine.compliance.staff import ALLOWED, DENIED, REFUSED, Staff, gap_ns
from sim.engine.compliance.subjects import name_of
from sim.engine.loop import Loop
from sim.record.recorder import Sink
from sim.scenario.compliance import Data, Service
from sim.world.chance import Chance
from sim.world.compliance.audit_logger import LogUnwritable, Outcome
from sim.world.compliance.data_manager import DataManager, Refused

CONSENTS_BYTES = 1_024
"""Of a message that brings a replica up to date (assumption)."""
REFRESHES = 4
"""Refreshes within the bound on staleness: three may be lost in a row (assumption)."""
_SECOND = 1_000_000_000


class Processing:
    """All services of a run, and the consents as each replica knows them.

    `row_of(subject, purpose, which)`: the number of one of a subject's rows of a purpose, or -1.
    """

    def __init__(
        self,
        *,
        env: Loop,
        asked: Data,
        services: tuple[Service, ...],
        manager: DataManager,
        staff: Staff,
        places: Places,
        recorder: Sink,
        chance: Chance,
        row_of: Callable[[int, str, int], int],
    ) -> None:
        self._env = env
        self._asked = asked
        self._row_of = row_of
        self._services = services
        self._manager = manager
        self._staff = staff
        self._places = places
        self._recorder = recorder
        self._chance = chance
        self._home = asked.regions[0]
        self._heard_ns = dict.fromkeys(asked.regions, 0)
        """By replica: up to when it has heard of all consents."""
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        """Withdrawals that some replica has not heard of: (when, whom to tell)."""

    def start(self) -> None:
        """Keep the copies fresh and let services work at their rates."""
        pause = max(1, self._asked.propagation_ns // REFRESHES)
        self._env.process(self._refresh(pause))
        for service in self._services:
            if service.rate_nhz:
                stream = self._chance.stream(f"compliance/services/{service.name}")
                self._next(service, stream)

    # Consents at the replicas

    def _refresh(self, pause_ns: int) -> Generator[Any, Any, None]:
        while True:
            self._send_all()
            yield self._env.timeout(pause_ns)

    def _send_all(self) -> None:
        self._hear(self._home, self._env.now)
        for replica in self._asked.regions[1:]:
            delay = self._places.send(
                self._places.host(self._home), self._places.host(replica), CONSENTS_BYTES
            )
            if delay is not None:
                self._env.at(self._env.now + delay, self._arrived, (replica, self._env.now))

    def _arrived(self, due: tuple[str, int]) -> None:
        replica, as_of_ns = due
        if self._places.host(replica) is not None:
            self._hear(replica, as_of_ns)

    def _hear(self, replica: str, as_of_ns: int) -> None:
        self._heard_ns[replica] = max(self._heard_ns[replica], as_of_ns)
        known = min(self._heard_ns.values())
        done = [tell for when_ns, tell in self._waiting if when_ns <= known]
        self._waiting = [entry for entry in self._waiting if entry[0] > known]
        for tell in done:
            tell()

    def push(self, heard: Callable[[], None]) -> None:
        """Send the consents as they are now to all replicas; `heard` is told when all know."""
        self._waiting.append((self._env.now, heard))
        self._send_all()

    # Services

    def _next(self, service: Service, stream: np.random.Generator) -> None:
        wait = gap_ns(stream, service.rate_nhz)
        self._env.at(self._env.now + wait, self._process, (service, stream))

    def _process(self, due: tuple[Service, np.random.Generator]) -> None:
        service, stream = due
        subject = int(stream.integers(self._asked.subjects))
        number = self._row_of(subject, service.purpose, int(stream.integers(self._asked.rows)))
        outcome, lag_ns = self._read(service, name_of(subject), number)
        self._recorder.append_row(
            "processing",
            second=(self._env.now - 1) // _SECOND,
            purpose=service.purpose,
            replica_region=service.region,
            outcome=outcome,
            reads=1,
            lag_ns=lag_ns,
        )
        self._next(service, stream)

    def _read(self, service: Service, name: str, number: int) -> tuple[str, int]:
        """Read one row of a subject if all agree; return the outcome and how late it was."""
        now, replica = self._env.now, service.region
        if self._places.host(replica) is None:
            return "stale", -1
        decided, _ = self._staff.serve(service.name, "process", replica)
        if decided != ALLOWED:
            return {DENIED: "denied", REFUSED: "refused"}[decided], -1
        heard = now if replica == self._home else self._heard_ns[replica]
        if now - heard > self._asked.propagation_ns:
            return "stale", -1
        try:
            self._manager.row(name, number, replica)
        except Refused:
            return self._without_rows(name, service.purpose), -1
        try:
            self._manager.read(name, number, replica, now, as_of_ns=heard)
        except LogUnwritable:
            return "refused", -1
        except Refused:
            return "no_consent", -1
        withdrawn = self._manager.consent_at(name, service.purpose, now)
        if withdrawn is not None and not withdrawn.given:
            return "late", now - withdrawn.time_ns
        return "processed", -1

    def _without_rows(self, name: str, purpose: str) -> str:
        """Tell who never consented, which is on record as a denial, from who was erased."""
        subject = self._manager.subjects.get(name)
        if subject is None or any(c.purpose == purpose for c in subject.consents):
            return "unknown"
        log, about = self._manager.audit, f"subject/{subject.token}"
        try:
            log.append(self._env.now, "processor", "read", about, Outcome.DENIED, detail=purpose)
        except LogUnwritable:
            return "refused"
        return "no_consent"
