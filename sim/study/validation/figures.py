"""Pictures of the comparisons: what is expected as a line, what was found as points with bands.

Owns: how the frames of `rows` look, in the house style of `sim.study.figures`. Must not know: how
anything is measured. Bars are 95 % intervals: 1.96 standard errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from sim.study import theory
from sim.study.figures import COLOURS, FAINT, style
from sim.study.validation.parts import SEED, WORKERS
from sim.study.validation.rows import SIGMAS, judged
from sim.study.validation.worlds import GROWTH_SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REACH = 1.96
"""Standard errors of a bar: the normal 97.5 % quantile."""
_WIDE = (7.4, 3.0)
_STEPS = 60
"""Points of a law's curve."""
Law: TypeAlias = Callable[[float], float]


def _figure(panels: int, size: tuple[float, float] = _WIDE) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _caption(figure: Figure, text: str, seed: int = SEED) -> None:
    figure.supxlabel(f"{text}; seed {seed}", fontsize=5.5, x=0.995, ha="right")


def _points(axes: Axes, rows: pl.DataFrame, colour: str, label: str | None = None) -> None:
    bars = _REACH * rows["error"].to_numpy()
    axes.errorbar(
        rows["x"].to_numpy(), rows["found"].to_numpy(), yerr=bars if bars.any() else None,
        fmt="o", ms=3.5, lw=0.9, capsize=1.5, color=colour, label=label,
    )  # fmt: skip


def _lined(axes: Axes, rows: pl.DataFrame, colour: str, label: str, law: Law | None = None) -> None:
    """Draw one case: what was found, and the law, or a line through what was expected."""
    ordered = rows.sort("x")
    x, y = ordered["x"].to_numpy(), ordered["expected"].to_numpy()
    if law is not None:
        x = np.linspace(x.min(), x.max(), _STEPS)
        y = np.array([law(at) for at in x])
    axes.plot(x, y, color=colour, lw=0.9)
    _points(axes, ordered, colour, label)


def _cases(axes: Axes, data: pl.DataFrame, laws: Mapping[str, Law] | None = None) -> None:
    names = data["case"].unique(maintain_order=True).to_list()
    for case, colour in zip(names, COLOURS, strict=False):
        law = None if laws is None else laws.get(case)
        _lined(axes, data.filter(case=case), colour, str(case), law)


def draw_waits(stations: pl.DataFrame, gateways: pl.DataFrame) -> Figure:
    """Draw mean waits against utilisation: stations by themselves, gateways of a network."""
    with style():
        figure, (left, right) = _figure(2)
        waits: dict[str, Law] = {
            f"M/M/{workers}": partial(theory.wait_m_m_c, workers) for workers in WORKERS
        }
        waits["M/D/1"] = theory.wait_m_d_1
        _cases(left, stations, waits)
        left.set_yscale("log")
        left.set_title("Computers (M/M/c) and links (M/D/1)")
        left.legend()
        _cases(right, gateways, waits)
        right.set_title("Gateways of a running network")
        for axes in (left, right):
            axes.set_xlabel("utilisation")
        left.set_ylabel("mean wait (services)")
        jobs = (int(stations["n"].to_numpy().min()), int(gateways["n"].to_numpy().min()))
        said = f"n = {jobs[0]:,} customers a point, {jobs[1]:,} or more at gateways"
        _caption(figure, f"lines: theory; points: measured, 95 % intervals; {said}")
    return figure


def draw_races(data: pl.DataFrame) -> Figure:
    """Draw how often an attacker catches up, by confirmations, both ways of counting."""
    with style():
        figure, panels = _figure(2)
        for axes, name in zip(panels, ("Nakamoto", "Rosenfeld"), strict=True):
            part = data.filter(pl.col("case").str.starts_with(name))
            _cases(axes, part.with_columns(pl.col("case").str.replace(f"{name}, ", "")))
            axes.set_yscale("log")
            axes.locator_params(axis="x", integer=True)
            axes.set_xlabel("confirmations")
            axes.set_title(f"The attacker draws level ({name})")
            axes.legend()
        panels[0].set_ylabel("share of races")
        _caption(
            figure, f"lines: closed forms; n = {data['n'][0]:,} races in the block tree a point"
        )
    return figure


def draw_growth(data: pl.DataFrame) -> Figure:
    """Draw chain growth against Byzantine replicas: theory, published figures, this simulator."""
    with style():
        figure, panels = _figure(2)
        for axes, attack, colour in zip(panels, ("forking", "silence"), COLOURS, strict=False):
            mine = data.filter(part="growth", case=attack)
            theirs = data.filter(part="growth, published", case=attack)
            _lined(axes, mine, colour, "here")
            axes.plot(
                theirs["x"].to_numpy(), theirs["expected"].to_numpy(), "x", ms=6, mew=1.2,
                color=COLOURS[6], label="published",
            )  # fmt: skip
            axes.set_title(f"Chained HotStuff under {attack}")
            axes.set_xlabel("Byzantine replicas of 32")
            axes.set_ylim(0.4, 1.03)
            axes.legend()
        panels[0].set_ylabel("blocks that are committed (share)")
        blocks = data.filter(pl.col("x") > 0)["n"].to_numpy()
        said = f"lines: (1 - b/32)^2 and 1 - b/32; n = {blocks.min():,} blocks or more"
        _caption(figure, said, GROWTH_SEED)
    return figure


