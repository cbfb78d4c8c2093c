"""The `record` section: what a run keeps, of all its time and of one stretch of it.

Owns: these fields. Must not know: tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.fields import Flag, share
from sim.scenario.occurrence import Instant

Detail: TypeAlias = Literal["rounds", "blocks", "messages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordWindow:
    """A stretch of the run that is kept in more detail, both ends included."""

    __pydantic_config__ = STRICT
    from_ns: Instant
    """Its start."""
    to_ns: Instant
    """Its end."""
    detail: Literal["blocks", "messages"] = "messages"
    """Which tables are kept in it. Rows belong to it that it meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a run keeps."""

    __pydantic_config__ = STRICT
    detail: Detail = "blocks"
    """Which tables: of rounds only, of blocks too, of single messages too."""
    sample_ppm: Annotated[int, share()] = 1_000
    """At detail `messages`, share of the agents' messages whose exact times are kept, chosen by a
    keyed hash."""
    batches: Annotated[bool, Flag()] = False
    """Count the batches that gateways send one another, by pair of regions."""
    window: RecordWindow | None = None
    """Keep more for a while; left out, the whole run is kept alike."""

    def at(self, detail: Detail) -> Record:
        """Return the same with the whole run at `detail`, and no window that keeps no more."""
        covered = self.window is not None and detail in ("messages", self.window.detail)
        return replace(self, detail=detail, window=None if covered else self.window)


STANDARD = Record()
