"""The commands `fuzz` and `shrink`: names, options, help texts.

Owns: what a user types to search for broken invariants. Must not know: how a search is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.outcome import guarded


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: creto-sim fuzz --runs 1000 --seed 7")(fuzz)
    app.command(epilog="Example: creto-sim shrink failing.yaml --out smallest.yaml")(shrink)


@guarded
def fuzz(
    runs: Annotated[
        int | None, typer.Option(min=1, help="Scenarios to run.", show_default=False)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Wall-clock time to spend.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenarios.")] = 1,
    first: Annotated[int, typer.Option(min=0, help="Number of the first scenario.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes; 0: this one. Default: one a core.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where failures are saved.")
    ] = Path("results/fuzz"),
    most_failures: Annotated[
        int, typer.Option(min=1, help="Different failures after which to stop.")
    ] = 5,
    show: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=0,
            help="Print scenario K of the seed and run nothing.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Run random scenarios until an invariant breaks; shrink what breaks it to a few lines.

    Each scenario has a phase in which anything may go wrong, and a healed one in which the chain
    has to move. Scenario K of a seed is always the same. A failure is saved as a file that
    `creto-sim run` alone reproduces. Exit 1 where something broke.
    """
    from sim.cli.fuzzing import fuzz as search
    from sim.cli.fuzzing import print_scenario

    if show is not None:
        return print_scenario(seed, show)
    return search(seed, runs, minutes, first, workers, out, most_failures)


@guarded
def shrink(
    file: Annotated[
        Path, typer.Argument(metavar="SCENARIO", help="A scenario file.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Where to; default: beside it.", show_default=False
        ),
    ] = None,
    monitor: Annotated[
        str | None,
        typer.Option(
            help="The one that has to keep breaking; default: the first that breaks.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Make a scenario that breaks an invariant as small as it gets, by delta debugging."""
    from sim.cli.fuzzing import shrink_file

    return shrink_file(file, out, monitor)