def draw_steps(data: pl.DataFrame, clique: pl.DataFrame) -> Figure:
    """Draw delays and messages a block of each protocol, and HotStuff as a queue."""
    with style():
        figure, (left, middle, right) = _figure(3, (9.5, 3.0))
        # Protocols of equal figures stand apart by a little.
        shifted = pl.col("x") + pl.col("case").rank("dense").cast(pl.Float64) * 0.5
        data = data.with_columns(x=shifted)
        _cases(left, data.filter(part="delays a block"))
        left.set_ylabel("message delays a block")
        left.set_ylim(0, 8)
        left.set_title("Until a block is final")
        _cases(middle, data.filter(part="messages a block"))
        middle.set_yscale("log")
        middle.set_ylabel("messages a block")
        middle.set_title("Between validators")
        _cases(right, clique)
        right.set_ylabel("decision (1/mu)")
        right.set_title("HotStuff as a queue")
        for axes in (left, middle, right):
            axes.set_xlabel("validators")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5)
        _caption(figure, "lines: the papers' counts and the clique formula; points: simulated")
    return figure


def draw_shortfalls(data: pl.DataFrame) -> Figure:
    """Draw chances of a quorum that falls short: tilting and splitting against exact figures."""
    with style():
        figure, (left, right) = _figure(2)
        tilting = data.filter(part="shortfall, tilting")
        _lined(left, tilting, COLOURS[0], "tilting")
        left.set_yscale("log")
        left.set_xlabel("chance that a validator is late")
        left.set_ylabel("P(more than 50 of 150 are late)")
        left.set_title("At once: exponential tilting")
        splitting = data.filter(part="shortfall, splitting")
        places = np.arange(len(splitting))
        right.errorbar(
            places, splitting["found"].to_numpy(), yerr=_REACH * splitting["error"].to_numpy(),
            fmt="o", ms=3.5, lw=0.9, capsize=1.5, color=COLOURS[1],
        )  # fmt: skip
        right.plot(places, splitting["expected"].to_numpy(), "_", ms=16, color=COLOURS[6])
        right.set_yscale("log")
        right.set_xticks(places, splitting["case"].to_list())
        right.set_xlim(-0.5, len(splitting) - 0.5)
        right.set_title("Over time: splitting")
        draws, runs = int(tilting["n"][0]), int(splitting["n"][0])
        _caption(figure, f"line, bars: exact; n = {draws:,} draws a point, {runs} repetitions")
    return figure


def draw_delays(data: pl.DataFrame) -> Figure:
    """Draw drawn delays of all pairs of regions against the figures of the region table."""
    with style():
        figure, (left, right) = _figure(2)
        for axes, name, colour in zip((left, right), ("p50", "p99"), COLOURS, strict=False):
            part = data.filter(case=name)
            ends = [
                part["expected"].to_numpy().min() * 0.8,
                part["expected"].to_numpy().max() * 1.2,
            ]
            axes.plot(ends, ends, color=FAINT, lw=0.8)
            _points(axes, part.filter(part="delays (ms)"), colour, "pair of regions")
            cut = part.filter(part="delays, cut")
            if cut.height:
                _points(axes, cut, COLOURS[3], "tail cut to what light allows")
            axes.set(xscale="log", yscale="log")
            axes.set_xlabel(f"{name} in the table (ms, one way)")
            axes.set_title(f"{name} of the latency model")
            axes.legend()
        left.set_ylabel("drawn (ms)")
        _caption(
            figure, f"n = {data['n'][0]:,} draws a pair, {data.height // 2} pairs; line: both equal"
        )
    return figure


def draw_registry(data: pl.DataFrame) -> Figure:
    """Draw the registry's limits, quorums and hottest shard against their closed forms."""
    panels: tuple[tuple[str, str, str, str], ...] = (
        (
            "registry: refused",
            "load (requests a token)",
            "refused (share)",
            "Token bucket, burst 1",
        ),
        ("registry: quorum", "replicas", "wait (mean round trips)", "Wait for a quorum"),
        ("registry: hottest", "records", "fullest shard (mean shard)", "Hottest of 150 shards"),
    )
    with style():
        figure, axes = _figure(3, (9.5, 2.9))
        for axis, (part, across, up, title), colour in zip(axes, panels, COLOURS, strict=False):
            _lined(axis, data.filter(part=part), colour, part)
            axis.set_xlabel(across)
            axis.set_ylabel(up)
            axis.set_title(title)
        hottest = sorted(data.filter(part="registry: hottest")["x"].to_list())
        axes[2].set_xscale("log")
        axes[2].set_xticks(hottest, [f"{int(records):,}" for records in hottest])
        axes[2].xaxis.minorticks_off()
        _caption(figure, "lines: Erlang's loss, Renyi's order statistics, balls in bins; 95 % bars")
    return figure


def draw_all(*frames: pl.DataFrame) -> Figure:
    """Draw how far every random figure is off, in its standard errors, part by part."""
    data = judged(pl.concat(frames)).filter(pl.col("error") > 0)
    known = data.filter(~pl.col("part").str.ends_with(", cut"))
    parts = known["part"].unique(maintain_order=True).to_list()
    with style():
        figure, (axes,) = _figure(1, (7.4, 0.9 + 0.28 * len(parts)))
        axes.axvspan(-SIGMAS, SIGMAS, color=COLOURS[2], alpha=0.1, linewidth=0)
        for place, part in enumerate(parts):
            off = known.filter(part=part)["off"].to_numpy()
            spread = np.linspace(-0.25, 0.25, off.size) if off.size > 1 else np.zeros(1)
            axes.plot(off, place + spread, "o", ms=2.5, color=COLOURS[0], alpha=0.7)
        axes.axvline(0, color=FAINT, lw=0.8)
        axes.set_yticks(range(len(parts)), parts)
        axes.invert_yaxis()
        axes.set_xlabel("found less expected (standard errors)")
        axes.set_title("Every comparison that has chance in it")
        _caption(figure, f"n = {known.height} figures; shaded: within {SIGMAS} standard errors")
    return figure
