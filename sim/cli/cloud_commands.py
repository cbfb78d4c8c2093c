"""The command `export`: names, options, help texts.

Owns: what a user types about clouds. Must not know: how plans are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.outcome import guarded


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: creto-sim export million_agents --to plans")(export)


@guarded
def export(
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO",
            help="A scenario file, or the name of one in scenarios/.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Where to write.", file_okay=False)
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting. May be repeated."),
    ] = None,
) -> int:
    """Write deployment plans: CloudFormation, ARM, Kubernetes and Helm, for what is simulated.

    Topology, allowances and settings are the scenario's. All plans are inspected first, and none is
    written if one lacks what a deployment must have.
    """
    from sim.cli.exporting import export_plans

    return export_plans(scenario, to, overrides or [])
