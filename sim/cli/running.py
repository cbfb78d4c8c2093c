"""`run`: a scenario to its verdict, shown as it goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console

from sim.cli.looking import facts, load
from sim.cli.outcome import UsageError
from sim.cli.screen import banner, console, progress_of, verdict
from sim.cli.studying import supervised
from sim.scenario.warnings import warnings_of

if TYPE_CHECKING:
    from sim.scenario.model import Scenario
    from sim.study.sweep import Workers


def run_scenario(
    scenario: str,
    overrides: Sequence[str],
    seed: int | None,
    replicates: int | None,
    detail: str | None,
    out: Path,
    quiet: bool,
    workers: Workers,
) -> int:
    """Run; return the exit code of the verdict.

    A single run is made in this process; several, of a sweep or of replicates, are a study.
    """
    loaded = load(scenario, overrides, seed, replicates)

    from sim.engine.run import Detail, run

    levels = get_args(Detail)
    chosen = next((level for level in levels if level == detail), None)
    if detail is not None and chosen is None:
        raise UsageError(f"--detail {detail}: one of {', '.join(levels)}")
    command = ["creto-sim", *sys.argv[1:]]
    from sim.study.sweep import Workers as Anybody
    from sim.study.sweep import run_study

    if loaded.sweep is not None or loaded.replicates > 1 or workers != Anybody():
        return supervised(
            lambda progress, started: run_study(
                *(loaded, out),
                workers=workers,
                progress=progress,
                started=started,
                detail=chosen,
                command=command,
            ),
            quiet,
            lambda screen: _introduce(screen, loaded),
        )
    if quiet:
        outcome = run(loaded, out, detail=chosen, command=command)
        print(outcome.path)
        return outcome.exit_code
    screen = console()

    def started(path: Path) -> None:
        screen.print(str(path), soft_wrap=True, markup=False)
        _introduce(screen, loaded)

    with progress_of(screen) as report:
        outcome = run(loaded, out, progress=report, started=started, detail=chosen, command=command)
    verdict(screen, outcome)
    screen.print(str(outcome.path), soft_wrap=True, markup=False)
    return outcome.exit_code


def _introduce(screen: Console, scenario: Scenario) -> None:
    banner(screen, scenario, facts(scenario), warnings_of(scenario))
    if scenario.agents is not None:
        _announce_compilation(screen)


def _announce_compilation(screen: Console) -> None:
    from sim.world.kernel_cache import compiled_before

    if not compiled_before():
        screen.print("compiling the agents' kernels: once for this version, about half a minute")
