"""Answer the validators' questions about transactions from the agent plane.

Owns: which references a validator has been told of and given back. The plane is advanced to the
present before any question: the clock belongs to the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.protocol.types import Block, PayloadRef

if TYPE_CHECKING:
    from sim.world.agents.plane import AgentPlane


class PlanePayload:
    """The agent plane as the validators' source of transactions."""

    def __init__(self, plane: AgentPlane) -> None:
        self._plane = plane
        self._returned: dict[int, list[PayloadRef]] = {}

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        self._plane.advance(now_ns)
        fresh = self._plane.new_refs(validator, now_ns)
        again = self._returned.pop(validator, None)
        return fresh if again is None else (*again, *fresh)

    def ready_ns(self, validator: int, refs: tuple[PayloadRef, ...], now_ns: int) -> int:
        plane = self._plane
        plane.advance(now_ns)
        held = plane.held_ns(validator, refs)
        if held is not None:
            return held
        ready = now_ns
        for ref in refs:
            one = plane.held_ns(validator, (ref,))
            ready = max(ready, plane.pull(validator, ref, now_ns) if one is None else one)
        return ready

    def give_back(self, validator: int, refs: tuple[PayloadRef, ...]) -> None:
        self._returned.setdefault(validator, []).extend(refs)

    def commit(self, block: Block, now_ns: int) -> None:
        if block.payload:
            self._plane.advance(now_ns)
            self._plane.commit(block.payload, now_ns)
