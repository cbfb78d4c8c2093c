"""The replicated state: state(block) = apply(state(parent), block), pure and memoised by block id.

Owns stake, reputation, uptime, the order of transactions, and what each epoch pins. Must not know
views in progress, keys or clocks. `apply` depends on nothing that a block's id does not cover (of
evidence only the key, of votes no signature), so two copies of a block cannot give two states;
whether evidence is sound is for `check_content`, before a vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from sim.protocol import reputation_tracker as reputation
from sim.protocol import stake_manager as stakes
from sim.protocol.adaptive_quorum import EpochSignals, LevelState, next_level, quorum_weight
from sim.protocol.effects import Committed, LevelChanged
from sim.protocol.evidence import check_evidence
from sim.protocol.ledger_state import (
    Account,
    Books,
    Credit,
    LedgerParameters,
    LedgerState,
    OffenceKey,
    Tally,
)
from sim.protocol.reputation_tracker import Activity
from sim.protocol.stake_manager import StakeState
from sim.protocol.types import (
    QC,
    Block,
    BlockId,
    EpochParameters,
    Evidence,
    Operation,
    PayloadRef,
    digest,
)
from sim.protocol.weighted_voting import PPM, weight_table

__all__ = ["Account", "Ledger", "LedgerParameters", "LedgerState", "NextEpoch"]

_NO_PARENT = bytes(32)
_EPOCHS_KEPT = 64
_EPOCHS_REMEMBERED = 4
"""Newest epochs that keep what is remembered of them: leaders, certificates, verdicts."""
_COMMITS_KEPT = 1024


class NextEpoch(NamedTuple):
    parameters: EpochParameters
    change: LevelChanged | None


class Ledger:
    """States by block id. One instance may be shared by any number of validators.

    Bounded by `forget`, which its owner has to call. Errors: KeyError from `state`, `apply` and
    `next_epoch` when the block (or the parent) is unknown or forgotten; ask `knows` first.
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
        self._epochs: dict[BlockId, NextEpoch] = {}
        self._committed: dict[BlockId, Committed] = {}

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
        return check_evidence(evidence) or _check_key(
            state, state.books.punished, evidence.key(), self.parameters
        )

    def is_root(self, block_id: BlockId) -> bool:
        """Say whether the block closes its epoch (genesis does)."""
        return self._states[block_id].root == block_id

    def committed(self, block: Block) -> Committed:
        """Return what a validator shows that commits `block`: one object for all of them."""
        found = self._committed.get(block.id)
        if found is None:
            if len(self._committed) >= _COMMITS_KEPT:
                self._committed.clear()
            state = self._states[block.id].digest()
            found = Committed(block.id, block.epoch, block.view, block.height, state)
            self._committed[block.id] = found
        return found

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
            if len(self._epochs) > _EPOCHS_REMEMBERED:
                # Who still lives in that epoch computes again what it had remembered.
                past = next(islice(reversed(self._epochs.values()), _EPOCHS_REMEMBERED, None))
                past.parameters.memo.clear()
        return found

    def forget(self, needed: Iterable[tuple[int, int]]) -> None:
        """Drop the states at heights within none of `needed`, (lowest, highest) ranges.

        Whoever shares the ledger needs the heights of the blocks that it holds: every block that
        can come next has its parent among them. Genesis stays, an amnesia crash goes back to it;
        what is dropped and comes again is applied anew.
        """
        ranges, place, reach = sorted(needed), 0, 0
        for height in sorted(self._by_height):
            while place < len(ranges) and ranges[place][0] <= height:
                reach = max(reach, ranges[place][1])
                place += 1
            if height > reach:
                for block_id in self._by_height.pop(height):
                    del self._states[block_id]


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
    return LedgerState(0, 1, block.id, 0, 0, 0, books, zeros, 0, _blank(n))


def _blank(n: int) -> Tally:
    return Tally(0, (0,) * n, (0,) * n, (0,) * n, 0, ())


