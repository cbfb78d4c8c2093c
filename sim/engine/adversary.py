"""Attach attacks to the validators they own, for the time they last; and keep them from forging.

Owns the notary: what each identity has truly signed. An attack may send anything; a statement of
an identity that it does not own, and that the identity never made, does not verify anywhere.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.world.adversary import Attack, Edited


class Engagement(NamedTuple):
    """One attack (its `place` in the scenario) and when it is on: start_ns <= now < end_ns."""

    place: int
    attack: Attack
    start_ns: int
    end_ns: int


class Mind:
    """The attacks that own one validator, applied in the scenario's order."""

    def __init__(self, engagements: tuple[Engagement, ...]) -> None:
        self._engagements = engagements

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        """Pass `effects` through every attack that is on."""
        for _, attack, start_ns, end_ns in self._engagements:
            if start_ns <= now_ns < end_ns:
                effects = attack.edit(me, effects, now_ns)
        return effects
