"""The monitor of what honest validators sign: votes and timeouts, each as it is made.

Owns the rules of voting and of the lock, written down a second time: it judges by statements and
blocks alone, and shares no code with the core that it watches. Must not know the event loop.

Source: Gelashvili et al., "Jolteon and Ditto", arXiv:2106.10362, figure 2; DiemBFT v4, section 3.
"""

from __future__ import annotations

from sim.monitor.base import KEEP, Monitor
from sim.monitor.safety import BlockOf, EpochOf
from sim.protocol.messages import Message, TimeoutMessage, VoteMessage
from sim.protocol.types import TC, Block, BlockId, Timeout, Vote


class _Said:
    """What a validator has signed in its epoch; views are 0 before the first."""

    __slots__ = (
        "epoch",
        "high_qc_view",
        "lock_view",
        "since_ns",
        "spent_view",
        "timed_out_view",
        "voted",
        "voted_view",
    )

    def __init__(self, epoch: int, since_ns: int) -> None:
        self.epoch = epoch
        self.voted_view = 0
        self.voted: BlockId = b""
        """For which it voted last."""
        self.timed_out_view = 0
        self.spent_view = 0
        """No vote is left at or below: the higher of the two views above."""
        self.lock_view = 0
        """Highest view with which a block justifies that it voted for."""
        self.high_qc_view = 0
        """Of its last timeout."""
        self.since_ns = since_ns
        """When it made the last of these statements."""


