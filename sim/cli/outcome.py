"""Exit codes, and how errors become them: one line a mistake of the user's, a trace for ours.

Owns: 0 met, 1 violated or missed, 2 usage, 3 inconclusive, 70 internal, 130 interrupted.
Must not know: commands.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

MET, FAILED, USAGE, INCONCLUSIVE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 70, 130

P = ParamSpec("P")


class UsageError(Exception):
    """The user asked for what cannot be done; the text says why and what to do."""


def complain(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr)


def guarded(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turn a command's result or error into an exit code. A command returns 0 by default."""

    @functools.wraps(command)
    def guard(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(_code(lambda: command(*args, **kwargs)))

    # Help keeps line breaks after the first paragraph; the source's are not meant for the screen.
    paragraphs = (command.__doc__ or "").split("\n\n")
    guard.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return guard


def _code(command: Callable[[], int | None]) -> int:
    try:
        return command() or MET
    except UsageError as error:
        complain(f"creto-sim: {error}")
        return USAGE
    except KeyboardInterrupt:
        complain("creto-sim: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from complaining on exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
        return MET
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    from sim.scenario.errors import ScenarioErrors

    if isinstance(error, ScenarioErrors):
        for each in error.errors:
            complain(str(each))
        count = len(error.errors)
        complain(f"creto-sim: {count} error{'s' if count > 1 else ''}; nothing was run")
        return USAGE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        complain(f"creto-sim: {where}{error.strerror or error}")
        return USAGE if isinstance(error, FileNotFoundError | IsADirectoryError) else INTERNAL
    missing_extra = isinstance(error, ModuleNotFoundError) and "creto-sim[" in str(error)
    if missing_extra or type(error).__name__ == "RunError":
        complain(f"creto-sim: {error}")
        return USAGE
    import traceback

    traceback.print_exc()
    complain("creto-sim: internal error; the trace above belongs into a report")
    return INTERNAL
