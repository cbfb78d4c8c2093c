"""What happened in a replayed stretch, in order: views, proposals, certificates, commits, faults.

Owns: the one reading of a run's tables as happenings, and what state they leave each validator in.
Pictures and terminals show these. Must not know: how.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias

import polars as pl

from sim.record.runs import Run
from sim.study.replay import Stretch

Kind: TypeAlias = Literal[
    "entered",
    "proposed",
    "voted",
    "timed_out",
    "certified",
    "timeout_certified",
    "committed",
    "down",
    "up",
    "disturbed",
    "accused",
    "punished",
    "level",
    "forked",
    "violated",
]

NOBODY = -1
_DOWN = ("crash", "amnesia_crash", "zone_outage", "region_outage", "provider_outage")
"""Kinds of faults under which a validator is not there."""


class Happening(NamedTuple):
    """One thing that happened to one validator; NOBODY where it concerns no single one.

    `epoch` and `view`: -1 where it is about none. `note`: what there is to say beside its kind.
    """

    time_ns: int
    kind: Kind
    node: int
    epoch: int = -1
    view: int = -1
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch with everything that is shown of it.

    `happenings`: from the start of the run (as far as it was kept) to the end of the stretch.
    `messages`: a row a copy, by the time sent.
    """

    stretch: Stretch
    validators: int
    happenings: tuple[Happening, ...]
    messages: pl.DataFrame

    def inside(self) -> tuple[Happening, ...]:
        """Return what happened in the stretch itself."""
        return tuple(h for h in self.happenings if h.time_ns >= self.stretch.from_ns)

    def involved(self) -> tuple[int, ...]:
        """List the validators that something in the stretch concerns."""
        ends = [*self.messages["source"].to_list(), *self.messages["destination"].to_list()]
        ends += [h.node for h in self.inside() if h.node != NOBODY]
        return tuple(sorted(dict.fromkeys(ends)))


def scene(replayed: Run, stretch: Stretch) -> Scene:
    """Read a stretch of a run that kept its messages there."""
    rows = _Rows(replayed, stretch)
    found = [*_views(rows), *_statements(rows), *_chain(rows), *_disorder(rows), *_judged(rows)]
    order = {kind: rank for rank, kind in enumerate(Kind.__args__)}  # type: ignore[attr-defined]
    found.sort(key=lambda h: (h.time_ns, order[h.kind], h.node, h.epoch, h.view, h.note))
    validators = rows.frame("validators").select(pl.col("validator").max()).item()
    meets = (pl.col("ended_ns") >= stretch.from_ns) & (pl.col("sent_ns") <= stretch.to_ns)
    messages = rows.frame("messages").filter(meets)
    return Scene(
        stretch,
        int(validators) + 1,
        tuple(h for h in found if h.time_ns <= stretch.to_ns),
        messages.sort("sent_ns", "source", "destination", "ended_ns"),
    )


class _Rows:
    """The tables of the stretch's replicate."""

    def __init__(self, run: Run, stretch: Stretch) -> None:
        self._run = run
        self._of = {"point": stretch.point, "replicate": stretch.replicate}

    def frame(self, name: str) -> pl.DataFrame:
        return self._run.table(name, **self._of).collect()

    def of(self, name: str) -> Iterator[Mapping[str, Any]]:
        return self.frame(name).iter_rows(named=True)


def _views(rows: _Rows) -> Iterator[Happening]:
    for r in rows.of("views"):
        yield Happening(r["time_ns"], "entered", r["node"], r["epoch"], r["view"], r["reason"])


def _statements(rows: _Rows) -> Iterator[Happening]:
    """Yield proposals, votes and timeouts as they first leave who makes them."""
    kinds: dict[str, Kind] = {"proposal": "proposed", "vote": "voted", "timeout": "timed_out"}
    own = pl.col("source") == pl.col("origin")
    first = (
        rows.frame("messages")
        .filter(own, pl.col("kind").is_in(list(kinds)))
        .group_by("kind", "source", "epoch", "view")
        .agg(pl.col("sent_ns").min())
    )
    for r in first.iter_rows(named=True):
        yield Happening(r["sent_ns"], kinds[r["kind"]], r["source"], r["epoch"], r["view"])


def _chain(rows: _Rows) -> Iterator[Happening]:
    for r in rows.of("certificates"):
        kind: Kind = "certified" if r["kind"] == "quorum" else "timeout_certified"
        note = f"{r['signers']} signatures"
        yield Happening(r["time_ns"], kind, r["collector"], r["epoch"], r["view"], note)
    for r in rows.of("commits"):
        note = f"height {r['height']}"
        yield Happening(r["time_ns"], "committed", r["node"], r["epoch"], r["view"], note)
    for r in rows.of("forks"):
        yield Happening(r["time_ns"], "forked", r["node"], note=f"{r['event']} {r['kind']}")
    for r in rows.of("levels"):
        note = f"{r['old_level']} to {r['new_level']}: {r['reason']}"
        yield Happening(r["time_ns"], "level", NOBODY, r["epoch"], note=note)


def _disorder(rows: _Rows) -> Iterator[Happening]:
    for r in rows.of("faults"):
        note = f"{r['kind']} {r['index']} {r['event']}s"
        kind: Kind = "disturbed"
        restarts = r["kind"] == "rollout" and r["target"] == "restart"
        if r["kind"] in _DOWN or restarts:
            kind = "down" if r["event"] == "begin" else "up"
        yield Happening(r["time_ns"], kind, r["node"], note=note)


