"""Pictures of a run, in one house style: functions from a run's tables to matplotlib figures.

Owns what is drawn and how it looks: colour-blind safe colours (Okabe and Ito), units on axes, the
seed in the caption. Must not know: HTML, where figures go. Matplotlib is an extra; it is imported
when the first figure is made. Figures are drawn without pyplot, so nothing global is touched.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sim.engine.stations import servers_of
from sim.record.histogram import bucket_edges
from sim.scenario.model import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.record.runs import Run

COLOURS = ("#2F86C8", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
"""Okabe and Ito (2008) without black and yellow, which vanish on dark and light paper; their blue
is lighter here, for dark paper."""
INK = "#010203"
"""Stands for the colour of text; `svg` turns it into the page's."""
FAINT = "#0a0b0c"
"""Stands for the colour of grids and frames; `svg` turns it into the page's."""
_NS = 1e9
_CAPTION_INCHES = 0.1
"""Room for the caption below the axes."""
_STYLE: Any = {
    "figure.figsize": (4.7, 2.9),
    "font.family": "sans-serif",
    # Measured with DejaVu, which comes with matplotlib; Verdana has its widths, so browsers that
    # lack the one show the other without overlaps.
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "creto-sim",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house style. ModuleNotFoundError says how to get matplotlib."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "figures need matplotlib: pip install 'creto-sim[report]'"
        ) from error
    with mpl.rc_context(_STYLE):
        yield


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element that takes the colours of the page around it.

    Equal for equal figures: the solver of layouts differs from call to call in the last bits of a
    place, from which ids in the SVG are made, so places are rounded.
    """
    with style():
        # Laid out as it is written: widths of text depend on the writer.
        figure.savefig(io.StringIO(), format="svg")
        figure.set_layout_engine("none")
        for axes in figure.axes:
            left, bottom, width, height = (round(v, 6) for v in axes.get_position().bounds)
            axes.set_position((left, bottom, width, height))
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    return text.replace(INK, "currentColor").replace(FAINT, "var(--faint, #888)")


class RunData:
    """One replicate of a run: its tables and its scenario, as figures need them."""

    def __init__(self, run: Run, scenario: Scenario, point: int = 0, replicate: int = 0) -> None:
        self.run = run
        self.scenario = scenario
        self.point = point
        self.replicate = replicate

    def table(self, name: str) -> pl.LazyFrame:
        """Return a table's rows; RunError where the run's detail does not keep it."""
        return self.run.table(name, point=self.point, replicate=self.replicate)

    def has(self, name: str) -> bool:
        """Tell whether a table is kept and has rows."""
        if name not in self.run.tables():
            return False
        return bool(self.table(name).head(1).collect().height)

    @property
    def seconds(self) -> int:
        """Whole seconds of simulated time."""
        return -(-self.scenario.duration_ns // int(_NS))


Draw = Callable[[RunData], "Figure | None"]
"""Returns None where the run has nothing to draw."""


def figure_of(
    data: RunData,
    rows: int = 1,
    size: tuple[float, float] = (4.7, 2.9),
    *,
    sharex: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of one column, its axes, and the caption that every figure has."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    below = _CAPTION_INCHES / size[1]
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(rect=(0, below, 1, 1 - below)))
    axes = figure.subplots(rows, 1, sharex=sharex, squeeze=False)[:, 0]
    caption = f"seed {data.scenario.seed}, replicate {data.replicate}"
    figure.text(0.995, 0.005, caption, fontsize=5.5, ha="right", va="bottom", alpha=0.7)
    return figure, list(axes)


def _spans(data: RunData, axes: Sequence[Axes], named: Axes) -> None:
    """Shade the times at which faults and attacks are on; name them, as numbered in the scenario,
    in three lines at the top of `named`."""
    if not data.has("faults"):
        return
    rows = data.table("faults").sort("time_ns", "source", "index").collect()
    end = data.scenario.duration_ns
    lines = [0.0, 0.0, 0.0]
    for (source, index), group in rows.group_by(["source", "index"], maintain_order=True):
        spans = stretches(group, end)
        colour = COLOURS[1] if source == "fault" else COLOURS[3]
        for at, until in spans:
            for axis in axes:
                axis.axvspan(at / _NS, until / _NS, color=colour, alpha=0.12, linewidth=0)
        label = f"{group['kind'][0]} {index}"
        x = spans[0][0] / _NS if spans else 0.0
        width = data.seconds * (len(label) + 2) / 75
        x = min(x, max(0.0, data.seconds - width))
        free = [line for line, taken in enumerate(lines) if taken <= x]
        if not free:
            continue
        lines[free[0]] = x + width
        named.annotate(
            label,
            (x, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -8 - 9 * free[0]),
            textcoords="offset points",
            fontsize=6.5,
            color=colour,
        )


def stretches(rows: pl.DataFrame, end_ns: int) -> list[tuple[int, int]]:
    """Return when a fault was on, anywhere: overlapping stretches of its validators as one."""
    apart: list[tuple[int, int]] = []
    for _, group in rows.group_by(["node", "target"], maintain_order=True):
        begins = group.filter(pl.col("event") == "begin")["time_ns"].unique().sort().to_list()
        ends = group.filter(pl.col("event") == "end")["time_ns"].unique().sort().to_list()
        apart += [(at, next((e for e in ends if e > at), end_ns)) for at in begins]
    found: list[tuple[int, int]] = []
    for at, until in sorted(apart):
        if found and at < found[-1][1]:
            found[-1] = (found[-1][0], max(until, found[-1][1]))
        else:
            found.append((at, until))
    return found


def throughput(data: RunData) -> Figure | None:
    """Draw agents' messages delivered and transactions committed, by second."""
    if not data.has("traffic"):
        return None
    rows = (
        data.table("traffic")
        .filter(pl.col("lane") == "agents", pl.col("outcome") == "delivered")
        .group_by("second", "kind")
        .agg(pl.col("messages").sum())
        .collect()
    )
    if rows.is_empty():
        return None
    with style():
        figure, axes = figure_of(data, 2)
        parts = (("message", "messages / s"), ("transaction", "transactions / s"))
        for axis, (kind, label), colour in zip(axes, parts, COLOURS, strict=False):
            counts = np.zeros(data.seconds)
            chosen = rows.filter(pl.col("kind") == kind)
            counts[chosen["second"].to_numpy()] = chosen["messages"].to_numpy()
            axis.stairs(counts, np.arange(data.seconds + 1), baseline=None, color=colour, lw=1.4)
            axis.set_ylim(0, counts.max() * 1.3 + 1)
            axis.set_ylabel(label)
            axis.yaxis.set_major_formatter(_thousands())
        axes[0].set_title("Agents' throughput: delivered, and committed")
        axes[-1].set_xlabel("simulated time (s)")
        axes[-1].set_xlim(0, data.seconds)
        _spans(data, axes, axes[0])
    return figure


