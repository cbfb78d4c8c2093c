"""`compile`: make machine code of the validators' hot path."""

from __future__ import annotations

from sim.cli.outcome import FAILED, MET, UsageError, complain
from sim.cli.screen import console
from sim.compiled import cache
from sim.compiled.build import BuildError, MissingTool, build


def compile_core() -> int:
    """Compile, telling each step; return the exit code."""
    screen = console()

    def tell(line: str) -> None:
        screen.print(line, markup=False, soft_wrap=True)

    try:
        where = build(tell)
    except MissingTool as error:
        raise UsageError(str(error)) from None
    except BuildError as error:
        complain(f"creto-sim: {error}")
        return FAILED
    tell(f"kept in {where}")
    tell(f"runs use it until a source changes; {cache.SWITCH}=0 runs the sources")
    return MET
