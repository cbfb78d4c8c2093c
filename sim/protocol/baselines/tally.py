"""Count the votes of one phase until they make a certificate.

Owns what counts: one vote a member, verified at the edge. Must not know what a phase is for. As
`sim.protocol.multi_signature.VoteCollector`, but late votes earn nothing and are forgotten.
"""

from __future__ import annotations

from sim.protocol.types import QC, BlockId, EpochParameters, ValidatorId, Vote


class Tally:
    """The votes of one (epoch, view). `voters`: how many distinct members have voted."""

    __slots__ = ("_counts", "_first", "_quorum", "_weights", "certificate", "epoch", "view")

    def __init__(self, table: EpochParameters, view: int) -> None:
        self.epoch = table.epoch
        self.view = view
        self._weights = table.weights.weights
        self._quorum = table.quorum
        self._first: dict[ValidatorId, Vote] = {}
        self._counts: dict[BlockId, int] = {}
        self.certificate: QC | None = None

    @property
    def voters(self) -> int:
        return len(self._first)

    def add(self, vote: Vote) -> str | None:
        """Count a vote; return why not: wrong_view | stranger | duplicate | double_vote."""
        epoch, view, block, voter, _ = vote
        if view != self.view or epoch != self.epoch:
            return "wrong_view"
        first = self._first
        known = first.get(voter)
        if known is not None:
            return "duplicate" if known.block == block else "double_vote"
        weights = self._weights
        if not 0 <= voter < len(weights) or not weights[voter]:
            return "stranger"
        first[voter] = vote
        count = self._counts.get(block, 0) + 1
        self._counts[block] = count
        if count == self._quorum and self.certificate is None:
            self.certificate = self._certify(block)
        return None

    def _certify(self, block: BlockId) -> QC:
        signers = 0
        signatures: list[bytes] = []
        for voter in sorted(self._first):
            vote = self._first[voter]
            if vote.block == block:
                signers |= 1 << voter
                signatures.append(vote.signature)
        return QC(self.epoch, self.view, block, signers, tuple(signatures))
