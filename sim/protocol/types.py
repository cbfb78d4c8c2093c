"""Values all protocol modules share: identities, statements, certificates, blocks, parameters.

Owns: the shapes and the canonical bytes of what validators sign and hash.
Must not know: keys, clocks, chance, transport. Standard library only; integers only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

ValidatorId: TypeAlias = int
"""Index into the registry of identities; never reused. Bit `i` of a bitmap is validator `i`."""

BlockId: TypeAlias = bytes
"""32 bytes: SHA-256 of a block's canonical bytes; signatures are not part of them."""

WEIGHT_UNIT = 10**9
"""Weights are floor(WEIGHT_UNIT x share)."""


_NUMBERS: dict[int, bytes] = {}
_NUMBERS_KEPT = 1 << 16
"""Encodings of integers are remembered: states are mostly tuples of the same few thousand."""


def canonical(*parts: object) -> bytes:
    """Encode nested tuples of int, bytes, str, None unambiguously (tag, length, content)."""
    return _encode(parts)


def _encode(value: object) -> bytes:
    kind = type(value)
    if kind is int:
        known = _NUMBERS.get(value)  # type: ignore[call-overload]
        return known if known is not None else _encode_number(value)  # type: ignore[arg-type]
    if kind is bytes:
        return b"b" + len(value).to_bytes(4, "big") + value  # type: ignore[arg-type, operator]
    if isinstance(value, tuple):
        parts = [_NUMBERS.get(v) or _encode(v) for v in value]
        return b"t" + len(value).to_bytes(4, "big") + b"".join(parts)
    if value is None:
        return b"n"
    if kind is str:
        text = value.encode()  # type: ignore[attr-defined]
        return b"s" + len(text).to_bytes(4, "big") + text  # type: ignore[no-any-return]
    if isinstance(value, int):
        return _encode(int(value))
    raise TypeError(f"no canonical bytes for {kind.__name__}")


def _encode_number(value: int) -> bytes:
    body = value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True)
    encoded = b"i" + len(body).to_bytes(4, "big") + body
    if len(_NUMBERS) < _NUMBERS_KEPT:
        _NUMBERS[value] = encoded
    return encoded


def digest(*parts: object) -> bytes:
    """SHA-256 over canonical bytes (32 bytes)."""
    return hashlib.sha256(canonical(*parts)).digest()


class PayloadRef(NamedTuple):
    """An opaque range of agent transactions, `first` to `last` inclusive, of one gateway."""

    gateway: int
    first: int
    last: int
    size_bytes: int

    @property
    def tx_count(self) -> int:
        return self.last - self.first + 1


class CertificateRef(NamedTuple):
    """Name a certificate without its signatures: (epoch, view, block)."""

    epoch: int
    view: int
    block: BlockId


class Vote(NamedTuple):
    """One validator's signed vote. The signature covers (epoch, view, block)."""

    epoch: int
    view: int
    block: BlockId
    voter: ValidatorId
    signature: bytes = b""

    def signed_bytes(self) -> bytes:
        return canonical("vote", self.epoch, self.view, self.block)


class QC(NamedTuple):
    """Quorum certificate: the bitmap of signers and, in ascending signer order, their signatures.

    A root certificate (epoch e, view 0, signers 0) stands for the epoch proof that made its
    block the root of epoch e; it is valid only for who holds that proof.
    """

    epoch: int
    view: int
    block: BlockId
    signers: int
    signatures: tuple[bytes, ...] = ()

    @property
    def ref(self) -> CertificateRef:
        return CertificateRef(self.epoch, self.view, self.block)

    def id(self) -> bytes:
        """Identity over (epoch, view, block, bitmap): never over signature bytes."""
        return digest("qc", self.epoch, self.view, self.block, self.signers)


class Timeout(NamedTuple):
    """One validator's signed timeout. Covers (epoch, view, high_qc view, high_qc block)."""

    epoch: int
    view: int
    high_qc_view: int
    high_qc_block: BlockId
    signer: ValidatorId
    signature: bytes = b""

    def signed_bytes(self) -> bytes:
        return canonical("timeout", self.epoch, self.view, self.high_qc_view, self.high_qc_block)


@dataclass(frozen=True, slots=True)
class TC:
    """Timeout certificate: each signer's own statement is kept, so offences stay provable."""

    epoch: int
    view: int
    timeouts: tuple[Timeout, ...]
    """In ascending signer order."""
    high_qc_view: int = field(init=False, compare=False)
    """The highest that a signer reports; -1 without signers."""

    def __post_init__(self) -> None:
        highest = max((t.high_qc_view for t in self.timeouts), default=-1)
        object.__setattr__(self, "high_qc_view", highest)

    def id(self) -> bytes:
        return digest("tc", self.epoch, self.view, tuple(tuple(t[:5]) for t in self.timeouts))


