"""Evidence: control by control, which mechanism of a run speaks for it, and with which rows.

Owns: what counts as a proof of each mechanism (rows of the run's tables), and what a simulation
cannot show. Controls, levels and mechanisms are the data files in `sim/world/compliance/controls`.
Must not know: terminals, HTML. It certifies nothing: no level says more than what was simulated.

Levels: `logic`, the mechanism itself ran; `partial`, a part of it did; `plan`, it is in the
exported deployment only; `no`, a simulation cannot show it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from sim.record.runs import Run, RunError

NAME = "evidence.parquet"
FRAMEWORKS: Mapping[str, str] = {
    "cmmc_l2": "CMMC 2.0 level 2: AC, AU, SC, IR",
    "fedramp_moderate": "FedRAMP Moderate: the controls that were mapped",
    "gdpr": "GDPR: articles 7, 12, 17, 20, 33, 34",
    "ncsc": "NCSC: cloud security principles and CAF",
}
"""By data file: what it maps."""
LEVELS = ("logic", "partial", "plan", "no")
DISCLAIMER = (
    "Evidence from a simulation: it shows how mechanisms behave under the faults and attacks of "
    "this run. It is no assessment, certifies nothing, and says nothing about people, sites, "
    "validated modules or configurations of a real system."
)


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows that speak for a mechanism. `against`: (table, rows) that speak against it."""

    table: str
    rows: pl.Expr
    words: str
    against: tuple[str, pl.Expr] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One control. `proof`: where in this run; `rows`, `contrary`: how many for and against it."""

    framework: str
    control: str
    level: str
    mechanism: str
    proof: str
    rows: int
    contrary: int
    limit: str

    @property
    def shown(self) -> str:
        """Say what the run comes to: shown, contradicted, not in this run, plan only, never."""
        if self.level in ("plan", "no"):
            return {"plan": "plan only", "no": "cannot be shown"}[self.level]
        if self.contrary:
            return "contradicted"
        return "shown" if self.rows else "not in this run"


def _action(*names: str) -> pl.Expr:
    return pl.col("action").is_in(names)


def _broken(monitor: str) -> tuple[str, pl.Expr]:
    return "violations", pl.col("monitor") == monitor


_ALL = pl.lit(True)
_OUTCOME, _KIND, _STEP = pl.col("outcome"), pl.col("kind"), pl.col("step")
_ALLOWED, _DENIED, _DONE = _OUTCOME == "allowed", _OUTCOME == "denied", _OUTCOME == "done"
_PRIVILEGED = _action(
    "slash",
    "rotate_key",
    "deploy",
    "roll_back",
    "erase",
    "grant_role",
    "revoke_role",
    "set_retention",
)
_LOG = _broken("audit_log_intact")
_GONE = _broken("erasure_complete")
_LATE = ("breaches", pl.col("notified").is_in(["late", "overdue"]))
_OVERDUE = ("requests", pl.col("done_ns") > pl.col("due_ns"))

PROBES: Mapping[str, Probe] = {
    "records": Probe("audit", _ALL, "all", _LOG),
    "decisions": Probe("audit", _ALLOWED | _DENIED, "outcome allowed or denied"),
    "permits": Probe("audit", _ALLOWED & (pl.col("policy") != ""), "allowed, with the policy"),
    "denials": Probe("audit", _DENIED, "outcome denied"),
    "approved": Probe(
        "audit",
        _ALLOWED & _action("slash", "deploy", "grant_role") & (pl.col("detail") != ""),
        "allowed with an approver",
    ),
    "privileged": Probe("audit", _PRIVILEGED, "privileged acts, allowed or denied"),
    "inspections": Probe("audit", _action("inspect"), "action inspect"),
    "failed_log_ons": Probe("audit", _action("log_on") & (_OUTCOME == "failed"), "failed log-ons"),
    "sessions": Probe("audit", _action("log_on"), "action log_on"),
    "role_changes": Probe(
        "audit", _action("grant_role", "revoke_role", "contain"), "roles granted, revoked, ended"
    ),
    "rotations": Probe("audit", _action("rotate_key") & _ALLOWED, "action rotate_key, allowed"),
    "log_management": Probe(
        "audit", _action("read_audit", "export_audit", "set_retention"), "acts on the log"
    ),
    "inspected": Probe("audit", _action("read_audit") & _ALLOWED, "action read_audit", _LOG),
    "notifications": Probe(
        "audit", _action("notify", "notify_authority", "notify_subjects"), "notifications", _LATE
    ),
    "holds": Probe("audit", _action("hold", "lift"), "holds placed and lifted"),
    "consents": Probe("audit", _action("take_over", "consent", "withdraw"), "statements"),
    "subjects_told": Probe("breaches", pl.col("subjects_ns") >= 0, "subjects told"),
    "privileges": Probe("privileges", _ALL, "rights never used"),
    "processing": Probe("processing", _ALL, "reads by outcome"),
    "admissions": Probe(
        "access", pl.col("principal").str.starts_with("agents/"), "classes of agents"
    ),
    "log_failures": Probe("access", pl.col("decision") == "refused", "acts not recorded"),
    "heads": Probe("heads", pl.col("cosigned") > 0, "co-signed heads", _LOG),
    "requests": Probe("requests", _OUTCOME != "open", "requests decided", _OVERDUE),
    "withdrawals": Probe("requests", (_KIND == "withdrawal") & _DONE, "withdrawals heard", None),
    "erasures": Probe("requests", (_KIND == "erasure") & _DONE, "erasures confirmed", _GONE),
    "exports": Probe("requests", (_KIND == "export") & _DONE, "exports that read back"),
    "breaches": Probe("breaches", _ALL, "the register", _LATE),
    "incidents": Probe("incidents", _STEP != "detect", "steps taken"),
    "detections": Probe("incidents", _STEP == "detect", "detections"),
    "certificates": Probe("certificates", _ALL, "signed certificates"),
    "faults": Probe("faults", _ALL, "faults and attacks that were survived"),
}
"""By the name that the data files use."""


def controls() -> list[dict[str, str]]:
    """Read the data files: framework, control, level, mechanism, probe, limit."""
    folder = resources.files("sim.world.compliance") / "controls"
    found: list[dict[str, str]] = []
    for framework in FRAMEWORKS:
        text = (folder / f"{framework}.csv").read_text(encoding="utf-8")
        found.extend({"framework": framework, **row} for row in csv.DictReader(text.splitlines()))
    return found


def collect(run: Run) -> list[Line]:
    """Hold a finished run against every control, over all its points and replicates.

    RunError: it has no `compliance` section, so there is nothing to hold against.
    """
    if not _count(run, "audit", _ALL):
        raise RunError(
            f"{run.path.name}: its scenario has no `compliance` section; scenarios/compliance has "
            "examples"
        )
    known: dict[str, tuple[str, int, int]] = {"": ("", 0, 0)}
    for name, probe in PROBES.items():
        rows = _count(run, probe.table, probe.rows)
        contrary = _count(run, *probe.against) if probe.against is not None else 0
        known[name] = f"{probe.table}: {probe.words}", rows, contrary
    return [
        Line(
            row["framework"],
            row["control"],
            row["level"],
            row["mechanism"],
            *known[row["probe"]],
            row["limit"],
        )
        for row in controls()
    ]


def _count(run: Run, table: str, rows: pl.Expr) -> int:
    return int(run.table(table).filter(rows).select(pl.len()).collect().item())


def frame(lines: list[Line]) -> pl.DataFrame:
    """Return the lines as a table: control -> mechanism -> proof -> level."""
    names = ("framework", "control", "mechanism", "proof", "rows", "contrary", "level", "shown")
    columns: dict[str, list[Any]] = {
        name: [getattr(line, name) for line in lines] for name in (*names, "limit")
    }
    return pl.DataFrame(columns)


def summary(lines: list[Line]) -> list[dict[str, Any]]:
    """Count the controls of each framework by level, and how many of them this run shows."""
    found = []
    for framework, title in FRAMEWORKS.items():
        own = [line for line in lines if line.framework == framework]
        row: dict[str, Any] = {"framework": framework, "title": title, "controls": len(own)}
        for level in LEVELS:
            row[level] = sum(line.level == level for line in own)
        for state in ("shown", "contradicted", "not in this run"):
            row[state.replace(" ", "_")] = sum(line.shown == state for line in own)
        found.append(row)
    return found


def compliance_section(run: Run) -> dict[str, Any]:
    """Return what the compliance dashboard of a report shows."""
    lines = collect(run)
    return {
        "summary": summary(lines),
        "frameworks": [
            (title, [line for line in lines if line.framework == framework])
            for framework, title in FRAMEWORKS.items()
        ],
        "disclaimer": DISCLAIMER,
        "insiders": run.table("insiders").collect().to_dicts(),
        "breaches": run.table("breaches").collect().to_dicts(),
    }


def write_evidence(run: Run, out: Path | None = None) -> tuple[Path, list[Line]]:
    """Write the evidence of a run as Parquet, into the run unless `out`; return path and lines."""
    lines = collect(run)
    path = run.path / NAME if out is None else out
    frame(lines).write_parquet(path)
    return path, lines