def consensus(data: RunData) -> Figure | None:
    """Draw the latency of each committed block and the quorum level, over time."""
    if not data.has("blocks"):
        return None
    blocks = data.table("blocks").filter(pl.col("status") == "committed").collect()
    if blocks.is_empty():
        return None
    with style():
        figure, axes = figure_of(data, 2)
        at = blocks["proposed_ns"].to_numpy() / _NS
        stages = (
            ("committed_ns", "proposed to first commit", COLOURS[0]),
            ("certified_ns", "proposed to certified", COLOURS[4]),
        )
        for column, label, colour in stages:
            took = (blocks[column].to_numpy() - blocks["proposed_ns"].to_numpy()) / 1e6
            axes[0].plot(at, took, ".", markersize=3, color=colour, label=label)
        axes[0].set_ylim(0, axes[0].get_ylim()[1] * 1.5)
        axes[0].set_ylabel("latency (ms)")
        axes[0].legend(loc="upper right", ncols=2, handletextpad=0.1, columnspacing=0.8)
        axes[0].set_title("Blocks: latency, and the quorum that they need")
        epochs = data.table("epochs").sort("epoch").collect()
        quorum = (epochs["quorum"].to_numpy() / epochs["total_weight"].to_numpy()) * 100
        starts = epochs["started_ns"].to_numpy() / _NS
        axes[1].step([*starts, data.seconds], [*quorum, quorum[-1]], where="post", color=COLOURS[2])
        axes[1].plot(starts, quorum, "|", color=COLOURS[2], markersize=6)
        axes[1].set_ylim(60, 96)
        axes[1].set_yticks([67, 75, 82])
        axes[1].set_ylabel("quorum (%)")
        axes[1].set_xlabel("simulated time (s); ticks: epochs")
        axes[1].set_xlim(0, data.seconds)
        _spans(data, axes, axes[1])
    return figure


