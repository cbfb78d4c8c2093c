"""Turn what validators observe into rows: blocks and their fate, certificates, epochs, offences.

Owns one record a block while its fate is open, and the sets that make a row appear once though
150 validators saw the same thing. Everything kept is bounded by the blocks in flight.
Must not judge: that is the monitors' part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sim.engine.ledger_rows import LedgerRows
from sim.protocol.effects import (
    Accused,
    Certified,
    Committed,
    Dropped,
    EpochChanged,
    Forked,
    LevelChanged,
    NoVote,
    Observation,
    Reconciled,
    Rejected,
    TimeoutCertified,
    ViewChanged,
)
from sim.protocol.messages import Proposal
from sim.protocol.types import Block, BlockId, EpochParameters, Operation
from sim.record.recorder import Sink
from sim.record.tables import NO_ID

_SECOND = 1_000_000_000
_SETTLED_AFTER = 64
"""Heights below the highest commit after which an uncommitted block's fate is written."""
_EPOCHS_KEPT = 64
"""More than blocks with an open fate can be of, for an epoch has three blocks at least."""
_ONCE_KEPT = 16_384
"""Things remembered so that 150 validators' word of them makes one row."""


@dataclass(slots=True)
class _Fate:
    """What is known of one block while it may still change."""

    block: Block
    size_bytes: int
    proposed_ns: int
    certified_ns: int = -1
    committed_ns: int = -1
    quorum_ns: int = -1
    weight: int = 0
    status: str = "pending"


