"""Attacks: one file each, as edits of the effects that an owned validator is about to have.

An attack sees and changes effects; it holds no keys but those of the identities it owns, so it
cannot forge: the driver signs an owned identity's statements only, and lets nothing else pass as
verified. A new attack is a class with `kind`, a constructor that stores, and `edit`; then one line
in `attacks` and its fields in `sim.scenario.disturbances`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol, TypeAlias

from sim.protocol.effects import Effect


class Later(NamedTuple):
    """An effect that its validator holds back for `delay_ns`."""

    effect: Effect
    delay_ns: int


Edited: TypeAlias = Effect | Later


class Attack(Protocol):
    """One attack of one coalition; its members share the instance, hence its mind."""

    kind: ClassVar[str]

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        """Return what leaves validator `me` instead of `effects`; order is part of it."""
