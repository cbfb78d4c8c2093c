"""What is wrong with a scenario, each error with the place of the value that it is about.

Owns: the form `file:line:column: message`. Must not know: how errors are found.
"""

from __future__ import annotations

from dataclasses import dataclass


class Key(str):
    """The last step of a path that means the key itself, not the value under it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class ScenarioError:
    """One error. `line` and `column` count from 1; an override is file `--set`, line its rank."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ScenarioErrors(ValueError):
    """All errors of a scenario at once, file by file in the order of their places."""

    def __init__(self, errors: list[ScenarioError]) -> None:
        self.errors = tuple(dict.fromkeys(errors))
        super().__init__("\n".join(str(error) for error in self.errors))
