"""The picture of the phase diagram: probability by Byzantine share and level, beside theory.

Owns: how it looks. Must not know: how cells are simulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from sim.study.figures import COLOURS, FAINT, style
from sim.study.phase import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTCOMES: dict[Outcome, str] = {
    "safety_violated": "safety is violated",
    "halted": "the chain halts",
}
_STRATEGY: dict[Outcome, str] = {
    "safety_violated": "Twins on both sides of a cut",
    "halted": "Silence",
}
QUORUMS = ("67 %", "75 %", "82 %")
_SPREAD = 0.8
"""Levels stand apart by so many per cent of the weight, so that equal points can be told."""


def draw(data: pl.DataFrame, seed: int) -> Figure:
    """Draw both diagrams from the frame of `sim.study.phase.frame`.

    Points are simulated, with their exact 95 % intervals; lines are what the count of votes says,
    dotted ones the limits 2q - 1 and 1 - q.
    """
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9.5, 3.6), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axis, (outcome, words) in zip(panels, OUTCOMES.items(), strict=True):
            part = data.filter(pl.col("outcome") == outcome)
            for level in part["level"].unique().sort():
                _level(axis, part.filter(pl.col("level") == level).sort("byzantine"), int(level))
            axis.set_title(f"{_STRATEGY[outcome]}: {words}")
            axis.set_xlabel("Byzantine share of the weight (%)")
            axis.set_ylim(-4, 104)
        panels[0].set_ylabel("runs (%)")
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", title="quorum", title_fontsize=7)
        validators, runs = data.select("validators", "runs").row(0)
        caption = (
            f"{validators} validators, {runs} runs a cell, exact 95 % intervals; lines: count of "
            f"votes, dotted: 2q - 1 and 1 - q; seed {seed}"
        )
        figure.supxlabel(caption, fontsize=5.5, x=0.995, ha="right")
    return figure


def _level(axis: Axes, part: pl.DataFrame, level: int) -> None:
    colour = (COLOURS[0], COLOURS[4], COLOURS[1])[level]
    share = part["share_ppm"].to_numpy() / 1e4 + (level - 1) * _SPREAD
    probability = part["probability_ppm"].to_numpy() / 1e4
    low, high = (part[name].to_numpy() / 1e4 for name in ("low_ppm", "high_ppm"))
    axis.errorbar(
        share, probability, yerr=[probability - low, high - probability], fmt="o", ms=3.5,
        lw=0.8, capsize=1.5, color=colour, label=QUORUMS[level],
    )  # fmt: skip
    axis.step(
        share, part["expected"].to_numpy() * 100, where="mid", color=colour, lw=0.9, alpha=0.7
    )
    axis.axvline(part["line_ppm"][0] / 1e4, color=colour, lw=0.9, ls=":")
    axis.axhline(0, color=FAINT, lw=0.4, alpha=0.4)


def save(data: pl.DataFrame, seed: int, folder: Path) -> list[Path]:
    """Write `phase.svg` and `phase.png` into `folder`; ModuleNotFoundError without matplotlib."""
    files = [folder / f"phase.{kind}" for kind in ("svg", "png")]
    figure = draw(data, seed)
    with style():
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else None
            figure.savefig(file, dpi=160, facecolor="white", transparent=False, metadata=metadata)
    return files
