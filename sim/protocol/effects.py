"""What a validator asks of its driver, in order, and what it lets observers see.

Their order is part of the contract: a Persist takes effect before any effect after it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from sim.protocol.messages import Message
from sim.protocol.types import QC, TC, BlockId, Evidence, PayloadRef, Timeout, ValidatorId


class PersistentState(NamedTuple):
    """What must survive a crash before a vote, timeout or proposal leaves.

    The block store is durable of itself: a validator that restarts still holds its blocks.
    """

    epoch: int
    last_voted_view: int
    last_proposed_view: int
    high_qc: QC
    last_timeout: Timeout | None


class Send(NamedTuple):
    """To one validator (may be oneself: the driver signs and loops it back).

    A message that one `handle` both sends and broadcasts is the same object: sign it once.
    """

    to: ValidatorId
    message: Message


class Broadcast(NamedTuple):
    """To every other member of the epoch, in keyed-permutation order or by tree or gossip.

    The epoch is that of this validator's last EpochChanged before this effect.
    """

    message: Message


class SetTimer(NamedTuple):
    timer_id: tuple[int, int, str]
    delay_ns: int


class Persist(NamedTuple):
    state: PersistentState


class RequestPayload(NamedTuple):
    """Ask the driver for payload.

    `refs` empty: a leader asks which references have arrived since it last asked; the driver
    answers at once with PayloadReady. `refs` given: a voter asks to be told when it holds all of
    them (at once where it does); the driver pulls what is missing.
    """

    refs: tuple[PayloadRef, ...]
    request_id: int


class RequestBlocks(NamedTuple):
    """Fetch `wanted` and its ancestors from `peer`; the answer comes as BlocksReceived."""

    peer: ValidatorId
    wanted: BlockId
    above_height: int
    epoch: int


class Certified(NamedTuple):
    """A collector formed a certificate."""

    qc: QC
    weight: int


class TimeoutCertified(NamedTuple):
    """A validator formed a timeout certificate."""

    tc: TC
    weight: int


class Committed(NamedTuple):
    """A block became final here, in chain order. `orphaned` never holds committed refs."""

    block: BlockId
    epoch: int
    view: int
    height: int
    state: bytes
    """Digest of the ledger after this block."""


class ViewChanged(NamedTuple):
    epoch: int
    view: int
    reason: str
    """certificate | timeout (by a TC) | sync (joined timeouts of a view ahead) | epoch |
    join (HotStuff: by its own vote)."""


class EpochChanged(NamedTuple):
    """A new epoch's pinned parameters, as this validator derived them."""

    epoch: int
    root: BlockId
    quorum: int
    total_weight: int
    weights_digest: bytes
    level: int


class LevelChanged(NamedTuple):
    epoch: int
    old: int
    new: int
    reason: str


class Forked(NamedTuple):
    """Two branches now share `parent`. `kind`: equivocation | view_change | partition |
    amnesia | finality."""

    kind: str
    parent: BlockId
    branches: tuple[BlockId, ...]


class Reconciled(NamedTuple):
    depth: int
    orphaned: tuple[BlockId, ...]
    returned: tuple[PayloadRef, ...]


class Accused(NamedTuple):
    evidence: Evidence


class NoVote(NamedTuple):
    epoch: int
    view: int
    block: BlockId
    reason: str


class Rejected(NamedTuple):
    """A message or a part of it that had no effect, and why."""

    sender: ValidatorId
    what: str
    reason: str


class Dropped(NamedTuple):
    """A bounded queue overflowed. `refs` count as untold: the driver may offer them again."""

    queue: str
    dropped: int
    reason: str
    refs: tuple[PayloadRef, ...] = ()


Observation: TypeAlias = (
    Certified
    | TimeoutCertified
    | Committed
    | ViewChanged
    | EpochChanged
    | LevelChanged
    | Forked
    | Reconciled
    | Accused
    | NoVote
    | Rejected
    | Dropped
)

Effect: TypeAlias = (
    Send | Broadcast | SetTimer | Persist | RequestPayload | RequestBlocks | Observation
)
