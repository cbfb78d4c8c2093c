"""The space-time diagram of a replayed stretch: a line a validator, an arrow a message.

Owns: how a stretch is drawn. Must not know: how it was replayed, where files go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sim.scenario.quantities import DURATION
from sim.study.figures import COLOURS, FAINT, INK, style
from sim.study.replay_events import NOBODY, Happening, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {
    "proposal": COLOURS[0],
    "vote": COLOURS[2],
    "timeout": COLOURS[1],
    "timeout_certificate": COLOURS[3],
    "late_votes": COLOURS[5],
    "evidence": COLOURS[4],
}
"""Colours of the kinds that consensus consists of; all others share the last one."""
OTHER = COLOURS[6]
HEADED = 600
"""Arrows have heads up to so many; beyond, a dot marks where they end."""
_MS = 1e6
_MARKS: dict[str, tuple[str, str, str]] = {
    "proposed": ("s", COLOURS[0], "proposes"),
    "certified": ("D", COLOURS[2], "has a certificate"),
    "timeout_certified": ("D", COLOURS[3], "has a timeout certificate"),
    "timed_out": ("v", COLOURS[1], "gives up"),
    "committed": ("o", INK, "commits"),
    "down": ("X", COLOURS[1], "goes down"),
    "up": ("P", COLOURS[2], "is back"),
    "accused": ("*", COLOURS[4], "is accused"),
}
"""Marker, colour and words of what happens at a point of a validator's line."""
_RULED = {"violated": (COLOURS[1], "-"), "level": (COLOURS[3], ":"), "disturbed": (OTHER, ":")}
"""What concerns everybody is a vertical line."""


