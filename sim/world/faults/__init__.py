"""Faults: one file each, as what changes when one begins and when it ends.

A fault acts on a `Target`, the part of a running world that faults may touch, at times that the
engine's timetable keeps. A new fault is a frozen class with `begin` and `end`, and its fields in
`sim.scenario.disturbances`.
"""

from __future__ import annotations

from typing import Protocol


class Target(Protocol):
    """What a fault may do to the world, at the present instant of the run."""

    def crash(self, node: int) -> None:
        """Stop a validator: what waits or is in service there is lost."""

    def restart(self, node: int, *, amnesia: bool) -> None:
        """Start it again, with or without what it had persisted."""

    def slow(self, node: int, factor_ppm: int, *, on: bool) -> None:
        """Multiply the service times of its workers from the next start, or stop doing so."""

    def throttle(self, node: int, left_ppm: int, *, on: bool) -> None:
        """Leave it that share of its bandwidth from the next start, or give the rest back."""


class Fault(Protocol):
    """One fault of the timetable."""

    @property
    def kind(self) -> str: ...

    @property
    def nodes(self) -> tuple[int, ...]: ...

    def begin(self, target: Target) -> None: ...

    def end(self, target: Target) -> None: ...
