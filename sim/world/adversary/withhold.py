"""Withhold: keep own votes, proposals or timeouts from some, and be honest to the rest."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import Broadcast, Send
from sim.protocol.messages import Message, Proposal, TimeoutMessage, VoteMessage
from sim.world.adversary import Attack, Edited, spread
from sim.world.network.dissemination import star_order

KINDS: dict[str, type[Message]] = {
    "votes": VoteMessage,
    "proposals": Proposal,
    "timeouts": TimeoutMessage,
}
"""What can be withheld."""


class Withhold(Attack):
    """Send no statements of the chosen kinds to the victims.

    Votes go to the next leader: a victim misses the members' votes when it collects, so its views
    certify later or, once the members hold more than 1 - q, not at all. Proposals: victims see
    the block when a later one builds on it, and sync. Nothing is provable, for silence is not an
    offence; safety is never touched.
    """

    kind: ClassVar[str] = "withhold"

    def __init__(self, key: int, what: tuple[str, ...], victims: tuple[int, ...]) -> None:
        self._key = key
        self._what = tuple(KINDS[name] for name in what)
        self._victims = frozenset(victims)

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for effect in effects:
            if not isinstance(effect, Send | Broadcast) or not isinstance(
                effect.message, self._what
            ):
                out.append(effect)
            elif isinstance(effect, Broadcast):
                out += spread(effect, self._spared(me, now_ns))
            elif effect.to == me or effect.to not in self._victims:
                out.append(effect)
        return out

    def _spared(self, me: int, now_ns: int) -> list[int]:
        everyone = range(self.scene.identities)
        spared = [to for to in everyone if to != me and to not in self._victims]
        return star_order(spared, self._key, now_ns)
