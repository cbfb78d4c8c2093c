"""Capacity: the most load or agents, or the fewest validators and bits a second, that still hold.

Owns: the search for the knee over trials that are ordinary studies, what is the bottleneck there,
what relieving it buys, what the line below the knee says of larger populations; the directory that
keeps all this. Must not know: terminals.

    <out>/<scenario>/capacity-<of>-<digest>/
        plan.json          what was asked
        scenario.yaml      the resolved scenario
        trials/<name>/...  one study a trial: the run directories of `sim.run_study`
        trials.parquet, stations.parquet, forecasts.parquet, summary.json
        DONE               last

The digest is over scenario, plan and sources, so the same command finds the same directory: what is
whole there is kept, and what a search that ended early still lacks is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from sim.record.machine import source_digest
from sim.record.runs import Run, RunError, open_run
from sim.record.store import write_frame, write_json, write_text
from sim.scenario.estimate import machine_memory_bytes, memory_shortage
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.study.bracket import Bracket, CannotTry, find_edge
from sim.study.forecast import LEAST_POINTS, Line, line_through
from sim.study.resources import (
    WHOLE,
    Relief,
    Resource,
    Unworkable,
    amount_text,
    checked,
    expectations,
    grows,
    own_amount,
    relief,
    trial_scenario,
)
from sim.study.saturation import ClassLoad, bottleneck
from sim.study.statistics.intervals import Interval
from sim.study.sweep import StudyProgress, Workers, resume_study, run_study
from sim.study.trials import Figures, Trial, found_before, trial_of

SCHEMA = "creto-sim-capacity/1"
AHEAD = (10_000_000, 100_000_000)
"""Populations that the line below the knee is carried to."""
_FRACTIONS = (4, 2, 8, 6, 3)
"""Parts of the knee that are run for the line, as long as it lacks points."""
SATURATED_PPM = 900_000
"""Sustained utilisation from which on a trial is left out of the line: what is saturated no longer
grows with the load."""
_NEAR = 1.2


class Interrupted(Exception):
    """Ctrl-C; the directory keeps what is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked. `duration_ns`: simulated time of a trial; `reach`: the furthest, in times."""

    of: Resource
    replicates: int
    duration_ns: int
    precision_ppm: int = 100_000
    reach: int = 1_024


class Forecast(NamedTuple):
    """A figure at a population that was not run. `line`: what it is read from."""

    figure: str
    agents: int
    value: Interval
    line: Line
    run_up_to: int


@dataclass(frozen=True, slots=True)
class Relieved:
    """The search again with a doubled resource; `bracket.held` is the new knee."""

    relief: Relief
    bracket: Bracket


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a search came to."""

    path: Path
    scenario: Scenario
    plan: Plan
    own: int
    bracket: Bracket
    trials: tuple[Trial, ...]
    bottleneck: ClassLoad | None
    relieved: Relieved | None
    forecasts: tuple[Forecast, ...]
    set_aside: tuple[str, ...]

    @property
    def headroom(self) -> float | None:
        """How much further than the scenario the knee lies: 0.5 is half as much again."""
        if self.bracket.held is None:
            return None
        ratio = self.bracket.held / self.own
        return ratio - 1 if grows(self.plan.of) else 1 / ratio - 1

    def trial(self, amount: int | None, setting: str = "") -> Trial | None:
        """Return the trial of an amount, None where there was none."""
        found = [t for t in self.trials if t.amount == amount and t.setting == setting]
        return found[0] if found else None

    @property
    def odd(self) -> tuple[Trial, ...]:
        """Trials that missed although a harder one held: the search's assumption fails there."""
        held = self.bracket.held
        if held is None:
            return ()
        up = grows(self.plan.of)
        ours = [t for t in self.trials if not t.setting and not t.held]
        return tuple(t for t in ours if (t.amount < held) == up and t.amount != held)


@dataclass(frozen=True, slots=True)
class Told:
    """Who wants to know: `started(path)`, `trying(words)`, `tried(trial)`, and a study's state."""

    started: Callable[[Path], None] = field(default=lambda _: None)
    trying: Callable[[str], None] = field(default=lambda _: None)
    tried: Callable[[Trial], None] = field(default=lambda _: None)
    progress: Callable[[StudyProgress], None] | None = None


ALL_CORES = Workers()
SILENT = Told()


