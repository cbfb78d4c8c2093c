"""The commands `export`, `metrics` and `recovery`: names, options, help texts.

Owns: what a user types about clouds. Must not know: how plans are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import Out, Overrides, RunFolder, ScenarioFile
from sim.cli.outcome import guarded


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: creto-sim export million_agents --to plans")(export)
    app.command(epilog="Example: creto-sim metrics results/smoke/latest")(metrics)
    app.command(epilog="Example: creto-sim recovery clouds/dr_two_regions_warm --draws 10000")(
        recovery
    )


@guarded
def export(
    scenario: ScenarioFile,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Where to write.", file_okay=False)
    ],
    overrides: Overrides = None,
) -> int:
    """Write deployment plans of what is simulated, and what watches them.

    CloudFormation, ARM, Kubernetes, Helm, Prometheus rules and Grafana dashboards: topology,
    allowances, settings and alert rules are the scenario's. All plans are inspected first, and none
    is written if one lacks what a deployment must have.
    """
    from sim.cli.exporting import export_plans

    return export_plans(scenario, to, overrides or [])


@guarded
def metrics(
    run: RunFolder,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="Where to write; default: metrics.txt in the run.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    point: Annotated[int, typer.Option(min=0, help="Point of a sweep.")] = 0,
    replicate: Annotated[int, typer.Option(min=0, help="Replicate.")] = 0,
) -> int:
    """Write what a run showed its alert rules each second, as OpenMetrics with time stamps.

    For the dashboards and rules that `export` writes. Runs don't keep these figures: the replicate
    is simulated again, and its datasets are compared with those of the run.
    """
    from sim.cli.telling import write_metrics

    return write_metrics(run, to, point, replicate)


@guarded
def recovery(
    scenarios: Annotated[
        list[str],
        typer.Argument(metavar="SCENARIO...", help="Topologies to compare.", show_default=False),
    ],
    draws: Annotated[int, typer.Option(min=1, help="Losses drawn of each kind of place.")] = 2_000,
    runs: Annotated[
        int,
        typer.Option(min=0, help="Whole runs in which a region is lost, to compare with."),
    ] = 0,
    out: Out = Path("results/recovery"),
) -> int:
    """Say how soon networks recover from the loss of a place, and what is gone by then.

    Zones, regions, providers; RTO and RPO by the stages of recovery, against 30 and 15 minutes,
    with exact intervals.
    """
    from sim.cli.recovering import show_recovery

    return show_recovery(scenarios, draws, runs, out)
