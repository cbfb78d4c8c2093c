"""The breach register: what got out, who knows of it since when, and the clocks that run.

Owns: every breach (article 33(5)) and the two notifications. Must not know: whose data it was
beyond tokens, who tells whom (the caller says when), the event loop.

Source: Regulation (EU) 2016/679, articles 33 and 34.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.compliance.audit_logger import AuditLogger, Outcome

NOTIFY_WITHIN_NS = 72 * 3_600_000_000_000
"""Article 33(1): from when the controller is aware, not from when it happened."""


@dataclass(slots=True)
class Breach:
    """`aware_ns` starts the clock. `high_risk`: the subjects must be told too (article 34)."""

    number: int
    occurred_ns: int
    aware_ns: int
    subjects: tuple[str, ...]
    high_risk: bool
    authority_ns: int | None = None
    subjects_told_ns: int | None = None

    def late(self, now_ns: int) -> bool:
        """Tell whether the authority was told, or is still untold, after 72 hours."""
        told = now_ns if self.authority_ns is None else self.authority_ns
        return told > self.aware_ns + NOTIFY_WITHIN_NS


class BreachRegister:
    """All breaches in the order of awareness; every entry and notification is in `audit`."""

    def __init__(self, audit: AuditLogger) -> None:
        self.audit = audit
        self.entries: list[Breach] = []

    def enter(
        self, occurred_ns: int, aware_ns: int, subjects: tuple[str, ...], *, high_risk: bool
    ) -> Breach:
        """Enter a breach into the register, at the time at which the controller is aware of it."""
        if aware_ns < occurred_ns:
            raise ValueError(f"aware at {aware_ns} ns, before it happened at {occurred_ns} ns")
        made = Breach(len(self.entries), occurred_ns, aware_ns, subjects, high_risk)
        self.entries.append(made)
        said, about = f"{len(subjects)} subjects", f"breach/{made.number}"
        self.audit.append(aware_ns, "controller", "breach", about, Outcome.DONE, detail=said)
        return made

    def notify(self, number: int, whom: str, now_ns: int) -> None:
        """Note that the authority, or the subjects, were told."""
        if whom not in ("authority", "subjects"):
            raise ValueError(f"whom {whom!r}: need authority or subjects")
        breach = self.entries[number]
        if whom == "authority":
            breach.authority_ns = now_ns
        else:
            breach.subjects_told_ns = now_ns
        late = "late" if whom == "authority" and breach.late(now_ns) else ""
        act, about = f"notify_{whom}", f"breach/{number}"
        self.audit.append(now_ns, "controller", act, about, Outcome.DONE, detail=late)
