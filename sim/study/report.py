"""One HTML file that tells a run: verdict first, figures, what is modelled, how to repeat it.

Owns what stands in a report and in which order; the page is `report.html.j2`. The file is whole in
itself: no scripts, no network, figures as SVG that take the page's colours, light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from sim.record.runs import Run, RunError
from sim.record.store import write_text
from sim.record.summary import METRICS
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.scenario.quantities import SHARE
from sim.study import figures
from sim.study.directory_figures import registry
from sim.study.event_figures import alert_rows, events, fork_rows
from sim.study.evidence import compliance_section
from sim.study.region_figures import region_medians, region_tails
from sim.study.statistics.intervals import mean_interval
from sim.study.study_report import quantity, study_section

T = TypeVar("T")
NAME = "report.html"
HEADLINES = (
    "messages_delivered",
    "transactions_committed",
    "blocks_committed",
    "epochs",
    "commit_latency_p99_ns",
    "delivery_latency_p99_ns",
    "longest_commit_gap_ns",
    "level_max",
)
FIGURES: tuple[figures.Draw, ...] = (
    figures.throughput,
    figures.consensus,
    events,
    figures.latency,
    region_medians,
    region_tails,
    figures.stations,
    registry,
    figures.traffic,
    figures.weights,
)
"""What a report shows, in its order."""
_MAP = Path(__file__).parents[1] / "README.md"
_BIASES = "## Modelled, abstracted, left out"
_MEANINGS = {metric.name: metric.meaning for metric in METRICS}


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure as text, with the spread over replicates where there are several."""

    name: str
    value: str
    meaning: str
    spread: str = ""


def write_report(run: Run, out: Path | None = None) -> Path:
    """Write the report of a run that has ended and return its path; into the run unless `out`.

    RunError: it has no summary yet. ModuleNotFoundError: matplotlib or Jinja is missing, with what
    to install.
    """
    page = render(run)
    path = run.path / NAME if out is None else out
    write_text(path, page)
    return path


