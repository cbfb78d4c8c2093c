"""The commands `replay`, `timeline` and `phase`: names, options, help texts.

Owns: what a user types to look closely at attacks. Must not know: how any of it is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import Out, RunFolder
from sim.cli.outcome import guarded


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: creto-sim replay results/smoke/latest --from '1 s' --to '1.5 s'")(
        replay
    )
    app.command(epilog="Example: creto-sim timeline --threats scenarios/threats")(timeline)
    app.command(epilog="Example: creto-sim phase --validators 10 --runs 10 --workers 2")(phase)


@guarded
def replay(
    run: RunFolder,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Start of the stretch: '12.5 s'. Default: the window of the first violation.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Its end, included.", show_default=False),
    ] = None,
    detail: Annotated[
        str, typer.Option(metavar="LEVEL", help="What to keep there: blocks or messages.")
    ] = "messages",
    point: Annotated[
        int | None, typer.Option(min=0, help="Point of a sweep.", show_default=False)
    ] = None,
    replicate: Annotated[
        int | None, typer.Option(min=0, help="Which replicate.", show_default=False)
    ] = None,
    validators: Annotated[
        str | None,
        typer.Option(
            metavar="IDS", help="Whom to show: 0,3,10-14. Default: all.", show_default=False
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=0, help="Messages to print.")] = 30,
    png: Annotated[bool, typer.Option("--png", help="Draw a PNG beside the SVG.")] = False,
) -> int:
    """Run a stretch of a run again, exactly, and show it message by message.

    It runs from the start with the recorded scenario and seed, into a new run directory beside the
    first; what both keep is compared, and exit is 1 where it differs. Shown are a line an event
    with a glyph a validator, the messages, and a space-time diagram (needs the extra `report`).
    """
    from sim.cli.replaying import replay_run

    asked = (from_, to, point, replicate)
    return replay_run(run, asked, detail, validators, rows, png)


@guarded
def timeline(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Run directories.", show_default=False),
    ] = None,
    threats: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Run every scenario of this folder first.",
            file_okay=False,
            exists=True,
            show_default=False,
        ),
    ] = None,
    out: Out = Path("results"),
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the table goes as Parquet. Default: in --out.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Tell the course of attacks: to the alert, the proof, the level, punishment, recovery.

    A row a run that was attacked, on the screen and as Parquet. With --threats exit is 1 where a
    scenario does not end as it expects.
    """
    from sim.cli.timelines import show_timelines

    return show_timelines(runs or [], threats, out, file)


@guarded
def phase(
    validators: Annotated[int, typer.Option(help="Validators of equal weight.")] = 7,
    runs: Annotated[int, typer.Option(min=1, help="Runs a cell.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Root of all chance.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where data and picture are written.")
    ] = Path("results/phase"),
) -> int:
    """Simulate the phase diagram: Byzantine share by quorum level, safety and halting.

    Beside theory, with exact binomial intervals; data as Parquet, the picture as SVG and PNG. Exit
    is 1 where a cell is not as the count of votes says.
    """
    from sim.cli.phases import show_phase

    return show_phase(validators, runs, seed, workers, out)
