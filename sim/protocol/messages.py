"""What validators send to one another. Values only; the driver signs, sizes and moves them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from sim.protocol.types import (
    QC,
    TC,
    Block,
    BlockId,
    CertificateRef,
    EpochProof,
    Evidence,
    Operation,
    Timeout,
    Vote,
)


class Proposal(NamedTuple):
    """A leader's block; `proof` rides along while peers may still be in the old epoch."""

    block: Block
    proof: EpochProof | None = None


class VoteMessage(NamedTuple):
    """A vote on its way to the next leader."""

    vote: Vote


class TimeoutMessage(NamedTuple):
    """A timeout. `certificate` is the high QC itself, sent at most once a peer, else pulled."""

    timeout: Timeout
    certificate: QC | None = None
    last_tc: TC | None = None


class TimeoutCertificateMessage(NamedTuple):
    tc: TC


class CertificateRequest(NamedTuple):
    ref: CertificateRef


class CertificateResponse(NamedTuple):
    certificate: QC


class LateVotes(NamedTuple):
    """Votes that came after their certificate, forwarded to coming leaders for attendance."""

    votes: tuple[Vote, ...]


class EvidenceMessage(NamedTuple):
    evidence: Evidence


class OperationMessage(NamedTuple):
    operation: Operation


class BlocksRequest(NamedTuple):
    """Ask for `wanted` and its ancestors above `above_height`, and proofs from `epoch` on."""

    wanted: BlockId
    above_height: int
    epoch: int


class BlocksResponse(NamedTuple):
    """Ascending by height; `certificate` certifies the last block where the peer has it."""

    blocks: tuple[Block, ...]
    proofs: tuple[EpochProof, ...]
    certificate: QC | None = None


Message: TypeAlias = (
    Proposal
    | VoteMessage
    | TimeoutMessage
    | TimeoutCertificateMessage
    | CertificateRequest
    | CertificateResponse
    | LateVotes
    | EvidenceMessage
    | OperationMessage
    | BlocksRequest
    | BlocksResponse
)
