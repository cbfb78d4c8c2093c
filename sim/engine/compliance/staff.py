"""People and services as the access controller knows them: sessions, acts, routine, mistakes.

Owns: who is on duty, how an act is asked for, what became of acts that could not be recorded.
Must not know: what the acts do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sim.engine.compliance.places import Places
from sim.engine.loop import Loop
from sim.record.recorder import Sink
from sim.scenario.compliance import Compliance, Person
from sim.world.chance import Chance
from sim.world.compliance.access_controller import AccessController
from sim.world.compliance.audit_logger import LogUnwritable

ALLOWED, DENIED, REFUSED = "", "denied", "refused"
"""What became of an act; refused: it could not be recorded, so it did not happen."""
_SECOND = 1_000_000_000
_NHZ = 1_000_000_000
LOG = ("AuditLog", "main")


class Staff:
    """Everybody who acts. `denied(name, now_ns, action)` hears of each denial."""

    def __init__(
        self,
        *,
        env: Loop,
        asked: Compliance,
        access: AccessController,
        places: Places,
        recorder: Sink,
        chance: Chance,
        denied: Callable[[str, int, str], None],
        locked: Callable[[str, int], None],
    ) -> None:
        self._env = env
        self._access = access
        self._places = places
        self._recorder = recorder
        self._chance = chance
        self._denied = denied
        self._locked = locked
        self.refused = 0
        """Acts that did not happen because they could not be recorded."""
        self.people: dict[str, Person] = {person.name: person for person in asked.people}
        self.rotated: Callable[[int], None] = lambda validator: None
        """Told which validator's key an operator rotated."""
        for person in asked.people:
            region = person.region or "*"
            access.enroll("Operator", person.name, clearance=person.clearance, region=region)
            for role in person.roles:
                access.grant(person.name, role, 0)
        for service in asked.services:
            access.enroll("Service", service.name, region=service.region)
            access.grant(service.name, "processor", 0)

    def on_duty(self, role: str, but: str = "") -> str:
        """Return the first person who holds a role now, other than `but`; empty: nobody does."""
        for name in self.people:
            if name != but and role in self._access.principals[name].roles:
                return name
        return ""

    def second_person(self, first: str) -> str:
        """Return somebody else, logged on, who can approve what `first` does; empty: nobody."""
        for name in self.people:
            if name != first and self._access.principals[name].roles and self._present(name):
                return name
        return ""

    def act(
        self,
        name: str,
        action: str,
        resource: tuple[str, str],
        *,
        attributes: Mapping[str, Any] | None = None,
        mfa: bool = True,
        approved: bool = False,
    ) -> str:
        """Ask for an act of a person, who logs on first if need be; return ALLOWED or why not.

        `approved`: with the approval of a second person, if there is one.
        """
        now = self._env.now
        try:
            if not self._present(name):
                # Still asked for, so that the attempt is on record.
                approved = False
            approver = self.second_person(name) if approved else ""
            decision = self._access.acting(
                name, action, resource, now, attributes=attributes, mfa=mfa, approver=approver
            )
        except LogUnwritable:
            self._note(name, action, REFUSED)
            return REFUSED
        if not decision.allowed:
            self._denied(name, now, action)
        return ALLOWED if decision.allowed else DENIED

    def _present(self, name: str) -> bool:
        """Open a session where there is none; tell whether there is one now."""
        now = self._env.now
        if not self._access.lapsed(name, now):
            return True
        if name not in self.people or not self._access.principals[name].roles:
            return False
        reason = self._access.log_on(name, proven=True, now_ns=now)
        self._places.log_on(self.people[name].region or "*")
        return not reason

    def serve(self, name: str, action: str, region: str) -> tuple[str, int]:
        """Decide a service's act at a region's gateway; return what became of it, and how stale.

        The second is the time since the revocation for an allow that came after it, else -1.
        """
        now = self._env.now
        stale = self._access.stale_allows
        try:
            allowed = self._access.routine(name, action, (region, f"gateway/{region}"), now)
        except LogUnwritable:
            self._note(name, action, REFUSED, region)
            return REFUSED, -1
        if not allowed:
            self._note(name, action, DENIED, region)
            self._denied(name, now, action)
            return DENIED, -1
        lag = now - self._access.revoked_ns(name) if self._access.stale_allows > stale else -1
        self._note(name, action, "stale" if lag >= 0 else "allowed", region, lag_ns=lag)
        return ALLOWED, lag

    def admit(self, name: str, action: str, region: str, acts: int) -> None:
        """Decide acts of a class of agents, counted by the agent plane in the second just over."""
        now, gateway = self._env.now, (region, f"gateway/{region}")
        try:
            self._access.routine(name, action, gateway, now, count=acts, acted_ns=max(0, now - 1))
        except LogUnwritable:
            self._note(name, action, REFUSED, region, acts)
            return
        self._note(name, action, "allowed", region, acts)

    def unrecorded(self, name: str, action: str, acts: int = 1) -> None:
        """Count what could not be recorded."""
        self._note(name, action, REFUSED, acts=acts)

    def _note(
        self,
        name: str,
        action: str,
        decision: str,
        region: str = "",
        acts: int = 1,
        lag_ns: int = -1,
    ) -> None:
        self.refused += acts if decision == REFUSED else 0
        self._recorder.append_row(
            "access",
            second=max(0, self._env.now - 1) // _SECOND,
            principal=name,
            action=action,
            gateway_region=region,
            decision=decision,
            acts=acts,
            lag_ns=lag_ns,
        )

    # Routine

    def start(self) -> None:
        """Let everybody with a rate begin."""
        for name, person in self.people.items():
            if person.rate_nhz:
                stream = self._chance.stream(f"compliance/people/{name}")
                self._next(person, stream)

    def _next(self, person: Person, stream: np.random.Generator) -> None:
        wait = gap_ns(stream, person.rate_nhz)
        self._env.at(self._env.now + wait, self._routine, (person, stream))

    def _routine(self, due: tuple[Person, np.random.Generator]) -> None:
        person, stream = due
        wrong = int(stream.integers(1_000_000)) < person.mistakes_ppm
        which, node = int(stream.integers(10)), self._theirs(person, stream)
        if wrong:
            self._mistake(person, which, node)
        elif "auditor" in person.roles:
            self.act(person.name, "read_audit", LOG)
        elif "operator" in person.roles:
            # One act in ten changes something (assumption).
            action = "rotate_key" if which == 0 else "inspect"
            if self.on_validator(person.name, action, node) == ALLOWED and which == 0:
                self.rotated(node)
        self._next(person, stream)

    def _theirs(self, person: Person, stream: np.random.Generator) -> int:
        """Draw a validator of those that a person may act on."""
        regions = self._places.regions
        own = [i for i, r in enumerate(regions) if person.region in (None, r)]
        return own[int(stream.integers(len(own)))]

    def on_validator(
        self, name: str, action: str, node: int, *, mfa: bool = True, approved: bool = False
    ) -> str:
        """Ask for an act of a person on a validator; see `act`."""
        target = ("Validator", f"validator/{node}")
        region = {"region": self._places.regions[node]}
        return self.act(name, action, target, attributes=region, mfa=mfa, approved=approved)

    def _mistake(self, person: Person, which: int, node: int) -> None:
        """Go wrong in one of three ways: a failed log-on, no second factor, another's duty."""
        now = self._env.now
        if which < 4:
            try:
                self._access.log_on(person.name, proven=False, now_ns=now)
            except LogUnwritable:
                self._note(person.name, "log_on", REFUSED)
            if self._access.principals[person.name].locked_until_ns > now:
                self._locked(person.name, now)
        elif which < 7:
            self.on_validator(person.name, "rotate_key", node, mfa=False)
        else:
            self.act(person.name, "grant_role", ("Role", "operator"))


def gap_ns(stream: np.random.Generator, rate_nhz: int) -> int:
    """Draw the time to the next event of a Poisson process, at least 1 ns."""
    return max(1, int(stream.exponential(_NHZ / rate_nhz) * _SECOND))