def _step(state: LedgerState, block: Block, parameters: LedgerParameters) -> LedgerState:
    """Apply one block of the epoch that counts."""
    tally = state.tally
    books, offences = _judge(state, block, parameters)
    books = _operate(books, block.operations, state.epoch, parameters)
    next_tx, count, _ = _run_payload(state.next_tx, block.payload)
    recent, expected, attended = _credit(state, block), tally.expected, tally.attended
    if len(recent) > parameters.late_blocks + 1:
        voters, recent = recent[0].voters, recent[1:]
        attended = tuple(a + (voters >> i & 1) for i, a in enumerate(attended))
        expected += 1
    proposals = tally.proposals
    if 0 <= block.proposer < len(proposals):
        proposals = _add(proposals, block.proposer)
    timeouts = tally.timeouts + max(0, block.view - state.view - 1)
    return replace(
        state,
        height=state.height + 1,
        view=block.view,
        blocks=state.blocks + 1,
        books=books,
        next_tx=next_tx,
        transactions=state.transactions + count,
        tally=Tally(expected, attended, proposals, offences, timeouts, recent),
    )


def _credit(state: LedgerState, block: Block) -> tuple[Credit, ...]:
    """Credit the justification's signers and the late votes, then open the block's own account."""
    recent = list(state.tally.recent)
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
    books, offences = state.books, state.tally.offences
    for evidence in block.evidence:
        key = evidence.key()
        if _check_key(state, books.punished, key, parameters) is not None:
            continue
        kind, who, since, _ = key
        stake = stakes.slash(books.stake, who, kind, since, state.epoch, parameters.stake)
        offences = _add(offences, who)
        books = replace(books, stake=stake, punished=(*books.punished, key))
    return books, offences


def _check_key(
    state: LedgerState,
    punished: tuple[OffenceKey, ...],
    key: OffenceKey,
    parameters: LedgerParameters,
) -> str | None:
    kind, who, epoch, _ = key
    if kind not in stakes.SAFETY_OFFENCES:
        return "unknown_kind"
    if not 0 <= who < len(state.next_tx):
        return "unknown_validator"
    if not state.epoch - parameters.stake.unbonding_epochs <= epoch <= state.epoch:
        return "out_of_age"
    return "punished" if key in punished else None


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
    books, tally, terms = state.books, state.tally, parameters.stake
    weights, expected = books.weights.weights, tally.expected
    level, reason = next_level(books.level, _signals(state), parameters.quorum)
    stake = books.stake
    for who, attended in enumerate(tally.attended):
        if weights[who] and attended * PPM < terms.min_signed_ppm * expected:
            stake = stakes.slash(stake, who, "downtime", state.epoch, state.epoch, terms)
    stake = stakes.end_epoch(stake, state.epoch, terms)
    scores = reputation.update(books.reputation, _activities(state), parameters.reputation)
    uptimes = tuple(
        uptime + (attended * PPM // expected - uptime) * parameters.uptime_gain_ppm // PPM
        if weight and expected
        else uptime
        for uptime, weight, attended in zip(books.uptimes, weights, tally.attended, strict=True)
    )
    voting = stakes.eligible(stake, terms)
    kept = sum(1 for s in voting if s) < parameters.least_members
    table = books.weights
    if not kept:
        table = weight_table(voting, scores.scores, uptimes, parameters.weights)
    oldest = state.epoch + 1 - terms.unbonding_epochs
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
    return replace(
        state,
        epoch=state.epoch + 1,
        root=root,
        root_height=state.height,
        view=0,
        blocks=0,
        books=books,
        tally=_blank(len(weights)),
    )


def _signals(state: LedgerState) -> EpochSignals:
    (weights, total), tally = state.weights, state.tally
    proven = sum(w for w, offences in zip(weights, tally.offences, strict=True) if offences)
    lost = sum(w * (tally.expected - a) for w, a in zip(weights, tally.attended, strict=True))
    missed = lost // max(1, tally.expected)
    return EpochSignals(proven, total, tally.timeouts, state.blocks, missed)


def _activities(state: LedgerState) -> list[Activity]:
    tally = state.tally
    columns = (state.weights.weights, tally.attended, tally.proposals, tally.offences)
    return [
        Activity(tally.expected if weight else 0, attended, proposals, offences)
        for weight, attended, proposals, offences in zip(*columns, strict=True)
    ]


def _pin(state: LedgerState) -> NextEpoch:
    books, root = state.books, state.root
    old, new, table = books.old_level, books.level.level, books.weights
    quorum = quorum_weight(table.total, new)
    join = table.total - quorum
    pinned = EpochParameters(
        state.epoch, root, state.root_height, table, new, quorum, join, beacon=root
    )
    change = LevelChanged(state.epoch, old, new, books.level_reason) if new != old else None
    return NextEpoch(pinned, change)


def _add(values: tuple[int, ...], index: int) -> tuple[int, ...]:
    return (*values[:index], values[index] + 1, *values[index + 1 :])
