"""Messages as bytes: one encoding a message, and every other input refused with a reason.

Owns the format and its bounds. Must not know sockets, or what messages mean: a decoded message is
well-formed (the edge can list its signatures, the core can judge it), not true. Block ids are never
read: they are computed again. Numbers are unsigned and big-endian, whatever varies in length says
its length first, and nothing has two encodings, so that equal messages are equal bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from sim.protocol.effects import PersistentState
from sim.protocol.evidence import KINDS as OFFENCES
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
from sim.world.crypto.suites import SIGNATURE_BYTES

OPERATIONS = ("register", "top_up", "unbond", "unjail")
"""The kinds of sim.protocol.types.Operation, in the order of their codes."""
MAX_ITEMS = 65_536
"""Of any list in a message; what a list may hold in a block is for the core."""
MAX_BITMAP_BYTES = 128
"""1,024 identities."""
MAX_BLOCK_DEPTH = 8
"""Evidence carries blocks, and blocks carry evidence: how deep that may go."""
_ID_BYTES = 32


class Refused(ValueError):
    """Input that is no message, or a message that cannot be sent. `reason` is one word.

    truncated | trailing | unknown_kind | out_of_range | too_long | too_many | too_deep |
    not_canonical | signature_count | id_length | empty_path | mixed_views; and from sockets:
    too_large | empty | wrong_greeting | forged_greeting | crowded.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Source:
    """Bytes that are read once, from front to back."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; refuse when there are fewer."""
        end = self._at + count
        if end > len(self._data):
            raise Refused("truncated")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, width_bytes: int) -> int:
        return int.from_bytes(self.take(width_bytes), "big")

    def finish(self) -> None:
        """Refuse what is left over."""
        if self._at != len(self._data):
            raise Refused("trailing")


class Shape(NamedTuple):
    """How one kind of value is written and read; `depth` counts the blocks around it."""

    write: Callable[[Any, bytearray, int], None]
    read: Callable[[Source, int], Any]


def number(width_bytes: int) -> Shape:
    def write(value: int, out: bytearray, depth: int) -> None:
        try:
            out += value.to_bytes(width_bytes, "big")
        except OverflowError:
            raise Refused("out_of_range") from None

    return Shape(write, lambda source, depth: source.number(width_bytes))


def exactly(count: int) -> Shape:
    def write(value: bytes, out: bytearray, depth: int) -> None:
        if len(value) != count:
            raise Refused("id_length")
        out += value

    return Shape(write, lambda source, depth: source.take(count))


def at_most(limit: int, width_bytes: int) -> Shape:
    """Bytes of any length up to `limit`, the length in front."""

    def write(value: bytes, out: bytearray, depth: int) -> None:
        if len(value) > limit:
            raise Refused("too_long")
        out += len(value).to_bytes(width_bytes, "big") + value

    def read(source: Source, depth: int) -> bytes:
        length = source.number(width_bytes)
        if length > limit:
            raise Refused("too_long")
        return source.take(length)

    return Shape(write, read)


def one_of(names: tuple[str, ...]) -> Shape:
    """A name, as its place in `names`."""

    def write(value: str, out: bytearray, depth: int) -> None:
        if value not in names:
            raise Refused("unknown_kind")
        out.append(names.index(value))

    def read(source: Source, depth: int) -> str:
        place = source.number(1)
        if place >= len(names):
            raise Refused("unknown_kind")
        return names[place]

    return Shape(write, read)


def optional(shape: Shape, nothing: Any = None) -> Shape:
    """`nothing` as 0, anything else as 1 and its own encoding."""

    def write(value: Any, out: bytearray, depth: int) -> None:
        out.append(value != nothing)
        if value != nothing:
            shape.write(value, out, depth)

    def read(source: Source, depth: int) -> Any:
        flag = source.number(1)
        if flag > 1:
            raise Refused("not_canonical")
        return shape.read(source, depth) if flag else nothing

    return Shape(write, read)


def many(shape: Shape) -> Shape:
    """A tuple, its length in front."""

    def write(value: tuple[Any, ...], out: bytearray, depth: int) -> None:
        if len(value) > MAX_ITEMS:
            raise Refused("too_many")
        out += len(value).to_bytes(4, "big")
        for item in value:
            shape.write(item, out, depth)

    def read(source: Source, depth: int) -> tuple[Any, ...]:
        count = source.number(4)
        if count > MAX_ITEMS:
            raise Refused("too_many")
        return tuple([shape.read(source, depth) for _ in range(count)])

    return Shape(write, read)


