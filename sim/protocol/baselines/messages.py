"""What the baselines send beyond proposals, votes and timeouts.

Values only, as in `sim.protocol.messages`. A vote of another phase than its protocol's first is a
vote on the phase's own digest of the block (`phase`), so that no statement counts in two phases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from sim.protocol.types import QC, Block, BlockId, ValidatorId, Vote, canonical, digest


def phase(name: str, block: BlockId) -> BlockId:
    """Return what a vote of phase `name` is cast on: 32 bytes that no other phase shares."""
    return digest("phase", name, block)


class Declaration(NamedTuple):
    """A signature over the digest of what a message says; the message holds the content."""

    signer: ValidatorId
    said: bytes
    signature: bytes = b""

    def signed_bytes(self) -> bytes:
        return canonical("declaration", self.said)


class PrepareMessage(NamedTuple):
    """PBFT: a backup holds the primary's proposal. The vote is on the block itself."""

    vote: Vote


class CommitMessage(NamedTuple):
    """PBFT: a replica holds a prepared certificate. The vote is on phase `commit`."""

    vote: Vote


class CheckpointMessage(NamedTuple):
    """PBFT: a replica has executed up to a sequence number. The vote is on phase `checkpoint`."""

    vote: Vote


class PrevoteMessage(NamedTuple):
    """Tendermint's first vote of a round, on phase `prevote`; on b"" for nil."""

    vote: Vote


class PrecommitMessage(NamedTuple):
    """Tendermint's second vote of a round, on the block itself; on b"" for nil."""

    vote: Vote


class HighQcMessage(NamedTuple):
    """HotStuff's new-view: its sender enters `view` and knows no higher certificate."""

    view: int
    justify: QC


class Prepared(NamedTuple):
    """PBFT: a block and the votes that prepared it, in the view of the certificate."""

    block: Block
    qc: QC


class ViewChangeMessage(NamedTuple):
    """PBFT: give up on all views below `view`.

    `stable`: sequence number of the last stable checkpoint, at `block`, proved by `proof` (None at
    0): votes of phase `checkpoint`, or of phase `commit` where it was fetched. `prepared`: what is
    prepared above it, ascending, without gap.
    """

    declaration: Declaration
    view: int
    stable: int
    block: BlockId
    proof: QC | None
    prepared: tuple[Prepared, ...]

    def content(self) -> bytes:
        """Digest what the declaration has to be about."""
        proved = None if self.proof is None else self.proof.id()
        held = tuple((entry.block.id, entry.qc.id()) for entry in self.prepared)
        return digest("view_change", self.view, self.stable, self.block, proved, held)


class NewViewMessage(NamedTuple):
    """PBFT: the primary of `view` names the view changes (signer, digest) that it starts from.

    What is proposed again follows from them, so it is not repeated.
    """

    declaration: Declaration
    view: int
    changes: tuple[tuple[ValidatorId, bytes], ...]

    def content(self) -> bytes:
        """Digest what the declaration has to be about."""
        return digest("new_view", self.view, self.changes)


class ViewChangeRequest(NamedTuple):
    """PBFT: ask the primary of `view` for the view changes of `signers` that did not come."""

    view: int
    signers: tuple[ValidatorId, ...]


class ReproposalMessage(NamedTuple):
    """Tendermint: propose, in a later round, a block that had a quorum of prevotes in `polka`."""

    declaration: Declaration
    block: Block
    round: int
    polka: QC

    def content(self) -> bytes:
        """Digest what the declaration has to be about."""
        said = (self.block.epoch, self.round, self.polka.view, self.block.id)
        return digest("reproposal", *said)


Ballot: TypeAlias = (
    PrepareMessage | CommitMessage | CheckpointMessage | PrevoteMessage | PrecommitMessage
)
"""Messages that are one vote and nothing else: all of a kind have one size."""

Declared: TypeAlias = ViewChangeMessage | NewViewMessage | ReproposalMessage
"""Messages whose sender signs a digest of their content."""

BaselineMessage: TypeAlias = Ballot | Declared | HighQcMessage | ViewChangeRequest

BALLOTS = (PrepareMessage, CommitMessage, CheckpointMessage, PrevoteMessage, PrecommitMessage)
DECLARED = (ViewChangeMessage, NewViewMessage, ReproposalMessage)


def owes(message: Any, me: ValidatorId) -> bool:
    """Tell whether a vote or a declared message is an unsigned statement of validator `me`."""
    if isinstance(message, DECLARED):
        return message.declaration.signer == me and not message.declaration.signature
    vote: Vote = message.vote
    return vote.voter == me and not vote.signature


def signed_by(message: Any, me: ValidatorId, sign: Callable[[bytes], bytes]) -> Any:
    """Fill in what `me` owes, where it is not signed yet; else no change."""
    if not owes(message, me):
        return message
    if isinstance(message, DECLARED):
        said = message.declaration
        return message._replace(declaration=said._replace(signature=sign(said.signed_bytes())))
    vote: Vote = message.vote
    return message._replace(vote=vote._replace(signature=sign(vote.signed_bytes())))
