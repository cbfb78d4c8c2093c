"""`recovery`: RTO and RPO of some topologies, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sim.cli.looking import load
from sim.cli.outcome import MET
from sim.cli.screen import console
from sim.scenario.model import Scenario
from sim.study import recovery
from sim.study.statistics.intervals import proportion_interval
from sim.world.cloud.recovery import BY_ITSELF, BY_STANDBY

_MINUTE_NS = 60 * 10**9


def show_recovery(names: Sequence[str], draws: int, runs: int, out: Path) -> int:
    """Draw recoveries of every scenario, print the table, keep the draws as Parquet."""
    from sim.record.store import write_frame

    screen = console()
    loaded = [load(name) for name in names]
    frames = [
        recovery.recoveries(each, draws).with_columns(scenario=pl.lit(each.name)) for each in loaded
    ]
    data = pl.concat(frames)
    for each, frame in zip(loaded, frames, strict=True):
        screen.print(f"{each.name}: {each.title}", markup=False)
        screen.print(_table(frame))
        for line in _goes_on(each):
            screen.print(line, markup=False)
    screen.print(
        "in 30 min, in 15 min: exact 95 % interval of the share of losses that meet the target. "
        "Incidents are as long as those of 2024 at AWS and Azure, stages are the scenario's.",
        style="dim",
    )
    if len(loaded) > 1:
        ranked = recovery.rankings(data)
        screen.print(_both(ranked))
        screen.print(_choice(ranked), markup=False)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "recovery.parquet"
    write_frame(file, data)
    screen.print(f"wrote {file}", markup=False, soft_wrap=True)
    for each in loaded if runs else ():
        _compare(each, runs, data)
    return MET


def _table(data: pl.DataFrame) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("lost", no_wrap=True)
    for head in ("by itself", "RTO p50", "p95", "in 30 min", "RPO p95", "in 15 min"):
        table.add_column(head, justify="right", no_wrap=True)
    for (scope,), rows in data.group_by("scope", maintain_order=True):
        rto = rows["rto_ns"].to_list()
        gone = _gone_ns(rows)
        alone = sum(how == BY_ITSELF for how in rows["how"]) / len(rows)
        lost = [age for age in gone if age is not None]
        table.add_row(
            str(scope),
            f"{alone:.0%}",
            _time(recovery.quantile(rto, 0.5)),
            _time(recovery.quantile(rto, 0.95)),
            _share([time <= recovery.RTO_NS for time in rto]),
            _time(recovery.quantile(lost, 0.95)) if lost else "no copy",
            _share([age is not None and age <= recovery.RPO_NS for age in gone]),
        )
    return table


def _goes_on(scenario: Scenario) -> list[str]:
    """Say what the loss of one region, or of one provider, leaves."""
    lines = []
    for scope in ("region", "provider"):
        found = sorted(recovery.losses(scenario, scope), key=lambda loss: loss.left_ppm)
        needed = f"a quorum is {_percent(found[0].quorum_ppm)}"
        stands = [loss for loss in found if not loss.goes_on]
        if stands:
            named = ", ".join(f"{loss.place.name} {_percent(loss.left_ppm)}" for loss in stands)
            lines.append(
                f"stands still where one {scope} is lost, by the weight that is left: {named}; "
                f"{needed}"
            )
        else:
            lines.append(
                f"goes on where any one {scope} is lost: {_percent(found[0].left_ppm)} of the "
                f"weight is left without {found[0].place.name}; {needed}"
            )
    return lines


def _percent(share_ppm: int) -> str:
    return f"{share_ppm / 10_000:.1f} %"


def _both(ranked: Sequence[recovery.Ranking]) -> Table:
    """Show how often each topology meets both targets."""
    table = Table(
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title="both targets met, where ..."
    )
    table.add_column("topology")
    for each in ranked:
        table.add_column(f"a {each.scope} is lost", justify="right", no_wrap=True)
    for name in dict.fromkeys(name for each in ranked for name, _ in each.shares):
        shares = (dict(each.shares)[name] for each in ranked)
        table.add_row(name, *(f"{100 * s.lower:.1f}-{100 * s.upper:.1f} %" for s in shares))
    return table


def _choice(ranked: Sequence[recovery.Ranking]) -> str:
    """Say which topology to take."""
    best = recovery.chosen(ranked)
    if len(best) == 1:
        return f"choose {best[0]}: whichever place is lost, none meets both targets more often"
    if best:
        return f"choose {' or '.join(best)}: these draws do not tell them apart; raise --draws"
    first = ", ".join(f"{' or '.join(each.best)} for a {each.scope}" for each in ranked)
    return f"none is best whatever is lost: choose {first}"


def _gone_ns(rows: pl.DataFrame) -> list[int | None]:
    """Return what each loss cost: the chain's or the records' age, None where there is no copy."""
    pairs = zip(rows["chain_lost_ns"], rows["records_lost_ns"], strict=True)
    return [None if records < 0 else max(chain, records) for chain, records in pairs]


def _share(met: Sequence[bool]) -> str:
    interval = proportion_interval(sum(met), len(met))
    low, high = 100 * interval.lower, 100 * interval.upper
    return f"{low:.1f}-{high:.1f} %"


def _time(duration_ns: int) -> str:
    """Return a duration as planners say it: seconds, or minutes from two on."""
    if 0 < duration_ns < 10 * 10**9:
        return f"{duration_ns / 10**9:.1f} s"
    if duration_ns < 2 * _MINUTE_NS:
        return f"{duration_ns / 10**9:.0f} s"
    return f"{duration_ns / _MINUTE_NS:.0f} min"


def _compare(scenario: Scenario, runs: int, data: pl.DataFrame) -> None:
    """Lose regions in whole runs; print the stage model's range beside each."""
    screen = console()
    stands = recovery.standing(scenario)
    for region, waited_ns in recovery.confirm(scenario, runs):
        how = BY_STANDBY if region in stands else BY_ITSELF
        mine = data.filter(scenario=scenario.name, scope="region", how=how, place=region)
        drawn = mine["rto_ns"].to_list()
        stages = "by stages never"
        if drawn:
            low, high = (_time(recovery.quantile(drawn, q)) for q in (0.005, 0.995))
            stages = f"by stages {low} to {high} (99 %)"
        seen = "not back" if waited_ns < 0 else f"back after {_time(waited_ns)}"
        screen.print(
            f"{scenario.name}: {region} lost in a run of {scenario.validators.count} validators: "
            f"{seen}; {stages}",
            markup=False,
            soft_wrap=True,
        )