def record(make: Callable[..., Any], **fields: Shape) -> Shape:
    """The named fields in the order given; no names, no length.

    Errors: TypeError unless these are all the fields that `make` takes: one with a default would
    be lost on the wire without a word.
    """
    taken = tuple(inspect.signature(make).parameters)
    if sorted(taken) != sorted(fields):
        raise TypeError(f"{make.__name__} takes {', '.join(taken)}, not {', '.join(fields)}")

    def write(value: Any, out: bytearray, depth: int) -> None:
        for name, shape in fields.items():
            shape.write(getattr(value, name), out, depth)

    def read(source: Source, depth: int) -> Any:
        return make(**{name: shape.read(source, depth) for name, shape in fields.items()})

    return Shape(write, read)


NUMBER = number(8)
ID = exactly(_ID_BYTES)
SIGNATURE = at_most(SIGNATURE_BYTES, 2)
"""Empty or a mark when signatures are modelled."""


def _write_bitmap(value: int, out: bytearray, depth: int) -> None:
    if value < 0:
        raise Refused("out_of_range")
    length = (value.bit_length() + 7) // 8
    if length > MAX_BITMAP_BYTES:
        raise Refused("too_long")
    out.append(length)
    out += value.to_bytes(length, "big")


def _read_bitmap(source: Source, depth: int) -> int:
    length = source.number(1)
    if length > MAX_BITMAP_BYTES:
        raise Refused("too_long")
    body = source.take(length)
    if body[:1] == b"\0":
        raise Refused("not_canonical")
    return int.from_bytes(body, "big")


def _write_qc(qc: QC, out: bytearray, depth: int) -> None:
    NUMBER.write(qc.epoch, out, depth)
    NUMBER.write(qc.view, out, depth)
    ID.write(qc.block, out, depth)
    _write_bitmap(qc.signers, out, depth)
    if len(qc.signatures) != qc.signers.bit_count():
        raise Refused("signature_count")
    for signature in qc.signatures:
        SIGNATURE.write(signature, out, depth)


def _read_qc(source: Source, depth: int) -> QC:
    epoch, view, block = source.number(8), source.number(8), source.take(_ID_BYTES)
    signers = _read_bitmap(source, depth)
    signatures = [SIGNATURE.read(source, depth) for _ in range(signers.bit_count())]
    return QC(epoch, view, block, signers, tuple(signatures))


def _write_tc(tc: TC, out: bytearray, depth: int) -> None:
    """Epoch and view are said once: timeouts of others do not make a certificate."""
    place = (tc.epoch, tc.view)
    if any((timeout.epoch, timeout.view) != place for timeout in tc.timeouts):
        raise Refused("mixed_views")
    NUMBER.write(tc.epoch, out, depth)
    NUMBER.write(tc.view, out, depth)
    _SAID.write(tuple(timeout[2:] for timeout in tc.timeouts), out, depth)


def _read_tc(source: Source, depth: int) -> TC:
    epoch, view = source.number(8), source.number(8)
    return TC(epoch, view, tuple(Timeout(epoch, view, *said) for said in _SAID.read(source, depth)))


def _write_said(said: tuple[int, bytes, int, bytes], out: bytearray, depth: int) -> None:
    for shape, value in zip(_SAID_FIELDS, said, strict=True):
        shape.write(value, out, depth)


_SAID_FIELDS = (NUMBER, ID, NUMBER, SIGNATURE)
_SAID = many(
    Shape(_write_said, lambda source, depth: tuple([s.read(source, depth) for s in _SAID_FIELDS]))
)
"""Of a timeout in a certificate: high QC's view and block, signer, signature."""

VOTE = record(Vote, epoch=NUMBER, view=NUMBER, block=ID, voter=NUMBER, signature=SIGNATURE)
TIMEOUT = record(
    Timeout,
    epoch=NUMBER,
    view=NUMBER,
    high_qc_view=NUMBER,
    high_qc_block=ID,
    signer=NUMBER,
    signature=SIGNATURE,
)
CERTIFICATE = Shape(_write_qc, _read_qc)
TIMEOUT_CERTIFICATE = Shape(_write_tc, _read_tc)
OPERATION = record(
    Operation,
    kind=one_of(OPERATIONS),
    validator=NUMBER,
    amount=NUMBER,
    nonce=NUMBER,
    signature=SIGNATURE,
)
REFERENCE = record(PayloadRef, gateway=NUMBER, first=NUMBER, last=NUMBER, size_bytes=NUMBER)


