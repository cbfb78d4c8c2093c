"""The wire format: one encoding a message, every other input refused, sizes as modelled."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.live.codec import (
    MAX_BLOCK_DEPTH,
    MAX_ITEMS,
    NUMBER,
    Refused,
    decode,
    decode_state,
    encode,
    encode_state,
    record,
)
from sim.live.wire import LENGTH_BYTES
from sim.protocol.effects import PersistentState
from sim.protocol.events import BlocksReceived, Event, MessageReceived
from sim.protocol.ledger import Ledger
from sim.protocol.messages import (
    FRAME_BYTES,
    BlocksRequest,
    BlocksResponse,
    CertificateResponse,
    CoreMessage,
    EpochProofMessage,
    EvidenceMessage,
    LateVotes,
    Message,
    OperationMessage,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
    signed_statements,
    wire_size_bytes,
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
from sim.protocol.validator import Validator
from sim.world.crypto.suites import SIGNATURE_BYTES
from tests.live.message_strategies import BY_KIND, MESSAGES, STATES
from tests.protocol.harness import accounts, rules
from tests.protocol.harness import settings as consensus

ID = b"\x22" * 32
SIGNATURE = b"s" * SIGNATURE_BYTES
QUIET = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
FEW = settings(QUIET, max_examples=30)


def reason_of(data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        decode(data)
    return refused.value.reason


def test_every_message_type_has_a_code_and_a_strategy() -> None:
    assert set(BY_KIND) == set(get_args(CoreMessage))


def test_no_field_is_forgotten() -> None:
    """A field with a default that the format left out would vanish on the wire."""
    with pytest.raises(TypeError, match="takes epoch, view, block"):
        record(Vote, epoch=NUMBER, view=NUMBER)
    # These two are written by hand.
    taken = [list(inspect.signature(made).parameters) for made in (QC, TC)]
    assert taken[0] == ["epoch", "view", "block", "signers", "signatures"]
    assert taken[1] == ["epoch", "view", "timeouts"]


@pytest.mark.parametrize("kind", list(BY_KIND), ids=lambda kind: kind.__name__)
@FEW
@given(data=st.data())
def test_what_is_encoded_is_decoded(kind: type, data: Any) -> None:
    message = data.draw(BY_KIND[kind])
    encoded = encode(message)
    decoded = decode(encoded)
    assert type(decoded) is kind
    assert decoded == message
    # Equality of blocks leaves signatures out; their text does not.
    assert repr(decoded) == repr(message)
    assert encode(decoded) == encoded


@FEW
@given(state=STATES)
def test_what_survives_a_crash_is_read_back(state: PersistentState) -> None:
    assert decode_state(encode_state(state)) == state
    with pytest.raises(Refused, match="trailing"):
        decode_state(encode_state(state) + b"\0")


@QUIET
@given(message=MESSAGES, data=st.data())
def test_changed_bytes_are_refused_or_say_something_else(message: Message, data: Any) -> None:
    """A format with a second encoding of anything, or with bytes that mean nothing, fails here."""
    encoded = encode(message)
    at = data.draw(st.integers(0, len(encoded) - 1))
    changed = bytearray(encoded)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(changed))
    except Refused:
        return
    assert encode(decoded) == bytes(changed)
    assert repr(decoded) != repr(message)


@QUIET
@given(message=MESSAGES, data=st.data())
def test_cut_and_lengthened_messages_are_refused(message: Message, data: Any) -> None:
    encoded = encode(message)
    assert reason_of(encoded[: data.draw(st.integers(0, len(encoded) - 1))]) == "truncated"
    assert reason_of(encoded + b"\0") == "trailing"


@QUIET
@given(data=st.binary(max_size=300))
def test_noise_is_refused_or_is_a_message(data: bytes) -> None:
    try:
        message = decode(data)
    except Refused:
        return
    assert encode(message) == data


@QUIET
@given(message=MESSAGES)
def test_the_edge_can_list_the_signatures_of_whatever_was_decoded(message: Message) -> None:
    for signer, said, signature in signed_statements(decode(encode(message))):
        assert signer >= 0
        assert isinstance(said, bytes)
        assert isinstance(signature, bytes)


@QUIET
@given(messages=st.lists(MESSAGES, min_size=1, max_size=4), verified=st.booleans())
def test_the_core_answers_whatever_was_decoded(messages: list[Message], verified: bool) -> None:
    """`handle` is total: a peer may send anything that is well-formed."""
    core = Validator(0, consensus(), Ledger(rules(), accounts(4)))
    for now, message in enumerate(messages):
        message = decode(encode(message))
        event: Event = MessageReceived(1, message, verified)
        if isinstance(message, BlocksResponse):
            event = BlocksReceived(1, message, verified)
        assert isinstance(core.handle(event, now), list)


# -- refusals, one by one ---------------------------------------------------------------------


def block(**changes: Any) -> Block:
    return replace(Block(1, 2, 3, 0, ID, QC(1, 1, ID, 1, (b"\x01",))), **changes)


def nested(depth: int) -> Block:
    inner = block()
    for _ in range(depth - 1):
        inner = block(evidence=(Evidence("tc_rule", 0, 1, 2, (), (inner,)),))
    return inner


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (VoteMessage(Vote(-1, 1, ID, 0)), "out_of_range"),
        (VoteMessage(Vote(1, 1 << 64, ID, 0)), "out_of_range"),
        (VoteMessage(Vote(1, 1, ID[1:], 0)), "id_length"),
        (VoteMessage(Vote(1, 1, ID, 0, SIGNATURE + b"s")), "too_long"),
        (CertificateResponse(QC(1, 1, ID, 3, (b"\x01",))), "signature_count"),
        (CertificateResponse(QC(1, 1, ID, -1, ())), "out_of_range"),
        (CertificateResponse(QC(1, 1, ID, 1 << 1024, (b"\x01",))), "too_long"),
        (TimeoutCertificateMessage(TC(1, 1, (Timeout(1, 2, 0, ID, 0),))), "mixed_views"),
        (EpochProofMessage(EpochProof(block(), (), QC(1, 1, ID, 0))), "empty_path"),
        (OperationMessage(Operation("steal", 0, 1, 0)), "unknown_kind"),
        (BlocksRequest(ID[1:], 0, 1), "id_length"),
        (Proposal(nested(MAX_BLOCK_DEPTH + 1)), "too_deep"),
        (LateVotes((Vote(1, 1, ID, 0),) * (MAX_ITEMS + 1)), "too_many"),
    ],
)
def test_what_the_format_cannot_say_is_not_sent(message: Message, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        encode(message)
    assert refused.value.reason == reason


def patched(message: Message, old: bytes, new: bytes) -> bytes:
    encoded = encode(message)
    assert encoded.count(old) == 1
    return encoded.replace(old, new)


def test_each_malformed_input_is_refused_with_its_reason() -> None:
    certificate = CertificateResponse(QC(1, 1, ID, 0b11, (b"\x01", b"\x01")))
    request = BlocksRequest(b"", 7, 1)
    assert reason_of(b"") == "truncated"
    assert reason_of(b"\xff") == "unknown_kind"
    # A bitmap with a leading zero byte would be a second encoding of the same signers.
    assert reason_of(patched(certificate, ID + b"\1\3", ID + b"\2\0\3")) == "not_canonical"
    assert reason_of(patched(certificate, ID + b"\1\3", ID + b"\1\7")) == "truncated"
    assert reason_of(patched(certificate, ID + b"\1\3", ID + b"\x81\3")) == "too_long"
    assert reason_of(encode(request)[:1] + b"\2" + encode(request)[2:]) == "not_canonical"
    vote = VoteMessage(Vote(1, 1, ID, 0, b"\x01"))
    assert reason_of(encode(vote)[:-3] + b"\xff\xff\x01") == "too_long"
    late = LateVotes(())
    assert reason_of(encode(late)[:1] + b"\xff\xff\xff\xff") == "too_many"
    evidence = EvidenceMessage(Evidence("double_vote", 0, 1, 1))
    assert reason_of(encode(evidence)[:1] + b"\x09" + encode(evidence)[2:]) == "unknown_kind"


def test_nesting_is_bounded_where_it_is_read() -> None:
    deepest = encode(Proposal(nested(MAX_BLOCK_DEPTH)))
    assert decode(deepest) == Proposal(nested(MAX_BLOCK_DEPTH))
    # Put a block that holds another one where the innermost block stands.
    flat = encode(Proposal(block()))[1:]
    pair = encode(Proposal(nested(2)))[1:]
    cut = deepest.rindex(flat)
    assert reason_of(deepest[:cut] + pair + deepest[cut + len(flat) :]) == "too_deep"


def test_a_decoded_block_has_the_id_of_its_content() -> None:
    honest, other = block(), block(height=4)
    encoded = encode(Proposal(honest))
    height = (3).to_bytes(8, "big")
    changed = encoded.replace(height, (4).to_bytes(8, "big"), 1)
    decoded = decode(changed)
    assert isinstance(decoded, Proposal)
    assert decoded.block.id == other.id != honest.id


# -- sizes ------------------------------------------------------------------------------------


def quorum_of(count: int) -> QC:
    return QC(7, 9, ID, (1 << count) - 1, (SIGNATURE,) * count)


def timeouts_of(count: int) -> TC:
    return TC(7, 9, tuple(Timeout(7, 9, 8, ID, who, SIGNATURE) for who in range(count)))


BIG = block(
    justify=quorum_of(101),
    tc=timeouts_of(101),
    payload=tuple(PayloadRef(0, i, i, 100) for i in range(300)),
    operations=(Operation("top_up", 3, 10, 0, SIGNATURE),) * 5,
    attendance=(Vote(7, 9, ID, 4, SIGNATURE),) * 20,
    signature=SIGNATURE,
)
PAIR = (Vote(7, 9, ID, 0, SIGNATURE), Vote(7, 9, bytes(32), 0, SIGNATURE))


@pytest.mark.parametrize(
    "message",
    [
        Proposal(BIG),
        VoteMessage(PAIR[0]),
        TimeoutMessage(Timeout(7, 9, 8, ID, 0, SIGNATURE)),
        TimeoutCertificateMessage(timeouts_of(101)),
        CertificateResponse(quorum_of(101)),
        EpochProofMessage(EpochProof(BIG, (BIG, BIG), quorum_of(113))),
        LateVotes(PAIR),
        EvidenceMessage(Evidence("double_vote", 0, 7, 9, PAIR)),
        OperationMessage(Operation("unbond", 3, 10, 0, SIGNATURE)),
        BlocksResponse((BIG, BIG), None, quorum_of(101)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_the_simulator_charges_what_the_codec_writes(message: Message) -> None:
    """Within 1 %: two bytes of length a signature are all that the model leaves out of note."""
    written = LENGTH_BYTES + len(encode(message))
    charged = wire_size_bytes(message, SIGNATURE_BYTES)
    assert abs(written - charged) * 100 <= charged


def test_a_request_is_charged_its_frame() -> None:
    request = BlocksRequest(ID, 1, 2)
    written = LENGTH_BYTES + len(encode(request))
    assert written <= wire_size_bytes(request, SIGNATURE_BYTES) <= written + FRAME_BYTES
