"""The course of a threat: from attack to detection, to the level, to punishment, to recovery.

Owns: what each of these instants means, from the tables of a run. Must not know: how attacks work,
which scenario asked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from sim.record.runs import Run

BASELINE_COMMITS = 5
"""Commits before the attack from which the usual gap is taken; with fewer there is none."""
STALL = 2
"""A gap between commits of more than so many usual ones is a stall."""


@dataclass(frozen=True, slots=True)
class Course:
    """Instants of one replicate in ns after the attack began; None where it never came to that.

    `attack_ns`: when the first adversary or fault began, from the start of the run. `alerted_ns`:
    first alert that fired, and `alert`, which rules did then. `detected_ns`: first accusation with
    proof. `level_ns`: first epoch at a higher quorum level. `punished_ns`:
    first offence punished on the committed chain. `excluded_ns`: first epoch in which everybody
    punished so far has no vote. `usual_gap_ns`: longest time between two commits before the attack;
    None where there were too few. `longest_gap_ns`: the same after it, up to the end of the run.
    `recovered_ns`: end of the last stall, 0 where there was none; None where the run ended in one,
    or where nothing says what is usual.
    """

    attack_ns: int
    alerted_ns: int | None
    alert: str
    detected_ns: int | None
    level_ns: int | None
    punished_ns: int | None
    excluded_ns: int | None
    usual_gap_ns: int | None
    longest_gap_ns: int
    recovered_ns: int | None


def course(run: Run, *, point: int = 0, replicate: int = 0) -> Course | None:
    """Return the course of one replicate; None where nothing attacked."""

    def rows(table: str) -> list[dict[str, Any]]:
        frame = run.table(table, point=point, replicate=replicate).collect()
        return frame.to_dicts()

    begun = [row["time_ns"] for row in rows("faults") if row["event"] == "begin"]
    if not begun:
        return None
    attack_ns = min(begun)
    evidence, alerts = rows("evidence"), rows("alerts")
    rises = [row for row in rows("levels") if row["new_level"] > row["old_level"]]
    end_ns = rows("runs")[0]["simulated_ns"]
    commits = sorted(r["committed_ns"] for r in rows("blocks") if r["status"] == "committed")
    usual_ns, longest_ns, recovered_ns = _recovery(commits, attack_ns, end_ns)

    def first(times: list[int]) -> int | None:
        later = [time_ns - attack_ns for time_ns in times if time_ns >= attack_ns]
        return min(later, default=None)

    return Course(
        attack_ns=attack_ns,
        alerted_ns=first([r["fired_ns"] for r in alerts]),
        alert=", ".join(_first_alerts(alerts, attack_ns)),
        detected_ns=first([r["time_ns"] for r in evidence if r["event"] == "accused"]),
        level_ns=first([r["time_ns"] for r in rises]),
        punished_ns=first([r["time_ns"] for r in evidence if r["event"] == "punished"]),
        excluded_ns=first(_exclusions(evidence, rows("epochs"), rows("validators"))),
        usual_gap_ns=usual_ns,
        longest_gap_ns=longest_ns,
        recovered_ns=recovered_ns,
    )


def _first_alerts(alerts: list[dict[str, Any]], attack_ns: int) -> list[str]:
    """Name the rules that fired first after the attack began, the gravest before the others."""
    grave = ("critical", "warning", "info")
    after = [r for r in alerts if r["fired_ns"] >= attack_ns]
    earliest = min((r["fired_ns"] for r in after), default=None)
    ranked = sorted(
        (grave.index(r["severity"]), r["rule"]) for r in after if r["fired_ns"] == earliest
    )
    return list(dict.fromkeys(rule for _, rule in ranked))


def _recovery(
    commits: list[int], attack_ns: int, end_ns: int
) -> tuple[int | None, int, int | None]:
    """Return the usual gap, the longest one after the attack, and when the last stall ended."""
    before = [time_ns for time_ns in commits if time_ns < attack_ns]
    after = [time_ns for time_ns in commits if time_ns >= attack_ns]
    start_ns = before[-1] if before else attack_ns
    gaps = [(b - a, b) for a, b in pairwise([start_ns, *after, end_ns])]
    longest_ns = max(gap for gap, _ in gaps)
    if len(before) < BASELINE_COMMITS:
        return None, longest_ns, None
    usual_ns = max(b - a for a, b in pairwise(before))
    stalls = [until_ns for gap, until_ns in gaps if gap > STALL * usual_ns]
    if not stalls:
        return usual_ns, longest_ns, 0
    halted = gaps[-1][0] > STALL * usual_ns
    return usual_ns, longest_ns, None if halted else stalls[-1] - attack_ns


def _exclusions(
    evidence: list[dict[str, Any]],
    epochs: list[dict[str, Any]],
    validators: list[dict[str, Any]],
) -> list[int]:
    """List when epochs began in which everybody punished before has no vote."""
    members = {(r["epoch"], r["validator"]) for r in validators if r["member"]}
    found = []
    for epoch in epochs:
        guilty = [
            row["offender"]
            for row in evidence
            if row["event"] == "punished" and row["time_ns"] <= epoch["started_ns"]
        ]
        if guilty and not any((epoch["epoch"], who) in members for who in guilty):
            found.append(epoch["started_ns"])
    return found


def courses(run: Run) -> pl.DataFrame:
    """Return a row a replicate that was attacked, by point; all times in ns."""
    found = []
    for point, replicate in run.replicates():
        seen = course(run, point=point, replicate=replicate)
        if seen is not None:
            found.append({"point": point, "replicate": replicate, **asdict(seen)})
    names = ["point", "replicate", *Course.__dataclass_fields__]
    schema = {name: pl.String if name == "alert" else pl.Int64 for name in names}
    return pl.DataFrame(found, schema=schema)
