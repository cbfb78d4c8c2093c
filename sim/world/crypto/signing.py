"""Sign and verify at the edge: what a validator's driver does with keys that the core never sees.

Owns who may sign what. `modelled`: statements carry a mark instead of a signature, and what an
owned validator sends is checked against the statements that were truly made, so that an attack
cannot forge. `real`: every own statement is signed and every distinct signature is verified.
"""

from __future__ import annotations

from functools import partial

from sim.protocol.baselines import messages as baseline
from sim.protocol.baselines.messages import BALLOTS, DECLARED
from sim.protocol.messages import (
    Message,
    OperationMessage,
    Proposal,
    TimeoutMessage,
    VoteMessage,
    signed_statements,
    with_signatures,
)
from sim.protocol.types import Operation, Vote
from sim.world.crypto.signer import Signer

MARK = b"\x01"
"""Stands for a signature when signatures are modelled."""
STATEMENTS_KEPT = 1 << 20
_OF_BASELINES = (*BALLOTS, *DECLARED)


class Edge:
    """Signing and verification of all validators of a run.

    `signer` is None when signatures are modelled. `owned`: bitmap of validators that an adversary
    owns; statements are noted only where somebody might claim them falsely, the last `kept` of
    them: what an owned validator sends of older ones does not verify.
    """

    def __init__(self, signer: Signer | None, owned: int, *, kept: int = STATEMENTS_KEPT) -> None:
        self._signer = signer
        self._owned = owned
        self._kept = kept
        self._made: dict[tuple[int, bytes], None] = {}

    def owes(self, me: int, message: Message) -> bool:
        """Tell whether `message` carries an unsigned statement of validator `me`."""
        if type(message) is VoteMessage:
            return message.vote.voter == me and not message.vote.signature
        if type(message) is TimeoutMessage:
            return message.timeout.signer == me and not message.timeout.signature
        if type(message) is Proposal:
            return message.block.proposer == me and not message.block.signature
        return isinstance(message, _OF_BASELINES) and baseline.owes(message, me)

    def sign(self, me: int, message: Message) -> Message:
        """Return `message` with the own statement of `me` signed."""
        if self._signer is not None:
            return with_signatures(message, me, partial(self._signer.sign, me))
        if self._owned:
            self._note(me, message)
        if type(message) is VoteMessage:
            vote = message.vote
            signed = (vote.epoch, vote.view, vote.block, vote.voter, MARK)
            return tuple.__new__(VoteMessage, (tuple.__new__(Vote, signed),))
        if type(message) is TimeoutMessage:
            return message._replace(timeout=message.timeout._replace(signature=MARK))
        if type(message) is Proposal:
            return Proposal(message.block.signed(MARK))
        if isinstance(message, BALLOTS):
            # All but the mark would only be thrown away: the bytes that a key would sign.
            return message._replace(vote=message.vote._replace(signature=MARK))
        if isinstance(message, DECLARED):
            return message._replace(declaration=message.declaration._replace(signature=MARK))
        return message

    def signed(self, operation: Operation) -> Operation:
        """Return an operation with its validator's signature, as its operator hands it in."""
        me = operation.validator
        message = OperationMessage(operation)
        if self._signer is None:
            if self._owned:
                self._note(me, message)
            return operation._replace(signature=MARK)
        filled = with_signatures(message, me, partial(self._signer.sign, me))
        assert isinstance(filled, OperationMessage)
        return filled.operation

    def _note(self, me: int, message: Message) -> None:
        # Its own statement is the first; what it carries of itself it must have made before.
        signer, statement, _ = signed_statements(message)[0]
        if signer == me:
            self._made[me, statement] = None
        while len(self._made) > self._kept:
            del self._made[next(iter(self._made))]

    def doubts(self, sender: int) -> bool:
        """Tell whether what `sender` sends needs `verify`.

        Modelled signatures of honest senders hold: they send what they made or have verified.
        """
        return self._signer is not None or self._owned >> sender & 1 == 1

    def verify(self, sender: int, message: Message) -> bool:
        """Tell whether every signature that `message` carries holds."""
        if self._signer is not None:
            return self._signer.verify_all(signed_statements(message))
        return all(
            (signer, statement) in self._made for signer, statement, _ in signed_statements(message)
        )
