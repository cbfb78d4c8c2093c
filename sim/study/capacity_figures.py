"""The picture of a capacity search: how busy stations get, where it holds and where it stops.

Owns: what is drawn of `sim.study.capacity`. Must not know: how trials are run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.study.capacity import Capacity
from sim.study.figures import COLOURS, FAINT, style
from sim.study.resources import WHOLE, amount_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLASSES = 6
"""Curves that stay apart; the classes nearest to saturation are drawn."""
_AXES = {
    "load": "load (times the scenario's)",
    "agents": "agents",
    "validators": "validators",
    "bandwidth": "bandwidth (Gbit/s)",
}


def draw(capacity: Capacity) -> Figure:
    """Draw sustained utilisation by class against the amount, with the knee between its bounds."""
    from matplotlib.figure import Figure

    of = capacity.plan.of
    unit = {"load": WHOLE, "bandwidth": 10**9}.get(of, 1)
    trials = sorted((t for t in capacity.trials if not t.setting), key=lambda t: t.amount)
    top = capacity.trial(capacity.bracket.held) or trials[0]
    names = [load.name for load in top.loads[:_CLASSES]]
    with style():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axis = figure.subplots()
        for colour, name in zip(COLOURS, names, strict=False):
            points = [
                (trial.amount / unit, load.sustained_ppm / 1e4)
                for trial in trials
                for load in trial.loads
                if load.name == name
            ]
            axis.plot(*zip(*points, strict=True), ".-", color=colour, label=name)
        axis.axhline(100, color=FAINT, linewidth=0.8)
        held, failed = capacity.bracket.held, capacity.bracket.failed
        for amount, words, colour in ((held, "holds", COLOURS[2]), (failed, "fails", COLOURS[1])):
            if amount is not None:
                label = f"{words}: {amount_text(of, amount)}"
                axis.axvline(amount / unit, color=colour, linestyle="--", lw=1, label=label)
        axis.set_ylim(bottom=0)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
        axis.xaxis.set_minor_formatter(lambda value, _: "")
        edges = {trials[0].amount, capacity.own, trials[-1].amount}
        axis.set_xticks(sorted(amount / unit for amount in edges))
        axis.set_xticks([trial.amount / unit for trial in trials], minor=True)
        axis.set_xlabel(_AXES[of])
        axis.set_ylabel("sustained utilisation\nof the busiest station (%)")
        axis.set_title(f"{capacity.scenario.title}: capacity")
        figure.legend(loc="outside right upper")
        seconds = capacity.plan.duration_ns / 1e9
        caption = (
            f"seed {capacity.scenario.seed}, {len(trials)} trials of {seconds:g} s, "
            f"n = {capacity.plan.replicates} each"
        )
        figure.supxlabel(caption, fontsize=6, x=0.98, ha="right")
    return figure


def save(capacity: Capacity) -> list[Path]:
    """Write the picture as SVG and PNG into the search's directory; return the files."""
    figure = draw(capacity)
    files = []
    for name in ("capacity.svg", "capacity.png"):
        path = capacity.path / name
        with style():
            figure.savefig(path, dpi=150, transparent=False, facecolor="white")
        files.append(path)
    return files
