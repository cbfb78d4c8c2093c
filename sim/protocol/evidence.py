"""What convicts a validator: structural validity of evidence, and how to build it."""

from __future__ import annotations

from sim.protocol.types import Block, Evidence, Timeout, Vote


def vote_rule(block: Block) -> str | None:
    """Say why no honest validator may vote for `block` under the TC rule; None when it may."""
    raise NotImplementedError


def check_evidence(evidence: Evidence) -> str | None:
    raise NotImplementedError


def double_vote(first: Vote, second: Vote) -> Evidence:
    raise NotImplementedError


def double_proposal(first: Block, second: Block) -> Evidence:
    raise NotImplementedError


def stale_timeout(vote: Vote, block: Block, timeout: Timeout) -> Evidence | None:
    """None when the pair convicts nobody."""
    raise NotImplementedError


def tc_rule(vote: Vote, block: Block) -> Evidence | None:
    """None when the vote obeys the rule."""
    raise NotImplementedError