class VoteSafety(Monitor):
    """Honest validators keep the rules of voting, and their locks.

    A vote of view r: never a second one in a view, never below an earlier vote (`vote_twice`,
    `vote_below_vote`); never at or below a view that the validator gave up (`vote_after_timeout`);
    only for a block that justifies with a certificate of view r - 1, or carries a TC of view r - 1
    of the epoch's quorum and justifies with no less than the highest certificate in it
    (`vote_against_rule`). A timeout: never of a lower view than the one before
    (`timeout_below_timeout`); its high certificate never sinks (`high_qc_sank`), and is at least
    that on which the validator voted (`timeout_below_lock`). Epochs never go back (`past_epoch`).
    Views count in their epoch. A block that nobody knows any more is not judged by its content.
    """

    name = "vote_safety"

    def __init__(
        self,
        honest: int,
        validators: int,
        block_of: BlockOf | None = None,
        epoch_of: EpochOf | None = None,
    ) -> None:
        super().__init__()
        self._block_of = block_of
        self._epoch_of = epoch_of
        self._said = [_Said(0, 0) if honest >> node & 1 else None for node in range(validators)]
        """By validator; None: it may do as it likes."""
        self._judged: dict[BlockId, tuple[str | None, int]] = {}
        """By block: why nobody may vote for it, and the view of its justification."""

    def corrupted(self, node: int) -> None:
        """Let a validator do as it likes from now on."""
        self._said[node] = None

    def stated(self, node: int, now_ns: int, message: Message) -> None:
        """Judge what validator `node` signs now; proposals are others' to judge."""
        said = self._said[node]
        if said is None:
            return
        if type(message) is VoteMessage:
            vote = message.vote
            epoch, view, block, _, _ = vote
            known = self._judged.get(block)
            if known is None or known[0] or view <= said.spent_view or epoch != said.epoch:
                self._voted(node, now_ns, vote)
                return
            # The way of nearly all votes: the first of its view, for a block that was judged.
            said.voted_view = said.spent_view = view
            said.voted = block
            said.since_ns = now_ns
            if known[1] > said.lock_view:
                said.lock_view = known[1]
        elif type(message) is TimeoutMessage:
            self._timed_out(node, now_ns, message.timeout)

    def _in_epoch(self, node: int, now_ns: int, statement: Vote | Timeout) -> _Said | None:
        """Return what the validator said in the statement's epoch; None after an accusation."""
        said = self._said[node]
        assert said is not None, "who may do as it likes is not judged"
        if statement.epoch > said.epoch:
            said = self._said[node] = _Said(statement.epoch, now_ns)
        elif statement.epoch < said.epoch:
            self._accuse(node, now_ns, said, "past_epoch", statement)
            return None
        return said

    def _voted(self, node: int, now_ns: int, vote: Vote) -> None:
        said, view = self._in_epoch(node, now_ns, vote), vote.view
        if said is None:
            return
        reason, justified = self._judgement(vote.block)
        if view == said.voted_view:
            reason = "vote_twice"
        elif view < said.voted_view:
            reason = "vote_below_vote"
        elif view <= said.timed_out_view:
            reason = "vote_after_timeout"
        if reason is not None:
            self._accuse(node, now_ns, said, reason, vote)
        said.voted_view = max(view, said.voted_view)
        said.spent_view = max(view, said.spent_view)
        said.voted = vote.block
        said.lock_view = max(justified, said.lock_view)
        said.since_ns = now_ns

    def _timed_out(self, node: int, now_ns: int, timeout: Timeout) -> None:
        said, reason = self._in_epoch(node, now_ns, timeout), None
        if said is None:
            return
        if timeout.view < said.timed_out_view:
            reason = "timeout_below_timeout"
        elif timeout.high_qc_view < said.high_qc_view:
            reason = "high_qc_sank"
        elif timeout.high_qc_view < said.lock_view and timeout.view >= said.voted_view:
            reason = "timeout_below_lock"
        if reason is not None:
            self._accuse(node, now_ns, said, reason, timeout)
        said.timed_out_view = max(timeout.view, said.timed_out_view)
        said.spent_view = max(timeout.view, said.spent_view)
        said.high_qc_view = max(timeout.high_qc_view, said.high_qc_view)
        said.since_ns = now_ns

    def _judgement(self, block_id: BlockId) -> tuple[str | None, int]:
        """Return why nobody may vote for a block, and on which view it stands; once a block."""
        known = self._judged.get(block_id)
        if known is not None:
            return known
        block = None if self._block_of is None else self._block_of(block_id)
        if block is None:
            return None, 0
        found = "vote_against_rule" if self._breaks_rule(block) else None
        self._judged[block_id] = found, block.justify.view
        if len(self._judged) > KEEP:
            del self._judged[next(iter(self._judged))]
        return self._judged[block_id]

    def _breaks_rule(self, block: Block) -> bool:
        justify, tc = block.justify, block.tc
        if justify.epoch != block.epoch or justify.block != block.parent:
            return True
        if justify.view == block.view - 1:
            return False
        if tc is None or justify.view >= block.view:
            return True
        if (tc.epoch, tc.view) != (block.epoch, block.view - 1) or self._weak(tc):
            return True
        return any(timeout.high_qc_view > justify.view for timeout in tc.timeouts)

    def _weak(self, tc: TC) -> bool:
        """Say whether a TC lacks the quorum of its epoch, signers counted once."""
        parameters = None if self._epoch_of is None else self._epoch_of(tc.epoch)
        if parameters is None:
            return not tc.timeouts
        weights = parameters.weights.weights
        signers = dict.fromkeys(timeout.signer for timeout in tc.timeouts)
        return sum(weights[who] for who in signers if who < len(weights)) < parameters.quorum

    def _accuse(
        self, node: int, now_ns: int, said: _Said, rule: str, statement: Vote | Timeout
    ) -> None:
        self._fire(
            node,
            now_ns,
            said.since_ns,
            rule=rule,
            statement=type(statement).__name__.lower(),
            epoch=statement.epoch,
            view=statement.view,
            block=(
                statement.block if isinstance(statement, Vote) else statement.high_qc_block
            ).hex(),
            high_qc_view=-1 if isinstance(statement, Vote) else statement.high_qc_view,
            before={
                "epoch": said.epoch,
                "voted_view": said.voted_view,
                "voted": said.voted.hex(),
                "timed_out_view": said.timed_out_view,
                "high_qc_view": said.high_qc_view,
                "lock_view": said.lock_view,
            },
        )
