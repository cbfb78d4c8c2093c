"""Data subjects: who they are, what is stored of them, and the requests they make.

Owns: the life of each request from being asked to its last replica, one process each, and the
table of requests. Must not know: how services process data (`processing`), who attacks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.engine.compliance.places import Places
from sim.engine.compliance.staff import ALLOWED, DENIED, REFUSED, Staff, gap_ns
from sim.engine.loop import Loop
from sim.record.recorder import Sink
from sim.scenario.compliance import Data
from sim.world.chance import Chance, mix
from sim.world.compliance.audit_logger import LogUnwritable
from sim.world.compliance.data_manager import (
    ANSWER_WITHIN_NS,
    DataManager,
    Known,
    Refused,
    as_csv,
    rows_of,
)
from sim.world.network.stations import Cpu

_PPM = 1_000_000
REQUEST_BYTES = 512
"""Of a message that asks a replica to delete, or confirms it, with its signature left out."""


def name_of(subject: int) -> str:
    """Return the name of a subject by its index."""
    return f"subject-{subject}"


@dataclass(slots=True)
class Request:
    """One request; times in ns, -1 not yet. `left`: rows that still open, of an erasure."""

    number: int
    kind: str
    subject: int
    token: str
    asked_ns: int
    decided_ns: int = -1
    done_ns: int = -1
    complete_ns: int = -1
    outcome: str = "open"
    reason: str = ""
    rows: int = 0
    size_bytes: int = 0
    tries: int = 0
    left: int = 0
    erasure: int = -1
    """Its number among the erasures of the data manager."""


class Subjects:
    """All subjects of a run. `lies(replica, token)`: what the keeper of a replica does instead
    of deleting; `push()` sends the consents as they are to all replicas at once.
    """

    def __init__(
        self,
        *,
        env: Loop,
        asked: Data,
        manager: DataManager,
        staff: Staff,
        places: Places,
        recorder: Sink,
        chance: Chance,
        lies: Callable[[str, str], str],
        push: Callable[[Callable[[], None]], None],
    ) -> None:
        self._env = env
        self._asked = asked
        self.manager = manager
        self._staff = staff
        self._places = places
        self._recorder = recorder
        self._chance = chance
        self._lies = lies
        self._push = push
        self._key = chance.key("compliance/subjects")
        officers = sum("data_officer" in person.roles for person in staff.people.values())
        self._desk = Cpu(max(1, officers))
        self.home = asked.regions[0]
        self.requests: list[Request] = []

    # Who there is

    def start(self) -> None:
        """Take the population over, and let requests come in at their rates."""
        self.manager.take_over(self._population(), self._env.now)
        self.manager.back_up(self._env.now)
        if self._asked.backups is not None:
            self._env.at(self._asked.backups.every_ns, self._back_up)
        rates = self._asked.requests
        for kind, rate_nhz in (
            ("access", rates.access_nhz),
            ("export", rates.export_nhz),
            ("erasure", rates.erasure_nhz),
            ("withdrawal", rates.withdrawal_nhz),
        ):
            if rate_nhz:
                stream = self._chance.stream(f"compliance/requests/{kind}")
                self._next((kind, rate_nhz, stream))

    def _back_up(self, _: None) -> None:
        assert self._asked.backups is not None
        self.manager.back_up(self._env.now)
        self._env.at(self._env.now + self._asked.backups.every_ns, self._back_up)

    def _population(self) -> Iterator[Known]:
        for subject in range(self._asked.subjects):
            purposes = [p for i, p in enumerate(self._asked.purposes) if self._consents(subject, i)]
            yield name_of(subject), purposes, self.stored(subject, purposes)

    def _consents(self, subject: int, purpose: int) -> bool:
        return mix(self._key, subject, purpose) % _PPM < self._asked.consenting_ppm

    def stored(self, subject: int, purposes: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
        """Return what is stored of a subject: rows of synthetic text, by purpose."""
        size = self._asked.row_size_bytes
        rows: list[tuple[str, dict[str, str]]] = []
        for purpose in purposes:
            for number in range(self._asked.rows):
                word = f"{mix(self._key, subject, len(rows) + number + 1_000):016x}"
                rows.append((purpose, {"text": (word * (-(-size // 16)))[:size]}))
        return rows

    def row_of(self, subject: int, purpose: str, which: int) -> int:
        """Return the number of a subject's `which`-th row of a purpose; -1: it never consented."""
        number = 0
        for place, name in enumerate(self._asked.purposes):
            consents = self._consents(subject, place)
            if name == purpose:
                return number + which if consents else -1
            number += self._asked.rows * consents
        return -1

    # Asking

    def _next(self, source: tuple[str, int, np.random.Generator]) -> None:
        self._env.at(self._env.now + gap_ns(source[2], source[1]), self._arrived, source)

    def _arrived(self, source: tuple[str, int, np.random.Generator]) -> None:
        kind, _, stream = source
        subject = int(stream.integers(self._asked.subjects))
        purpose = self._asked.purposes[int(stream.integers(len(self._asked.purposes)))]
        self.ask(kind, subject, purpose)
        self._next(source)

    def ask(self, kind: str, subject: int, purpose: str = "") -> None:
        """Begin a request of a subject. One that nobody knows (any more) is refused at once."""
        known = self.manager.subjects.get(name_of(subject))
        now = self._env.now
        token = known.token if known is not None else ""
        request = Request(len(self.requests), kind, subject, token, now)
        self.requests.append(request)
        if known is None:
            self._refuse(request, "unknown_subject")
        elif kind == "withdrawal":
            self._env.process(self._withdraw(request, purpose))
        else:
            self._env.process(self._handle(request))

    def _refuse(self, request: Request, reason: str) -> None:
        request.outcome, request.reason = "refused", reason
        request.decided_ns = self._env.now

    def _withdraw(self, request: Request, purpose: str) -> Generator[Any, Any, None]:
        """Take a withdrawal at once; it is done when every replica has heard of it."""
        now = self._env.now
        try:
            self.manager.consent(
                name_of(request.subject), purpose, given=False, version=1, now_ns=now
            )
        except (LogUnwritable, Refused) as error:
            self._refuse(request, _why(error))
            return
        request.decided_ns = now
        heard = self._env.event()
        self._push(lambda: _happen(heard))
        yield heard
        request.done_ns = request.complete_ns = self._env.now
        request.outcome = "done"

    def _handle(self, request: Request) -> Generator[Any, Any, None]:
        """Wait for a data officer and for the controller's region, then serve or erase."""
        now = self._env.now
        yield self._env.timeout(self._desk.serve(now, self._asked.handling_ns) - now)
        while self._places.host(self.home) is None:
            yield self._env.timeout(self._asked.retry_ns)
        subject = self.manager.subjects.get(name_of(request.subject))
        if subject is None:
            self._refuse(request, "unknown_subject")
            return
        officer = self._staff.on_duty("data_officer")
        if not officer:
            self._refuse(request, "nobody_on_duty")
            return
        held = bool(subject.held)
        decided = self._staff.act(
            officer,
            "erase" if request.kind == "erasure" else "export_subject",
            ("Subject", subject.token),
            attributes={"region": self.home, "held": held},
        )
        if decided != ALLOWED:
            reasons = {DENIED: "legal_hold" if held else "not_permitted", REFUSED: "log_unwritable"}
            self._refuse(request, reasons[decided])
            return
        try:
            if request.kind == "erasure":
                yield from self._erase(request)
            else:
                self._hand_out(request)
        except (LogUnwritable, Refused) as error:
            self._refuse(request, _why(error))

    # Serving

    def _hand_out(self, request: Request) -> None:
        """Export what is held; it counts only if it reads back as what was stored."""
        now, name = self._env.now, name_of(request.subject)
        request.decided_ns = now
        text = self.manager.export(name, now, replica=self.home)
        rows = rows_of(text)
        first = sum(self._consents(request.subject, i) for i in range(len(self._asked.purposes)))
        if self._asked.retention_ns is None and len(rows) != first * self._asked.rows:
            raise Refused("rows_missing")
        purposes = list(dict.fromkeys(purpose for purpose, _ in rows))
        if self._asked.retention_ns is None and rows != self.stored(request.subject, purposes):
            raise Refused("does_not_round_trip")
        request.rows = len(rows)
        request.size_bytes = len(text.encode())
        if request.kind == "export":
            request.size_bytes += len(as_csv(text).encode())
        request.outcome = "done"
        request.done_ns = request.complete_ns = now

    def _erase(self, request: Request) -> Generator[Any, Any, None]:
        now = self._env.now
        erasure = self.manager.erase(name_of(request.subject), now)
        request.erasure = erasure.number
        request.decided_ns = now
        parts = [
            self._env.process(self._delete(request, replica)) for replica in self._asked.regions
        ]
        yield self._env.all_of(parts)
        request.done_ns = self._env.now
        complete = erasure.complete_ns()
        request.complete_ns = -1 if complete is None else complete
        request.outcome = "done"

    def _delete(self, request: Request, replica: str) -> Generator[Any, Any, None]:
        """Ask one replica to delete, again and again until it confirms."""
        fresh = False
        while True:
            request.tries += 1
            home = self._places.host(self.home)
            delay = self._places.send(home, self._places.host(replica), REQUEST_BYTES, fresh=fresh)
            if delay is not None:
                yield self._env.timeout(delay)
                if self._acted(request, replica):
                    break
            fresh = True
            yield self._env.timeout(self._asked.retry_ns)

    def _acted(self, request: Request, replica: str) -> bool:
        """Let a replica delete now, if it is up and may record it."""
        if self._places.host(replica) is None:
            return False
        lie = self._lies(replica, request.token)
        try:
            request.rows += self.manager.confirm(request.erasure, replica, self._env.now, lie=lie)
        except LogUnwritable:
            return False
        return True

    # Tables

    def unexplained(self, explained: Callable[[str], bool]) -> list[Request]:
        """Return erasures that were complete by now and whose data opens, with nobody to blame.

        `explained(token)`: whether an insider's act is on record that says why.
        """
        now = self._env.now
        found = []
        for request in self.requests:
            if request.kind == "erasure" and request.outcome == "done":
                request.left = self.manager.recoverable(request.token, now)
                over = 0 <= request.complete_ns <= now
                if over and request.left and not explained(request.token):
                    found.append(request)
        return found

    def write(self) -> None:
        """Write the table of requests."""
        for request in self.requests:
            self._recorder.append_row(
                "requests",
                request=request.number,
                kind=request.kind,
                subject=request.token,
                asked_ns=request.asked_ns,
                decided_ns=request.decided_ns,
                done_ns=request.done_ns,
                complete_ns=request.complete_ns,
                due_ns=request.asked_ns + ANSWER_WITHIN_NS,
                outcome=request.outcome,
                reason=request.reason,
                rows=request.rows,
                size_bytes=request.size_bytes,
                tries=request.tries,
                left=request.left,
            )


def _happen(event: Any) -> None:
    event.succeed()


def _why(error: Exception) -> str:
    """Name an error as a reason, without what it says: names do not belong into tables."""
    if isinstance(error, LogUnwritable):
        return "log_unwritable"
    said = str(error)
    return said if said in ("rows_missing", "does_not_round_trip") else "not_possible"
