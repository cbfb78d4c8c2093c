"""Collect partial signatures into certificates, and judge certificates.

Owns what counts toward a quorum. Must not know keys: the edge verifies each signature as it comes
and says so. FIPS 204 has no algebraic aggregation, so a certificate is a bitmap and exactly as many
signatures as reached the quorum.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sim.protocol.types import QC, TC, EpochParameters, Timeout, Vote, WeightTable


class Accepted(NamedTuple):
    """The vote counts. `certificate` is set exactly once a collector: at the quorum."""

    certificate: QC | None


class AcceptedTimeout(NamedTuple):
    """The timeout counts. `certificate` is set exactly once a collector: at the quorum."""

    certificate: TC | None


class RejectedVote(NamedTuple):
    """No effect on any certificate.

    reason: wrong_epoch | wrong_view | invalid_signature | stranger | duplicate | late.
    """

    reason: str


class Conflict(NamedTuple):
    """Two votes of one voter in one view; only the first counts."""

    first: Vote
    second: Vote


_COUNTED = Accepted(None)
_COUNTED_TIMEOUT = AcceptedTimeout(None)
_WRONG_EPOCH = RejectedVote("wrong_epoch")
_WRONG_VIEW = RejectedVote("wrong_view")
_INVALID = RejectedVote("invalid_signature")
_STRANGER = RejectedVote("stranger")
_DUPLICATE = RejectedVote("duplicate")
_LATE = RejectedVote("late")


class VoteCollector:
    """Gather the votes of one view; at most one vote a member counts, so memory is O(n).

    `late` keeps the votes for the certified block that came after its certificate: they earn
    attendance. A vote that fails verification leaves no trace, so nobody can spend another's vote.
    """

    def __init__(self, parameters: EpochParameters, view: int) -> None:
        self._epoch = parameters.epoch
        self._view = view
        self._weights = parameters.weights.weights
        self._quorum = parameters.quorum
        self._first: dict[int, Vote] = {}
        self._tally: dict[bytes, int] = {}
        self.certificate: QC | None = None
        self.late: list[Vote] = []

    def add(self, vote: Vote, verified: bool) -> Accepted | RejectedVote | Conflict:
        """Count `vote` (constant time), or say why not; see the reasons of RejectedVote.

        Precedence: epoch, view, signature, membership, then double or repeated vote, then late.
        """
        epoch, view, block, voter, _ = vote
        if view != self._view:
            return _WRONG_VIEW if epoch == self._epoch else _WRONG_EPOCH
        if epoch != self._epoch:
            return _WRONG_EPOCH
        if not verified:
            return _INVALID
        weights = self._weights
        if not 0 <= voter < len(weights) or not weights[voter]:
            return _STRANGER
        first = self._first
        known = first.get(voter)
        if known is not None:
            return _DUPLICATE if known.block == block else Conflict(known, vote)
        first[voter] = vote
        if self.certificate is not None:
            if block == self.certificate.block:
                self.late.append(vote)
            return _LATE
        tally = self._tally
        weight = tally[block] = tally.get(block, 0) + weights[voter]
        if weight < self._quorum:
            return _COUNTED
        self.certificate = self._certify(block)
        return Accepted(self.certificate)

    def weight(self, block: bytes) -> int:
        """Return the weight that has been counted for `block`, up to its certificate."""
        return self._tally.get(block, 0)

    def _certify(self, block: bytes) -> QC:
        """Every counted vote for `block` goes in: the last of them reached the quorum."""
        votes = sorted((v for v in self._first.values() if v.block == block), key=_voter)
        signers = 0
        for vote in votes:
            signers |= 1 << vote.voter
        signatures = tuple(vote.signature for vote in votes)
        return QC(self._epoch, self._view, block, signers, signatures)


def _voter(vote: Vote) -> int:
    return vote.voter


class TimeoutCollector:
    """Gather the timeouts of one view; a signer's first statement counts.

    `weight` is that of the distinct signers so far: above `parameters.join`, others join.
    """

    def __init__(self, parameters: EpochParameters, view: int) -> None:
        self._parameters = parameters
        self._view = view
        self._first: dict[int, Timeout] = {}
        self.certificate: TC | None = None
        self.weight = 0

    def add(self, timeout: Timeout, verified: bool) -> AcceptedTimeout | RejectedVote:
        """Count `timeout`, or say why not. A high QC not older than the view is malformed."""
        if timeout.epoch != self._parameters.epoch:
            return _WRONG_EPOCH
        if timeout.view != self._view or not 0 <= timeout.high_qc_view < timeout.view:
            return _WRONG_VIEW
        if not verified:
            return _INVALID
        weights = self._parameters.weights.weights
        signer = timeout.signer
        if not 0 <= signer < len(weights) or not weights[signer]:
            return _STRANGER
        if signer in self._first:
            return _DUPLICATE
        if self.certificate is not None:
            return _LATE
        self._first[signer] = timeout
        self.weight += weights[signer]
        if self.weight < self._parameters.quorum:
            return _COUNTED_TIMEOUT
        ordered = tuple(self._first[s] for s in sorted(self._first))
        self.certificate = TC(self._parameters.epoch, self._view, ordered)
        return AcceptedTimeout(self.certificate)


def members(bitmap: int) -> tuple[int, ...]:
    """Return the validators of `bitmap`, ascending. Errors: ValueError when it is negative."""
    if bitmap < 0:
        raise ValueError("a bitmap is not negative")
    found = []
    while bitmap:
        low = bitmap & -bitmap
        found.append(low.bit_length() - 1)
        bitmap ^= low
    return tuple(found)


@lru_cache(maxsize=4096)
def bitmap_weight(bitmap: int, table: WeightTable) -> int:
    """Return the weight of `bitmap`; -1 when a signer has none (or the bitmap is negative)."""
    if bitmap < 0 or bitmap.bit_length() > len(table.weights):
        return -1
    weights = [table.weights[i] for i in members(bitmap)]
    return sum(weights) if all(weights) else -1


def check_certificate(qc: QC, parameters: EpochParameters) -> str | None:
    """Return None when `qc` is a certificate of this epoch, else the reason it is not.

    Reasons: wrong_epoch, not_the_root, stranger, below_quorum, signature_count. A root certificate
    (view 0) is good for the epoch's own root only; signatures themselves are the edge's.
    """
    if qc.epoch != parameters.epoch:
        return "wrong_epoch"
    if qc.view <= 0:
        is_root = qc == QC(parameters.epoch, 0, parameters.root, 0, ())
        return None if is_root else "not_the_root"
    weight = bitmap_weight(qc.signers, parameters.weights)
    if weight < 0:
        return "stranger"
    if weight < parameters.quorum:
        return "below_quorum"
    return None if len(qc.signatures) == qc.signers.bit_count() else "signature_count"


def check_tc(tc: TC, parameters: EpochParameters) -> str | None:
    """Return None when `tc` is a timeout certificate of this epoch, else the reason it is not.

    Reasons: wrong_epoch, wrong_view, order (signers not strictly ascending), stranger,
    below_quorum.
    """
    if tc.epoch != parameters.epoch:
        return "wrong_epoch"
    weights = parameters.weights.weights
    total, last = 0, -1
    for timeout in tc.timeouts:
        if timeout.epoch != tc.epoch or timeout.view != tc.view:
            return "wrong_view"
        if not 0 <= timeout.high_qc_view < tc.view:
            return "wrong_view"
        if timeout.signer <= last:
            return "order"
        if timeout.signer >= len(weights) or not weights[timeout.signer]:
            return "stranger"
        last = timeout.signer
        total += weights[last]
    return None if total >= parameters.quorum else "below_quorum"
