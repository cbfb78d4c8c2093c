"""When a validator may sign: the vote rule, the timeout rule, and what must be on disk first.

Owns the last voted and last proposed views and the last timeout. Everything that leaves with this
validator's signature passes here. Must not know collectors, timers, the ledger.

Source: Gelashvili et al., "Jolteon and Ditto", arXiv:2106.10362, figure 2; DiemBFT v4, section 3.
"""

from __future__ import annotations

from sim.protocol.effects import PersistentState
from sim.protocol.evidence import vote_rule
from sim.protocol.types import QC, Block, Timeout, ValidatorId, Vote

_new = tuple.__new__


class SafetyRules:
    """Sign votes, timeouts and proposals of one epoch, each view at most once."""

    __slots__ = ("_epoch", "_me", "last_proposed_view", "last_timeout", "last_voted_view")

    def __init__(self, me: ValidatorId, epoch: int) -> None:
        self._me = me
        self.open(epoch)

    def open(self, epoch: int) -> None:
        """Start over in a new epoch, where views begin at 1 again."""
        self._epoch = epoch
        self.last_voted_view = 0
        self.last_proposed_view = 0
        self.last_timeout: Timeout | None = None

    def restore(self, state: PersistentState) -> None:
        """Take up what was on disk; views of another epoch bind nothing here."""
        self.open(self._epoch)
        if state.epoch == self._epoch:
            self.last_voted_view = state.last_voted_view
            self.last_proposed_view = state.last_proposed_view
            self.last_timeout = state.last_timeout

    def state(self, high_qc: QC) -> PersistentState:
        # Without the constructor of a named tuple: a vote is cast n times a view.
        voted, proposed = self.last_voted_view, self.last_proposed_view
        return _new(PersistentState, (self._epoch, voted, proposed, high_qc, self.last_timeout))

    def refusal(self, block: Block) -> str | None:
        """Say why `block` gets no vote: voted_or_timed_out, or what the TC rule says."""
        if block.view <= self.last_voted_view:
            return "voted_or_timed_out"
        return vote_rule(block)

    def vote(self, block: Block) -> Vote:
        """Spend this view's vote on `block`. Errors: ValueError when `refusal` gives a reason."""
        reason = self.refusal(block)
        if reason is not None:
            raise ValueError(f"no vote in view {block.view}: {reason}")
        self.last_voted_view = block.view
        return _new(Vote, (block.epoch, block.view, block.id, self._me, b""))

    def timeout(self, view: int, high_qc: QC) -> Timeout:
        """Give up on `view`: no vote at or below it any more. Said again, it says the same."""
        if self.last_timeout is None or self.last_timeout.view < view:
            self.last_timeout = Timeout(self._epoch, view, high_qc.view, high_qc.block, self._me)
        self.last_voted_view = max(self.last_voted_view, view)
        return self.last_timeout

    def may_propose(self, view: int) -> bool:
        return view > self.last_proposed_view

    def propose(self, view: int) -> None:
        """Spend this view's proposal."""
        self.last_proposed_view = max(self.last_proposed_view, view)
