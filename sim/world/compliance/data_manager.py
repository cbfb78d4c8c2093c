"""Personal data: subjects, consent by purpose, erasure with proof, holds, export, breaches.

Owns keys (one a subject), what replicas store (ciphertext only), consents, requests and their
clocks. Must not know: how messages reach replicas (the caller says when each has acted), who may
ask (`access_controller` decides), the event loop.

An erasure destroys the subject's key and deletes its rows on every replica. It is complete when all
replicas have confirmed and the last backup that holds the key has expired: until then whoever has
that backup can read old copies of the rows. All of it is claimed within the simulated system only.

Source: Regulation (EU) 2016/679, articles 7, 12, 17, 20.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from Crypto.Cipher import AES

from sim.world.compliance.audit_logger import AuditLogger, Outcome
from sim.world.compliance.key_backups import KeyBackups

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
ANSWER_WITHIN_NS = 30 * DAY_NS
"""Article 12(3): one month, taken as 30 days."""
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Refused(Exception):
    """A request that must not be carried out; says why, without the data."""


class Consent(NamedTuple):
    """One statement of a subject about one purpose. `version`: of the text that it was shown."""

    purpose: str
    given: bool
    time_ns: int
    version: int


@dataclass(slots=True)
class Subject:
    """A person, from enrolment to erasure. `held`: cases that forbid erasure.

    `token` stands for the person wherever something is stored or logged; without the name, which
    goes with the erasure, it leads to nobody.
    """

    token: str
    key: bytes
    created_ns: int
    consents: list[Consent] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    rows: int = 0


Known = tuple[str, Sequence[str], Sequence[tuple[str, Mapping[str, str]]]]
"""A subject as it is taken over: name, purposes consented to, (purpose, data) of its rows."""


class Row(NamedTuple):
    """What a replica stores of a subject: a token, a purpose, and ciphertext."""

    token: str
    number: int
    purpose: str
    stored_ns: int
    sealed: bytes


@dataclass(slots=True)
class Erasure:
    """A request under article 17. `waiting`: replicas that have not confirmed, in order."""

    number: int
    token: str
    rows: int
    """Numbers of rows that the subject ever had: each was below this."""
    asked_ns: int
    key_digest: str
    waiting: list[str]
    backups_until_ns: int
    confirmed: dict[str, int] = field(default_factory=dict)

    def complete_ns(self) -> int | None:
        """Return when nobody could read the data any more; None while replicas are waited for."""
        if self.waiting:
            return None
        return max(self.backups_until_ns, self.asked_ns, *self.confirmed.values())

    def overdue(self, now_ns: int) -> bool:
        """Tell whether the subject had to be answered by now, and some replica has not acted."""
        return bool(self.waiting) and now_ns > self.asked_ns + ANSWER_WITHIN_NS


@dataclass(frozen=True, slots=True)
class DataRules:
    """`purposes`: what data may be processed for. `propagation_ns`: how long a withdrawal may take
    to reach every processor. Backups of the keys are made every `backup_every_ns` (the caller calls
    `back_up`) and kept for `backup_kept_ns`; `backup_every_ns` 0: none."""

    purposes: tuple[str, ...]
    propagation_ns: int
    backup_every_ns: int
    backup_kept_ns: int
    retention_ns: int
    """Rows older than this are deleted; 0: never."""

    def __post_init__(self) -> None:
        if self.backup_every_ns and not self.backup_kept_ns:
            raise ValueError("backup_kept_ns 0: backups that are made must be kept for some time")
        if not self.purposes:
            raise ValueError("purposes: name at least one")
        for name in ("propagation_ns", "backup_every_ns", "backup_kept_ns", "retention_ns"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} must not be negative")


class DataManager:
    """The data of all subjects on all `replicas` (names, in order).

    Everything that is asked and done is in `audit`, which holds tokens and hashes of ciphertext,
    never names or data. Keys follow from `seed`, so that a run can be repeated: their destruction
    is a fact of the simulated system, not of the machine that simulates it.
    """

    def __init__(
        self, rules: DataRules, replicas: tuple[str, ...], audit: AuditLogger, seed: bytes
    ) -> None:
        if not replicas:
            raise ValueError("replicas: name at least one")
        self.rules = rules
        self.audit = audit
        self.subjects: dict[str, Subject] = {}
        self.replicas: dict[str, dict[tuple[str, int], Row]] = {name: {} for name in replicas}
        self.erasures: list[Erasure] = []
        self._seed = seed
        self.backups = KeyBackups(rules.backup_kept_ns) if rules.backup_every_ns else None
        self.hidden: dict[str, list[Row]] = {}
        """By replica: rows that its keeper put where nobody inspects."""
        self.stolen: dict[str, bytes] = {}
        """Keys by token that somebody took a copy of."""
        self._enrolled = 0
        self._sealed = 0
        self._by_token: dict[str, Subject] = {}
        self._counts: dict[str, int] = {}
        """By token, of the erased too: how many rows it ever had."""

    # Subjects and consent

    def enroll(self, name: str, now_ns: int) -> Subject:
        """Make a subject known, with a key of its own. Refused: the name is taken.

        Who was erased may come back, as somebody new.
        """
        subject = self._new(name, now_ns)
        self._say(now_ns, "subject", "enroll", subject)
        return subject

    def take_over(self, population: Iterable[Known], now_ns: int) -> int:
        """Take subjects over with consents and data, on every replica; return how many.

        One record stands for all. Refused: a name is taken, a purpose unknown.
        """
        count = 0
        for name, consents, rows in population:
            subject = self._new(name, now_ns)
            for purpose in consents:
                self._known(purpose)
                subject.consents.append(Consent(purpose, True, now_ns, 1))
            for purpose, data in rows:
                self._put(subject, purpose, data, now_ns)
            count += 1
        self.audit.append(now_ns, "controller", "take_over", "subject/*", Outcome.DONE, count=count)
        return count

    def _new(self, name: str, now_ns: int) -> Subject:
        if name in self.subjects:
            raise Refused(f"subject {name!r} exists")
        self._enrolled += 1
        origin = self._seed + self._enrolled.to_bytes(8, "big") + name.encode()
        token = sha256(b"token" + origin).hexdigest()[:16]
        subject = Subject(token, sha256(b"key" + origin).digest(), now_ns)
        self.subjects[name] = self._by_token[token] = subject
        return subject

    def consent(self, name: str, purpose: str, *, given: bool, version: int, now_ns: int) -> None:
        """Take a subject's word on a purpose; withdrawing is the same act (article 7(3))."""
        subject = self._subject(name)
        self._known(purpose)
        self._say(now_ns, "subject", "consent" if given else "withdraw", subject, purpose)
        subject.consents.append(Consent(purpose, given, now_ns, version))

    def consent_at(self, name: str, purpose: str, time_ns: int) -> Consent | None:
        """Return the statement in force at a time, to demonstrate consent (article 7(1))."""
        self._known(purpose)
        said = [c for c in self._subject(name).consents if c.purpose == purpose]
        before = [c for c in said if c.time_ns <= time_ns]
        return before[-1] if before else None

    def may_process(self, name: str, purpose: str, now_ns: int) -> bool:
        """Tell whether a processor may go on: it hears of a statement `propagation_ns` later.

        Consent holds for a processor once it has heard of it; a withdrawal may be heard of late,
        so processing goes on for at most `propagation_ns`.
        """
        heard = self.consent_at(name, purpose, now_ns - self.rules.propagation_ns)
        return heard is not None and heard.given

    # Data

    def store(self, name: str, purpose: str, data: Mapping[str, str], now_ns: int) -> int:
        """Seal data and put it on every replica; return its number. Refused: no consent."""
        subject = self._subject(name)
        now = self.consent_at(name, purpose, now_ns)
        if now is None or not now.given:
            self._say(now_ns, "processor", "store", subject, purpose, Outcome.DENIED)
            raise Refused(f"subject {name!r} has not consented to {purpose!r}")
        row = self._put(subject, purpose, data, now_ns)
        self._say(now_ns, "processor", "store", subject, sha256(row.sealed).hexdigest())
        return row.number

    def _put(self, subject: Subject, purpose: str, data: Mapping[str, str], now_ns: int) -> Row:
        sealed = self._seal(subject, json.dumps(dict(data), sort_keys=True).encode())
        row = Row(subject.token, subject.rows, purpose, now_ns, sealed)
        subject.rows += 1
        self._counts[subject.token] = subject.rows
        for rows in self.replicas.values():
            rows[row.token, row.number] = row
        return row

    def row(self, name: str, number: int, replica: str) -> Row:
        """Return a row as a replica stores it. Refused: it is not there."""
        row = self.replicas[replica].get((self._subject(name).token, number))
        if row is None:
            raise Refused(f"subject {name!r} has no row {number}")
        return row

    def read(
        self, name: str, number: int, replica: str, now_ns: int, *, as_of_ns: int | None = None
    ) -> dict[str, str]:
        """Open one row. Refused: it is not there, or its purpose is not consented to.

        `as_of_ns`: up to when the reader has heard of consents; left out, `may_process` decides.
        """
        row, subject = self.row(name, number, replica), self._subject(name)
        if as_of_ns is None:
            may = self.may_process(name, row.purpose, now_ns)
        else:
            heard = self.consent_at(name, row.purpose, as_of_ns)
            may = heard is not None and heard.given
        if not may:
            self._say(now_ns, "processor", "read", subject, row.purpose, Outcome.DENIED)
            raise Refused(f"subject {name!r} has not consented to {row.purpose!r}")
        return self._open(subject.key, row)

    def export(self, name: str, now_ns: int, *, replica: str) -> str:
        """Return all that is held of a subject, as JSON (article 20)."""
        subject = self._subject(name)
        stored = self.replicas[replica]
        keys = ((subject.token, number) for number in range(subject.rows))
        rows = [stored[key] for key in keys if key in stored]
        whole = {
            "schema": "creto-sim/subject/1",
            "subject": name,
            "consents": [consent._asdict() for consent in subject.consents],
            "rows": [
                {
                    "number": row.number,
                    "purpose": row.purpose,
                    "stored_ns": row.stored_ns,
                    "data": self._open(subject.key, row),
                }
                for row in rows
            ],
        }
        self._say(now_ns, "subject", "export", subject, f"{len(rows)} rows")
        return json.dumps(whole, indent=2, sort_keys=True)

    # Erasure, holds, retention

    def hold(self, name: str, case: str, now_ns: int) -> None:
        """Forbid a subject's erasure while a case is open (article 17(3)(e))."""
        subject = self._subject(name)
        self._say(now_ns, "legal", "hold", subject, case)
        subject.held[case] = now_ns

    def lift(self, name: str, case: str, now_ns: int) -> None:
        """End a hold. Refused: there is none for this case."""
        subject = self._subject(name)
        if case not in subject.held:
            raise Refused(f"subject {name!r} is not held for {case!r}")
        self._say(now_ns, "legal", "lift", subject, case)
        del subject.held[case]

    def erase(self, name: str, now_ns: int) -> Erasure:
        """Destroy a subject's key and ask all replicas to delete its rows.

        Refused: a hold is on, or nobody of that name is known (any more). What replicas and
        backups still hold is in the answer; `confirm` says when a replica has acted.
        """
        subject = self._subject(name)
        if subject.held:
            cases = ", ".join(subject.held)
            self._say(now_ns, "subject", "erase", subject, cases, Outcome.DENIED)
            raise Refused(f"subject {name!r} is held for {cases}")
        digest = sha256(subject.key).hexdigest()
        until = self.backups.until_ns(subject.token, now_ns) if self.backups else now_ns
        number = len(self.erasures)
        request = Erasure(
            number, subject.token, subject.rows, now_ns, digest, list(self.replicas), until
        )
        self._say(now_ns, "subject", "erase", subject, digest)
        self.erasures.append(request)
        del self.subjects[name], self._by_token[subject.token]
        return request

    def confirm(self, erasure: int, replica: str, now_ns: int, *, lie: str = "") -> int:
        """Delete an erased subject's rows on one replica; return how many it says it deleted.

        `lie`: what its keeper does instead, `kept` (nothing) or `hidden` (moves them elsewhere).
        """
        request = self.erasures[erasure]
        if replica not in request.waiting:
            return 0
        about = f"subject/{request.token}"
        self.audit.append(now_ns, replica, "delete_rows", about, Outcome.DONE)
        request.waiting.remove(replica)
        request.confirmed[replica] = now_ns
        rows = self.replicas[replica]
        there = [(request.token, n) for n in range(request.rows) if (request.token, n) in rows]
        for key in there if lie != "kept" else ():
            row = rows.pop(key)
            if lie == "hidden":
                self.hidden.setdefault(replica, []).append(row)
        return len(there)

    def expire(self, replica: str, now_ns: int) -> int:
        """Delete what is older than the retention on one replica; return how many rows."""
        limit = self.rules.retention_ns
        if not limit:
            return 0
        rows = self.replicas[replica]
        known = self._by_token
        old = [
            key
            for key, row in rows.items()
            if row.stored_ns < now_ns - limit and not (key[0] in known and known[key[0]].held)
        ]
        for key in old:
            del rows[key]
        if old:
            said = f"{len(old)} rows"
            self.audit.append(now_ns, replica, "expire_rows", "*", Outcome.DONE, detail=said)
        return len(old)

    # What is left

    def back_up(self, now_ns: int) -> None:
        """Expire old backups of the keys and make one, if there are backups."""
        if self.backups is not None:
            self.backups.expire(now_ns)
            self.backups.make({s.token: s.key for s in self.subjects.values()}, now_ns)

    def orphans(self, replica: str) -> dict[str, int]:
        """Count rows by token on a replica that it confirmed to have deleted, or of nobody."""
        found: dict[str, int] = {}
        waiting = dict.fromkeys(e.token for e in self.erasures if replica in e.waiting)
        for token, _ in self.replicas[replica]:
            if token not in self._by_token and token not in waiting:
                found[token] = found.get(token, 0) + 1
        return found

    def purge(self, replica: str) -> int:
        """Delete the orphans of a replica; return how many rows."""
        rows, gone = self.replicas[replica], self.orphans(replica)
        for key in [key for key in rows if key[0] in gone]:
            del rows[key]
        return sum(gone.values())

    def recoverable(self, token: str, now_ns: int) -> int:
        """Count the rows of a token that opened with any key that is left anywhere.

        Tries them: keys of the living, of backups that have not expired, and stolen ones.
        """
        if self.backups is not None:
            self.backups.expire(now_ns)
        keys = [self.stolen.get(token), self.backups.key(token) if self.backups else None]
        if token in self._by_token:
            keys.append(self._by_token[token].key)
        stored = [
            rows[token, number]
            for rows in self.replicas.values()
            for number in range(self._counts.get(token, 0))
            if (token, number) in rows
        ]
        stored += [row for rows in self.hidden.values() for row in rows if row.token == token]
        return sum(any(key is not None and self._opens(key, row) for key in keys) for row in stored)

    def _opens(self, key: bytes, row: Row) -> bool:
        try:
            return bool(self._open(key, row))
        except ValueError:
            return False

    # Parts

    def _subject(self, name: str) -> Subject:
        subject = self.subjects.get(name)
        if subject is None:
            raise Refused(f"subject {name!r} is not known")
        return subject

    def _known(self, purpose: str) -> None:
        if purpose not in self.rules.purposes:
            known = ", ".join(self.rules.purposes)
            raise Refused(f"purpose {purpose!r} is not one of {known}")

    def _say(
        self,
        now_ns: int,
        actor: str,
        action: str,
        subject: Subject,
        detail: str = "",
        outcome: Outcome = Outcome.DONE,
    ) -> None:
        about = f"subject/{subject.token}"
        self.audit.append(now_ns, actor, action, about, outcome, detail=detail)

    def _seal(self, subject: Subject, data: bytes) -> bytes:
        self._sealed += 1
        nonce = self._sealed.to_bytes(_NONCE_BYTES, "big")
        sealed, tag = AES.new(subject.key, AES.MODE_GCM, nonce=nonce).encrypt_and_digest(data)
        return nonce + tag + sealed

    def _open(self, key: bytes, row: Row) -> dict[str, str]:
        nonce, rest = row.sealed[:_NONCE_BYTES], row.sealed[_NONCE_BYTES:]
        cipher = AES.new(key, AES.MODE_GCM, nonce=nonce)
        opened = cipher.decrypt_and_verify(rest[_TAG_BYTES:], rest[:_TAG_BYTES])
        data: dict[str, str] = json.loads(opened)
        return data


def as_csv(exported: str) -> str:
    """Turn an export into CSV (RFC 4180): number, purpose, stored_ns, field, value."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("number", "purpose", "stored_ns", "field", "value"))
    for row in json.loads(exported)["rows"]:
        for name, value in sorted(row["data"].items()):
            writer.writerow((row["number"], row["purpose"], row["stored_ns"], name, value))
    return out.getvalue()


def rows_of(exported: str) -> list[tuple[str, dict[str, str]]]:
    """Read an export back: (purpose, data) by number, as `store` takes them."""
    return [(row["purpose"], row["data"]) for row in json.loads(exported)["rows"]]
