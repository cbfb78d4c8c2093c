"""Carry out what the scenario states for certain times: requests, holds, breaches, log faults.

Owns: the order of things of each kind of event, and the table of breaches. Must not know: how
requests are handled or acts decided.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from sim.engine.compliance.places import Places
from sim.engine.compliance.response import Incidents
from sim.engine.compliance.staff import ALLOWED, Staff
from sim.engine.compliance.subjects import Subjects, name_of
from sim.engine.loop import Loop
from sim.record.recorder import Sink
from sim.scenario import compliance_events as asked
from sim.world.compliance.access_controller import AccessController
from sim.world.compliance.audit_logger import AuditLogger, LogUnwritable, Outcome
from sim.world.compliance.breach_register import NOTIFY_WITHIN_NS, Breach, BreachRegister
from sim.world.compliance.data_manager import Refused

_STEP_NS = 1_000_000_000
"""Between the regions of a deployment (assumption)."""


@dataclass(slots=True)
class Entry:
    """A breach with the processor's clock."""

    processor_ns: int
    breach: Breach


class Events:
    """All stated events of a run. `subjects`: None without personal data."""

    def __init__(
        self,
        *,
        env: Loop,
        events: tuple[asked.Event, ...],
        log: AuditLogger,
        staff: Staff,
        access: AccessController,
        places: Places,
        subjects: Subjects | None,
        incidents: Incidents,
        recorder: Sink,
    ) -> None:
        self._env = env
        self._events = events
        self._log = log
        self._staff = staff
        self._access = access
        self._places = places
        self._subjects = subjects
        self._incidents = incidents
        self._recorder = recorder
        self._register = BreachRegister(log)
        self._entries: list[Entry] = []

    def start(self) -> None:
        """Put every event into the loop, in the order written."""
        carry_out: dict[type[Any], Callable[[Any], None]] = {
            asked.DataRequest: self._request,
            asked.Withdrawal: self._withdraw,
            asked.Hold: self._hold,
            asked.Revocation: self._revoke,
            asked.Deployment: self._begin_deployment,
            asked.Breach: self._begin_breach,
            asked.LogFault: self._break,
        }
        for event in self._events:
            self._env.at(event.at_ns, carry_out[type(event)], event)

    def _begin_deployment(self, event: asked.Deployment) -> None:
        self._env.process(self._deploy(event))

    def _begin_breach(self, event: asked.Breach) -> None:
        self._env.process(self._breach(event))

    # Subjects

    def _request(self, event: asked.DataRequest) -> None:
        assert self._subjects is not None
        for subject in range(event.first, event.first + event.subjects):
            self._subjects.ask(event.kind, subject)

    def _withdraw(self, event: asked.Withdrawal) -> None:
        assert self._subjects is not None
        for subject in range(event.first, event.first + event.subjects):
            self._subjects.ask("withdrawal", subject, event.purpose)

    def _hold(self, event: asked.Hold) -> None:
        self._legal("place_hold", event)
        if event.until_ns is not None:
            self._env.at(event.until_ns, lambda _: self._legal("lift_hold", event))

    def _legal(self, action: str, event: asked.Hold) -> None:
        """Place or lift a hold, by whoever is the lawyer on duty."""
        assert self._subjects is not None
        manager, name = self._subjects.manager, name_of(event.subject)
        subject, lawyer = manager.subjects.get(name), self._staff.on_duty("legal")
        if subject is None or not lawyer:
            return
        target = ("Subject", subject.token)
        state = {"region": self._subjects.home, "held": bool(subject.held)}
        if self._staff.act(lawyer, action, target, attributes=state) != ALLOWED:
            return
        try:
            if action == "place_hold":
                manager.hold(name, event.case, self._env.now)
            else:
                manager.lift(name, event.case, self._env.now)
        except (LogUnwritable, Refused):
            # Not recorded, or never placed: so nothing has changed.
            return

    # Rights and rollouts

    def _revoke(self, event: asked.Revocation) -> None:
        officer = self._staff.on_duty("security_officer")
        if officer and self._staff.act(officer, "revoke_role", ("Role", "processor")) == ALLOWED:
            self._access.revoke(event.service, "processor", self._env.now)

    def _deploy(self, event: asked.Deployment) -> Generator[Any, Any, None]:
        deployer = self._staff.on_duty("deployer")
        target = ("Deployment", event.version)
        if (
            not deployer
            or self._staff.act(
                deployer, event.kind, target, attributes={"stage": event.stage}, approved=True
            )
            != ALLOWED
        ):
            return
        for region in dict.fromkeys(self._places.regions):
            yield self._env.timeout(_STEP_NS)
            about = f"{event.stage}/{event.version}/{region}"
            self._say(deployer, f"{event.kind}_step", about)

    def _say(self, actor: str, action: str, about: str) -> None:
        try:
            self._log.append(self._env.now, actor, action, about, Outcome.DONE)
        except LogUnwritable:
            self._staff.unrecorded(actor, action)

    # Breaches

    def _breach(self, event: asked.Breach) -> Generator[Any, Any, None]:
        yield self._env.timeout(event.processor_after_ns)
        processor_ns = self._env.now
        yield self._env.timeout(event.controller_after_ns)
        now = self._env.now
        tokens = self._tokens(event.subjects)
        try:
            breach = self._register.enter(event.at_ns, now, tokens, high_risk=event.high_risk)
        except LogUnwritable:
            # The register holds it all the same: it is a record of its own.
            breach = self._register.entries[-1]
        self._entries.append(Entry(processor_ns, breach))
        self._incidents.alarm("breach", f"breach/{breach.number}")
        for whom, after_ns in (
            ("authority", event.authority_after_ns),
            ("subjects", event.subjects_after_ns),
        ):
            if after_ns is not None:
                self._env.at(now + after_ns, self._notify, (breach.number, whom))

    def _tokens(self, count: int) -> tuple[str, ...]:
        assert self._subjects is not None
        known = self._subjects.manager.subjects.values()
        return tuple(subject.token for subject in list(known)[:count])

    def _notify(self, due: tuple[int, str]) -> None:
        number, whom = due
        officer = self._staff.on_duty("data_officer")
        if (
            not officer
            or self._staff.act(officer, "notify", ("Incident", f"breach/{number}")) != ALLOWED
        ):
            return
        try:
            self._register.notify(number, whom, self._env.now)
        except LogUnwritable:
            self._staff.unrecorded(officer, "notify")

    # The log's store

    def _break(self, event: asked.LogFault) -> None:
        self._log.broken = "disk fault"
        self._env.at(event.until_ns, self._mend)

    def _mend(self, _: None) -> None:
        self._log.broken = ""

    def untold(self) -> list[int]:
        """Return since when the controller is aware of breaches the authority hasn't heard of."""
        breaches = [entry.breach for entry in self._entries]
        return [breach.aware_ns for breach in breaches if breach.authority_ns is None]

    def write(self) -> None:
        """Write the breach register."""
        now = self._env.now
        for entry in self._entries:
            breach = entry.breach
            due = breach.aware_ns + NOTIFY_WITHIN_NS
            if breach.authority_ns is None:
                notified = "overdue" if now > due else "open"
            else:
                notified = "late" if breach.late(now) else "in_time"
            self._recorder.append_row(
                "breaches",
                breach=breach.number,
                occurred_ns=breach.occurred_ns,
                processor_ns=entry.processor_ns,
                aware_ns=breach.aware_ns,
                due_ns=due,
                authority_ns=-1 if breach.authority_ns is None else breach.authority_ns,
                subjects_ns=-1 if breach.subjects_told_ns is None else breach.subjects_told_ns,
                subjects=len(breach.subjects),
                high_risk=int(breach.high_risk),
                notified=notified,
            )
