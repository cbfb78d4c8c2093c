"""Insiders: what they do to the log, to rights and to erasures, and when it is found out.

Owns: carrying out the attacks, the views that a keeper of the log shows, and the table that holds
each act against its discovery. An act that nobody can find has the reason why. Must not know: how
findings come about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.engine.compliance.heads import Heads
from sim.engine.compliance.staff import ALLOWED, LOG, Staff
from sim.engine.loop import Loop
from sim.record.recorder import Sink
from sim.scenario.compliance_events import (
    ErasureEvasion,
    Insider,
    PrivilegeEscalation,
    SplitView,
    Tampering,
)
from sim.world.compliance import tampering
from sim.world.compliance.access_controller import AccessController
from sim.world.compliance.audit_logger import AuditLogger, Outcome, Record
from sim.world.compliance.data_manager import DataManager

UNCOVERED = "no head outside of the log covers what it changed"
AFTER_THE_HEAD = "the time it claims is after the last head that anybody outside has"
ONE_VIEW = "everybody outside was shown one and the same log"
OWN_RIGHT = "the stolen session has the right and the second factor: the log shows its owner"
OUT_OF_SIGHT = "the rows are where nobody inspects; without a key they do not open"
WITH_KEY = "the rows are where nobody inspects, and their keeper has a key"


@dataclass(slots=True)
class Act:
    """One act of an insider. `reason`: why nobody can find it, empty while somebody can.

    `looks`: how many inspections there had been before.
    """

    insider: int
    kind: str
    family: str
    time_ns: int
    target: str
    looks: int
    reason: str = ""
    outcome: str = "open"
    found_ns: int = -1
    by: str = ""
    finding: str = ""


class Insiders:
    """All insiders of a run.

    `save()` brings the table of the log up to date before it is changed. `manager`: None without
    personal data.
    """

    def __init__(
        self,
        *,
        env: Loop,
        asked: tuple[Insider, ...],
        log: AuditLogger,
        staff: Staff,
        access: AccessController,
        manager: DataManager | None,
        recorder: Sink,
        save: Callable[[], None],
    ) -> None:
        self._env = env
        self._asked = asked
        self._log = log
        self._staff = staff
        self._access = access
        self._manager = manager
        self._recorder = recorder
        self._save = save
        self.heads: Heads
        self.acts: list[Act] = []
        self.looks = {"log": 0, "erasure": 0}
        """Inspections so far, of the log and of the replicas."""
        self.stray: list[tuple[str, str, str]] = []
        """Findings that no act explains."""
        self._shut_out = False
        self._split: tuple[int, SplitView] | None = None
        """Since which record the views differ, and who is shown which."""
        self._last_key: int | None = None
        """Generation of the keeper's key that an insider had when it was shut out."""
        self._evaders: dict[str, tuple[int, ErasureEvasion]] = {}

    def start(self) -> None:
        """Put every insider's first act into the loop."""
        carry_out: dict[type[Any], Callable[[Any], None]] = {
            Tampering: self._tamper,
            SplitView: self._split_view,
            PrivilegeEscalation: self._escalate,
            ErasureEvasion: self._evade,
        }
        for index, insider in enumerate(self._asked):
            self._env.at(insider.at_ns, carry_out[type(insider)], (index, insider))

    def _note(self, index: int, kind: str, family: str, target: str, reason: str = "") -> Act:
        looks = self.looks.get(family, 0)
        act = Act(index, kind, family, self._env.now, target, looks, reason)
        self.acts.append(act)
        return act

    # The log's store

    def _tamper(self, due: tuple[int, Tampering]) -> None:
        index, asked = due
        log, covered = self._log, self.heads.covered
        self._save()
        if self._shut_out:
            self._note(index, asked.kind, "log", "store").outcome = "stopped"
            return
        whole = covered if asked.reach == "witnessed" else len(log)
        least = 0 if asked.reach == "witnessed" else covered
        if whole - least < 1 or log.first:
            # Nothing there yet, or contents are archived: the tree cannot be rebuilt over them.
            self._note(index, asked.kind, "log", "store").outcome = "nothing"
            return
        place = (least + whole) // 2
        now = self._env.now
        forged = Record(0, now, "nobody", "inspect", "validator/0", Outcome.DONE, 1, "", "")
        reason = "" if asked.reach == "witnessed" else UNCOVERED
        if asked.kind == "edit":
            tampering.edit(log, place, actor="nobody")
            reason = ""
        elif asked.kind == "rewrite":
            tampering.rewrite(log, place, actor="nobody")
        elif asked.kind == "delete":
            tampering.delete(log, place)
        elif asked.kind == "truncate":
            place = whole - 1 if asked.reach == "witnessed" else covered
            tampering.truncate(log, place)
        elif asked.kind == "insert":
            tampering.insert(log, forged._replace(time_ns=log[place].time_ns))
        else:
            claimed = max(0, now - asked.back_ns)
            place = len(log)
            last = max((signed.head.time_ns for signed in self.heads.kept), default=-1)
            reason = "" if claimed < last else AFTER_THE_HEAD
            tampering.back_date(log, forged._replace(time_ns=claimed))
        self._note(index, asked.kind, "log", f"record/{place}", reason)

    # Two views

    def _split_view(self, due: tuple[int, SplitView]) -> None:
        index, asked = due
        self._split = len(self._log), asked
        witnesses = len(self.heads.witnesses)
        shown = min(asked.shown_to, witnesses)
        reason = ONE_VIEW if shown == witnesses else ""
        self._note(index, asked.kind, "log", f"{shown} of {witnesses} witnesses", reason)

    def view(self, place: int) -> AuditLogger:
        """Return the log that is shown to a witness, by its place; -1: to an auditor."""
        if self._split is None or not self._deceived(place):
            return self._log
        since = self._split[0]
        other = tampering.twin(self._log)
        if since < len(other):
            tampering.rewrite(other, since, actor="nobody")
        return other

    def _deceived(self, place: int) -> bool:
        assert self._split is not None
        shown_to = self._split[1].shown_to
        return shown_to >= len(self.heads.witnesses) if place < 0 else place < shown_to

    def signs_with(self, place: int) -> int | None:
        """Return the generation of the key that signs what a witness is shown; None: in force.

        Who is the keeper has the key in force, until it is shut out: then only the old one.
        """
        if self._split is None or not self._deceived(place):
            return None
        return self._last_key

    # Rights

    def _escalate(self, due: tuple[int, PrivilegeEscalation]) -> None:
        index, asked = due
        name = asked.stolen or asked.person
        if not self._access.principals[name].roles:
            return
        resource, attributes = {
            "slash": (("Validator", "validator/0"), {"region": "*"}),
            "deploy": (("Deployment", "insider"), {"stage": "production"}),
            "grant_role": (("Role", "security_officer"), None),
            "set_retention": (LOG, None),
        }[asked.action]
        decided = self._staff.act(name, asked.action, resource, attributes=attributes)
        act = self._note(index, asked.kind, "rights", f"{name}: {asked.action}")
        if decided == ALLOWED:
            act.reason = OWN_RIGHT
            self._log.archive(self.heads.covered)
        else:
            act.outcome, act.by, act.finding = "stopped", "access_controller", decided
            act.found_ns = self._env.now
        self._env.at(self._env.now + asked.every_ns, self._escalate, due)

    # Erasures

    def _evade(self, due: tuple[int, ErasureEvasion]) -> None:
        index, asked = due
        self._evaders[asked.region] = index, asked
        if asked.keys and self._manager is not None:
            for subject in self._manager.subjects.values():
                self._manager.stolen[subject.token] = subject.key

    def lies(self, replica: str, token: str) -> str:
        """Return what the keeper of a replica does instead of deleting: "", kept or hidden."""
        if replica not in self._evaders:
            return ""
        index, asked = self._evaders[replica]
        reason = (WITH_KEY if asked.keys else OUT_OF_SIGHT) if asked.hidden else ""
        self._note(index, asked.kind, "erasure", f"{replica}/{token}", reason)
        return "hidden" if asked.hidden else "kept"

    def explains(self, token: str) -> bool:
        """Tell whether an act on record says why an erased subject's rows still open."""
        return any(
            act.target.endswith(f"/{token}") and (act.found_ns >= 0 or act.reason)
            for act in self.acts
        )

    # Discovery

    def shut_out(self) -> None:
        """The store is isolated: nobody tampers any more, and the next key is not theirs."""
        self._shut_out = True
        self._last_key = self.heads.keys.generation(self.heads.keeper)

    def replace_keeper(self, replica: str) -> None:
        """Somebody else keeps a replica from now on, who does what is asked."""
        self._evaders.pop(replica, None)

    def found(self, by: str, kind: str, what: str) -> bool:
        """Hold a finding against the acts; return whether it is news of a known act."""
        family = "erasure" if kind == "orphan_rows" else "log"
        mine = [
            act
            for act in self.acts
            if act.family == family and (family == "log" or act.target == what)
        ]
        if not [act for act in mine if act.outcome != "nothing"]:
            self.stray.append((by, kind, what))
            return False
        news = [act for act in mine if act.outcome == "open"]
        for act in news:
            act.outcome, act.by, act.finding = "found", by, kind
            act.found_ns = self._env.now
            act.reason = ""
        return bool(news)

    def passed_silently(self) -> list[Act]:
        """Return acts that somebody looked for, could have found, and did not find."""
        return [
            act
            for act in self.acts
            if act.outcome == "open"
            and not act.reason
            and act.family in self.looks
            and self.looks[act.family] > act.looks
        ]

    def write(self) -> None:
        """Write the table of insiders."""
        for act in self.acts:
            outcome = "undetectable" if act.outcome == "open" and act.reason else act.outcome
            self._recorder.append_row(
                "insiders",
                insider=act.insider,
                kind=act.kind,
                time_ns=act.time_ns,
                target=act.target,
                outcome=outcome,
                found_ns=act.found_ns,
                delay_ns=act.found_ns - act.time_ns if act.found_ns >= 0 else -1,
                by=act.by,
                finding=act.finding,
                reason=act.reason if outcome == "undetectable" else "",
            )
