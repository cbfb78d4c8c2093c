"""The replicated state: state(block) = apply(state(parent), block), pure and memoised by block id.

Owns stake, reputation, uptime, the order of transactions, and what each epoch pins. Must not know
views in progress, keys or clocks. `apply` depends on nothing that a block's id does not cover (of
evidence only the key, of votes no signature), so two copies of a block cannot give two states;
whether evidence is sound is for `check_content`, before a vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from sim.protocol import reputation_tracker as reputation
from sim.protocol import stake_manager as stakes
from sim.protocol.adaptive_quorum import (
    EpochSignals,
    LevelState,
    QuorumParameters,
    next_level,
    quorum_weight,
)
from sim.protocol.effects import LevelChanged
from sim.protocol.evidence import check_evidence
from sim.protocol.multi_signature import members
from sim.protocol.reputation_tracker import Activity, ReputationParameters, ReputationState
from sim.protocol.stake_manager import StakeParameters, StakeState
from sim.protocol.types import (
    QC,
    Block,
    BlockId,
    EpochParameters,
    Evidence,
    Operation,
    PayloadRef,
    WeightTable,
    digest,
)
from sim.protocol.weighted_voting import PPM, WeightParameters, weight_table

_NO_PARENT = bytes(32)
_EPOCHS_KEPT = 64


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
    punished: tuple[tuple[str, int, int, int], ...]
    """Keys of evidence still within its age."""

    @cached_property
    def digest(self) -> bytes:
        stake, level = self.stake, self.level
        return digest(
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
    expected: int
    """Blocks of the epoch whose attendance is closed."""
    attended: tuple[int, ...]
    proposals: tuple[int, ...]
    offences: tuple[int, ...]
    """Convictions of this epoch by validator."""
    timeouts: int
    recent: tuple[Credit, ...]

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
    def is_tail(self) -> bool:
        return self.blocks == 0 and self.height > self.root_height

    @property
    def supply(self) -> int:
        return stakes.supply(self.books.stake)

    @cached_property
    def _digest(self) -> bytes:
        return digest(
            "state",
            (self.height, self.epoch, self.root, self.root_height, self.view, self.blocks),
            self.books.digest,
            (self.next_tx, self.transactions, self.expected, self.timeouts),
            (self.attended, self.proposals, self.offences),
            tuple(map(tuple, self.recent)),
        )

    def digest(self) -> bytes:
        """Return the SHA-256 over everything that later states depend on."""
        return self._digest


class NextEpoch(NamedTuple):
    parameters: EpochParameters
    change: LevelChanged | None


class Ledger:
    """States by block id. One instance may be shared by any number of validators.

    Bounded by `forget`. Errors: KeyError from `state`, `apply` and `next_epoch` when the block (or
    the parent) is unknown or forgotten; ask `knows` first.
    """

    def __init__(self, parameters: LedgerParameters, genesis: Sequence[Account]) -> None:
        self.parameters = parameters
        accounts = tuple(tuple(account) for account in genesis)
        zero = digest("genesis", accounts)
        self.genesis_block = Block(0, 0, 0, 0, _NO_PARENT, QC(0, 0, zero, 0))
        state = _genesis_state(parameters, tuple(genesis), self.genesis_block)
        self.minted = state.supply
        self._states = {self.genesis_block.id: state}
        self._by_height = {0: [self.genesis_block.id]}
        self._lowest = 0
        self._epochs: dict[BlockId, NextEpoch] = {}

    def knows(self, block_id: BlockId) -> bool:
        """Say whether `state(block_id)` can be given."""
        return block_id in self._states

    def state(self, block_id: BlockId) -> LedgerState:
        return self._states[block_id]

    def apply(self, block: Block) -> LedgerState:
        """Return the state after `block`, total: what is invalid in it has no effect."""
        known = self._states.get(block.id)
        if known is not None:
            return known
        before = self._states[block.parent]
        if block.epoch == before.epoch and not before.is_tail:
            state = _step(before, block, self.parameters)
            if state.blocks == self.parameters.epoch_blocks:
                state = _close(state, block.id, self.parameters)
        else:
            state = replace(before, height=before.height + 1)
        self._states[block.id] = state
        self._by_height.setdefault(state.height, []).append(block.id)
        self._lowest = min(self._lowest, state.height)
        return state

    def check_payload(self, parent_id: BlockId, refs: Sequence[PayloadRef]) -> str | None:
        """Return unknown_gateway | empty_range | gap, or None when all of `refs` would commit."""
        return _run_payload(self._states[parent_id].next_tx, refs)[2]

    def check_content(self, block: Block) -> str | None:
        """Return why no honest validator votes for this content on its parent, or None.

        unknown_parent, wrong_height, wrong_epoch, on_tail (a new epoch starts on its root),
        tail_not_empty, check_payload's, attendance_surplus, evidence:<check_evidence's>. What
        merely has no effect (a repeated credit or key, a stale operation) is allowed.
        """
        before = self._states.get(block.parent)
        if before is None:
            return "unknown_parent"
        if block.height != before.height + 1:
            return "wrong_height"
        if block.epoch == before.epoch - 1 and before.blocks == 0:
            content = (block.payload, block.operations, block.attendance, block.evidence)
            return "tail_not_empty" if any(content) else None
        if block.epoch != before.epoch:
            return "wrong_epoch"
        if before.is_tail:
            return "on_tail"
        most = (self.parameters.late_blocks + 1) * len(before.next_tx)
        if len(block.attendance) > most:
            return "attendance_surplus"
        for evidence in block.evidence:
            reason = check_evidence(evidence)
            if reason is not None:
                return f"evidence:{reason}"
        return _run_payload(before.next_tx, block.payload)[2]

    def check_operation(self, parent_id: BlockId, operation: Operation) -> str | None:
        """Return why `operation` would have no effect right after `parent_id`, or None."""
        state = self._states[parent_id]
        return _check_operation(
            state.books.stake, state.books.nonces, operation, state.epoch, self.parameters
        )

    def check_accusation(self, parent_id: BlockId, evidence: Evidence) -> str | None:
        """Return why `evidence` would punish nobody right after `parent_id`, or None."""
        state = self._states[parent_id]
        return check_evidence(evidence) or _check_key(state, evidence.key(), self.parameters)

    def is_root(self, block_id: BlockId) -> bool:
        """Say whether the block closes its epoch (genesis does)."""
        return self._states[block_id].root == block_id

    def next_epoch(self, root: Block) -> NextEpoch:
        """Return what the epoch opened by `root` pins, and its level change if it makes one.

        Errors: ValueError when `root` closes no epoch.
        """
        found = self._epochs.get(root.id)
        if found is None:
            state = self._states[root.id]
            if state.root != root.id:
                raise ValueError(f"block at height {root.height} closes no epoch")
            found = self._epochs[root.id] = _pin(state)
            if len(self._epochs) > _EPOCHS_KEPT:
                del self._epochs[next(iter(self._epochs))]
        return found

    def forget(self, below_height: int) -> None:
        """Drop the states below a height; who shares a ledger gives the lowest any still needs."""
        while self._lowest < below_height and len(self._by_height) > 1:
            for block_id in self._by_height.pop(self._lowest, ()):
                del self._states[block_id]
            self._lowest += 1


def _genesis_state(
    parameters: LedgerParameters, genesis: tuple[Account, ...], block: Block
) -> LedgerState:
    n = len(genesis)
    zeros = (0,) * n
    stake = stakes.genesis_stake(tuple(a.stake for a in genesis), tuple(a.free for a in genesis))
    scores = reputation.genesis_reputation(
        [a.reputation for a in genesis], 1, parameters.reputation
    )
    uptimes = tuple(a.uptime for a in genesis)
    if any(not 0 <= uptime <= PPM for uptime in uptimes):
        raise ValueError(f"genesis uptimes must be within 0..{PPM}")
    voting = stakes.eligible(stake, parameters.stake)
    count = sum(1 for s in voting if s)
    if count < parameters.least_members:
        raise ValueError(
            f"{count} accounts hold the minimum stake {parameters.stake.min_stake}; "
            f"least_members asks for {parameters.least_members}"
        )
    weights = weight_table(voting, scores.scores, uptimes, parameters.weights)
    level = parameters.quorum.initial_level
    books = Books(
        weights, LevelState(level), level, "initial", False, stake, scores, uptimes, zeros, ()
    )
    return LedgerState(
        0, 1, block.id, 0, 0, 0, books, zeros, 0, 0, zeros, zeros, zeros, 0, ()
    )  # fmt: skip


def _step(state: LedgerState, block: Block, parameters: LedgerParameters) -> LedgerState:
    """Apply one block of the epoch that counts."""
    books, offences = _judge(state, block, parameters)
    books = _operate(books, block.operations, state.epoch, parameters)
    next_tx, count, _ = _run_payload(state.next_tx, block.payload)
    recent = _credit(state, block)
    expected, attended = state.expected, state.attended
    if len(recent) > parameters.late_blocks + 1:
        closed = list(attended)
        for voter in members(recent[0].voters):
            closed[voter] += 1
        attended, expected, recent = tuple(closed), expected + 1, recent[1:]
    proposals = state.proposals
    if 0 <= block.proposer < len(proposals):
        proposals = _add(proposals, block.proposer)
    return replace(
        state,
        height=state.height + 1,
        view=block.view,
        blocks=state.blocks + 1,
        books=books,
        next_tx=next_tx,
        transactions=state.transactions + count,
        expected=expected,
        attended=attended,
        proposals=proposals,
        offences=offences,
        timeouts=state.timeouts + max(0, block.view - state.view - 1),
        recent=recent,
    )


def _credit(state: LedgerState, block: Block) -> tuple[Credit, ...]:
    """Credit the justification's signers and the late votes, then open the block's own account."""
    recent = list(state.recent)
    weights = state.weights.weights
    everyone = sum(1 << i for i, weight in enumerate(weights) if weight)
    if recent and block.justify.block == recent[-1].block and block.justify.signers > 0:
        last = recent[-1]
        recent[-1] = last._replace(voters=last.voters | block.justify.signers & everyone)
    place = {credit.block: i for i, credit in enumerate(recent)}
    for vote in block.attendance:
        i = place.get(vote.block, -1)
        if i < 0 or (vote.epoch, vote.view) != (state.epoch, recent[i].view):
            continue
        if not 0 <= vote.voter < len(weights):
            continue
        recent[i] = recent[i]._replace(voters=recent[i].voters | 1 << vote.voter & everyone)
    return (*recent, Credit(block.id, block.view, 0))


def _judge(
    state: LedgerState, block: Block, parameters: LedgerParameters
) -> tuple[Books, tuple[int, ...]]:
    offences = state.offences
    for evidence in block.evidence:
        key = evidence.key()
        if _check_key(state, key, parameters) is not None:
            continue
        kind, who, offence_epoch, _ = key
        stake = stakes.slash(
            state.books.stake, who, kind, offence_epoch, state.epoch, parameters.stake
        )
        offences = _add(offences, who)
        books = replace(state.books, stake=stake, punished=(*state.books.punished, key))
        state = replace(state, books=books)
    return state.books, offences


def _check_key(
    state: LedgerState, key: tuple[str, int, int, int], parameters: LedgerParameters
) -> str | None:
    kind, who, epoch, _ = key
    if kind not in stakes.SAFETY_OFFENCES:
        return "unknown_kind"
    if not 0 <= who < len(state.next_tx):
        return "unknown_validator"
    if not state.epoch - parameters.stake.unbonding_epochs <= epoch <= state.epoch:
        return "out_of_age"
    return "punished" if key in state.books.punished else None


def _operate(
    books: Books, operations: Sequence[Operation], epoch: int, parameters: LedgerParameters
) -> Books:
    stake, nonces = books.stake, books.nonces
    for operation in operations:
        if _check_operation(stake, nonces, operation, epoch, parameters) is None:
            stake = stakes.apply_operation(stake, operation, epoch, parameters.stake)
            nonces = _add(nonces, operation.validator)
    return books if nonces is books.nonces else replace(books, stake=stake, nonces=nonces)


def _check_operation(
    stake: StakeState,
    nonces: tuple[int, ...],
    operation: Operation,
    epoch: int,
    parameters: LedgerParameters,
) -> str | None:
    reason = stakes.check_operation(stake, operation, epoch, parameters.stake)
    if reason is None and operation.nonce != nonces[operation.validator]:
        return "nonce"
    return reason


def _run_payload(
    next_tx: tuple[int, ...], refs: Sequence[PayloadRef]
) -> tuple[tuple[int, ...], int, str | None]:
    """Return (next numbers, transactions committed, first reason why a ref does not commit)."""
    after, count, reason = list(next_tx), 0, None
    for ref in refs:
        if not 0 <= ref.gateway < len(after):
            reason = reason or "unknown_gateway"
        elif ref.last < ref.first:
            reason = reason or "empty_range"
        elif ref.first != after[ref.gateway]:
            reason = reason or "gap"
        else:
            after[ref.gateway] = ref.last + 1
            count += ref.tx_count
    return (tuple(after), count, reason) if count else (next_tx, 0, reason)


def _close(state: LedgerState, root: BlockId, parameters: LedgerParameters) -> LedgerState:
    """End the epoch at its L-th block: fix the next one's weights, level and membership."""
    books = state.books
    weights = books.weights.weights
    n = len(weights)
    level, reason = next_level(books.level, _signals(state), parameters.quorum)
    stake = books.stake
    bar = parameters.stake.min_signed_ppm * state.expected
    for who in range(n):
        if weights[who] and state.attended[who] * PPM < bar:
            stake = stakes.slash(stake, who, "downtime", state.epoch, state.epoch, parameters.stake)
    stake = stakes.end_epoch(stake, state.epoch, parameters.stake)
    scores = reputation.update(books.reputation, _activities(state), parameters.reputation)
    uptimes = tuple(
        uptime
        if not weight or not state.expected
        else uptime
        + (attended * PPM // state.expected - uptime) * parameters.uptime_gain_ppm // PPM
        for uptime, weight, attended in zip(books.uptimes, weights, state.attended, strict=True)
    )
    voting = stakes.eligible(stake, parameters.stake)
    kept = sum(1 for s in voting if s) < parameters.least_members
    table = books.weights
    if not kept:
        table = weight_table(voting, scores.scores, uptimes, parameters.weights)
    oldest = state.epoch + 1 - parameters.stake.unbonding_epochs
    books = Books(
        weights=table,
        level=level,
        old_level=books.level.level,
        level_reason=reason,
        membership_kept=kept,
        stake=stake,
        reputation=scores,
        uptimes=uptimes,
        nonces=books.nonces,
        punished=tuple(key for key in books.punished if key[2] >= oldest),
    )
    zeros = (0,) * n
    return LedgerState(
        height=state.height,
        epoch=state.epoch + 1,
        root=root,
        root_height=state.height,
        view=0,
        blocks=0,
        books=books,
        next_tx=state.next_tx,
        transactions=state.transactions,
        expected=0,
        attended=zeros,
        proposals=zeros,
        offences=zeros,
        timeouts=0,
        recent=(),
    )


def _signals(state: LedgerState) -> EpochSignals:
    weights, total = state.weights
    proven = sum(w for w, offences in zip(weights, state.offences, strict=True) if offences)
    missed = sum(
        w * (state.expected - a) for w, a in zip(weights, state.attended, strict=True)
    ) // max(1, state.expected)
    return EpochSignals(proven, total, state.timeouts, state.blocks, missed)


def _activities(state: LedgerState) -> list[Activity]:
    columns = (state.weights.weights, state.attended, state.proposals, state.offences)
    return [
        Activity(state.expected if weight else 0, attended, proposals, offences)
        for weight, attended, proposals, offences in zip(*columns, strict=True)
    ]


def _pin(state: LedgerState) -> NextEpoch:
    books = state.books
    level, total = books.level.level, books.weights.total
    quorum = quorum_weight(total, level)
    parameters = EpochParameters(
        epoch=state.epoch,
        root=state.root,
        root_height=state.root_height,
        weights=books.weights,
        level=level,
        quorum=quorum,
        join=total - quorum,
        beacon=state.root,
    )
    if level == books.old_level:
        return NextEpoch(parameters, None)
    return NextEpoch(
        parameters, LevelChanged(state.epoch, books.old_level, level, books.level_reason)
    )


def _add(values: tuple[int, ...], index: int) -> tuple[int, ...]:
    return (*values[:index], values[index] + 1, *values[index + 1 :])
