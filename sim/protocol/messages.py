"""What validators send to one another, its size on the wire and the signatures in it.

Values only: the driver signs and moves them. Must not know keys or links.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from sim.protocol.baselines import messages as baseline
from sim.protocol.multi_signature import members
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
    ValidatorId,
    Vote,
)


class Proposal(NamedTuple):
    """A leader's block. Its `justify` of view 0 stands for an epoch proof, sent apart."""

    block: Block


class VoteMessage(NamedTuple):
    """A vote on its way to the next leader."""

    vote: Vote


class TimeoutMessage(NamedTuple):
    """A timeout. It names the high QC; a peer that lacks it pulls it with CertificateRequest."""

    timeout: Timeout


class TimeoutCertificateMessage(NamedTuple):
    tc: TC


class CertificateRequest(NamedTuple):
    ref: CertificateRef


class CertificateResponse(NamedTuple):
    certificate: QC


class EpochProofMessage(NamedTuple):
    """Sent by the collector whose certificate closed the epoch, and to whoever is behind."""

    proof: EpochProof


class LateVotes(NamedTuple):
    """Votes that came after their certificate, forwarded to coming leaders for attendance."""

    votes: tuple[Vote, ...]


class EvidenceMessage(NamedTuple):
    evidence: Evidence


class OperationMessage(NamedTuple):
    operation: Operation


class BlocksRequest(NamedTuple):
    """Ask for `wanted` and its ancestors above `above_height`, in the asker's `epoch`.

    `wanted` empty: whatever the peer follows. A peer in a later epoch answers with `epoch`'s
    remaining blocks and, with the last of them, the proof that closed it.
    """

    wanted: BlockId
    above_height: int
    epoch: int


class BlocksResponse(NamedTuple):
    """Blocks of one epoch, ascending; `certificate` certifies the last where the peer has it.

    `proof` closes the epoch of the blocks. Only `certificate` and `proof` need their signatures
    checked: a quorum signed the last block, and hashes tie all others to it.
    """

    blocks: tuple[Block, ...]
    proof: EpochProof | None = None
    certificate: QC | None = None


CoreMessage: TypeAlias = (
    Proposal
    | VoteMessage
    | TimeoutMessage
    | TimeoutCertificateMessage
    | CertificateRequest
    | CertificateResponse
    | EpochProofMessage
    | LateVotes
    | EvidenceMessage
    | OperationMessage
    | BlocksRequest
    | BlocksResponse
)
"""What validators of the main protocol send; baselines send some of it too."""

Message: TypeAlias = CoreMessage | baseline.BaselineMessage

STATEMENTS = (VoteMessage, TimeoutMessage, *baseline.BALLOTS)
"""Messages that are one signed statement: all of a kind have one size and cost the same."""

FIELD_BYTES = 8
"""A number, count or index on the wire."""
ID_BYTES = 32
"""SHA-256."""
FRAME_BYTES = 16
"""Kind, length and sender of a message (assumption: a compact binary encoding)."""

Statement: TypeAlias = tuple[ValidatorId, bytes, bytes]
"""(signer, signed bytes, signature)."""

_FIELDS: dict[type, int] = {Vote: 3, Timeout: 4, baseline.Declaration: 1}
"""Numbers in a statement about a block or a digest, its signature apart."""
_NOBODY: Statement = (-1, b"", b"")
"""A statement that cannot hold: what is not as its bitmap says does not verify."""


def wire_size_bytes(message: Message, signature_bytes: int) -> int:
    """Size a message: fields, bitmaps, and `signature_bytes` for each signature in it."""
    return FRAME_BYTES + _size(message, signature_bytes)


