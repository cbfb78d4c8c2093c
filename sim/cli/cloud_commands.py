"""The command `export`: names, options, help texts.

Owns: what a user types about clouds. Must not know: how plans are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import Overrides, ScenarioFile
from sim.cli.outcome import guarded


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: creto-sim export million_agents --to plans")(export)


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
