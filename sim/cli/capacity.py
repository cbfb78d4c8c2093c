"""`capacity`: search the knee of a scenario and print it on one page.

Owns: the page. Must not know: how the search goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.cli.looking import find
from sim.cli.looking import load as load_asked
from sim.cli.outcome import FAILED, INCONCLUSIVE, INTERRUPTED, MET, UsageError, complain
from sim.cli.screen import console
from sim.cli.study_screen import interval, percent, study_progress
from sim.scenario.quantities import DURATION, QuantityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.study.capacity import Capacity, Forecast
    from sim.study.sweep import Workers
    from sim.study.trials import Trial

_STATIONS = 9
"""Classes that the page shows, the nearest to saturation first."""
_MISSED = 2
"""Expectations that the page names of a trial; the datasets have all."""
_TIMES = 10
"""Utilisation from which on it reads better as times of what there is."""
_UNITS = {"memory_bytes": "bytes", "cpu_s_per_simulated_s": "count"}


def capacity_of(
    scenario: str,
    of: str,
    overrides: Sequence[str],
    duration: str | None,
    replicates: int,
    precision: float,
    out: Path,
    workers: Workers,
) -> int:
    """Search, print the page; exit 0 where the scenario as it stands holds, 1 where it does not."""
    # The engine and Polars load when they are needed.
    from sim.study.capacity import Interrupted, Plan, Told, measure_capacity
    from sim.study.resources import RESOURCES, Unworkable
    from sim.study.slots import ExecutorLost

    if of not in RESOURCES:
        raise UsageError(f"--of {of}: one of {', '.join(RESOURCES)}")
    loaded = load_asked(scenario, overrides)
    plan = Plan(
        of=next(name for name in RESOURCES if name == of),
        replicates=replicates,
        duration_ns=_duration_ns(duration, loaded.duration_ns),
        precision_ppm=round(precision * 10_000),
    )
    screen = console()
    try:
        with study_progress(screen) as progress:
            found = measure_capacity(
                loaded,
                plan,
                out,
                workers=workers,
                told=Told(
                    started=lambda path: _line(screen, str(path)),
                    tried=lambda trial: _tell(screen, trial, of),
                    progress=progress if screen.is_terminal else None,
                ),
            )
    except Unworkable as error:
        raise UsageError(f"{find(scenario)}: {error}") from None
    except ExecutorLost as error:
        raise UsageError(f"{error}; the same command goes on") from None
    except Interrupted as error:
        complain(f"creto-sim: interrupted; the same command goes on with what {error} has")
        return INTERRUPTED
    show(screen, found)
    _draw(screen, found)
    _line(screen, str(found.path))
    own = found.trial(found.own)
    if own is None or own.verdict == "inconclusive":
        return INCONCLUSIVE
    return MET if own.held else FAILED


def _duration_ns(text: str | None, own_ns: int) -> int:
    if text is None:
        return own_ns
    try:
        asked = DURATION.parse(text)
    except QuantityError as error:
        raise UsageError(f"--duration {text}: {error}") from None
    if not 100_000_000 <= asked <= own_ns:
        raise UsageError(
            f"--duration {text}: from 100 ms to the scenario's own {DURATION.format(own_ns)}; "
            "for longer trials, --set duration='...'"
        )
    return asked


def _line(screen: Console, text: str) -> None:
    screen.print(text, soft_wrap=True, markup=False)


def _tell(screen: Console, trial: Trial, of: str) -> None:
    """Print a trial as soon as it has ended."""
    from sim.study.resources import RESOURCES, amount_text

    resource = next(name for name in RESOURCES if name == of)
    words = amount_text(resource, trial.amount)
    if trial.setting:
        words += f" with {trial.setting} doubled"
    why = "" if trial.held else f": {'; '.join(trial.missed[:_MISSED])}"
    screen.print(Text(f"  {words}: {trial.verdict}{why}", style="dim"), soft_wrap=True)


def show(screen: Console, found: Capacity) -> None:
    """Print the page: knee, headroom, bottleneck, relief, stations, what lies ahead."""
    plan = found.plan
    seconds = DURATION.format(plan.duration_ns)
    runs = "1 run" if plan.replicates == 1 else f"{plan.replicates} runs"
    title = f"{found.scenario.title}: {plan.of}, {runs} of {seconds} a trial"
    screen.print(Text(title, style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for name, text in _facts(found):
        table.add_row(name, Text(text))
    screen.print(table)
    _stations(screen, found)
    _ahead(screen, found.forecasts, plan.of)


def _facts(found: Capacity) -> list[tuple[str, str]]:
    from sim.study.resources import amount_text, grows

    of, edge = found.plan.of, found.bracket
    facts = []
    if edge.held is not None and edge.failed is not None:
        held, failed = amount_text(of, edge.held), amount_text(of, edge.failed)
        facts.append(("knee", f"{held} holds, {failed} does not"))
    elif edge.held is not None:
        bound = "at least" if grows(of) else "at most"
        facts.append(("knee", f"{bound} {amount_text(of, edge.held)} holds: {edge.why}"))
    else:
        facts.append(("knee", f"nothing held: {edge.why}"))
    own = amount_text(of, found.own)
    if found.headroom is not None:
        more = "at least " if edge.failed is None else ""
        facts.append(("headroom", f"{more}{found.headroom * 100:+.0f} % of the scenario's {own}"))
    failed_trial = found.trial(edge.failed)
    if failed_trial is not None:
        facts.append(("fails by", "; ".join(failed_trial.missed[:_MISSED])))
    load = found.bottleneck
    if load is not None:
        busy = load.sustained_ppm / 1e4
        facts.append(("bottleneck", f"{load.name}, {load.where}: {busy:.1f} % sustained"))
    facts += _relief(found)
    if found.set_aside:
        facts.append(("not judged", f"{'; '.join(found.set_aside)} (shorter than the scenario)"))
    facts += [("odd", f"{amount_text(of, t.amount)} missed below the knee") for t in found.odd]
    return facts


def _relief(found: Capacity) -> list[tuple[str, str]]:
    from sim.study.resources import amount_text, grows

    relieved, edge, of = found.relieved, found.bracket, found.plan.of
    if relieved is None:
        return []
    step = f"{relieved.relief.setting} {relieved.relief.before} to {relieved.relief.after}"
    new = relieved.bracket.held
    if new is None:
        return [("relief", f"{step}: still nothing holds")]
    if new == edge.held:
        within = percent(found.plan.precision_ppm / 1e6)
        return [("relief", f"{step} buys nothing (within {within}): it is not what fails")]
    bound = "" if relieved.bracket.failed is not None else "at least " if grows(of) else "at most "
    gain = ""
    if edge.held is not None:
        ratio = new / edge.held if grows(of) else edge.held / new
        gain = f" ({(ratio - 1) * 100:+.0f} %)"
    return [("relief", f"{step}: knee at {bound}{amount_text(of, new)}{gain}")]


def _stations(screen: Console, found: Capacity) -> None:
    """Print sustained utilisation by class at a few amounts, the knee among them."""
    from sim.study.resources import amount_text

    of, edge = found.plan.of, found.bracket
    plain = sorted((t for t in found.trials if not t.setting), key=lambda t: t.amount)
    wanted = [found.own, edge.held, edge.failed]
    shown = [t for t in plain if t.amount in wanted]
    below = [t for t in plain if t not in shown and t.held]
    shown = sorted([*below[:1], *shown], key=lambda t: t.amount)
    top = found.trial(edge.held) or shown[0]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("busiest station", no_wrap=True)
    for trial in shown:
        mark = {edge.held: "\nknee", edge.failed: "\nfails"}.get(trial.amount, "\n")
        words = amount_text(of, trial.amount).removesuffix(f" {of}")
        table.add_column(words + mark, justify="right", no_wrap=True)
    table.add_column("at the knee", no_wrap=True, overflow="ellipsis")
    for load in top.loads[:_STATIONS]:
        cells = []
        for trial in shown:
            same = [each for each in trial.loads if each.name == load.name]
            cells.append(f"{same[0].sustained_ppm / 1e4:.1f} %" if same else "-")
        where = load.where.removeprefix("validator ")
        table.add_row(load.name, *cells, where)
    screen.print(table)


def _ahead(screen: Console, forecasts: Sequence[Forecast], of: str) -> None:
    """Print what the line below the knee says of larger populations, and how far it was run."""
    if not forecasts:
        return
    first = forecasts[0]
    populations = list(dict.fromkeys(each.agents for each in forecasts))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("extrapolated", no_wrap=True)
    for agents in populations:
        table.add_column(f"{agents // 10**6} M agents", justify="right", no_wrap=True)
    rising = [each for each in forecasts if each.line.rises()]
    for name in dict.fromkeys(each.figure for each in rising):
        row = [each for each in rising if each.figure == name]
        table.add_row(name.replace("_", " "), *(_forecast(each) for each in row))
    screen.print(table)
    rest = dict.fromkeys(each.figure.replace("_", " ") for each in forecasts)
    flat = [name for name in rest if name not in {r.figure.replace("_", " ") for r in rising}]
    note = (
        f"run: up to {first.run_up_to:,} agents, {first.line.n} runs that held; beyond, the line "
        f"through them, ± half of its {percent(first.value.confidence)} prediction interval. "
        "A station above 100 % must be that many times larger; what is not linear is not in it."
    )
    if of == "load":
        note += " Agents: as many as would offer that load at the scenario's rates a head."
    if flat:
        note += f" Without a clear rise: {'; '.join(flat)}."
    screen.print(Text(note, style="dim"))


def _forecast(each: Forecast) -> str:
    if each.figure == "memory_bytes":
        return interval(each.value, "bytes")
    if each.figure in _UNITS:
        return f"{_plain(each.value.estimate)} ± {_plain(each.value.half_width)}"
    value, half = each.value.estimate, each.value.half_width
    if value >= _TIMES:
        return f"{_plain(value)} times ± {_plain(half)}"
    return f"{_plain(value * 100)} % ± {_plain(half * 100)}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _draw(screen: Console, found: Capacity) -> None:
    try:
        from sim.study.capacity_figures import save

        files = save(found)
    except ModuleNotFoundError as error:
        _line(screen, f"no picture: {error}")
        return
    for file in files:
        _line(screen, f"wrote {file}")
