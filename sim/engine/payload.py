"""Answer the validators' questions about transactions from the agent plane.

Owns: which references a validator has been given back, and the answers that all voters of one block
share. The plane is advanced to the present before any question: the clock belongs to the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.protocol.types import Block, PayloadRef
from sim.world.agents.kinds import NEVER

if TYPE_CHECKING:
    from sim.world.agents.plane import AgentPlane

_ANSWERS_KEPT = 16


class PlanePayload:
    """The agent plane as the validators' source of transactions.

    `horizon(now_ns)`: time before which no fault touches the plane; it may be solved that far.
    """

    def __init__(self, plane: AgentPlane, horizon: Callable[[int], int]) -> None:
        self._plane = plane
        self._horizon = horizon
        self._returned: dict[int, list[PayloadRef]] = {}
        self._held: dict[int, tuple[tuple[PayloadRef, ...], list[int]]] = {}
        self._version = 0
        self._ended: dict[int, int] = {}
        """By gateway: the transactions below this number are committed."""

    def _advance(self, now_ns: int) -> None:
        if self._plane.now_ns < now_ns:
            self._plane.advance(now_ns, self._horizon(now_ns))

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        self._advance(now_ns)
        fresh = self._plane.new_refs(validator, now_ns)
        again = self._returned.pop(validator, None)
        return fresh if again is None else (*again, *fresh)

    def ready_ns(self, validator: int, refs: tuple[PayloadRef, ...], now_ns: int) -> int:
        self._advance(now_ns)
        held = self._all_held(refs)[validator]
        if held != NEVER:
            return held
        plane = self._plane
        ready = now_ns
        for ref in refs:
            one = plane.held_ns(validator, (ref,))
            pulled = plane.pull(validator, ref, now_ns) if one is None else one
            if pulled is None:
                return NEVER
            ready = max(ready, pulled)
        return ready

    def _all_held(self, refs: tuple[PayloadRef, ...]) -> list[int]:
        """Return when each validator holds all of `refs`: computed once a block, not a voter."""
        if self._plane.payload_version != self._version:
            self._version = self._plane.payload_version
            self._held.clear()
        found = self._held.get(id(refs))
        if found is None:
            found = (refs, self._plane.held_by_all(refs).tolist())
            self._held[id(refs)] = found
            if len(self._held) > _ANSWERS_KEPT:
                del self._held[next(iter(self._held))]
        return found[1]

    def give_back(self, validator: int, refs: tuple[PayloadRef, ...]) -> None:
        self._returned.setdefault(validator, []).extend(refs)

    def commit(self, block: Block, now_ns: int) -> None:
        """End the transactions of a block, but for those that a rival block has ended already.

        Each branch commits a gateway's ranges in order and without gap. Two branches that were both
        committed (safety is violated) end each transaction once, at its first commit.
        """
        ended = self._ended
        refs = tuple(ref for ref in block.payload if ref.first >= ended.get(ref.gateway, 0))
        if refs:
            ended.update((ref.gateway, ref.last + 1) for ref in refs)
            self._advance(now_ns)
            self._plane.commit(refs, now_ns)