def _judged(rows: _Rows) -> Iterator[Happening]:
    for r in rows.of("evidence"):
        kind: Kind = "accused" if r["event"] == "accused" else "punished"
        yield Happening(r["time_ns"], kind, r["offender"], r["epoch"], r["view"], r["kind"])
    for r in rows.of("violations"):
        yield Happening(r["time_ns"], "violated", r["node"], note=r["monitor"])


# -- states ---------------------------------------------------------------------------------------

GLYPHS = {
    "leader": "L",
    "voted": "v",
    "timed_out": "t",
    "committed": "c",
    "down": "x",
    "behind": "b",
    "idle": ".",
}
"""What a validator does in the newest view that anybody has entered, in one character; who has
timed out stays so until it enters a later view."""


@dataclass(slots=True)
class Cluster:
    """The state of all validators, moved on by one happening after the other."""

    validators: int
    place: tuple[int, int] = (0, 0)
    """Epoch and view of the newest view."""
    height: str = ""
    _states: list[str] = field(default_factory=list)
    _places: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._states = ["idle"] * self.validators
        self._places = [(0, 0)] * self.validators

    def take(self, seen: Happening) -> None:
        """Move on."""
        node, place = seen.node, (seen.epoch, seen.view)
        if seen.kind in ("entered", "proposed", "voted", "timed_out"):
            if place > self.place:
                self.place = place
                lasting = ("down", "timed_out")
                self._states = [s if s in lasting else "idle" for s in self._states]
            if place > self._places[node]:
                self._places[node] = place
                self._states[node] = "idle"
            doing = {"proposed": "leader", "voted": "voted"}
            if seen.kind == "timed_out" and place == self._places[node]:
                self._states[node] = "timed_out"
            elif seen.kind in doing and place == self.place and self._states[node] != "leader":
                self._states[node] = doing[seen.kind]
        elif seen.kind == "committed" and self._states[node] == "idle":
            self._states[node] = "committed"
        elif seen.kind == "down":
            self._states[node] = "down"
        elif seen.kind == "up":
            self._states[node] = "idle"

    def state(self, node: int) -> str:
        """Name what a validator does; `behind`: it is two views or an epoch back."""
        epoch, view = self._places[node]
        if self._states[node] == "idle" and self._places[node] > (0, 0):
            late = (epoch < self.place[0] and self.place[1] > 1) or view < self.place[1] - 1
            return "behind" if late else "idle"
        return self._states[node]

    def glyphs(self, nodes: Sequence[int]) -> str:
        """Return one character a validator."""
        return "".join(GLYPHS[self.state(node)] for node in nodes)


class Line(NamedTuple):
    """One line of the cluster view: a happening, and the cluster after everything at its time."""

    time_ns: int
    place: tuple[int, int]
    glyphs: str
    text: str


def cluster_lines(shown: Scene, nodes: Sequence[int]) -> tuple[Line, ...]:
    """Return a line an event of the stretch, with a glyph for each of `nodes`.

    Events: the first of each kind in a view (proposal, timeout, certificate, commit of a height),
    and every crash, disturbance, accusation, level, fork and violation.
    """
    cluster, lines, told = Cluster(shown.validators), [], dict[tuple[object, ...], None]()
    together: dict[tuple[str, int, str], list[int]] = {}
    for seen in shown.happenings:
        together.setdefault((seen.kind, seen.time_ns, seen.note), []).append(seen.node)
    for time_ns, group in groupby(shown.happenings, key=lambda seen: seen.time_ns):
        instant = list(group)
        for seen in instant:
            cluster.take(seen)
        if time_ns < shown.stretch.from_ns:
            continue
        for seen in instant:
            key, text = _event(seen, together[seen.kind, time_ns, seen.note])
            if text and key not in told:
                told[key] = None
                lines.append(Line(time_ns, cluster.place, cluster.glyphs(nodes), text))
    return tuple(lines)


def _event(seen: Happening, all_: Sequence[int]) -> tuple[tuple[object, ...], str]:
    """Return what makes an event one, and its words; none where it only changes glyphs.

    `all_`: whom the same befalls at the same time.
    """
    people = ", ".join(map(str, all_))
    place = (seen.kind, seen.epoch, seen.view)
    who = "" if seen.node == NOBODY else f"{seen.node} "
    words = {
        "proposed": f"{who}proposes",
        "timed_out": f"{who}gives up first",
        "certified": f"{who}certifies, {seen.note}",
        "timeout_certified": f"{who}ends the view, {seen.note}",
        "committed": f"{who}commits first, {seen.note}",
    }
    if seen.kind in words:
        return place, words[seen.kind]
    if seen.kind == "entered":
        timed_out = seen.note == "timeout"
        return (*place, seen.note), f"{who}enters by timeout" if timed_out else ""
    if seen.kind == "voted":
        return place, ""
    plain = {
        "down": f"{people} down ({seen.note})",
        "up": f"{people} back",
        "disturbed": seen.note,
        "accused": f"{who}accused of {seen.note}",
        "punished": f"{who}punished for {seen.note}",
        "level": f"level {seen.note}",
        "forked": f"{who}sees: {seen.note}",
        "violated": f"{seen.note} broken",
    }
    one = seen.kind in ("disturbed", "down", "up")
    return (seen.kind, -1 if one else seen.node, seen.note, seen.time_ns), plain[seen.kind]
