"""The block tree: branches, forks, fork choice, finality, reconciliation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sim.protocol.effects import Forked
from sim.protocol.types import QC, Block, BlockId, PayloadRef


class Finalized(NamedTuple):
    """`final`: newly final, ascending. `orphaned`: newly dead blocks of other branches.
    `tail`: newly dead empty blocks of a closed epoch. `fork`: set (and nothing moves) when the
    block conflicts with finality."""

    final: tuple[Block, ...]
    orphaned: tuple[Block, ...]
    tail: tuple[Block, ...]
    fork: Forked | None


class Reconciliation(NamedTuple):
    """`depth`: final blocks undone (0 when the old finality wins). `adopted`: newly final."""

    winner: BlockId
    depth: int
    orphaned: tuple[Block, ...]
    adopted: tuple[Block, ...]
    returned: tuple[PayloadRef, ...]


class BlockTree:
    def __init__(
        self,
        root: Block,
        weigh: Callable[[QC], int],
        *,
        keep: int = 128,
        capacity: int = 4096,
    ) -> None:
        raise NotImplementedError

    @property
    def final(self) -> Block:
        raise NotImplementedError

    def __contains__(self, block_id: object) -> bool:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def get(self, block_id: BlockId) -> Block | None:
        raise NotImplementedError

    def check_insert(self, block: Block) -> str | None:
        """known | unknown_parent | wrong_height | full; None when `insert` will take it."""
        raise NotImplementedError

    def insert(self, block: Block) -> list[Forked]:
        """Also certifies `block.justify`. Errors: ValueError(check_insert's reason)."""
        raise NotImplementedError

    def certify(self, qc: QC) -> list[Forked]:
        """No effect when the block is unknown or the view 0 (a root certificate)."""
        raise NotImplementedError

    def certificate(self, block_id: BlockId) -> QC | None:
        raise NotImplementedError

    def children(self, block_id: BlockId) -> tuple[BlockId, ...]:
        raise NotImplementedError

    def ancestors(self, block_id: BlockId) -> Iterator[Block]:
        """Parent first, down to the oldest kept."""
        raise NotImplementedError

    def extends(self, block_id: BlockId, ancestor: BlockId) -> bool:
        """Reflexive."""
        raise NotImplementedError

    def path(self, block_id: BlockId, above_height: int, limit: int) -> tuple[Block, ...]:
        """Ascending: the lowest `limit` blocks with height > above_height, up to block_id."""
        raise NotImplementedError

    def fork_choice(self) -> BlockId:
        raise NotImplementedError

    def finalize(self, block_id: BlockId) -> Finalized:
        raise NotImplementedError

    def reconcile(self, conflicting: BlockId) -> Reconciliation:
        raise NotImplementedError
