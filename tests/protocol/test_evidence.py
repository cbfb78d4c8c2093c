"""Evidence: what convicts, what does not, and that rule-abiding validators cannot be convicted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.evidence import (
    check_evidence,
    double_proposal,
    double_vote,
    stale_timeout,
    tc_rule,
    vote_rule,
)
from sim.protocol.types import QC, TC, Block, Evidence, Timeout, Vote

P = b"p" * 32
X = b"x" * 32


def block(
    view: int, justify: int, tc: TC | None = None, *, epoch: int = 2, proposer: int = 1
) -> Block:
    return Block(epoch, view, 7, proposer, P, QC(epoch, justify, P, 7, (b"",) * 3), tc)


def timeouts(view: int, *high: int) -> TC:
    return TC(2, view, tuple(Timeout(2, view, h, P, s) for s, h in enumerate(high)))


@pytest.mark.parametrize(
    ("proposed", "reason"),
    [
        (block(6, 5), None),
        (block(1, 0), None),
        (block(6, 4), "no_tc"),
        (block(6, 4, timeouts(5, 4, 3, 4)), None),
        (block(6, 5, timeouts(5, 3, 3, 3)), None),
        (block(6, 3, timeouts(5, 4, 3, 3)), "justification_below_tc"),
        (block(6, 4, timeouts(4, 3, 3, 3)), "tc_of_other_view"),
        (block(6, 4, TC(1, 5, timeouts(5, 3).timeouts)), "tc_of_other_view"),
        (block(6, 4, TC(2, 5, ())), "tc_of_other_view"),
        (block(6, 6, timeouts(5, 3)), "justification_not_older"),
        (replace(block(6, 5), justify=QC(1, 5, P, 7)), "justification_of_other_epoch"),
        (replace(block(6, 5), parent=X), "justification_is_not_the_parent"),
    ],
)
def test_vote_rule(proposed: Block, reason: str | None) -> None:
    assert vote_rule(proposed) == reason
    vote = Vote(2, 6 if proposed.view == 6 else 1, proposed.id, 4)
    accusation = tc_rule(vote, proposed)
    assert (accusation is not None) == (reason is not None)
    if accusation is not None:
        assert accusation.key() == ("tc_rule", 4, 2, 6)


TWO_VOTES = double_vote(Vote(2, 6, X, 4, b"1"), Vote(2, 6, P, 4, b"2"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"votes": TWO_VOTES.votes[:1]}, "malformed"),
        ({"blocks": (block(6, 5),)}, "malformed"),
        ({"offender": 5}, "wrong_offender"),
        ({"votes": (TWO_VOTES.votes[0], TWO_VOTES.votes[1]._replace(voter=5))}, "wrong_offender"),
        ({"view": 7}, "wrong_view"),
        ({"epoch": 3}, "wrong_view"),
        ({"votes": (TWO_VOTES.votes[0], TWO_VOTES.votes[1]._replace(view=5))}, "wrong_view"),
        ({"votes": (TWO_VOTES.votes[0], TWO_VOTES.votes[0])}, "same_block"),
        ({"kind": "rumour"}, "unknown_kind"),
    ],
)
def test_double_vote(change: dict[str, object], reason: str | None) -> None:
    assert check_evidence(replace(TWO_VOTES, **change)) == reason  # type: ignore[arg-type]


def test_double_vote_differing_in_signature_only_convicts_nobody() -> None:
    """Signing is hedged: one statement may carry two signatures."""
    twice = double_vote(Vote(2, 6, X, 4, b"1"), Vote(2, 6, X, 4, b"2"))
    assert check_evidence(twice) == "same_block"


TWO_BLOCKS = double_proposal(block(6, 5), block(6, 4))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"blocks": TWO_BLOCKS.blocks[:1]}, "malformed"),
        ({"offender": 5}, "wrong_offender"),
        ({"view": 7}, "wrong_view"),
        ({"blocks": (block(6, 5), block(7, 5))}, "wrong_view"),
        ({"blocks": (block(6, 5), block(6, 4, proposer=2))}, "wrong_offender"),
        ({"blocks": (block(6, 5), block(6, 5))}, "same_block"),
    ],
)
def test_double_proposal(change: dict[str, object], reason: str | None) -> None:
    assert check_evidence(replace(TWO_BLOCKS, **change)) == reason  # type: ignore[arg-type]


def test_same_proposal_signed_twice_convicts_nobody() -> None:
    again = replace(block(6, 5), signature=b"other")
    assert check_evidence(double_proposal(block(6, 5), again)) == "same_block"


@pytest.mark.parametrize(
    ("timeout_view", "high", "guilty"),
    [
        (6, 4, True),  # voted on a QC of view 5, then claimed to know 4 at best
        (9, 4, True),
        (6, 5, False),
        (9, 8, False),
        (5, 4, False),  # before the vote
    ],
)
def test_stale_timeout(timeout_view: int, high: int, guilty: bool) -> None:
    voted = block(6, 5)
    vote = Vote(2, 6, voted.id, 4)
    accusation = stale_timeout(vote, voted, Timeout(2, timeout_view, high, P, 4))
    assert (accusation is not None) == guilty


def test_stale_timeout_mismatches() -> None:
    voted = block(6, 5)
    vote = Vote(2, 6, voted.id, 4)
    lie = Timeout(2, 6, 4, P, 4)
    good = Evidence("stale_timeout", 4, 2, 6, (vote,), (voted,), lie)
    assert check_evidence(good) is None
    for change, reason in (
        ({"timeout": None}, "malformed"),
        ({"timeout": lie._replace(signer=5)}, "wrong_offender"),
        ({"timeout": lie._replace(epoch=3)}, "timeout_before_vote"),
        ({"offender": 5}, "wrong_offender"),
        ({"view": 5}, "wrong_view"),
        ({"blocks": (block(6, 4),)}, "vote_of_other_block"),
        ({"blocks": ()}, "malformed"),
        ({"votes": ()}, "malformed"),
    ):
        assert check_evidence(replace(good, **change)) == reason  # type: ignore[arg-type]


def test_tc_rule_evidence_carries_no_timeout() -> None:
    bad = block(6, 3)
    evidence = tc_rule(Vote(2, 6, bad.id, 4), bad)
    assert evidence is not None
    assert check_evidence(replace(evidence, timeout=Timeout(2, 6, 0, P, 4))) == "malformed"


def test_key_ignores_the_order_of_the_two_statements() -> None:
    a, b = Vote(2, 6, X, 4), Vote(2, 6, P, 4)
    assert double_vote(a, b) == double_vote(b, a)
    one, two = block(6, 5), block(6, 4)
    assert double_proposal(one, two) == double_proposal(two, one)


steps = st.lists(
    st.tuples(st.sampled_from(["propose", "expire"]), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=20,
)


@given(steps)
def test_a_rule_abiding_validator_cannot_be_convicted(run: list[tuple[str, int, bool]]) -> None:
    """Drive the voter's own rules (vote once a view, never after a timeout, adopt high QCs)
    against arbitrary proposals, then try every pair of its statements."""
    view, last_voted, high = 1, 0, 0
    votes: list[tuple[Vote, Block]] = []
    said: list[Timeout] = []
    for action, back, with_tc in run:
        if action == "expire":
            last_voted = max(last_voted, view)
            said.append(Timeout(2, view, high, P, 4))
            view += 1
            continue
        justify = max(0, view - 1 - back)
        tc = timeouts(view - 1, max(0, justify - 1), justify) if with_tc and view > 1 else None
        proposed = block(view, justify, tc)
        if proposed.view > last_voted and vote_rule(proposed) is None:
            high = max(high, justify)
            last_voted = view
            votes.append((Vote(2, view, proposed.id, 4), proposed))
            view += 1
    for vote, voted in votes:
        assert tc_rule(vote, voted) is None
        assert all(stale_timeout(vote, voted, each) is None for each in said)
        assert all(check_evidence(double_vote(vote, other)) is not None for other, _ in votes)
