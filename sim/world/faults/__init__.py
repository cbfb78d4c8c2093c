"""Faults: one file each, as what changes when one begins and when it ends.

A fault acts on a `Target`, the part of a running world that faults may touch, at times that the
engine's timetable keeps; what it does to links it says as rules with times of their own. A new
fault is a frozen subclass of `Fault`; then one line in `sim.engine.disturbances` and its fields in
`sim.scenario`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

from sim.world.network.links import LinkRule


class Span(NamedTuple):
    """One stretch of time in which a fault is on; `until_ns` None: to the end of the run."""

    at_ns: int
    until_ns: int | None


class Quota(NamedTuple):
    """What a key service grants: signatures in 10**9 s, and how many at once after a rest."""

    rate_nhz: int
    burst: int


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

    def disconnect(
        self,
        *,
        share_ppm: int,
        back_ns: int,
        within_ns: int,
        region: int | None,
        homes: tuple[int, ...] | None,
        register_bytes: int,
    ) -> None:
        """End the sessions of a share of the agents, of a region, of some gateways."""

    def surge(
        self, place: int, factor_ppm: int, kinds: tuple[int, ...], regions: tuple[int, ...]
    ) -> None:
        """Multiply what agents send; the last factor of a place holds."""

    def lose_shards(self, nodes: tuple[int, ...], shards: tuple[int, ...]) -> None:
        """Destroy what hosts of the registry hold of shards."""

    def skew(self, node: int, step_ns: int, rate_ppm: int, *, on: bool) -> None:
        """Put its clock forward by `step_ns` and let it gain `rate_ppm`, or set it right again."""

    def slow_disk(self, node: int, write_ns: int, *, on: bool) -> None:
        """Let every write take so long, one after the other, or stop doing so."""

    def fail_writes(self, node: int, share_ppm: int, *, on: bool) -> None:
        """Let that share of its writes fail, or stop doing so."""

    def fill_disk(self, node: int, *, on: bool) -> None:
        """Let it store nothing, neither its own state nor others' blocks, or make room again."""

    def stop_signing(self, node: int, *, on: bool) -> None:
        """Take its key service away, or give it back."""

    def limit_signing(
        self, nodes: tuple[int, ...], quota: Quota | None, delay_ns: int, *, on: bool
    ) -> None:
        """Let these validators share a quota of signatures, each `delay_ns` late, or stop it."""


class Fault:
    """One fault of the timetable, on `nodes`; what it is said to strike beyond them: `target`.

    `impairs`: it acts on the clock, the disk or the keys of validators. Subclasses are frozen
    dataclasses and override what they need.
    """

    __slots__ = ()
    kind: ClassVar[str]
    impairs: ClassVar[bool] = False
    nodes: tuple[int, ...]

    @property
    def target(self) -> str:
        """Name the place or link that it strikes; empty where validators say it all."""
        return ""

    def rules(self, spans: tuple[Span, ...], flap_ns: int | None) -> tuple[LinkRule, ...]:
        """Return what it does to links; `flap_ns`: on and off take turns that long in a span."""
        return ()

    def begin(self, target: Target) -> None:
        """Do what the fault does."""

    def end(self, target: Target) -> None:
        """Undo it, as far as it can be undone."""