def measure_capacity(
    scenario: Scenario,
    plan: Plan,
    out: str | Path = "results",
    *,
    workers: Workers = ALL_CORES,
    told: Told = SILENT,
) -> Capacity:
    """Search the knee, name the bottleneck, relieve it, look ahead; write and return all of it.

    Trials have the scenario's seed, so replicates of one number share their chance at all amounts.
    Raises Unworkable where the scenario cannot be turned that way, Interrupted after Ctrl-C (the
    same call goes on), and as `sim.run_study`.
    """
    if scenario.sweep is not None or scenario.until is not None:
        raise Unworkable("a search varies one thing: take `sweep` and `until` out")
    own = own_amount(scenario, plan.of)
    # Before anything is written: what cannot be tried at all is no search.
    trial_scenario(scenario, plan.of, own, duration_ns=plan.duration_ns, replicates=1)
    search = _Search(scenario, plan, _folder(scenario, plan, Path(out)), workers, told)
    told.started(search.path)
    up = grows(plan.of)
    bracket = find_edge(
        own, search.holds, harder_is_more=up, precision_ppm=plan.precision_ppm, reach=plan.reach
    )
    found = bottleneck(search.loads(bracket.held))
    relieved = search.relieve(found, bracket)
    forecasts = search.look_ahead(bracket) if up and bracket.held is not None else ()
    aside = expectations(scenario, 1.0, plan.duration_ns).set_aside
    capacity = Capacity(
        search.path,
        scenario,
        plan,
        own,
        bracket,
        tuple(search.trials),
        found,
        relieved,
        forecasts,
        aside,
    )
    _write(capacity)
    return capacity


def _folder(scenario: Scenario, plan: Plan, out: Path) -> Path:
    """Return the directory of this very search, made where it is new."""
    asked = {"scenario": scenario.digest, "source": source_digest(), **asdict(plan)}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    path = out / scenario.name / f"capacity-{plan.of}-{digest[:8]}"
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "plan.json", {"schema": SCHEMA, **asked})
    write_text(path / "scenario.yaml", scenario.to_yaml())
    return path


