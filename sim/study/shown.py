"""A study's short table as text, apart from how a terminal lays it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """A short table: what it says, column heads, rows of text. The first two columns are names."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
