"""Hypothesis strategies for everything that validators can send, well-formed but rarely true."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sim.live.codec import OPERATIONS
from sim.protocol.effects import PersistentState
from sim.protocol.evidence import KINDS
from sim.protocol.messages import (
    BlocksRequest,
    BlocksResponse,
    CertificateRequest,
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
from sim.protocol.types import (
    QC,
    TC,
    Block,
    CertificateRef,
    EpochProof,
    Evidence,
    Operation,
    PayloadRef,
    Timeout,
    Vote,
)

NUMBERS = st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1))
"""Small ones are common: they meet the core's bounds from both sides."""
IDS = st.one_of(st.sampled_from([bytes(32), b"\x11" * 32]), st.binary(min_size=32, max_size=32))
SIGNATURES = st.one_of(st.just(b"\x01"), st.binary(max_size=40))
BITMAPS = st.one_of(st.integers(0, 15), st.integers(0, 2**80 - 1))


@st.composite
def certificates(draw: Any) -> QC:
    signers = draw(BITMAPS)
    count = signers.bit_count()
    signatures = draw(st.lists(SIGNATURES, min_size=count, max_size=count))
    return QC(draw(NUMBERS), draw(NUMBERS), draw(IDS), signers, tuple(signatures))


@st.composite
def timeout_certificates(draw: Any) -> TC:
    epoch, view = draw(NUMBERS), draw(NUMBERS)
    said = draw(st.lists(st.tuples(NUMBERS, IDS, NUMBERS, SIGNATURES), max_size=4))
    return TC(epoch, view, tuple(Timeout(epoch, view, *fields) for fields in said))


VOTES = st.builds(Vote, NUMBERS, NUMBERS, IDS, NUMBERS, SIGNATURES)
TIMEOUTS = st.builds(Timeout, NUMBERS, NUMBERS, NUMBERS, IDS, NUMBERS, SIGNATURES)
REFERENCES = st.builds(PayloadRef, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
OPERATION = st.builds(Operation, st.sampled_from(OPERATIONS), NUMBERS, NUMBERS, NUMBERS, SIGNATURES)


def several(items: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=most).map(tuple)


def evidence(blocks: st.SearchStrategy[Block]) -> st.SearchStrategy[Evidence]:
    return st.builds(
        Evidence,
        st.sampled_from(KINDS),
        NUMBERS,
        NUMBERS,
        NUMBERS,
        several(VOTES, 2),
        several(blocks, 2),
        st.none() | TIMEOUTS,
    )


def _blocks(depth: int) -> st.SearchStrategy[Block]:
    inner = several(evidence(_blocks(depth - 1)), 1) if depth else st.just(())
    return st.builds(
        Block,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        IDS,
        certificates(),
        st.none() | timeout_certificates(),
        several(REFERENCES),
        several(OPERATION),
        several(VOTES, 2),
        inner,
        SIGNATURES,
    )


BLOCKS = _blocks(2)
PROOFS = st.builds(
    EpochProof, BLOCKS, st.lists(BLOCKS, min_size=1, max_size=2).map(tuple), certificates()
)
BY_KIND: dict[type, st.SearchStrategy[Any]] = {
    Proposal: st.builds(Proposal, BLOCKS),
    VoteMessage: st.builds(VoteMessage, VOTES),
    TimeoutMessage: st.builds(TimeoutMessage, TIMEOUTS),
    TimeoutCertificateMessage: st.builds(TimeoutCertificateMessage, timeout_certificates()),
    CertificateRequest: st.builds(
        CertificateRequest, st.builds(CertificateRef, NUMBERS, NUMBERS, IDS)
    ),
    CertificateResponse: st.builds(CertificateResponse, certificates()),
    EpochProofMessage: st.builds(EpochProofMessage, PROOFS),
    LateVotes: st.builds(LateVotes, several(VOTES)),
    EvidenceMessage: st.builds(EvidenceMessage, evidence(BLOCKS)),
    OperationMessage: st.builds(OperationMessage, OPERATION),
    BlocksRequest: st.builds(BlocksRequest, st.just(b"") | IDS, NUMBERS, NUMBERS),
    BlocksResponse: st.builds(
        BlocksResponse, several(BLOCKS, 2), st.none() | PROOFS, st.none() | certificates()
    ),
}
MESSAGES: st.SearchStrategy[Message] = st.one_of(list(BY_KIND.values()))
STATES = st.builds(PersistentState, NUMBERS, NUMBERS, NUMBERS, certificates(), st.none() | TIMEOUTS)