class Operation(NamedTuple):
    """A validator operation, the only kind of transaction that changes the ledger.

    `kind`: register | top_up | unbond | unjail. `amount` in stake units (0 where it has none).
    `nonce` makes each operation of a validator apply once.
    """

    kind: str
    validator: ValidatorId
    amount: int
    nonce: int
    signature: bytes = b""

    def signed_bytes(self) -> bytes:
        return canonical("operation", self.kind, self.validator, self.amount, self.nonce)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two signed statements (and the blocks they speak of) that convict `offender`.

    `kind`: double_vote | double_proposal | stale_timeout | tc_rule.
    double_vote: `votes` are two votes of one view. double_proposal: `blocks` are two blocks of
    one view by one proposer. stale_timeout: `votes[0]` for `blocks[0]`, and `timeout` of a view
    >= the vote's whose high QC is below the block's justification. tc_rule: `votes[0]` for
    `blocks[0]`, whose justification is below the highest QC of its own TC (or that lacks a TC).
    """

    kind: str
    offender: ValidatorId
    epoch: int
    view: int
    votes: tuple[Vote, ...] = ()
    blocks: tuple[Block, ...] = ()
    timeout: Timeout | None = None

    def key(self) -> tuple[str, int, int, int]:
        """One offence counts once: (kind, offender, epoch, view)."""
        return (self.kind, self.offender, self.epoch, self.view)


@dataclass(frozen=True, slots=True)
class Block:
    """A proposal's content. `id` is computed here, so a block cannot claim another's id."""

    epoch: int
    view: int
    height: int
    proposer: ValidatorId
    parent: BlockId
    justify: QC
    tc: TC | None = None
    payload: tuple[PayloadRef, ...] = ()
    operations: tuple[Operation, ...] = ()
    attendance: tuple[Vote, ...] = ()
    """Late votes credited by this block; each carries its signature (its bytes are charged)."""
    evidence: tuple[Evidence, ...] = ()
    signature: bytes = field(default=b"", compare=False)
    """The proposer's, over the id; set at the edge, never part of the id."""
    id: BlockId = field(init=False)

    def __post_init__(self) -> None:
        content = (
            self.epoch,
            self.view,
            self.height,
            self.proposer,
            self.parent,
            self.justify.id(),
            None if self.tc is None else self.tc.id(),
            tuple(tuple(ref) for ref in self.payload),
            tuple(tuple(op[:4]) for op in self.operations),
            tuple(tuple(vote[:4]) for vote in self.attendance),
            tuple(e.key() for e in self.evidence),
        )
        object.__setattr__(self, "id", digest("block", content))

    def signed_bytes(self) -> bytes:
        return canonical("block", self.id)

    def signed(self, signature: bytes) -> Block:
        """Copy the block with its proposer's signature."""
        signed = Block.__new__(Block)
        # Field by field, for the digest is the same: `replace` would make it once more.
        for name in _FIELDS:
            object.__setattr__(signed, name, getattr(self, name))
        object.__setattr__(signed, "signature", signature)
        return signed


_FIELDS = tuple(each.name for each in fields(Block))


class WeightTable(NamedTuple):
    """Integer weights by validator index (0 for who has no vote) and their sum W."""

    weights: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True)
class EpochParameters:
    """What one epoch pins: every certificate of the epoch is judged by these and nothing else."""

    epoch: int
    root: BlockId
    root_height: int
    weights: WeightTable
    level: int
    """0, 1, 2: index into adaptive_quorum.LEVELS (67 %, 75 %, 82 %)."""
    quorum: int
    """Least weight of a certificate: ceil(q W)."""
    join: int
    """Timeout weight above which others join: W - quorum."""
    beacon: bytes
    """Committed block id that seeds leader choice and broadcast order."""
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Pure functions of this value, remembered (leaders, verdicts): sharing cannot matter."""


class EpochProof(NamedTuple):
    """Why a block is an epoch's root: a 2-chain of the old epoch's certificates at or above it.

    `path` leads from the root's child up to the 2-chain's child. Its last block is one view above
    its parent (the root itself where `path` has one block) and its `justify` certifies that
    parent; `qc` certifies the last block. Tail blocks in between are there for their hash links.
    """

    root: Block
    path: tuple[Block, ...]
    qc: QC
