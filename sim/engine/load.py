"""What a message costs its receiver: loose signatures, certificates, bytes to decode.

A certificate counts once a node: who has verified it (or collected it) does not verify it again.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.protocol.baselines.messages import (
    BALLOTS,
    HighQcMessage,
    NewViewMessage,
    Prepared,
    ReproposalMessage,
    ViewChangeMessage,
)
from sim.protocol.messages import (
    BlocksResponse,
    CertificateResponse,
    EpochProofMessage,
    EvidenceMessage,
    LateVotes,
    Message,
    OperationMessage,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.types import QC, TC, EpochProof, Evidence


class Load(NamedTuple):
    """Signatures to verify: `loose` ones one by one, `certificates` as (key, signatures)."""

    loose: int
    certificates: tuple[tuple[bytes, int], ...] = ()


_ONE = Load(1)
NO_LOAD = Load(0)
_TCS: dict[int, tuple[TC, tuple[tuple[bytes, int], ...]]] = {}
"""Loads of TCs by object: whoever is behind is sent the same one, and its id hashes n timeouts."""
_TCS_KEPT = 512


def load_of(message: Message) -> Load:
    """Count the signatures that a receiver of `message` must verify.

    Of blocks sent to who is behind: the certificate, the proof and the proposers' signatures, but
    not the certificates inside; a quorum signed the last block and hashes tie all others to it.
    """
    kind = type(message)
    if kind is VoteMessage or kind is OperationMessage or kind is TimeoutMessage:
        return _ONE
    if isinstance(message, Proposal):
        return _of_proposal(message)
    if isinstance(message, TimeoutCertificateMessage):
        return Load(0, _tc(message.tc))
    if isinstance(message, CertificateResponse):
        return Load(0, _qc(message.certificate))
    if isinstance(message, EpochProofMessage):
        return Load(0, _proof(message.proof))
    if isinstance(message, LateVotes):
        return Load(len(message.votes))
    if isinstance(message, EvidenceMessage):
        return Load(_of_evidence(message.evidence))
    if isinstance(message, BlocksResponse):
        proposers = sum(1 for block in message.blocks if block.signature)
        return Load(proposers, _qc(message.certificate) + _proof(message.proof))
    return _of_baseline(message)


def _of_baseline(message: Message) -> Load:
    if isinstance(message, (*BALLOTS, NewViewMessage)):
        return _ONE
    if isinstance(message, HighQcMessage):
        return Load(0, _qc(message.justify))
    if isinstance(message, ReproposalMessage):
        return Load(2, _qc(message.block.justify) + _qc(message.polka))
    if isinstance(message, ViewChangeMessage):
        held: tuple[Prepared, ...] = message.prepared
        return Load(1 + len(held), sum((_qc(entry.qc) for entry in held), _qc(message.proof)))
    return NO_LOAD


def _of_proposal(message: Proposal) -> Load:
    block = message.block
    loose = 1 + len(block.operations) + len(block.attendance)
    loose += sum(_of_evidence(e) for e in block.evidence)
    return Load(loose, _qc(block.justify) + _tc(block.tc))


def _of_evidence(evidence: Evidence) -> int:
    return len(evidence.votes) + len(evidence.blocks) + (evidence.timeout is not None)


def _qc(qc: QC | None) -> tuple[tuple[bytes, int], ...]:
    if qc is None or qc.signers == 0:
        return ()
    return ((qc.id(), qc.signers.bit_count()),)


def _tc(tc: TC | None) -> tuple[tuple[bytes, int], ...]:
    if tc is None:
        return ()
    known = _TCS.get(id(tc))
    if known is None or known[0] is not tc:
        if len(_TCS) >= _TCS_KEPT:
            _TCS.clear()
        known = _TCS[id(tc)] = (tc, ((tc.id(), len(tc.timeouts)),))
    return known[1]


def _proof(proof: EpochProof | None) -> tuple[tuple[bytes, int], ...]:
    return () if proof is None else _qc(proof.path[-1].justify) + _qc(proof.qc)
