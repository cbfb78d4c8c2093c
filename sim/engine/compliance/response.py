"""Incidents: what sets one off, and the people who work through its playbook.

Owns: rules over what is found and denied, playbooks, who takes which step and when. Must not know:
how findings come about; what a step does is handed in (`effects`).

Source: NIST SP 800-61 rev. 2 section 3 (detect, contain, recover, report); the delays between
steps are the scenario's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from sim.engine.compliance.staff import ALLOWED, LOG, Staff
from sim.engine.loop import Loop
from sim.record.recorder import Sink
from sim.scenario.compliance import Response

PLAYBOOKS: Mapping[str, tuple[str, ...]] = {
    "tampering": ("contain", "rotate_key", "notify", "close"),
    "erasure_evasion": ("contain", "notify", "close"),
    "offence": ("contain", "slash", "notify", "close"),
    "denials": ("contain", "notify", "close"),
    "lock_out": ("notify", "close"),
    "log_failure": ("make_room", "notify", "close"),
    "breach": ("contain", "notify", "close"),
    "alert": ("inspect", "notify", "close"),
}
"""By cause: the steps in order."""
_ROLES: Mapping[str, tuple[str, ...]] = {
    "contain": ("security_officer",),
    "slash": ("security_officer",),
    "rotate_key": ("operator",),
    "make_room": ("records_officer",),
    "inspect": ("operator",),
    "notify": ("security_officer", "data_officer"),
    "close": ("security_officer",),
}
Effect = Callable[[str, str], None]
"""What a step does: (cause, whom it concerns)."""


class Incidents:
    """All incidents of a run; one is open at a time for each cause and each that it concerns.

    `asked`: None where nobody answers. `effects`: by step. `validator`: whose key is rotated where
    an incident concerns no validator.
    """

    def __init__(
        self,
        *,
        env: Loop,
        asked: Response | None,
        staff: Staff,
        recorder: Sink,
        effects: Mapping[str, Effect],
        validator: int,
    ) -> None:
        self._env = env
        self._asked = asked
        self._staff = staff
        self._recorder = recorder
        self._effects = effects
        self._validator = validator
        self._open: dict[tuple[str, str], int] = {}
        self._denials: dict[str, list[int]] = {}
        self._contained: dict[str, None] = {}
        """Principals that were shut out: what they still try is no news."""
        self.count = 0

    @property
    def open(self) -> int:
        """How many incidents are being worked on."""
        return len(self._open)

    def denied(self, name: str, now_ns: int, action: str) -> None:
        """Hear of a denial; so many of one principal within the window are an incident."""
        if self._asked is None or name in self._contained:
            return
        recent = [t for t in self._denials.get(name, ()) if t > now_ns - self._asked.window_ns]
        self._denials[name] = recent = [*recent, now_ns]
        if len(recent) >= self._asked.denials:
            self.alarm("denials", name)

    def locked(self, name: str, now_ns: int) -> None:
        """Hear of a lock-out."""
        self.alarm("lock_out", name)

    def alarm(self, cause: str, who: str) -> None:
        """Open an incident unless one of this cause about this one is open."""
        if (cause, who) in self._open:
            return
        number = self._open[cause, who] = self.count
        self.count += 1
        self._row(number, cause, "detect", "monitoring", "done", who)
        if self._asked is not None:
            self._env.process(self._work(number, cause, who, self._asked))

    def _work(
        self, number: int, cause: str, who: str, asked: Response
    ) -> Generator[Any, Any, None]:
        yield self._env.timeout(asked.react_ns)
        for step in PLAYBOOKS[cause]:
            actor, outcome = self._take(number, cause, step, who)
            self._row(number, cause, step, actor, outcome, who)
            yield self._env.timeout(asked.step_ns)
        del self._open[cause, who]

    def _take(self, number: int, cause: str, step: str, who: str) -> tuple[str, str]:
        """Let somebody take a step; return who, and what came of it."""
        duty = (self._staff.on_duty(role, but=who) for role in _ROLES[step])
        actor = next((name for name in duty if name), "")
        if not actor:
            return "", "unstaffed"
        incident = ("Incident", f"incident/{number}")
        node = int(who) if who.isdecimal() else self._validator
        if step in ("slash", "rotate_key", "inspect"):
            decided = self._staff.on_validator(actor, step, node, approved=True)
        elif step == "make_room":
            # Where nothing can be recorded, room comes first: nobody could permit it else.
            self._effects[step](cause, who)
            decided = self._staff.act(actor, "set_retention", LOG)
        else:
            action = "close_incident" if step == "close" else step
            decided = self._staff.act(actor, action, incident)
        if decided != ALLOWED:
            return actor, "denied"
        if step == "contain":
            self._contained[who] = None
        if step in self._effects and step != "make_room":
            self._effects[step](cause, who)
        return actor, "done"

    def _row(
        self, number: int, cause: str, step: str, actor: str, outcome: str, detail: str
    ) -> None:
        self._recorder.append_row(
            "incidents",
            incident=number,
            cause=cause,
            time_ns=self._env.now,
            step=step,
            actor=actor,
            outcome=outcome,
            detail=detail,
        )
