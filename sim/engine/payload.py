"""Answer the validators' questions about transactions from the agent plane.

Owns: which references a validator has been told of and given back. The plane is advanced to the
present before any question: the clock belongs to the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sim.protocol.types import Block, PayloadRef

if TYPE_CHECKING:
    from sim.world.agents.plane import AgentPlane


class Payload(Protocol):
    """Where transactions come from: the agent plane, or nothing."""

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        """Return references held by `validator` by now and not yet handed to it."""

    def ready_ns(self, validator: int, refs: tuple[PayloadRef, ...], now_ns: int) -> int:
        """Return when `validator` holds all of `refs`, pulling what would never come."""

    def give_back(self, validator: int, refs: tuple[PayloadRef, ...]) -> None:
        """Take back references that overflowed the validator's mempool; they are told again."""

    def commit(self, block: Block, now_ns: int) -> None:
        """Tell that the transactions of `block` are final."""


class NoPayload:
    """The payload of a scenario without transactions: none."""

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        return ()

    def ready_ns(self, validator: int, refs: tuple[PayloadRef, ...], now_ns: int) -> int:
        return now_ns

    def give_back(self, validator: int, refs: tuple[PayloadRef, ...]) -> None:
        return

    def commit(self, block: Block, now_ns: int) -> None:
        return


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
