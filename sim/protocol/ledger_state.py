"""The shapes of the replicated state: parameters, accounts, books, an epoch's tally, the state.

Owns what the ledger remembers and the digest over it. Must not know how it changes: see ledger.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from sim.protocol.adaptive_quorum import LevelState, QuorumParameters
from sim.protocol.reputation_tracker import ReputationParameters, ReputationState
from sim.protocol.stake_manager import StakeParameters, StakeState, supply
from sim.protocol.types import BlockId, WeightTable, digest
from sim.protocol.weighted_voting import PPM, WeightParameters

OffenceKey: TypeAlias = tuple[str, int, int, int]
"""(kind, offender, epoch, view)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerParameters:
    """The ledger's rules.

    epoch_blocks: L, blocks of an epoch. late_blocks: k, how many further leaders may credit a late
    vote: a block may credit votes for its last k + 1 ancestors of the epoch. A block's attendance
    counts once that window has closed, so the last k + 1 blocks of an epoch count for nobody.
    uptime_gain_ppm: weight of the newest epoch in the uptime average (assumption). least_members:
    a membership below it is not taken; the old one stays (3f + 1 for f = 1).
    """

    stake: StakeParameters
    epoch_blocks: int
    late_blocks: int = 2
    uptime_gain_ppm: int = 250_000
    least_members: int = 4
    weights: WeightParameters = field(default_factory=WeightParameters)
    quorum: QuorumParameters = field(default_factory=QuorumParameters)
    reputation: ReputationParameters = field(default_factory=ReputationParameters)

    def __post_init__(self) -> None:
        if self.late_blocks < 0 or self.least_members < 1:
            raise ValueError("late_blocks must be >= 0 and least_members >= 1")
        if self.epoch_blocks < self.late_blocks + 2:
            raise ValueError(
                f"epoch_blocks {self.epoch_blocks} must be at least late_blocks + 2 = "
                f"{self.late_blocks + 2}, else no block's attendance ever counts"
            )
        if not 0 < self.uptime_gain_ppm <= PPM:
            raise ValueError(f"uptime_gain_ppm {self.uptime_gain_ppm} must be within 1..{PPM}")


class Account(NamedTuple):
    """Genesis values of one identity. stake, free: stake units; reputation, uptime: ppm."""

    stake: int
    reputation: int = 500_000
    uptime: int = 1_000_000
    free: int = 0


class Credit(NamedTuple):
    """Who is known to have voted for a block of this epoch."""

    block: BlockId
    view: int
    voters: int


@dataclass(frozen=True)
class Books:
    """What changes by operations, evidence and epochs only."""

    weights: WeightTable
    level: LevelState
    old_level: int
    level_reason: str
    membership_kept: bool
    """True when too few qualified and the epoch before lends its members."""
    stake: StakeState
    reputation: ReputationState
    uptimes: tuple[int, ...]
    nonces: tuple[int, ...]
    punished: tuple[OffenceKey, ...]
    """Keys of evidence still within its age."""
    _digests: list[bytes] = field(default_factory=list, init=False, compare=False, repr=False)

    def digest(self) -> bytes:
        """Return the SHA-256 over all of it, computed once: most blocks leave the books alone."""
        if not self._digests:
            stake, level = self.stake, self.level
            whole = digest(
                "books",
                tuple(self.weights),
                (level.level, tuple(map(tuple, level.window)), level.epochs_since_change),
                (self.old_level, self.level_reason, self.membership_kept),
                (stake.bonded, stake.free, stake.burned, stake.jailed_until),
                tuple(map(tuple, stake.unbonding)),
                tuple(map(tuple, stake.convictions)),
                tuple(self.reputation),
                (self.uptimes, self.nonces, self.punished),
            )
            self._digests.append(whole)
        return self._digests[0]


class Tally(NamedTuple):
    """What the epoch's blocks have shown so far; tuples by validator."""

    expected: int
    """Blocks whose attendance is closed."""
    attended: tuple[int, ...]
    proposals: tuple[int, ...]
    offences: tuple[int, ...]
    timeouts: int
    recent: tuple[Credit, ...]
    """Blocks whose attendance is still open, oldest first."""


@dataclass(frozen=True)
class LedgerState:
    """The ledger after one block. `root` is that block's id iff it closes its epoch."""

    height: int
    epoch: int
    """Epoch of the blocks that count next."""
    root: BlockId
    root_height: int
    view: int
    """View of the last block of `epoch`; 0 at its root."""
    blocks: int
    """Blocks of `epoch` so far."""
    books: Books
    next_tx: tuple[int, ...]
    """By gateway: the transaction number that must come next, so each commits exactly once."""
    transactions: int
    tally: Tally

    @property
    def weights(self) -> WeightTable:
        return self.books.weights

    @property
    def level(self) -> LevelState:
        return self.books.level

    @property
    def nonces(self) -> tuple[int, ...]:
        return self.books.nonces

    @property
    def recent(self) -> tuple[Credit, ...]:
        return self.tally.recent

    @property
    def is_tail(self) -> bool:
        return self.blocks == 0 and self.height > self.root_height

    @property
    def supply(self) -> int:
        return supply(self.books.stake)

    def digest(self) -> bytes:
        """Return the SHA-256 over everything that later states depend on."""
        place = (self.height, self.epoch, self.root, self.root_height, self.view, self.blocks)
        tally = (*self.tally[:-1], tuple(map(tuple, self.tally.recent)))
        return digest("state", place, self.books.digest(), self.next_tx, self.transactions, tally)
