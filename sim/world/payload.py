"""What a driver asks of whatever brings agent transactions to the validators.

Owns the questions and the answer of who has no transactions. Must not know an event loop: the
driver tells the time with each question.
"""

from __future__ import annotations

from typing import Protocol

from sim.protocol.types import Block, PayloadRef


class Payload(Protocol):
    """Where transactions come from: the agent plane, a script, or nothing."""

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