class _Search:
    """The trials of one search, each run once."""

    def __init__(
        self, scenario: Scenario, plan: Plan, path: Path, workers: Workers, told: Told
    ) -> None:
        self.path = path
        self.trials: list[Trial] = []
        self._scenario = scenario
        self._plan = plan
        self._workers = workers
        self._told = told

    def holds(self, amount: int) -> bool:
        return self.attempt(amount, self._scenario, "").held

    def loads(self, amount: int | None) -> tuple[ClassLoad, ...]:
        """Return the loads of the trial at an amount, or of the first one where it is None."""
        found = [t for t in self.trials if t.amount == amount] or self.trials[:1]
        return found[0].loads if found else ()

    def attempt(self, amount: int, scenario: Scenario, setting: str) -> Trial:
        """Try an amount, once. Raises CannotTry where it cannot be."""
        for trial in self.trials:
            if (trial.amount, trial.setting) == (amount, setting):
                return trial
        plan = self._plan
        try:
            asked = trial_scenario(
                scenario,
                plan.of,
                amount,
                duration_ns=plan.duration_ns,
                replicates=plan.replicates,
            )
        except Unworkable as error:
            raise CannotTry(str(error)) from None
        shortage = memory_shortage(asked, machine_memory_bytes())
        if shortage is not None:
            raise CannotTry(shortage)
        words = amount_text(plan.of, amount)
        self._told.trying(words if not setting else f"{words}, {setting} doubled")
        trial = trial_of(self._run(asked), asked, amount, setting, self.path)
        self.trials.append(trial)
        self._told.tried(trial)
        return trial

    def _run(self, asked: Scenario) -> Run:
        trials = self.path / "trials"
        found = found_before(trials / asked.name, asked)
        if found is not None and found.state == "complete":
            return found
        if found is not None:
            outcome = resume_study(found.path, workers=self._workers, progress=self._told.progress)
        else:
            outcome = run_study(asked, trials, workers=self._workers, progress=self._told.progress)
        if outcome.state == "interrupted":
            raise Interrupted(str(self.path))
        return open_run(outcome.path)

    def relieve(self, load: ClassLoad | None, bracket: Bracket) -> Relieved | None:
        """Search on with the bottleneck's resource doubled, from where it failed before."""
        if load is None or bracket.failed is None:
            return None
        found = relief(self._scenario, load.station, load.lane)
        if found is None or (self._plan.of == "bandwidth" and "bandwidth" in found.setting):
            return None
        try:
            checked(found.scenario, f"{found.setting} {found.after}")
        except Unworkable:
            return None

        def holds(amount: int) -> bool:
            return self.attempt(amount, found.scenario, found.setting).held

        if bracket.held is not None and not self._holds_there(bracket.failed, holds):
            # The knee stays within the precision of the search: no need to look closer.
            return Relieved(found, bracket)
        edge = find_edge(
            bracket.failed,
            holds,
            harder_is_more=grows(self._plan.of),
            precision_ppm=self._plan.precision_ppm,
            reach=self._plan.reach,
            easier=bracket.held,
        )
        return Relieved(found, edge)

    def _holds_there(self, amount: int, holds: Callable[[int], bool]) -> bool:
        try:
            return holds(amount)
        except CannotTry:
            return False

    def look_ahead(self, bracket: Bracket) -> tuple[Forecast, ...]:
        """Fit lines through what held, and carry them to the populations of `AHEAD`."""
        assert bracket.held is not None
        for part in _FRACTIONS:
            if len(_unsaturated(self._plain(), bracket.held)) >= LEAST_POINTS:
                break
            amount = max(1, bracket.held // part)
            near = [t for t in self._plain() if amount / _NEAR <= t.amount <= amount * _NEAR]
            if not near:
                try:
                    self.holds(amount)
                except CannotTry:
                    continue
        held = _unsaturated(self._plain(), bracket.held)
        return tuple(_forecasts(held, self._scenario, self._plan))

    def _plain(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.setting]


def _unsaturated(trials: Sequence[Trial], knee: int) -> list[Trial]:
    """Return the trials up to the knee that held, with every class of stations below saturation."""
    return [
        t
        for t in trials
        if t.held
        and t.amount <= knee
        and all(load.sustained_ppm < SATURATED_PPM for load in t.loads)
    ]


def population(trial: Trial, scenario: Scenario, of: Resource) -> float:
    """Return the agents of a trial; under more load, those who would offer it at the own rate."""
    assert scenario.agents is not None
    return trial.amount if of == "agents" else scenario.agents.count * trial.amount / WHOLE


def _forecasts(held: Sequence[Trial], scenario: Scenario, plan: Plan) -> Iterator[Forecast]:
    seconds = plan.duration_ns / 1e9
    series: dict[str, list[tuple[float, float]]] = {}
    furthest = 0.0
    for trial in held:
        agents = population(trial, scenario, plan.of)
        furthest = max(furthest, agents)
        for each in trial.runs:
            if plan.of == "agents":
                # Under more load the rows stay what they are, so memory says nothing of more rows.
                memory = float(each.peak_memory_bytes)
                series.setdefault("memory_bytes", []).append((agents, memory))
            cpu = each.cpu_ns / 1e9 / seconds
            series.setdefault("cpu_s_per_simulated_s", []).append((agents, cpu))
        for load in trial.loads:
            series.setdefault(load.name, []).append((agents, load.sustained_ppm / 1e6))
    for name, points in series.items():
        line = line_through(points)
        if line is None:
            continue
        for agents in AHEAD:
            yield Forecast(name, agents, line.at(agents), line, int(furthest))


def open_capacity(path: str | Path) -> Capacity:
    """Read a search back from its tables; the trials' own directories need not be there.

    What a replicate measured beyond CPU time and memory is not in the tables. Raises RunError
    where the directory holds no search that has ended.
    """
    where = Path(path)
    if not (where / "DONE").exists():
        raise RunError(f"{where.name}: no search that has ended")
    summary = json.loads((where / "summary.json").read_text(encoding="utf-8"))
    asked = json.loads((where / "plan.json").read_text(encoding="utf-8"))
    plan = Plan(**{name: asked[name] for name in Plan.__dataclass_fields__})
    scenario = load_scenario(where / "scenario.yaml")
    trials = tuple(_trials_of(where))
    edge = Bracket(summary["held"], summary["failed"], summary["why"])
    held = _unsaturated([t for t in trials if not t.setting], edge.held or 0)
    found = summary["bottleneck"]
    top = None
    if found is not None:
        found["by_region"] = tuple((region, ppm) for region, ppm in found["by_region"])
        top = ClassLoad(**found)
    freed = relief(scenario, top.station, top.lane) if top is not None else None
    relieved = None
    if summary["relief"] is not None and freed is not None:
        relieved = Relieved(freed, Bracket(summary["relief"]["held"], summary["relief"]["failed"]))
    ahead = tuple(_forecasts(held, scenario, plan)) if grows(plan.of) else ()
    return Capacity(
        where,
        scenario,
        plan,
        summary["own"],
        edge,
        trials,
        top,
        relieved,
        ahead,
        tuple(summary["set_aside"]),
    )


def _trials_of(path: Path) -> Iterator[Trial]:
    runs = pl.read_parquet(path / "trials.parquet")
    stations = pl.read_parquet(path / "stations.parquet")
    for (setting, amount), rows in runs.group_by(["setting", "amount"], maintain_order=True):
        here = stations.filter(setting=setting, amount=amount).drop("setting", "amount")
        loads = []
        for row in here.iter_rows(named=True):
            regions = tuple((each["region"], each["sustained_ppm"]) for each in row["by_region"])
            loads.append(ClassLoad(**(row | {"by_region": regions})))
        figures = [
            Figures(row["replicate"], row["verdict"], row["cpu_ns"], row["peak_memory_bytes"], {})
            for row in rows.iter_rows(named=True)
        ]
        first = rows.row(0, named=True)
        verdicts = [each.verdict for each in figures if each.verdict != "met"]
        missed = tuple(part for part in first["missed"].split("\n") if part)
        yield Trial(
            str(setting),
            int(str(amount)),
            verdicts[0] if verdicts else "met",
            missed,
            tuple(figures),
            tuple(loads),
            first["folder"],
        )


def _write(capacity: Capacity) -> None:
    path, plan = capacity.path, capacity.plan
    write_frame(path / "trials.parquet", pl.DataFrame(list(_trial_rows(capacity))))
    write_frame(path / "stations.parquet", pl.DataFrame(list(_station_rows(capacity))))
    rows = [_forecast_row(each) for each in capacity.forecasts]
    if rows:
        write_frame(path / "forecasts.parquet", pl.DataFrame(rows))
    relieved = capacity.relieved
    write_json(
        path / "summary.json",
        {
            "of": plan.of,
            "own": capacity.own,
            "held": capacity.bracket.held,
            "failed": capacity.bracket.failed,
            "why": capacity.bracket.why,
            "headroom": capacity.headroom,
            "bottleneck": None if capacity.bottleneck is None else asdict(capacity.bottleneck),
            "relief": relieved
            and {
                "setting": relieved.relief.setting,
                "from": relieved.relief.before,
                "to": relieved.relief.after,
                "held": relieved.bracket.held,
                "failed": relieved.bracket.failed,
            },
            "set_aside": list(capacity.set_aside),
            "odd": [trial.folder for trial in capacity.odd],
        },
    )
    write_text(path / "DONE", f"{len(capacity.trials)} trials\n")


def _trial_rows(capacity: Capacity) -> Iterator[dict[str, Any]]:
    for trial in capacity.trials:
        for each in trial.runs:
            yield {
                "setting": trial.setting,
                "amount": trial.amount,
                "replicate": each.replicate,
                "verdict": each.verdict,
                "cpu_ns": each.cpu_ns,
                "peak_memory_bytes": each.peak_memory_bytes,
                "missed": "\n".join(trial.missed),
                "folder": trial.folder,
            }


def _station_rows(capacity: Capacity) -> Iterator[dict[str, Any]]:
    for trial in capacity.trials:
        for load in trial.loads:
            row = {"setting": trial.setting, "amount": trial.amount, **asdict(load)}
            row["by_region"] = [{"region": r, "sustained_ppm": ppm} for r, ppm in load.by_region]
            yield row


def _forecast_row(each: Forecast) -> dict[str, Any]:
    return {
        "figure": each.figure,
        "agents": each.agents,
        "estimate": each.value.estimate,
        "lower": each.value.lower,
        "upper": each.value.upper,
        "confidence": each.value.confidence,
        "points": each.line.n,
        "run_up_to_agents": each.run_up_to,
    }
