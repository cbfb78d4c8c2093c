"""What a message costs its receiver: loose signatures, certificates, bytes to decode.

A certificate counts once a node: who has verified it (or collected it) does not verify it again.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.protocol.messages import (
    BlocksResponse,
    CertificateResponse,
    EvidenceMessage,
    LateVotes,
    Message,
    OperationMessage,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.types import QC, TC, Block, EpochProof, Evidence


class Load(NamedTuple):
    """Signatures to verify: `loose` ones one by one, `certificates` as (key, signatures)."""

    loose: int
    certificates: tuple[tuple[bytes, int], ...] = ()


_ONE = Load(1)
_NONE = Load(0)


def load_of(message: Message) -> Load:
    """Count the signatures that a receiver of `message` must verify."""
    if type(message) is VoteMessage or type(message) is OperationMessage:
        return _ONE
    if type(message) is Proposal:
        return _of_proposal(message)
    if type(message) is TimeoutMessage:
        certificates = _qc(message.certificate) + _tc(message.last_tc)
        return Load(1, certificates)
    if type(message) is TimeoutCertificateMessage:
        return Load(0, _tc(message.tc))
    if type(message) is CertificateResponse:
        return Load(0, _qc(message.certificate))
    if type(message) is LateVotes:
        return Load(len(message.votes))
    if type(message) is EvidenceMessage:
        return Load(_of_evidence(message.evidence))
    if type(message) is BlocksResponse:
        return _of_blocks(message)
    return _NONE


def _of_proposal(message: Proposal) -> Load:
    loose, certificates = _of_block(message.block)
    return Load(loose, certificates + _proof(message.proof))


def _of_blocks(message: BlocksResponse) -> Load:
    loose = 0
    certificates = _qc(message.certificate)
    for block in message.blocks:
        more, inside = _of_block(block)
        loose += more
        certificates += inside
    for proof in message.proofs:
        certificates += _proof(proof)
    return Load(loose, certificates)


def _of_block(block: Block) -> tuple[int, tuple[tuple[bytes, int], ...]]:
    loose = 1 + len(block.operations) + len(block.attendance)
    loose += sum(_of_evidence(e) for e in block.evidence)
    return loose, _qc(block.justify) + _tc(block.tc)


def _of_evidence(evidence: Evidence) -> int:
    return len(evidence.votes) + len(evidence.blocks) + (evidence.timeout is not None)


def _qc(qc: QC | None) -> tuple[tuple[bytes, int], ...]:
    if qc is None or qc.signers == 0:
        return ()
    return ((qc.id(), qc.signers.bit_count()),)


def _tc(tc: TC | None) -> tuple[tuple[bytes, int], ...]:
    return () if tc is None else ((tc.id(), len(tc.timeouts)),)


def _proof(proof: EpochProof | None) -> tuple[tuple[bytes, int], ...]:
    return () if proof is None else _qc(proof.root_qc) + _qc(proof.child_qc)
