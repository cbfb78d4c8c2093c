"""Sizes on the wire, and which signatures a receiver has to check."""

from __future__ import annotations

import pytest

from sim.protocol.messages import (
    FRAME_BYTES,
    BlocksResponse,
    EpochProofMessage,
    EvidenceMessage,
    LateVotes,
    OperationMessage,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
    signed_statements,
    wire_size_bytes,
    with_signatures,
)
from sim.protocol.types import (
    QC,
    TC,
    Block,
    EpochProof,
    Evidence,
    Operation,
    PayloadRef,
    Timeout,
    Vote,
)

MLDSA87_SIGNATURE_BYTES = 4_627
"""FIPS 204, table 2."""
ID = bytes(range(32))


def qc(view: int, block: bytes, signers: tuple[int, ...]) -> QC:
    bitmap = sum(1 << s for s in signers)
    return QC(1, view, block, bitmap, tuple(b"%d" % s for s in signers))


def block(view: int, justify: QC, tc: TC | None = None, **content: object) -> Block:
    return Block(1, view, view, 0, justify.block, justify, tc, signature=b"p", **content)  # type: ignore[arg-type]


def test_a_certificate_of_101_is_what_makes_a_proposal_expensive() -> None:
    empty = wire_size_bytes(Proposal(block(1, QC(1, 0, ID, 0))), MLDSA87_SIGNATURE_BYTES)
    full = wire_size_bytes(
        Proposal(block(2, qc(1, ID, tuple(range(101))))), MLDSA87_SIGNATURE_BYTES
    )
    assert full - empty == 101 * MLDSA87_SIGNATURE_BYTES + 13, "13 bytes of bitmap"
    assert 101 * MLDSA87_SIGNATURE_BYTES == 467_327, "467 kB, as the design says"


def test_each_signature_is_charged_once() -> None:
    vote = VoteMessage(Vote(1, 2, ID, 3))
    assert wire_size_bytes(vote, 1_000) - wire_size_bytes(vote, 0) == 1_000
    assert wire_size_bytes(vote, 0) == FRAME_BYTES + 3 * 8 + 32
    late = LateVotes((vote.vote,) * 7)
    assert wire_size_bytes(late, 1_000) - wire_size_bytes(late, 0) == 7_000
    timeouts = tuple(Timeout(1, 4, 2, ID, i, b"t") for i in range(5))
    tc = TimeoutCertificateMessage(TC(1, 4, timeouts))
    assert wire_size_bytes(tc, 1_000) - wire_size_bytes(tc, 0) == 5_000


def test_payload_is_references_only() -> None:
    root = QC(1, 0, ID, 0)
    ref = PayloadRef(1, 0, 999, 10_000_000)
    light = wire_size_bytes(Proposal(block(1, root)), 10)
    assert wire_size_bytes(Proposal(block(1, root, payload=(ref,))), 10) == light + 32


def test_a_proposal_carries_its_own_and_all_nested_statements() -> None:
    timeouts = tuple(Timeout(1, 4, 2, ID, i, b"t%d" % i) for i in (1, 2, 3))
    late = Vote(1, 1, ID, 5, b"late")
    told = Operation("top_up", 6, 1, 0, b"op")
    guilty = Evidence(
        "double_vote", 7, 1, 1, (Vote(1, 1, ID, 7, b"a"), Vote(1, 1, b"\1" * 32, 7, b"b"))
    )
    proposal = Proposal(
        block(
            5,
            qc(2, ID, (0, 2)),
            TC(1, 4, timeouts),
            attendance=(late,),
            operations=(told,),
            evidence=(guilty,),
        )
    )
    found = [(signer, mark) for signer, _, mark in signed_statements(proposal)]
    assert found == [
        (0, b"p"),
        (0, b"0"),
        (2, b"2"),
        (1, b"t1"),
        (2, b"t2"),
        (3, b"t3"),
        (6, b"op"),
        (5, b"late"),
        (7, b"a"),
        (7, b"b"),
    ]
    said = Vote(1, 2, ID, 0).signed_bytes()
    assert [s for _, s, _ in signed_statements(proposal)][1:3] == [said, said]


def test_of_a_response_certificate_proof_and_proposers_need_checking() -> None:
    first = block(1, QC(1, 0, ID, 0))
    second = block(2, qc(1, first.id, (0, 1, 2)))
    top = qc(2, second.id, (1, 2, 3))
    assert len(signed_statements(BlocksResponse((first, second), None, top))) == 3 + 2
    unsigned = (first.signed(b""), second)
    assert len(signed_statements(BlocksResponse(unsigned, None, top))) == 3 + 1
    proof = EpochProof(first, (second,), top)
    assert len(signed_statements(BlocksResponse((first,), proof, None))) == 6 + 1
    assert len(signed_statements(EpochProofMessage(proof))) == 6


def test_of_a_double_proposal_the_proposers_signatures_convict() -> None:
    one, two = block(1, QC(1, 0, ID, 0)), block(1, QC(1, 0, b"\2" * 32, 0))
    evidence = Evidence("double_proposal", 0, 1, 1, blocks=(one, two))
    assert [s for s, _, _ in signed_statements(EvidenceMessage(evidence))] == [0, 0]


@pytest.mark.parametrize(
    "message",
    [
        VoteMessage(Vote(1, 2, ID, 3)),
        TimeoutMessage(Timeout(1, 2, 1, ID, 3)),
        OperationMessage(Operation("unbond", 3, 5, 0)),
        Proposal(Block(1, 1, 1, 3, ID, QC(1, 0, ID, 0))),
    ],
)
def test_own_statements_are_signed_once_and_others_never(message: object) -> None:
    signed = with_signatures(message, 3, lambda said: b"mark:" + said)  # type: ignore[arg-type]
    ((signer, said, mark),) = signed_statements(signed)
    assert (signer, mark) == (3, b"mark:" + said)
    assert with_signatures(signed, 3, lambda said: b"again") is signed
    assert with_signatures(message, 4, lambda said: b"forged") is message  # type: ignore[arg-type]


def test_signing_a_block_keeps_its_id() -> None:
    unsigned = Block(1, 1, 1, 3, ID, QC(1, 0, ID, 0))
    assert unsigned.signed(b"x").id == unsigned.id
    assert unsigned.signed(b"x") == unsigned