def _write_block(block: Block, out: bytearray, depth: int) -> None:
    if depth >= MAX_BLOCK_DEPTH:
        raise Refused("too_deep")
    _BLOCK_FIELDS.write(block, out, depth + 1)


def _read_block(source: Source, depth: int) -> Any:
    if depth >= MAX_BLOCK_DEPTH:
        raise Refused("too_deep")
    return _BLOCK_FIELDS.read(source, depth + 1)


BLOCK = Shape(_write_block, _read_block)
EVIDENCE = record(
    Evidence,
    kind=one_of(OFFENCES),
    offender=NUMBER,
    epoch=NUMBER,
    view=NUMBER,
    votes=many(VOTE),
    blocks=many(BLOCK),
    timeout=optional(TIMEOUT),
)
_BLOCK_FIELDS = record(
    Block,
    epoch=NUMBER,
    view=NUMBER,
    height=NUMBER,
    proposer=NUMBER,
    parent=ID,
    signature=SIGNATURE,
    justify=CERTIFICATE,
    tc=optional(TIMEOUT_CERTIFICATE),
    payload=many(REFERENCE),
    operations=many(OPERATION),
    attendance=many(VOTE),
    evidence=many(EVIDENCE),
)
_PATH = many(BLOCK)


def _write_path(path: tuple[Block, ...], out: bytearray, depth: int) -> None:
    if not path:
        raise Refused("empty_path")
    _PATH.write(path, out, depth)


def _read_path(source: Source, depth: int) -> Any:
    path = _PATH.read(source, depth)
    if not path:
        raise Refused("empty_path")
    return path


PROOF = record(EpochProof, root=BLOCK, path=Shape(_write_path, _read_path), qc=CERTIFICATE)
STATE = record(
    PersistentState,
    epoch=NUMBER,
    last_voted_view=NUMBER,
    last_proposed_view=NUMBER,
    high_qc=CERTIFICATE,
    last_timeout=optional(TIMEOUT),
)
_REFERENCE_TO_QC = record(CertificateRef, epoch=NUMBER, view=NUMBER, block=ID)

_Entry: TypeAlias = tuple[type, Shape]
_MESSAGES: tuple[_Entry, ...] = (
    (Proposal, record(Proposal, block=BLOCK)),
    (VoteMessage, record(VoteMessage, vote=VOTE)),
    (TimeoutMessage, record(TimeoutMessage, timeout=TIMEOUT)),
    (
        TimeoutCertificateMessage,
        record(TimeoutCertificateMessage, tc=TIMEOUT_CERTIFICATE),
    ),
    (CertificateRequest, record(CertificateRequest, ref=_REFERENCE_TO_QC)),
    (CertificateResponse, record(CertificateResponse, certificate=CERTIFICATE)),
    (EpochProofMessage, record(EpochProofMessage, proof=PROOF)),
    (LateVotes, record(LateVotes, votes=many(VOTE))),
    (EvidenceMessage, record(EvidenceMessage, evidence=EVIDENCE)),
    (OperationMessage, record(OperationMessage, operation=OPERATION)),
    (
        BlocksRequest,
        record(BlocksRequest, wanted=optional(ID, b""), above_height=NUMBER, epoch=NUMBER),
    ),
    (
        BlocksResponse,
        record(
            BlocksResponse,
            blocks=many(BLOCK),
            proof=optional(PROOF),
            certificate=optional(CERTIFICATE),
        ),
    ),
)
"""A message's kind on the wire is its place here."""
_CODES = {kind: code for code, (kind, _) in enumerate(_MESSAGES)}


def encode(message: Message) -> bytes:
    """Write a message. Errors: Refused when it holds what the format cannot say."""
    code = _CODES[type(message)]
    out = bytearray((code,))
    _MESSAGES[code][1].write(message, out, 0)
    return bytes(out)


def decode(data: bytes) -> Message:
    """Read a message; `encode(decode(data)) == data`. Errors: Refused for anything else."""
    source = Source(data)
    code = source.number(1)
    if code >= len(_MESSAGES):
        raise Refused("unknown_kind")
    message: Message = _MESSAGES[code][1].read(source, 0)
    source.finish()
    return message


def encode_state(state: PersistentState) -> bytes:
    """Write what must survive a crash."""
    out = bytearray()
    STATE.write(state, out, 0)
    return bytes(out)


def decode_state(data: bytes) -> PersistentState:
    """Read it back. Errors: Refused when the bytes are not such a state."""
    source = Source(data)
    state: PersistentState = STATE.read(source, 0)
    source.finish()
    return state
