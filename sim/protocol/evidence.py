"""What convicts a validator: structural validity of evidence, and how to build it.

Owns the four provable offences. Must not know keys: that the statements are truly signed is
checked at the edge. No honest validator that keeps what it persisted can be convicted; one that
lost it (an amnesia crash) can, which is why that fault class is not an honest one.
"""

from __future__ import annotations

from sim.protocol.types import Block, Evidence, Timeout, Vote

KINDS = ("double_vote", "double_proposal", "stale_timeout", "tc_rule")


def vote_rule(block: Block) -> str | None:
    """Say why no honest validator may vote for `block`; None when its justification allows it.

    The Jolteon rule (Gelashvili et al. 2022, figure 2): the justification is of the view before, or
    the block carries the TC of the view before and justifies with no less than its highest QC.
    """
    justify, tc, view = block.justify, block.tc, block.view
    if justify.epoch != block.epoch:
        return "justification_of_other_epoch"
    if justify.block != block.parent:
        return "justification_is_not_the_parent"
    if justify.view == view - 1:
        return None
    if justify.view >= view:
        return "justification_not_older"
    if tc is None:
        return "no_tc"
    if tc.epoch != block.epoch or tc.view != view - 1 or not tc.timeouts:
        return "tc_of_other_view"
    if justify.view < tc.high_qc_view:
        return "justification_below_tc"
    return None


def check_evidence(evidence: Evidence) -> str | None:
    """Return None when `evidence` convicts its offender by its structure, else the reason not."""
    if evidence.kind not in KINDS:
        return "unknown_kind"
    if evidence.kind == "double_vote":
        return _check_double_vote(evidence)
    if evidence.kind == "double_proposal":
        return _check_double_proposal(evidence)
    if len(evidence.votes) != 1 or len(evidence.blocks) != 1:
        return "malformed"
    vote, block = evidence.votes[0], evidence.blocks[0]
    if vote.voter != evidence.offender:
        return "wrong_offender"
    if vote.epoch != evidence.epoch or vote.view != evidence.view:
        return "wrong_view"
    if not _speaks_of(vote, block):
        return "vote_of_other_block"
    if evidence.kind == "stale_timeout":
        return _check_stale_timeout(evidence, vote, block)
    if evidence.timeout is not None:
        return "malformed"
    return None if vote_rule(block) is not None else "rule_obeyed"


def _check_double_vote(evidence: Evidence) -> str | None:
    if len(evidence.votes) != 2 or evidence.blocks or evidence.timeout is not None:
        return "malformed"
    first, second = evidence.votes
    if not first.voter == second.voter == evidence.offender:
        return "wrong_offender"
    place = (evidence.epoch, evidence.view)
    if (first.epoch, first.view) != place or (second.epoch, second.view) != place:
        return "wrong_view"
    return "same_block" if first.block == second.block else None


def _check_double_proposal(evidence: Evidence) -> str | None:
    if len(evidence.blocks) != 2 or evidence.votes or evidence.timeout is not None:
        return "malformed"
    first, second = evidence.blocks
    if not first.proposer == second.proposer == evidence.offender:
        return "wrong_offender"
    place = (evidence.epoch, evidence.view)
    if (first.epoch, first.view) != place or (second.epoch, second.view) != place:
        return "wrong_view"
    return "same_block" if first.id == second.id else None


def _check_stale_timeout(evidence: Evidence, vote: Vote, block: Block) -> str | None:
    timeout = evidence.timeout
    if timeout is None:
        return "malformed"
    if timeout.signer != evidence.offender:
        return "wrong_offender"
    if timeout.epoch != vote.epoch or timeout.view < vote.view:
        return "timeout_before_vote"
    if block.justify.epoch != block.epoch or timeout.high_qc_view >= block.justify.view:
        return "timeout_not_stale"
    return None


def _speaks_of(vote: Vote, block: Block) -> bool:
    return (vote.epoch, vote.view, vote.block) == (block.epoch, block.view, block.id)


def double_vote(first: Vote, second: Vote) -> Evidence:
    """Build the evidence of two votes in one view; the votes are put in block order."""
    pair = (first, second) if first.block <= second.block else (second, first)
    return Evidence("double_vote", first.voter, first.epoch, first.view, votes=pair)


def double_proposal(first: Block, second: Block) -> Evidence:
    """Build the evidence of two proposals in one view; the blocks are put in id order."""
    pair = (first, second) if first.id <= second.id else (second, first)
    return Evidence("double_proposal", first.proposer, first.epoch, first.view, blocks=pair)


def stale_timeout(vote: Vote, block: Block, timeout: Timeout) -> Evidence | None:
    """Build the evidence of a timeout that hides a QC its signer had voted upon, or None."""
    evidence = Evidence(
        "stale_timeout", vote.voter, vote.epoch, vote.view, (vote,), (block,), timeout
    )
    return evidence if check_evidence(evidence) is None else None


def tc_rule(vote: Vote, block: Block) -> Evidence | None:
    """Build the evidence of a vote against the TC rule, or None when the rule was obeyed."""
    evidence = Evidence("tc_rule", vote.voter, vote.epoch, vote.view, (vote,), (block,))
    return evidence if check_evidence(evidence) is None else None
