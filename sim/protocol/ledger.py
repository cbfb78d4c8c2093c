"""The replicated state: stake, reputation, uptime, transactions' order, epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sim.protocol.adaptive_quorum import LevelState
from sim.protocol.effects import LevelChanged
from sim.protocol.types import (
    Block,
    BlockId,
    EpochParameters,
    Operation,
    PayloadRef,
    WeightTable,
)


class Account(NamedTuple):
    """Genesis values of one identity. stake, free: stake units; reputation, uptime: ppm."""

    stake: int
    reputation: int = 500_000
    uptime: int = 1_000_000
    free: int = 0


@dataclass(frozen=True)
class LedgerState:
    """`root == block.id` iff the block is the last (L-th) block A of its epoch, i.e. the root
    of `epoch`. A tail block keeps its parent's state but for height."""

    height: int
    epoch: int
    """Epoch of the blocks that count next (after A: e+1)."""
    root: BlockId
    root_height: int
    blocks: int
    """Blocks of `epoch` applied so far (0 right at its root)."""
    weights: WeightTable
    level: LevelState
    next_tx: tuple[int, ...]
    nonces: tuple[int, ...]

    def digest(self) -> bytes:
        raise NotImplementedError


class NextEpoch(NamedTuple):
    parameters: EpochParameters
    change: LevelChanged | None


class Ledger:
    genesis_block: Block

    def __init__(self, parameters: object, genesis: Sequence[Account]) -> None:
        raise NotImplementedError

    def knows(self, block_id: BlockId) -> bool:
        raise NotImplementedError

    def state(self, block_id: BlockId) -> LedgerState:
        raise NotImplementedError

    def apply(self, block: Block) -> LedgerState:
        """Memoised. Total for any block whose parent is known: what is invalid has no effect."""
        raise NotImplementedError

    def check_payload(self, parent_id: BlockId, refs: Sequence[PayloadRef]) -> str | None:
        raise NotImplementedError

    def check_content(self, block: Block) -> str | None:
        """Everything the ledger can refuse in a block: payload, attendance, evidence, a tail
        that is not empty, a wrong epoch. Signatures are the edge's."""
        raise NotImplementedError

    def check_operation(self, parent_id: BlockId, operation: Operation) -> str | None:
        """Would it take effect on top of `parent_id`?"""
        raise NotImplementedError

    def is_root(self, block_id: BlockId) -> bool:
        """True for genesis and for each A."""
        raise NotImplementedError

    def next_epoch(self, root: Block) -> NextEpoch:
        """Parameters of the epoch that `root` opens (genesis opens epoch 1)."""
        raise NotImplementedError

    def forget(self, below_height: int) -> None:
        raise NotImplementedError