def latency(data: RunData) -> Figure | None:
    """Draw the distribution of latency by kind of message."""
    if not data.has("latency"):
        return None
    rows = (
        data.table("latency")
        .group_by("kind", "bucket")
        .agg(pl.col("count").sum())
        .sort("kind", "bucket")
        .collect()
    )
    ends: list[float] = []
    with style():
        figure, (axis,) = figure_of(data)
        for colour, kind in zip(COLOURS, rows["kind"].unique().sort().to_list(), strict=False):
            chosen = rows.filter(pl.col("kind") == kind)
            edges = np.array([bucket_edges(int(b))[1] for b in chosen["bucket"]]) / 1e6
            share = np.cumsum(chosen["count"].to_numpy()) / chosen["count"].sum() * 100
            count = int(chosen["count"].sum())
            label = f"{kind.replace('_', ' ')} ({_short(count)})"
            axis.step(edges, share, where="post", color=colour, label=label)
            inner = edges[(share > 0.1) & (share < 99.99)]
            ends.extend((inner.min(), inner.max()) if inner.size else ())
        axis.set_xscale("log")
        axis.set_xlim(min(ends) / 1.2, max(ends) * 1.2)
        axis.set_ylim(0, 100.5)
        axis.set_xlabel("latency (ms)")
        axis.set_ylabel("share within it (%)")
        axis.set_title("Latency by kind")
        axis.xaxis.set_major_formatter(_thousands())
        axis.legend(loc="upper left", fontsize=6.5)
    return figure


def weights(data: RunData) -> Figure | None:
    """Draw validators' shares of the weight in the first and the last epoch, largest first."""
    if not data.has("validators"):
        return None
    rows = data.table("validators").filter(pl.col("weight") > 0).collect()
    epochs = [int(e) for e in rows["epoch"].unique().sort().to_list()]
    with style():
        figure, (axis,) = figure_of(data)
        for epoch, colour in zip(dict.fromkeys((epochs[0], epochs[-1])), COLOURS, strict=False):
            weight = rows.filter(pl.col("epoch") == epoch)["weight"].to_numpy().astype(float)
            share = np.sort(weight / weight.sum() * 100)[::-1]
            label = f"epoch {epoch}: {len(share)} members, largest {share[0]:.2f} %"
            axis.plot(np.arange(1, len(share) + 1), share, ".-", ms=3, color=colour, label=label)
        axis.axhline(100 / len(share), color=COLOURS[6], linewidth=0.8, linestyle="--")
        axis.annotate(
            "equal", (len(share), 100 / len(share)), (0, 3), textcoords="offset points",
            ha="right", fontsize=6.5, color=COLOURS[6],
        )  # fmt: skip
        axis.set_ylim(0, axis.get_ylim()[1] * 1.3)
        axis.locator_params(axis="x", integer=True)
        axis.set_xlabel("member, by weight")
        axis.set_ylabel("share of the weight (%)")
        axis.set_title("Voting weights")
        axis.legend(loc="upper right")
    return figure


