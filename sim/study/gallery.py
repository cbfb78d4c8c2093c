"""Pictures for comparing runs: block trees, what identities are worth, what attacks do and cost.

Owns: what is drawn of them, in the house style of `sim.study.figures`; the table of attacks. Must
not know: which runs are looked at, nor why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.study.figures import COLOURS, FAINT, RunData, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NS = 1e9
_FATES = {"committed": 0, "pending": 6, "tail": 5, "orphaned": 1}
"""Which colour a block's fate has."""


def block_tree(data: RunData, most: int = 120) -> Figure | None:
    """Draw the first `most` blocks by time and height, each joined to its parent.

    None where the run has no blocks.
    """
    if not data.has("blocks"):
        return None
    rows = data.table("blocks").sort("proposed_ns", "block").head(most).collect()
    places = {
        block: (at / _NS, height)
        for block, at, height in rows.select("block", "proposed_ns", "height").iter_rows()
    }
    with style():
        figure, (axis,) = _figure(_caption(data))
        for block, parent in rows.select("block", "parent").iter_rows():
            if parent in places:
                x, y = zip(places[parent], places[block], strict=True)
                axis.plot(x, y, color=FAINT, linewidth=0.7, zorder=1)
        for fate, colour in _FATES.items():
            chosen = [places[b] for b in rows.filter(status=fate)["block"].to_list()]
            if chosen:
                x, y = zip(*chosen, strict=True)
                label = f"{fate} ({len(chosen)})"
                axis.scatter(x, y, s=11, color=COLOURS[colour], label=label, zorder=2)
        axis.locator_params(axis="y", integer=True)
        axis.set_xlabel("proposed (s, simulated)")
        axis.set_ylabel("height")
        axis.set_title("Blocks and their parents")
        axis.legend(loc="upper left", fontsize=6.5)
    return figure


def owned_share(data: RunData) -> pl.DataFrame:
    """Return by epoch the share of the weight, in millionths, of all that some adversary owns."""
    faults = data.table("faults").filter(pl.col("source") == "adversary").collect()
    owned = faults["node"].unique().sort().to_list()
    return (
        data.table("validators")
        .group_by("epoch")
        .agg(
            pl.col("weight").filter(pl.col("validator").is_in(owned)).sum().alias("owned"),
            pl.col("weight").sum().alias("whole"),
        )
        .select("epoch", share_ppm=pl.col("owned") * 1_000_000 // pl.col("whole"))
        .sort("epoch")
        .collect()
    )


def attackers_weight(runs: Mapping[str, RunData], limit_ppm: int) -> Figure:
    """Draw the share of the weight that adversaries own, epoch by epoch, a curve a run."""
    first = next(iter(runs.values()))
    with style():
        figure, (axis,) = _figure(_caption(first))
        for (name, data), colour in zip(runs.items(), COLOURS, strict=False):
            rows = owned_share(data)
            share = rows["share_ppm"].to_numpy() / 1e4
            axis.plot(rows["epoch"].to_numpy(), share, ".-", color=colour, label=name)
        axis.axhline(limit_ppm / 1e4, color=FAINT, linestyle="--", linewidth=0.9)
        axis.annotate(
            "halts the chain", (axis.get_xlim()[1], limit_ppm / 1e4), (-2, 3),
            textcoords="offset points", ha="right", fontsize=6.5,
        )  # fmt: skip
        axis.set_ylim(0, max(limit_ppm / 1e4, axis.get_ylim()[1]) * 1.35)
        axis.locator_params(axis="x", integer=True)
        axis.set_xlabel("epoch")
        axis.set_ylabel("weight that adversaries own (%)")
        axis.set_title("What identities are worth")
        axis.legend(loc="upper right", fontsize=6.5)
    return figure


_EFFECTS = (
    "blocks_committed",
    "longest_commit_gap_ns",
    "timeouts",
    "forks",
    "offenders_accused",
    "offenders_punished",
    "stake_slashed",
    "level_max",
)


def attack_table(runs: Mapping[str, RunData]) -> pl.DataFrame:
    """Return a row a run: its verdict, and what the attack came to in the metrics' own units."""
    rows = []
    for name, data in runs.items():
        entries = data.run.summary["replicates"]
        (entry,) = [
            e for e in entries if (e["point"], e["replicate"]) == (data.point, data.replicate)
        ]
        effects = {metric: entry["metrics"].get(metric) for metric in _EFFECTS}
        rows.append({"attack": name, "verdict": entry["verdict"], **effects})
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(_EFFECTS, pl.Int64))


def attacks(table: pl.DataFrame, seed: int) -> Figure:
    """Draw for each attack the longest time without a commit, and whom it cost their stake."""
    rows = table.sort("longest_commit_gap_ns", descending=True, nulls_last=True)
    with style():
        figure, (axis,) = _figure(f"seed {seed}, n = 1 each", size=(4.7, 0.9 + 0.26 * rows.height))
        places = np.arange(rows.height)[::-1]
        gaps = rows["longest_commit_gap_ns"].fill_null(0).to_numpy() / _NS
        axis.barh(places, gaps, 0.6, color=COLOURS[0])
        told = zip(rows["offenders_accused"], rows["offenders_punished"], strict=True)
        for place, gap, (accused, punished) in zip(places, gaps, told, strict=True):
            text = f" {accused or 0} accused, {punished or 0} punished"
            axis.text(gap, place, text, va="center", fontsize=6.5)
        axis.set_yticks(places, [name.replace("_", " ") for name in rows["attack"]])
        axis.set_xlim(0, float(gaps.max()) * 1.55)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("longest time without a commit (s)")
        axis.set_title("What attacks do, and what they cost")
    return figure


def _caption(data: RunData) -> str:
    return f"{data.scenario.name}: seed {data.scenario.seed}, replicate {data.replicate}"


def _figure(
    caption: str, rows: int = 1, size: tuple[float, float] = (4.7, 2.9)
) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    foot = 0.14 / size[1]
    engine = ConstrainedLayoutEngine(rect=(0, foot, 1, 1 - foot))
    figure = Figure(figsize=size, layout=engine)
    axes = figure.subplots(rows, 1, sharex=rows > 1, squeeze=False)[:, 0]
    figure.text(0.99, 0.04 / size[1], caption, fontsize=5.5, ha="right", alpha=0.7)
    return figure, list(axes)