def _size(value: Any, sig: int) -> int:
    kind = type(value)
    if value is None:
        return 1
    if isinstance(value, QC):
        bitmap = (value.signers.bit_length() + 7) // 8
        return 2 * FIELD_BYTES + ID_BYTES + bitmap + value.signers.bit_count() * sig
    fields = _FIELDS.get(kind)
    if fields is not None:
        return fields * FIELD_BYTES + ID_BYTES + sig
    if isinstance(value, TC):
        # Epoch and view once; of each timeout the signer, the high QC's reference, the signature.
        return 3 * FIELD_BYTES + len(value.timeouts) * (2 * FIELD_BYTES + ID_BYTES + sig)
    if isinstance(value, Block):
        return _block_size(value, sig)
    if kind is Operation:
        return 4 * FIELD_BYTES + sig
    if kind is Evidence:
        return 4 * FIELD_BYTES + _size((value.votes, value.blocks, value.timeout), sig)
    if kind is CertificateRef or kind is BlocksRequest:
        return 2 * FIELD_BYTES + ID_BYTES
    if isinstance(value, (int, bytes)):
        return FIELD_BYTES if kind is int else ID_BYTES
    if isinstance(value, tuple):
        return sum(_size(item, sig) for item in value) + FIELD_BYTES * (kind is tuple)
    raise TypeError(f"no wire size for {kind.__name__}")


def _block_size(block: Block, sig: int) -> int:
    header = 4 * FIELD_BYTES + ID_BYTES + sig
    refs = FIELD_BYTES + len(block.payload) * 4 * FIELD_BYTES
    content = (block.justify, block.tc, block.operations, block.attendance, block.evidence)
    return header + refs + sum(_size(part, sig) for part in content)


def signed_statements(message: Message) -> tuple[Statement, ...]:
    """List each signature that a receiver has to check, nested certificates' included.

    Of a BlocksResponse that is its certificate and proof, for a quorum signed the last block and
    hashes tie the others to it, and the proposers' signatures where they are there: who finds a
    twin convicts with them. Of evidence it is what convicts, not the certificates inside.
    """
    if isinstance(message, BlocksResponse):
        proposers = tuple(_proposer(block) for block in message.blocks if block.signature)
        return _of(message.certificate) + _of(message.proof) + proposers
    if isinstance(message, (BlocksRequest, CertificateRequest)):
        return ()
    return tuple(statement for part in message for statement in _of(part))


def _of(value: Any) -> tuple[Statement, ...]:
    if value is None or isinstance(value, (int, bytes)):
        return ()
    if isinstance(value, Vote):
        return ((value.voter, value.signed_bytes(), value.signature),)
    if isinstance(value, (Timeout, baseline.Declaration)):
        return ((value.signer, value.signed_bytes(), value.signature),)
    if isinstance(value, Operation):
        return ((value.validator, value.signed_bytes(), value.signature),)
    if isinstance(value, QC):
        said = Vote(value.epoch, value.view, value.block, 0).signed_bytes()
        signers = members(value.signers)
        if len(signers) != len(value.signatures):
            return (_NOBODY,)
        pairs = zip(signers, value.signatures, strict=True)
        return tuple((signer, said, signature) for signer, signature in pairs)
    if isinstance(value, EpochProof):
        return _of(value.path[-1].justify) + _of(value.qc)
    if isinstance(value, Block):
        parts = (value.justify, value.tc, value.operations, value.attendance, value.evidence)
        return (_proposer(value), *(s for part in parts for s in _of(part)))
    if isinstance(value, Evidence):
        proposals = tuple(map(_proposer, value.blocks)) if value.kind == "double_proposal" else ()
        return _of(value.votes) + proposals + _of(value.timeout)
    if isinstance(value, TC):
        return _of(value.timeouts)
    return tuple(statement for item in value for statement in _of(item))


def _proposer(block: Block) -> Statement:
    return (block.proposer, block.signed_bytes(), block.signature)


def with_signatures(message: Message, me: ValidatorId, sign: Callable[[bytes], bytes]) -> Message:
    """Fill in what `me` owes: his own statement, where it is not signed yet; else no change."""
    if isinstance(message, Proposal):
        block = message.block
        if block.proposer == me and not block.signature:
            return Proposal(block.signed(sign(block.signed_bytes())))
    elif isinstance(message, TimeoutMessage):
        timeout = message.timeout
        if timeout.signer == me and not timeout.signature:
            return TimeoutMessage(timeout._replace(signature=sign(timeout.signed_bytes())))
    elif isinstance(message, (VoteMessage, *baseline.BALLOTS, *baseline.DECLARED)):
        return baseline.signed_by(message, me, sign)  # type: ignore[no-any-return]
    elif isinstance(message, OperationMessage):
        operation = message.operation
        if operation.validator == me and not operation.signature:
            return OperationMessage(operation._replace(signature=sign(operation.signed_bytes())))
    return message