def utilisation(data: RunData) -> pl.DataFrame:
    """Return for each class of station: mean and largest utilisation of a second, in per cent.

    Columns: class, lane, mean, p99, largest, station (where the largest was), second, waited_ms
    (mean wait of a job), dropped.
    """
    known = servers_of(data.scenario)
    rows = data.table("stations").collect()
    parts = []
    for (name, lane), group in rows.group_by(["class", "lane"], maintain_order=True):
        capacity = known.get((str(name), str(lane)), 1) * _NS
        share = group["busy_ns"].to_numpy() / capacity * 100
        top = int(share.argmax())
        stations = group["station"].n_unique()
        waited, served = (int(group[column].sum()) for column in ("waited_ns", "served"))
        parts.append(
            {
                "class": str(name),
                "lane": str(lane),
                "mean": float(share.sum() / (stations * data.seconds)),
                "p99": float(np.quantile(share, 0.99)),
                "largest": float(share[top]),
                "station": int(group["station"][top]),
                "second": int(group["second"][top]),
                "waited_ms": waited / max(1, served) / 1e6,
                "dropped": int(group["dropped"].sum()),
            }
        )
    return pl.DataFrame(parts).sort("largest", descending=True)


def stations(data: RunData) -> Figure | None:
    """Draw how busy each class of station was: mean, and the busiest station and second."""
    if not data.has("stations"):
        return None
    rows = utilisation(data)
    with style():
        figure, (axis,) = figure_of(data)
        places = np.arange(rows.height)[::-1]
        axis.barh(places + 0.2, rows["largest"], 0.38, color=COLOURS[1], label="busiest second")
        axis.barh(places - 0.2, rows["mean"], 0.38, color=COLOURS[0], label="mean")
        for place, top, mean in zip(places, rows["largest"], rows["mean"], strict=True):
            axis.text(top + 1, place + 0.2, f"{top:.1f}", va="center", fontsize=6.5)
            axis.text(mean + 1, place - 0.2, f"{mean:.1f}", va="center", fontsize=6.5)
        names = [f"{c}, {lane}" for c, lane in zip(rows["class"], rows["lane"], strict=True)]
        axis.set_yticks(places, names)
        axis.set_xlim(0, max(105.0, float(rows["largest"].to_numpy().max()) * 1.1))
        axis.axvline(100, color=FAINT, linewidth=0.8)
        axis.set_xlabel("utilisation (% of all servers)")
        axis.set_title("Stations")
        axis.legend(loc="lower right")
    return figure


def traffic(data: RunData) -> Figure | None:
    """Draw the bytes offered by second: agents' and validators', by kind."""
    if not data.has("traffic"):
        return None
    rows = (
        data.table("traffic")
        .filter(pl.col("outcome") == "offered")
        .group_by("second", "lane", "kind")
        .agg(pl.col("bytes").sum())
        .collect()
        .with_columns(name=pl.col("lane").cast(pl.String) + ": " + pl.col("kind"))
    )
    totals = rows.group_by("name").agg(pl.col("bytes").sum()).sort("bytes", descending=True)
    names = totals["name"].to_list()
    shown = names[: len(COLOURS) - 1]
    with style():
        figure, (axis,) = figure_of(data)
        stacks = np.zeros((len(shown) + 1, data.seconds))
        for name, second, size in rows.select("name", "second", "bytes").iter_rows():
            stacks[shown.index(name) if name in shown else -1, second] += size * 8 / 1e9
        labels = [*(n.replace("_", " ") for n in shown), f"{max(0, len(names) - len(shown))} more"]
        axis.stackplot(
            np.arange(data.seconds) + 0.5, stacks, colors=COLOURS, labels=labels, alpha=0.85
        )
        axis.set_xlim(0, data.seconds)
        axis.set_ylim(0, stacks.sum(axis=0).max() * 1.75)
        axis.set_xlabel("simulated time (s)")
        axis.set_ylabel("offered (Gbit/s)")
        axis.set_title("Traffic by kind")
        axis.legend(loc="upper center", ncols=2, fontsize=6.2, columnspacing=0.8)
    return figure


def _short(count: int) -> str:
    for limit, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return str(count)


def _thousands() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:,.10g}")