def draw(shown: Scene, seed: int, validators: Sequence[int] | None = None) -> Figure:
    """Draw a stretch; `validators`: whose lines, None for all that are involved.

    Copies that are dropped because the receiver had the message already are left out. Raises
    ModuleNotFoundError, saying what to install, without matplotlib, and ValueError for nobody.
    """
    nodes = shown.involved() if validators is None else tuple(validators)
    if not nodes:
        raise ValueError("nothing happens to anybody in the stretch: choose a longer one")
    rank = {node: place for place, node in enumerate(nodes)}
    rows = shown.messages.filter(
        pl.col("source").is_in(nodes),
        pl.col("destination").is_in(nodes),
        pl.col("reason") != "duplicate",
    )
    start = shown.stretch.from_ns
    with style():
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        height = min(10.5, 1.7 + 0.34 * len(nodes))
        layout = ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97))
        figure = Figure(figsize=(9.5, height), layout=layout)
        axis = figure.subplots()
        _lines(axis, shown, rank)
        _messages(axis, rows, rank, start)
        _marks(axis, shown.inside(), rank, start)
        span = max(1, shown.stretch.to_ns - start) / _MS
        axis.set_xlim(-0.01 * span, 1.01 * span)
        axis.set_xlabel(f"time after {DURATION.format(start)} (ms)")
        step = max(1, len(nodes) // 30)
        axis.set_yticks(range(0, len(nodes), step), [str(n) for n in nodes[::step]])
        axis.set_ylim(len(nodes) - 0.4, -0.6)
        axis.set_ylabel("validator")
        axis.grid(visible=False, axis="y")
        axis.set_title("Who sent what to whom")
        _legend(figure, rows, shown.inside())
        caption = f"seed {seed}, replicate {shown.stretch.replicate}, {rows.height:,} messages"
        figure.text(0.995, 0.004, caption, fontsize=5.5, ha="right", alpha=0.7)
    return figure


def _lines(axis: Axes, shown: Scene, rank: dict[int, int]) -> None:
    """Draw each validator's line, broken while it is down."""
    start, end = shown.stretch.from_ns, shown.stretch.to_ns
    wide = 0.7 if len(rank) <= 30 else 0.25
    for node, place in rank.items():
        since, up = 0, True
        for seen in shown.happenings:
            if seen.node == node and seen.kind in ("down", "up"):
                _stretch(axis, place, (max(since, start) - start, seen.time_ns - start), up, wide)
                since, up = seen.time_ns, seen.kind == "up"
        _stretch(axis, place, (max(since, start) - start, end - start), up, wide)


def _stretch(axis: Axes, place: int, ends: tuple[int, int], up: bool, wide: float) -> None:
    began, ended = ends
    if ended > began:
        look: dict[str, Any] = {"color": FAINT, "alpha": 0.6, "lw": wide}
        if not up:
            look = {"color": COLOURS[1], "alpha": 0.5, "lw": 0.7, "ls": (0, (1, 3))}
        axis.plot([began / _MS, ended / _MS], [place, place], zorder=1, **look)


def _messages(axis: Axes, rows: pl.DataFrame, rank: dict[int, int], start: int) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import FancyArrowPatch

    heads = rows.height <= HEADED
    alpha = 0.8 if heads else max(0.12, min(0.6, 1500 / rows.height))
    for kind in [*KINDS, ""]:
        mine = pl.col("kind") == kind if kind else ~pl.col("kind").is_in(list(KINDS))
        colour = KINDS.get(kind, OTHER)
        whole, broken, ends = [], [], []
        for r in rows.filter(mine).iter_rows(named=True):
            sent, ended = (r["sent_ns"] - start) / _MS, (r["ended_ns"] - start) / _MS
            a, b = rank[r["source"]], rank[r["destination"]]
            if r["outcome"] != "dropped":
                whole.append(((sent, a), (ended, b)))
                continue
            # What is lost as it leaves has no time of its own at the other end: it breaks off.
            last = max(ended, (r["departed_ns"] - start) / _MS)
            broken.append(((sent, a), (last, a + 0.6 * (b - a))))
            ends.append((last, a + 0.6 * (b - a)))
        if heads:
            for begin, end in whole:
                arrow = FancyArrowPatch(
                    begin, end, arrowstyle="-|>", mutation_scale=5, shrinkA=0, shrinkB=0,
                    color=colour, lw=0.7, alpha=alpha, zorder=2,
                )  # fmt: skip
                axis.add_patch(arrow)
        else:
            axis.add_collection(LineCollection(whole, colors=colour, linewidths=0.45, alpha=alpha))
            points = [end for _, end in whole]
            axis.plot(*_columns(points), ".", ms=1.2, color=colour, alpha=alpha, zorder=2)
        lost = LineCollection(broken, colors=colour, linewidths=0.6, alpha=alpha, linestyles="--")
        axis.add_collection(lost)
        axis.plot(*_columns(ends), "x", ms=4 if heads else 2, color=colour, alpha=alpha, zorder=3)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _marks(axis: Axes, seen: Sequence[Happening], rank: dict[int, int], start: int) -> None:
    size = 4.5 if len(rank) <= 30 else 2.2
    for kind, (marker, colour, _) in _MARKS.items():
        mine = [h for h in seen if h.kind == kind and h.node in rank]
        x = [(h.time_ns - start) / _MS for h in mine]
        y = [rank[h.node] for h in mine]
        # A commit comes with its certificate: the diamond shows around the dot.
        wide = 1.9 if marker == "D" else 1.0
        axis.plot(x, y, marker, ms=size * wide, color=colour, mec="white", mew=0.4, ls="", zorder=4)
    named: dict[str, None] = {}
    for h in seen:
        if _by_timeout(h) and h.node in rank:
            x0 = (h.time_ns - start) / _MS
            axis.plot([x0], [rank[h.node]], "|", ms=size * 2, color=COLOURS[1], zorder=4)
        if h.kind in _RULED and (h.node == NOBODY or h.note not in named):
            named[h.note] = None
            colour, line = _RULED[h.kind]
            x0 = (h.time_ns - start) / _MS
            axis.axvline(x0, color=colour, lw=0.9, ls=line, zorder=1)
            axis.annotate(
                h.note, (x0, 1.0), xycoords=("data", "axes fraction"), xytext=(2, -7),
                textcoords="offset points", fontsize=6, color=colour, clip_on=True,
            )  # fmt: skip


def _legend(figure: Figure, rows: pl.DataFrame, seen: Sequence[Happening]) -> None:
    """Name what is drawn, and nothing else."""
    from matplotlib.lines import Line2D

    sent = rows["kind"].unique().to_list()
    kinds = [(kind.replace("_", " "), colour) for kind, colour in KINDS.items() if kind in sent]
    if any(kind not in KINDS for kind in sent):
        kinds.append(("other messages", OTHER))
    handles = [Line2D([], [], color=colour, lw=1.2, label=kind) for kind, colour in kinds]
    if (rows["outcome"] == "dropped").any():
        look: dict[str, Any] = {"ls": "--", "marker": "x", "ms": 4, "lw": 0.8}
        handles.append(Line2D([], [], color=OTHER, label="lost", **look))
    happened = {h.kind: None for h in seen}
    for kind, (marker, colour, words) in _MARKS.items():
        if kind in happened:
            handles.append(Line2D([], [], color=colour, marker=marker, ls="", ms=4, label=words))
    if any(_by_timeout(h) for h in seen):
        label = "enters by timeout"
        handles.append(Line2D([], [], color=COLOURS[1], marker="|", ls="", ms=6, label=label))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=7, fontsize=6.5,
        columnspacing=1.2, handletextpad=0.4, handlelength=1.4,
    )  # fmt: skip


def _by_timeout(seen: Happening) -> bool:
    return seen.kind == "entered" and seen.note == "timeout"


def save(figure: Figure, folder: Path, *, png: bool = False) -> list[Path]:
    """Write `spacetime.svg`, and `.png` where asked, into `folder`; return the files."""
    files = [folder / f"spacetime.{kind}" for kind in (("svg", "png") if png else ("svg",))]
    with style():
        for file in files:
            # No date: the same stretch gives the same bytes.
            metadata = {"Date": None} if file.suffix == ".svg" else None
            figure.savefig(file, dpi=160, facecolor="white", transparent=False, metadata=metadata)
    return files
