"""What compliance tells alert rules and dashboards each second.

Owns: the figures, from the state of the office's parts. Must not know: rules, tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from sim.engine.compliance.office import Office

Figure: TypeAlias = tuple[str, str, int]
"""Metric, series, value: counters since the start, gauges as they are."""
KINDS = ("access", "export", "erasure", "withdrawal")


def figures(office: Office, now_ns: int) -> Iterator[Figure]:
    """Yield what is known at `now_ns`; a clock that does not run is not there."""
    heads, log = office.heads, office.log
    newest = heads.kept[-1].head if heads.kept else None
    yield "acts_unrecorded", "", office.staff.refused + log.missing
    yield "tree_heads", "cosigned", len(heads.kept)
    yield "tree_heads", "refused", heads.refusals
    yield "tree_head_age", "", now_ns - (0 if newest is None else newest.time_ns)
    yield "audit_uncovered", "", len(log) - (0 if newest is None else newest.size)
    yield "incidents_open", "", office.incidents.open
    untold = office.events.untold()
    yield "breaches_untold", "", len(untold)
    if untold:
        yield "breach_clock", "", now_ns - min(untold)
    if office.subjects is None:
        return
    waiting = [request for request in office.subjects.requests if request.outcome == "open"]
    for kind in KINDS:
        yield "requests_open", kind, sum(request.kind == kind for request in waiting)
    erasures = [request.asked_ns for request in waiting if request.kind == "erasure"]
    if erasures:
        yield "erasure_age", "", now_ns - min(erasures)
