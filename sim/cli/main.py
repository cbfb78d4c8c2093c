"""The command `creto-sim`: names, options, help texts.

Owns: what a user types. Commands import what they need when they run, so that `--help` is instant.
Must not know: how anything is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli import cloud_commands, fuzz_commands, threat_commands
from sim.cli.baselines import baselines
from sim.cli.options import (
    Attempts,
    Confidence,
    IntoRun,
    MetricNames,
    Out,
    Overrides,
    Quiet,
    Replicates,
    RunFolder,
    ScenarioFile,
    Scheduler,
    Seed,
    TimeLimit,
    WorkerCount,
)
from sim.cli.outcome import guarded

app = typer.Typer(
    name="creto-sim",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=(
        "Simulate Byzantine-fault-tolerant validators and the millions of agents they serve.\n\n"
        "YAML scenarios go in; Parquet datasets and a verdict come out.\n\n"
        "[bold]Start here:[/bold]  creto-sim run scenarios/smoke.yaml"
    ),
    epilog=(
        "Exit codes: 0 met, 1 violated or missed, 2 usage, 3 inconclusive, 70 internal error, "
        "130 interrupted."
    ),
)


@app.command(epilog="Example: creto-sim run million_agents --set duration='30 s' --seed 7")
@guarded
def run(
    scenario: ScenarioFile,
    set_: Overrides = None,
    seed: Seed = None,
    replicates: Replicates = None,
    detail: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="Which tables to keep: rounds, blocks or messages.",
            show_default=False,
        ),
    ] = None,
    out: Out = Path("results"),
    workers: WorkerCount = None,
    scheduler: Scheduler = None,
    time_limit: TimeLimit = None,
    attempts: Attempts = 3,
    quiet: Quiet = False,
) -> int:
    """Run a scenario to its verdict.

    The path of the run is the first and the last line printed. Ctrl-C finishes the slice in hand
    and leaves a run that says so; a second Ctrl-C stops at once.

    A sweep or several replicates run on all cores; datasets and digests are the same on any number
    of workers. What ends early, by Ctrl-C or a kill, `creto-sim resume` takes up.
    """
    from sim.cli.running import run_scenario
    from sim.cli.studying import workers_of

    who = workers_of(workers, scheduler, time_limit, attempts)
    return run_scenario(scenario, set_ or [], seed, replicates, detail, out, quiet, who)


@app.command(epilog="Example: creto-sim resume results/million_agents/latest")
@guarded
def resume(
    run: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A run directory.", show_default=False)
    ],
    workers: WorkerCount = None,
    scheduler: Scheduler = None,
    time_limit: TimeLimit = None,
    attempts: Attempts = 3,
    quiet: Quiet = False,
) -> int:
    """Run what a run or a study that ended early still lacks.

    Replicates that are whole are kept, once their tables give the digests that they state.
    """
    from sim.cli.studying import resume as resume_run
    from sim.cli.studying import workers_of

    return resume_run(run, workers_of(workers, scheduler, time_limit, attempts), quiet)


@app.command(epilog="Example: creto-sim compare results/a/latest results/b/latest")
@guarded
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run or study.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.", show_default=False)],
    metric: MetricNames = None,
    confidence: Confidence = 0.95,
) -> int:
    """Compare two runs or studies of one seed: paired differences, point by point."""
    from sim.cli.studying import compare_runs

    return compare_runs(a, b, metric or [], confidence)


@app.command(epilog="Example: creto-sim check scenarios/*.yaml")
@guarded
def check(
    scenarios: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO...", help="Files, or names in scenarios/.", show_default=False
        ),
    ],
    set_: Overrides = None,
) -> int:
    """Check scenarios: all errors at once, or one line with what a run will be."""
    from sim.cli.looking import check_scenarios

    return check_scenarios(scenarios, set_ or [])


@app.command(epilog="Example: creto-sim show seven_nodes --set quorum.initial_level=1")
@guarded
def show(
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|RUN",
            help="A scenario, or the directory of a run or study.",
            show_default=False,
        ),
    ],
    set_: Overrides = None,
    seed: Seed = None,
    replicates: Replicates = None,
    metric: MetricNames = None,
    confidence: Confidence = 0.95,
) -> int:
    """Print a scenario as it will run: parents, overrides and defaults resolved.

    Of a run or a study: what it came to, point by point, means with intervals.
    """
    path = Path(scenario)
    if path.is_dir():
        from sim.cli.studying import show_run

        return show_run(path, metric or [], confidence)
    from sim.cli.looking import show_scenario

    return show_scenario(scenario, set_ or [], seed, replicates)


@app.command("list", epilog="Example: creto-sim list")
@guarded
def list_(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where scenarios are.", file_okay=False)
    ] = Path("scenarios"),
) -> int:
    """List the scenarios of a folder with their questions."""
    from sim.cli.looking import list_scenarios

    return list_scenarios(folder)


@app.command(epilog="Example: creto-sim verify results/smoke/latest")
@guarded
def verify(
    run: RunFolder,
) -> int:
    """Run a finished run again, in a fresh process, and compare every digest.

    First the files are checked against the manifest; then its scenario runs again under another
    hash seed. Exit 0 where every table is equal, 1 with the first row of each that differs.
    """
    from sim.cli.verifying import verify_run

    return verify_run(run)


@app.command(epilog="Example: creto-sim report results/smoke/latest")
@guarded
def report(
    run: RunFolder,
    out: IntoRun = None,
) -> None:
    """Write a run as one HTML page: verdict, figures, what is modelled, how to repeat it.

    The page needs no network and no scripts. Needs the extra `report`.
    """
    from sim.record.runs import open_run
    from sim.study.report import write_report

    print(write_report(open_run(run), out))


@app.command(epilog="Example: creto-sim capacity million_agents --of load --duration '20 s'")
@guarded
def capacity(
    scenario: ScenarioFile,
    of: Annotated[
        str,
        typer.Option(
            metavar="RESOURCE",
            help="load, agents: the most that holds; validators, bandwidth: the least.",
        ),
    ] = "load",
    set_: Overrides = None,
    duration: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Simulated time of a trial, at most the scenario's: '20 s'. Counts that are "
            "expected shrink with it.",
            show_default=False,
        ),
    ] = None,
    replicates: Annotated[int, typer.Option(min=1, help="Runs of each trial.")] = 1,
    precision: Annotated[
        float, typer.Option(min=0.1, max=100.0, help="Width of the knee, in per cent.")
    ] = 10.0,
    out: Out = Path("results"),
    workers: WorkerCount = None,
    scheduler: Scheduler = None,
    time_limit: TimeLimit = None,
    attempts: Attempts = 3,
) -> int:
    """Find how much a scenario carries: knee, headroom, bottleneck, what relieving it buys.

    Tries amounts until all expectations hold at one and fail a little beyond; each trial is a study
    of its own. At k times the load, counts of traffic that are expected are k times as many.

    The same command takes up what ended early. Exits 0 where the scenario as it stands holds.
    """
    from sim.cli.capacity import capacity_of
    from sim.cli.studying import workers_of

    who = workers_of(workers, scheduler, time_limit, attempts)
    return capacity_of(scenario, of, set_ or [], duration, replicates, precision, out, who)


@app.command(epilog="Example: creto-sim evidence results/erasure/latest --framework gdpr")
@guarded
def evidence(
    run: RunFolder,
    framework: Annotated[
        str | None,
        typer.Option(
            help="Show its controls: cmmc_l2, fedramp_moderate, gdpr or ncsc.", show_default=False
        ),
    ] = None,
    out: IntoRun = None,
) -> int:
    """Say what a run shows for which control: mechanism, proof, level, and what it cannot show.

    The whole table is written as Parquet. It certifies nothing.
    """
    from sim.cli.evidence import show_evidence

    return show_evidence(run, framework, out)


@app.command(epilog="Example: creto-sim bench --agents 10000 --agents 1000000")
@guarded
def bench(
    agents: Annotated[
        list[int] | None,
        typer.Option(
            min=100, help="Agents of a measurement; may be repeated. Default: 10k, 100k, 1M, 10M."
        ),
    ] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Simulated seconds of a measurement.")] = 10,
) -> int:
    """Measure this machine: messages per CPU-second of agents and of validators, and memory."""
    from sim.cli.measuring import bench_machine

    return bench_machine(agents or [10_000, 100_000, 1_000_000, 10_000_000], seconds)


@app.command(epilog="Example: creto-sim dht depth --out results/dht --replicates 3")
@guarded
def dht(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="cost, depth, hierarchy, churn or attack.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where data and curves are written.")
    ] = Path("results/dht"),
    nodes: Annotated[
        int | None, typer.Option(min=1000, help="Nodes, or the most of them.", show_default=False)
    ] = None,
    lookups: Annotated[
        int | None, typer.Option(min=100, help="Lookups a point.", show_default=False)
    ] = None,
    replicates: Annotated[
        int | None, typer.Option(min=1, help="Worlds a point.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of ids, askers, keys and delays.")] = 1,
) -> int:
    """Study lookups in a DHT by themselves: data as Parquet, curves as SVG and PNG.

    Mean depth against theory, cost against size up to 10 million nodes, rings against flat tables,
    success and latency under churn and among malicious nodes.
    """
    from sim.cli.dht import study_dht

    return study_dht(study, out, nodes, lookups, replicates, seed)


app.command(epilog="Example: creto-sim baselines --sizes 4 --sizes 64")(guarded(baselines))


@app.command(epilog="Example: creto-sim targets --run results/million_agents/latest")
@guarded
def targets(
    scenario: Annotated[
        str,
        typer.Option("--scenario", metavar="SCENARIO", help="What shows a million agents."),
    ] = "million_agents",
    topology: Annotated[
        str, typer.Option(metavar="SCENARIO", help="Whose regions are lost.")
    ] = "clouds/dr_five_regions_warm",
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Read that off a run that is there.", show_default=False),
    ] = None,
    skip_agents: Annotated[
        bool, typer.Option("--skip-agents", help="Leave that row open: it takes most of the time.")
    ] = False,
    out: Out = Path("results"),
) -> int:
    """Measure the performance targets of the source document, row by row.

    Each row says whether it was measured on this machine or simulated. Exits 1 where a row is
    missed, 3 where one was left open.
    """
    from sim.cli.targets import measure_targets

    return measure_targets(scenario, topology, run, skip_agents, out)


fuzz_commands.register(app)
threat_commands.register(app)
cloud_commands.register(app)


@app.command("compile", epilog="Example: creto-sim compile")
@guarded
def compile_() -> int:
    """Compile the validators' hot path to machine code, once: they run more than twice as fast.

    Results stay the same. Needs a C compiler and pip install 'creto-sim[compile]'; takes about a
    minute. A changed source is never run by old machine code: it runs interpreted until compiled.
    """
    from sim.cli.compiling import compile_core

    return compile_core()


@app.command(epilog="Example: creto-sim calibrate mine.json")
@guarded
def calibrate(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Where to write the cost table.", dir_okay=False),
    ] = Path("costs.json"),
    samples: Annotated[int, typer.Option(min=20, help="Signatures to time for each suite.")] = 200,
) -> int:
    """Time this machine's signatures and write a cost table for scenarios."""
    from sim.cli.measuring import calibrate_machine

    return calibrate_machine(file, samples)


@app.command(epilog="Example: creto-sim schema > schema.json")
@guarded
def schema(
    write: Annotated[
        bool, typer.Option("--write", help="Write it into this installation instead.")
    ] = False,
) -> int:
    """Print the JSON Schema of scenario files."""
    from sim.cli.looking import print_schema

    return print_schema(write)


def main() -> None:
    """Run the command line."""
    app()