class Observer:
    """Write the tables of the validators. `observe` has the driver's signature.

    `books` writes what the ledger makes of it. `honest`: bitmap of validators that no adversary
    owns. Each of `first_commits` is told once a block, (block, now_ns), at its first commit by an
    honest validator, in chain order; more may be appended.
    """

    def __init__(
        self,
        *,
        recorder: Sink,
        books: LedgerRows,
        honest: int,
        regions: tuple[str, ...],
        signature_bytes: int,
        first_commits: Sequence[Callable[[Block, int], None]],
    ) -> None:
        self._row = recorder.append_row
        self._recorder = recorder
        self._books = books
        self._fixed = books.fixed
        self._honest = honest
        self._regions = regions
        self._signature_bytes = signature_bytes
        self.first_commits = [*first_commits]
        """Told once a block: see the class."""
        self._fates: dict[BlockId, _Fate] = {}
        self._highest = 0
        self._epochs: dict[int, EpochParameters] = {}
        self._once: dict[tuple[object, ...], None] = {}
        self._rounds: dict[tuple[int, int, str], list[int]] = {}
        self._counts: dict[tuple[str, int, str, str], int] = {}
        self._handlers: dict[type, Callable[[int, int, Any], None]] = {
            Certified: self._certified,
            TimeoutCertified: self._timeout_certified,
            Committed: self._committed,
            ViewChanged: self._view_changed,
            EpochChanged: self._epoch_changed,
            LevelChanged: self._level_changed,
            Forked: self._forked,
            Reconciled: self._reconciled,
            Accused: self._accused,
            NoVote: self._no_vote,
            Rejected: self._rejected,
            Dropped: self._dropped,
        }
        self.keeps_views = recorder.keeps("views")
        self.keeps_commits = recorder.keeps("commits")
        self.tip = books.genesis()
        """The highest block that an honest validator has committed."""
        self.last_commit_ns = 0
        """When a block was last committed for the first time; 0 before the first."""
        self.blocks_committed = 0
        self.transactions_committed = 0

    def observe(self, node: int, now_ns: int, observation: Observation) -> None:
        """Record one observation of validator `node`."""
        self._handlers[type(observation)](node, now_ns, observation)

    def corrupted(self, node: int) -> None:
        """Count no commit of `node` any longer: an adversary has taken it over."""
        self._honest &= ~(1 << node)

    def redeemed(self, node: int) -> None:
        """Count its commits again: the adversary has let go of it."""
        self._honest |= 1 << node

    def proposed(self, proposal: Proposal, now_ns: int, size_bytes: int) -> None:
        """Note a proposal as it leaves its proposer."""
        block = proposal.block
        if block.id not in self._fates:
            self._fates[block.id] = _Fate(block, size_bytes, now_ns)

    def block_of(self, block_id: BlockId) -> Block | None:
        """Return a proposed block; None once its fate is written."""
        fate = self._fates.get(block_id)
        return None if fate is None else fate.block

    @property
    def height(self) -> int:
        """Return the height of the highest block that an honest validator has committed."""
        return self._highest

    def proposed_ns(self, block_id: BlockId) -> int:
        """Return when a block, whose fate is open, was proposed; -1 where it is not known."""
        fate = self._fates.get(block_id)
        return -1 if fate is None else fate.proposed_ns

    def epoch_of(self, epoch: int) -> EpochParameters | None:
        """Return what an epoch pinned; None before anyone entered it."""
        return self._fixed or self._epochs.get(epoch)

    def _quorum_of(self, epoch: int) -> int:
        parameters = self.epoch_of(epoch)
        return 0 if parameters is None else parameters.quorum

    def epochs(self) -> tuple[EpochParameters, ...]:
        """Return what the epochs pinned that are still known, in order."""
        return tuple(self._epochs.values())

    def submitted(self, operation: Operation, now_ns: int) -> None:
        """Note a validator operation as its operator hands it in."""
        self._row(
            "operations",
            time_ns=now_ns,
            validator=operation.validator,
            kind=operation.kind,
            amount=operation.amount,
            nonce=operation.nonce,
            event="submitted",
            height=-1,
            reason="",
        )

    def _new(self, *key: object) -> bool:
        if key in self._once:
            return False
        self._once[key] = None
        if len(self._once) > _ONCE_KEPT:
            del self._once[next(iter(self._once))]
        return True

    # -- chain --------------------------------------------------------------------------------

    def _certified(self, node: int, now_ns: int, seen: Certified) -> None:
        qc = seen.qc
        fate = self._fates.get(qc.block)
        if fate is not None and fate.certified_ns < 0:
            fate.certified_ns = now_ns
        if not self._new("qc", qc.epoch, qc.view, qc.block):
            return
        signers = qc.signers.bit_count()
        self._row(
            "certificates",
            time_ns=now_ns,
            kind="quorum",
            collector=node,
            epoch=qc.epoch,
            view=qc.view,
            block=qc.block.hex(),
            signers=signers,
            weight=seen.weight,
            quorum=self._quorum_of(qc.epoch),
            size_bytes=signers * self._signature_bytes,
        )

    def _timeout_certified(self, node: int, now_ns: int, seen: TimeoutCertified) -> None:
        tc = seen.tc
        if not self._new("tc", tc.epoch, tc.view):
            return
        self._row(
            "certificates",
            time_ns=now_ns,
            kind="timeout",
            collector=node,
            epoch=tc.epoch,
            view=tc.view,
            block=NO_ID,
            signers=len(tc.timeouts),
            weight=seen.weight,
            quorum=self._quorum_of(tc.epoch),
            size_bytes=len(tc.timeouts) * self._signature_bytes,
        )

    def _committed(self, node: int, now_ns: int, seen: Committed) -> None:
        if self.keeps_commits:
            self._row(
                "commits",
                time_ns=now_ns,
                node=node,
                epoch=seen.epoch,
                view=seen.view,
                height=seen.height,
                block=seen.block.hex(),
                state=seen.state.hex(),
            )
        if not self._honest >> node & 1:
            return
        fate = self._fates.get(seen.block)
        if fate is None:
            return
        epoch = self.epoch_of(seen.epoch)
        if fate.committed_ns < 0:
            fate.committed_ns = now_ns
            fate.status = "committed"
            self.last_commit_ns = now_ns
            self.blocks_committed += 1
            if seen.height > self._highest:
                self._highest, self.tip = seen.height, seen.block
            self._after_first_commit(fate, now_ns)
        if epoch is not None and fate.quorum_ns < 0:
            fate.weight += epoch.weights.weights[node] if node < len(epoch.weights.weights) else 0
            if fate.weight >= epoch.quorum:
                fate.quorum_ns = now_ns

    def _after_first_commit(self, fate: _Fate, now_ns: int) -> None:
        self._settle()
        block = fate.block
        self.transactions_committed += sum(ref.tx_count for ref in block.payload)
        region = self._regions[block.proposer]
        self._recorder.latency("block", region, region, now_ns, now_ns - fate.proposed_ns)
        for told in self.first_commits:
            told(block, now_ns)
        self._books.block(block, now_ns)

    def _settle(self) -> None:
        """Write and forget blocks far enough below the highest commit."""
        limit = self._highest - _SETTLED_AFTER
        done = [key for key, fate in self._fates.items() if fate.block.height <= limit]
        for key in done:
            fate = self._fates.pop(key)
            if fate.status == "pending":
                fate.status = "tail" if self._is_tail(fate.block) else "orphaned"
            self._write(fate)

    def _is_tail(self, block: Block) -> bool:
        following = self._epochs.get(block.epoch + 1)
        return following is not None and block.height > following.root_height

    def finish(self) -> None:
        """Write what is still open when the run ends."""
        for fate in self._fates.values():
            if fate.status == "pending" and self._is_tail(fate.block):
                fate.status = "tail"
            elif fate.status == "pending" and fate.block.height <= self._highest:
                fate.status = "orphaned"
            self._write(fate)
        self._fates.clear()

    def _write(self, fate: _Fate) -> None:
        block = fate.block
        self._row(
            "blocks",
            height=block.height,
            block=block.id.hex(),
            parent=block.parent.hex(),
            epoch=block.epoch,
            view=block.view,
            proposer=block.proposer,
            justify_view=block.justify.view,
            status=fate.status,
            proposed_ns=fate.proposed_ns,
            certified_ns=fate.certified_ns,
            committed_ns=fate.committed_ns,
            quorum_committed_ns=fate.quorum_ns,
            transactions=sum(ref.tx_count for ref in block.payload),
            batches=len(block.payload),
            payload_bytes=sum(ref.size_bytes for ref in block.payload),
            size_bytes=fate.size_bytes,
            operations=len(block.operations),
            late_votes=len(block.attendance),
            evidence=len(block.evidence),
        )

    # -- epochs and levels --------------------------------------------------------------------

    def epoch(self, parameters: EpochParameters, now_ns: int) -> None:
        """Record an epoch's pinned parameters once, and every validator's account with it."""
        if parameters.epoch in self._epochs:
            return
        self._epochs[parameters.epoch] = parameters
        if len(self._epochs) > _EPOCHS_KEPT:
            del self._epochs[next(iter(self._epochs))]
        self._books.epoch(parameters, now_ns)

    def _epoch_changed(self, node: int, now_ns: int, seen: EpochChanged) -> None:
        if seen.epoch not in self._epochs and seen.root in self._fates:
            root = self._fates[seen.root].block
            pinned = self._books.pinned_by(root)
            if pinned is not None:
                self.epoch(pinned, now_ns)

    def _level_changed(self, node: int, now_ns: int, seen: LevelChanged) -> None:
        if self._new("level", seen.epoch):
            self._row(
                "levels",
                time_ns=now_ns,
                epoch=seen.epoch,
                old_level=seen.old,
                new_level=seen.new,
                reason=seen.reason,
            )

    def _view_changed(self, node: int, now_ns: int, seen: ViewChanged) -> None:
        key = (seen.epoch, seen.view, seen.reason)
        cell = self._rounds.get(key)
        if cell is None:
            self._rounds[key] = [1, now_ns, now_ns]
        else:
            cell[0] += 1
            cell[2] = now_ns
        if self.keeps_views:
            self._row(
                "views",
                time_ns=now_ns,
                node=node,
                epoch=seen.epoch,
                view=seen.view,
                reason=seen.reason,
            )

    # -- forks and offences -------------------------------------------------------------------

    def _forked(self, node: int, now_ns: int, seen: Forked) -> None:
        branches = sorted(seen.branches)
        if not self._new("fork", seen.kind, seen.parent, tuple(branches)):
            return
        self._row(
            "forks",
            time_ns=now_ns,
            node=node,
            event="forked",
            kind=seen.kind,
            parent=seen.parent.hex(),
            first=branches[0].hex() if branches else NO_ID,
            second=branches[1].hex() if len(branches) > 1 else NO_ID,
            branches=len(branches),
            depth=0,
            returned=0,
        )

    def _reconciled(self, node: int, now_ns: int, seen: Reconciled) -> None:
        orphaned = sorted(seen.orphaned)
        self._row(
            "forks",
            time_ns=now_ns,
            node=node,
            event="reconciled",
            kind="none",
            parent=NO_ID,
            first=orphaned[0].hex() if orphaned else NO_ID,
            second=orphaned[1].hex() if len(orphaned) > 1 else NO_ID,
            branches=len(orphaned),
            depth=seen.depth,
            returned=sum(ref.tx_count for ref in seen.returned),
        )

    def _accused(self, node: int, now_ns: int, seen: Accused) -> None:
        evidence = seen.evidence
        if self._new("accused", *evidence.key()):
            self._row(
                "evidence",
                time_ns=now_ns,
                node=node,
                event="accused",
                kind=evidence.kind,
                offender=evidence.offender,
                epoch=evidence.epoch,
                view=evidence.view,
                height=-1,
                slashed=0,
            )

    # -- counted ------------------------------------------------------------------------------

    def _no_vote(self, node: int, now_ns: int, seen: NoVote) -> None:
        self._count("no_vote", node, "proposal", seen.reason)

    def _rejected(self, node: int, now_ns: int, seen: Rejected) -> None:
        self._count("rejected", node, seen.what, seen.reason)

    def _dropped(self, node: int, now_ns: int, seen: Dropped) -> None:
        self._count("dropped", node, seen.queue, seen.reason, seen.dropped)

    def _count(self, event: str, node: int, what: str, reason: str, n: int = 1) -> None:
        key = (event, node, what, reason)
        self._counts[key] = self._counts.get(key, 0) + n

    def close_second(self, now_ns: int) -> None:
        """Write the counted observations of the second that ends at `now_ns`."""
        second = (now_ns - 1) // _SECOND
        for (event, node, what, reason), count in self._counts.items():
            self._row(
                "rejections",
                second=second,
                node=node,
                event=event,
                what=what,
                reason=reason,
                count=count,
            )
        self._counts.clear()
        for (epoch, view, reason), (validators, first_ns, last_ns) in self._rounds.items():
            self._row(
                "rounds",
                epoch=epoch,
                view=view,
                reason=reason,
                validators=validators,
                first_ns=first_ns,
                last_ns=last_ns,
            )
        self._rounds.clear()
