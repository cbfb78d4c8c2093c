"""Monitors of what follows an offence: it is noticed, proposed, and costs the vote.

Owns one class a step: conviction by who holds the proof, evidence in the blocks of who has it, jail
from the next epoch on. They see observations, proposals, and what adversaries' validators say to
honest ones. Must not know how a validator does any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from sim.monitor.base import KEEP, NOBODY, Handler, Monitor
from sim.monitor.safety import Agreement, BlockOf, EpochOf
from sim.protocol.effects import Accused, Certified, Committed, Dropped, ViewChanged
from sim.protocol.types import Block, BlockId, Vote

OffenceKey: TypeAlias = tuple[str, int, int, int]
"""(kind, offender, epoch, view)."""

_BEHIND, _AHEAD = 4, 32
"""Views around its own for which a collector surely takes votes (it has 8 and 64)."""


class Terms(NamedTuple):
    """What the ledger says of offences.

    `unbonding_epochs`: after so many an offence is too old; `block_evidence`: proofs a block.
    """

    unbonding_epochs: int
    block_evidence: int


class Conviction(Monitor):
    """Who collects two votes of one voter in one view convicts the voter.

    Judged of collectors that are honest, that stayed up and in the epoch from the first vote to
    the second, and that formed the view's certificate, which proves that they were its collector.
    Somebody's accusation is enough. Nothing is asked once agreement broke, for validators halt,
    nor of who said that it had no room for evidence.
    """

    name = "conviction"

    def __init__(self, validators: int, agreement: Agreement, epoch_of: EpochOf) -> None:
        super().__init__()
        self._agreement = agreement
        self._epoch_of = epoch_of
        self._places = [(0, 0)] * validators
        self._votes: list[dict[tuple[int, int, int], BlockId]] = [{} for _ in range(validators)]
        self._collected: dict[tuple[int, int, int], None] = {}
        self._due: dict[OffenceKey, tuple[int, int]] = {}
        self._accused: dict[OffenceKey, None] = {}
        self._full = 0

    def handlers(self) -> Mapping[type, Handler]:
        return {
            Accused: self._heard_accusation,
            Certified: self._certified,
            Dropped: self._dropped,
            ViewChanged: self._view_changed,
        }

    def restarted(self, node: int) -> None:
        """Forget what a validator had collected: it has forgotten that too."""
        self._votes[node].clear()
        self._places[node] = (0, 0)

    def voted(self, node: int, now_ns: int, vote: Vote) -> None:
        """Show a vote, its signature verified, that reached validator `node`."""
        epoch, view = self._places[node]
        if vote.epoch != epoch or not view - _BEHIND <= vote.view <= view + _AHEAD:
            return
        votes = self._votes[node]
        first = votes.setdefault((vote.epoch, vote.view, vote.voter), vote.block)
        if len(votes) > KEEP:
            del votes[next(iter(votes))]
        if first == vote.block:
            return
        pinned = self._epoch_of(epoch)
        if pinned is not None and pinned.weights.weights[vote.voter]:
            key = ("double_vote", vote.voter, vote.epoch, vote.view)
            self._due.setdefault(key, (node, now_ns))
            if len(self._due) > KEEP:
                del self._due[next(iter(self._due))]

    def _heard_accusation(self, node: int, now_ns: int, seen: Accused) -> None:
        self._accused[seen.evidence.key()] = None

    def _certified(self, node: int, now_ns: int, seen: Certified) -> None:
        self._collected[node, seen.qc.epoch, seen.qc.view] = None
        if len(self._collected) > KEEP:
            del self._collected[next(iter(self._collected))]

    def _dropped(self, node: int, now_ns: int, seen: Dropped) -> None:
        if seen.queue == "evidence":
            self._full |= 1 << node

    def _view_changed(self, node: int, now_ns: int, seen: ViewChanged) -> None:
        if seen.epoch != self._places[node][0]:
            self._votes[node].clear()
        self._places[node] = (seen.epoch, seen.view)

    def finish(self, now_ns: int) -> None:
        if self._agreement.violation is not None:
            return
        for key, (node, since_ns) in self._due.items():
            _, offender, epoch, view = key
            collected = (node, epoch, view) in self._collected
            if collected and key not in self._accused and not self._full >> node & 1:
                self._fire(
                    node,
                    since_ns,
                    since_ns,
                    offender=offender,
                    epoch=epoch,
                    view=view,
                    why="two votes of one view, and nobody accuses",
                )


class EvidenceProposed(Monitor):
    """Who has accused somebody proposes the evidence, until a committed block holds it.

    Judged at the commit of each block of an honest validator: what its proposer had accused when
    it proposed is in the block, or was in one committed before. Excused is a full block, an offence
    that is too old, and what a restart has lost.
    """

    name = "evidence_proposed"

    def __init__(self, validators: int, block_of: BlockOf, terms: Terms) -> None:
        super().__init__()
        self._block_of = block_of
        self._terms = terms
        self._held: list[dict[OffenceKey, int]] = [{} for _ in range(validators)]
        self._due: dict[BlockId, list[tuple[OffenceKey, int]]] = {}
        self._made: dict[BlockId, None] = {}
        self._punished: dict[OffenceKey, None] = {}
        self._seen: dict[BlockId, None] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {Accused: self._accused, Committed: self._committed}

    def restarted(self, node: int) -> None:
        """Expect nothing of what a validator had accused before: it has lost its pool."""
        self._held[node].clear()

    def proposed(self, block: Block, now_ns: int) -> None:
        """Show a block of an honest proposer; what counts is when it is shown first.

        A slow disk lets it leave after it was made, and what it holds is settled then.
        """
        held = self._held[block.proposer]
        if block.id in self._made:
            return
        self._made[block.id] = None
        if len(self._made) > KEEP:
            del self._made[next(iter(self._made))]
        if not held:
            return
        here = {evidence.key() for evidence in block.evidence}
        oldest = block.epoch - self._terms.unbonding_epochs
        due = [
            (key, since_ns)
            for key, since_ns in held.items()
            if key not in here and key not in self._punished and oldest <= key[2] <= block.epoch
        ]
        for key in [key for key in held if key in self._punished]:
            del held[key]
        if due and len(block.evidence) < self._terms.block_evidence:
            self._due[block.id] = due
            if len(self._due) > KEEP:
                del self._due[next(iter(self._due))]

    def _accused(self, node: int, now_ns: int, seen: Accused) -> None:
        held = self._held[node]
        held.setdefault(seen.evidence.key(), now_ns)
        if len(held) > KEEP:
            del held[next(iter(held))]

    def _committed(self, node: int, now_ns: int, seen: Committed) -> None:
        if seen.block in self._seen:
            return
        self._seen[seen.block] = None
        if len(self._seen) > KEEP:
            del self._seen[next(iter(self._seen))]
        block = self._block_of(seen.block)
        if block is None:
            return
        for evidence in block.evidence:
            self._punished[evidence.key()] = None
        while len(self._punished) > KEEP:
            del self._punished[next(iter(self._punished))]
        for key, since_ns in self._due.pop(seen.block, ()):
            if key not in self._punished:
                kind, offender, epoch, view = key
                self._fire(
                    block.proposer,
                    now_ns,
                    since_ns,
                    height=seen.height,
                    offence=kind,
                    offender=offender,
                    epoch=epoch,
                    view=view,
                    why="its proposer had the evidence and left it out",
                )


class Jail(Monitor):
    """Whom a committed block convicts has no vote in the next epoch.

    Excused is an epoch that keeps the table of the one before, which the ledger does where too few
    members would be left; so is an offence that was too old, and one that was punished before.
    """

    name = "jail"

    def __init__(self, block_of: BlockOf, epoch_of: EpochOf, terms: Terms) -> None:
        super().__init__()
        self._block_of = block_of
        self._epoch_of = epoch_of
        self._terms = terms
        self._seen: dict[BlockId, None] = {}
        self._punished: dict[OffenceKey, None] = {}
        self._due: dict[int, dict[int, int]] = {}
        """By epoch: who may have no vote in it, and since when that is settled."""

    def handlers(self) -> Mapping[type, Handler]:
        return {Committed: self._committed}

    def _committed(self, node: int, now_ns: int, seen: Committed) -> None:
        if seen.block in self._seen:
            return
        self._seen[seen.block] = None
        if len(self._seen) > KEEP:
            del self._seen[next(iter(self._seen))]
        if self._due:
            for epoch in [epoch for epoch in self._due if epoch <= seen.epoch]:
                self._judge(epoch, self._due.pop(epoch), now_ns)
        block = self._block_of(seen.block)
        if block is None:
            return
        oldest = block.epoch - self._terms.unbonding_epochs
        for evidence in block.evidence:
            key = evidence.key()
            if key not in self._punished and oldest <= evidence.epoch <= block.epoch:
                self._due.setdefault(block.epoch + 1, {}).setdefault(evidence.offender, now_ns)
            self._punished[key] = None
        while len(self._punished) > KEEP:
            del self._punished[next(iter(self._punished))]

    def _judge(self, epoch: int, due: Mapping[int, int], now_ns: int) -> None:
        before, pinned = self._epoch_of(epoch - 1), self._epoch_of(epoch)
        if pinned is None or before is None or pinned.weights == before.weights:
            return
        for offender, since_ns in due.items():
            weight = pinned.weights.weights[offender]
            if weight:
                self._fire(
                    NOBODY,
                    now_ns,
                    since_ns,
                    epoch=epoch,
                    offender=offender,
                    weight=weight,
                    why="convicted in the epoch before, and votes",
                )