def render(run: Run) -> str:
    """Return the report as one HTML page."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reports need Jinja: pip install 'creto-sim[report]'") from error
    environment = Environment(
        loader=PackageLoader("sim.study", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(content(run))


def content(run: Run) -> dict[str, Any]:
    """Return what the page shows, by the names that its template uses."""
    summary = run.summary
    run = Run(run.path.resolve(), run.manifest)
    scenario = load_scenario(run.path / "scenario.yaml")
    places = [(entry["point"], entry["replicate"]) for entry in summary["replicates"]]
    if not places:
        raise RunError(f"{run.path.name}: no replicate has ended, the run is {run.state}")
    point, replicate = places[0]
    data = figures.RunData(run, scenario, point, replicate)
    damaged: dict[str, None] = {}

    def whole(make: Callable[[figures.RunData], T], otherwise: T) -> T:
        """Return what a table gives; where its file is damaged, what the page does without it."""
        try:
            return make(data)
        except RunError as error:
            damaged.setdefault(str(error))
            return otherwise

    drawn = [figure for draw in FIGURES if (figure := whole(draw, None)) is not None]
    manifest = run.manifest
    none: list[Any] = []
    shown: dict[str, Any] = {
        "compliance": whole(_compliance, None),
        "busiest": whole(_busiest, none),
        "faults": whole(_faults, none),
        "forks": whole(fork_rows, none),
        "alerts": whole(alert_rows, none),
        "rollouts": whole(_rollouts, none),
        "violations": whole(_violations, none),
    }
    return {
        **shown,
        "damaged": list(damaged),
        "title": scenario.title,
        "question": scenario.question,
        "state": run.state,
        "verdict": run.verdict if run.state == "complete" else run.state,
        "evidence": [_line(text) for text in summary["evidence"]],
        "first_evidence": [_line(text) for text in summary["replicates"][0]["evidence"]],
        "tiles": _tiles(summary["replicates"], point),
        "of": f"replicate {replicate}" + (f" of point {point}" if len(run.settings) > 1 else ""),
        "replicates": len(places),
        "figures": [figures.svg(figure) for figure in drawn],
        "study": study_section(run),
        "metrics": _metrics(summary["replicates"][0]["metrics"]),
        "biases": biases(),
        "facts": _facts(scenario, run),
        "command": " ".join(manifest["command"]),
        "digest": run.digest or "none: the run did not end",
        "seed": scenario.seed,
        "versions": sorted(manifest["versions"].items()),
        "scenario": run.scenario_text,
        "name": f"{run.path.parent.name}/{run.path.name}",
    }


def _line(text: str) -> tuple[str, str, str]:
    """Split a line of evidence into outcome, expectation and what was found."""
    outcome, _, rest = text.partition(": ")
    expectation, _, found = rest.partition(": ")
    return outcome, expectation, found


def _tiles(entries: Sequence[dict[str, Any]], point: int) -> list[Tile]:
    chosen = [entry["metrics"] for entry in entries if entry["point"] == point]
    tiles = []
    for name in HEADLINES:
        values = [m[name] for m in chosen if m.get(name) is not None]
        if not values or not any(values):
            continue
        spread = ""
        if len(values) > 1:
            half = mean_interval(values).half_width
            spread = f"mean of {len(values)} replicates, ± {quantity(name, half)} (95 %)"
        label = name.removesuffix("_ns").replace("_", " ")
        tiles.append(Tile(label, quantity(name, fmean(values)), _MEANINGS[name], spread))
    return tiles


def _compliance(data: figures.RunData) -> dict[str, Any] | None:
    return compliance_section(data.run) if data.has("audit") else None


def _busiest(data: figures.RunData) -> list[dict[str, Any]]:
    if not data.has("stations"):
        return []
    return list(figures.utilisation(data).iter_rows(named=True))


def _faults(data: figures.RunData) -> list[tuple[str, str, str, int, int]]:
    """Return (what, first begin, last end, how often, on how many validators) by fault, attack."""
    if not data.has("faults"):
        return []
    rows = data.table("faults").sort("time_ns").collect()
    found = []
    for (source, index), group in rows.group_by(["source", "index"], maintain_order=True):
        begun = [t for t, e in zip(group["time_ns"], group["event"], strict=True) if e == "begin"]
        ended = [t for t, e in zip(group["time_ns"], group["event"], strict=True) if e == "end"]
        nodes = sum(node >= 0 for node in group["node"].unique())
        first = f"{min(begun) / 1e9:g} s" if begun else ""
        last = f"{max(ended) / 1e9:g} s" if len(ended) == len(begun) else "end of the run"
        what = f"{group['kind'][0]} ({source} {index})"
        found.append((what, first, last, len(dict.fromkeys(begun)), nodes))
    return found


def _rollouts(data: figures.RunData) -> list[tuple[str, str, str, str, str]]:
    """Return (which, outcome, whom it reached, called off for, time to abort) by rollout."""
    if not data.has("rollouts"):
        return []
    found = []
    for row in data.table("rollouts").sort("index").collect().iter_rows(named=True):
        which = f"{row['name'] or row['index']} ({row['strategy'].replace('_', '-')})"
        share = SHARE.format(row["reached_weight_ppm"])
        reached = f"{row['reached']} of {row['validators']}, {share} of the weight"
        cause = row["cause"].replace("_", " ")
        cause = "" if cause == "none" else " ".join((cause, row["what"])).strip()
        took = ""
        if row["aborted_ns"] >= 0 <= row["new_ns"]:
            took = quantity("time_to_abort_ns", row["aborted_ns"] - row["new_ns"])
        found.append((which, row["outcome"], reached, cause, took))
    return found


def _violations(data: figures.RunData) -> list[dict[str, Any]]:
    if not data.has("violations"):
        return []
    return data.table("violations").collect().to_dicts()


def _metrics(values: dict[str, int | None]) -> list[tuple[str, str, str]]:
    return [(name, quantity(name, values[name]), _MEANINGS.get(name, "")) for name in values]


def biases() -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the table of what is modelled, from the map of the sources."""
    text = _MAP.read_text(encoding="utf-8")
    section = text[text.index(_BIASES) :].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    plain = [[re.sub(r"`([^`]*)`", r"\1", cell) for cell in row] for row in rows]
    return plain[0], plain[2:]


def _facts(scenario: Scenario, run: Run) -> list[tuple[str, str]]:
    agents = scenario.agents
    facts = [
        ("simulated time", f"{scenario.duration_ns / 1e9:g} s"),
        ("validators", f"{scenario.validators.count:,}"),
        ("agents", f"{agents.count:,}" if agents is not None else "none"),
        ("run", f"{run.path.parent.name}/{run.path.name}"),
        ("detail", run.detail),
    ]
    taken = run.manifest.get("cpu_ns")
    if taken is not None:
        facts.append(("CPU time taken", f"{taken / 1e9:.1f} s"))
    return facts
