"""Certificates: what counts, what is rejected and why, and when a quorum is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.adaptive_quorum import quorum_weight
from sim.protocol.evidence import check_evidence, double_vote
from sim.protocol.multi_signature import (
    Accepted,
    AcceptedTimeout,
    Conflict,
    RejectedVote,
    TimeoutCollector,
    VoteCollector,
    bitmap_weight,
    check_certificate,
    check_tc,
    members,
)
from sim.protocol.types import QC, TC, EpochParameters, Timeout, Vote, WeightTable

ROOT = b"r" * 32
A = b"a" * 32
B = b"b" * 32


def epoch(weights: tuple[int, ...], level: int = 0) -> EpochParameters:
    total = sum(weights)
    quorum = quorum_weight(total, level)
    table = WeightTable(weights, total)
    return EpochParameters(3, ROOT, 30, table, level, quorum, total - quorum, ROOT)


def vote(voter: int, block: bytes = A, view: int = 5, epoch: int = 3) -> Vote:
    return Vote(epoch, view, block, voter, b"%d" % voter)


def timeout(signer: int, view: int = 5, high: int = 2, epoch: int = 3) -> Timeout:
    return Timeout(epoch, view, high, A, signer, b"%d" % signer)


EQUAL = epoch((1,) * 150)


@pytest.mark.parametrize(("level", "needed"), [(0, 101), (1, 113), (2, 123)])
def test_certificate_comes_exactly_at_the_quorum_and_once(level: int, needed: int) -> None:
    collector = VoteCollector(epoch((1,) * 150, level), 5)
    answers = [collector.add(vote(v), True) for v in reversed(range(150))]
    assert answers[: needed - 1] == [Accepted(None)] * (needed - 1)
    last = answers[needed - 1]
    assert isinstance(last, Accepted)
    qc = last.certificate
    assert qc is not None
    assert qc == collector.certificate
    signers = range(150 - needed, 150)
    assert members(qc.signers) == tuple(signers)
    assert qc.signatures == tuple(b"%d" % v for v in signers)
    assert answers[needed:] == [RejectedVote("late")] * (150 - needed)
    assert [v.voter for v in collector.late] == list(reversed(range(150 - needed)))


@pytest.mark.parametrize(
    ("bad", "verified", "reason"),
    [
        (vote(1, epoch=2), True, "wrong_epoch"),
        (vote(1, epoch=2, view=4), True, "wrong_epoch"),
        (vote(1, view=4), True, "wrong_view"),
        (vote(1), False, "invalid_signature"),
        (vote(4), True, "stranger"),
        (vote(7), True, "stranger"),
        (vote(-1), True, "stranger"),
        (vote(0), True, "duplicate"),
    ],
)
def test_rejections_name_their_reason_and_leave_no_trace(
    bad: Vote, verified: bool, reason: str
) -> None:
    collector = VoteCollector(epoch((1, 1, 1, 1, 0)), 5)
    assert collector.add(vote(0), True) == Accepted(None)
    assert collector.add(bad, verified) == RejectedVote(reason)
    assert collector.weight(A) == 1
    for honest in (1, 2):
        answer = collector.add(vote(honest), True)
    assert isinstance(answer, Accepted)
    assert answer.certificate is not None
    assert members(answer.certificate.signers) == (0, 1, 2)


def test_second_vote_of_a_view_is_a_conflict_and_does_not_count() -> None:
    collector = VoteCollector(epoch((1, 1, 1, 1)), 5)
    collector.add(vote(0, A), True)
    answer = collector.add(vote(0, B), True)
    assert answer == Conflict(vote(0, A), vote(0, B))
    assert (collector.weight(A), collector.weight(B)) == (1, 0)
    assert isinstance(answer, Conflict)
    assert check_evidence(double_vote(*answer)) is None


def test_a_conflict_is_seen_after_the_certificate_too() -> None:
    collector = VoteCollector(epoch((1, 1, 1, 1)), 5)
    for v in (0, 1, 2):
        collector.add(vote(v), True)
    assert isinstance(collector.add(vote(0, B), True), Conflict)
    assert collector.add(vote(3, B), True) == RejectedVote("late")
    assert collector.late == []  # a vote for another block earns no attendance here


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=12),
    st.sampled_from([0, 1, 2]),
    st.randoms(use_true_random=False),
)
def test_any_order_certifies_as_soon_as_the_weight_is_there(
    weights: list[int], level: int, random: object
) -> None:
    parameters = epoch(tuple(weights), level)
    order = list(range(len(weights)))
    random.shuffle(order)  # type: ignore[attr-defined]
    collector = VoteCollector(parameters, 5)
    weight, certificates = 0, []
    for v in order:
        answer = collector.add(vote(v), True)
        if isinstance(answer, Accepted):
            weight += weights[v]
            assert (answer.certificate is not None) == (weight >= parameters.quorum)
            if answer.certificate is not None:
                certificates.append(answer.certificate)
    assert len(certificates) == 1
    assert check_certificate(certificates[0], parameters) is None
    assert bitmap_weight(certificates[0].signers, parameters.weights) == weight


def qc(count: int, **change: object) -> QC:
    made = QC(3, 5, A, (1 << count) - 1, (b"",) * count)
    return made._replace(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (qc(101), None),
        (qc(150), None),
        (qc(100), "below_quorum"),
        (qc(0), "below_quorum"),
        (qc(101, epoch=2), "wrong_epoch"),
        (qc(101, signatures=(b"",) * 100), "signature_count"),
        (qc(101, signatures=(b"",) * 102), "signature_count"),
        (qc(101, signers=1 << 150), "stranger"),
        (qc(101, signers=-1), "stranger"),
        (qc(101, view=0), "not_the_root"),
        (QC(3, 0, ROOT, 0), None),
        (QC(3, 0, A, 0), "not_the_root"),
        (QC(3, -1, ROOT, 0), "not_the_root"),
        (QC(2, 0, ROOT, 0), "wrong_epoch"),
    ],
)
def test_certificates_are_judged_by_the_epochs_own_table(
    certificate: QC, reason: str | None
) -> None:
    assert check_certificate(certificate, EQUAL) == reason


def test_a_certificate_with_a_weightless_signer_is_refused() -> None:
    parameters = epoch((1, 1, 1, 0))
    assert check_certificate(qc(3), parameters) is None
    assert check_certificate(qc(4), parameters) == "stranger"


def test_timeouts_make_a_certificate_that_keeps_each_statement() -> None:
    collector = TimeoutCollector(EQUAL, 5)
    answers = [collector.add(timeout(s, high=s % 5), True) for s in reversed(range(102))]
    assert answers[:100] == [AcceptedTimeout(None)] * 100
    done = answers[100]
    assert isinstance(done, AcceptedTimeout)
    tc = done.certificate
    assert tc is not None
    assert tc == collector.certificate
    assert tc.timeouts == tuple(timeout(s, high=s % 5) for s in range(1, 102))
    assert tc.high_qc_view == 4
    assert answers[101] == RejectedVote("late")
    assert check_tc(tc, EQUAL) is None


@pytest.mark.parametrize(
    ("bad", "verified", "reason"),
    [
        (timeout(1, epoch=4), True, "wrong_epoch"),
        (timeout(1, view=6), True, "wrong_view"),
        (timeout(1, high=5), True, "wrong_view"),
        (timeout(1, high=-1), True, "wrong_view"),
        (timeout(1), False, "invalid_signature"),
        (timeout(200), True, "stranger"),
        (timeout(-1), True, "stranger"),
        (timeout(0), True, "duplicate"),
        (timeout(0, high=3), True, "duplicate"),
    ],
)
def test_timeout_rejections(bad: Timeout, verified: bool, reason: str) -> None:
    collector = TimeoutCollector(EQUAL, 5)
    collector.add(timeout(0), True)
    assert collector.add(bad, verified) == RejectedVote(reason)
    assert collector.weight == 1


def test_timeout_weight_shows_when_to_join() -> None:
    """Above W - Q (49 of 150) at least one honest validator has timed out."""
    collector = TimeoutCollector(EQUAL, 5)
    for s in range(EQUAL.join):
        collector.add(timeout(s), True)
    assert collector.weight == 49
    assert not collector.weight > EQUAL.join
    collector.add(timeout(49), True)
    assert collector.weight > EQUAL.join


def tc(edit: Callable[[list[Timeout]], object], count: int = 101) -> TC:
    timeouts = [timeout(s) for s in range(count)]
    edit(timeouts)
    return TC(3, 5, tuple(timeouts))


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (tc(lambda t: None), None),
        (tc(lambda t: None, 100), "below_quorum"),
        (tc(lambda t: t.clear()), "below_quorum"),
        (tc(lambda t: t.reverse()), "order"),
        (tc(lambda t: t.append(t[-1])), "order"),
        (tc(lambda t: t.append(timeout(150))), "stranger"),
        (tc(lambda t: t.append(timeout(149, view=4))), "wrong_view"),
        (tc(lambda t: t.append(timeout(149, high=5))), "wrong_view"),
        (tc(lambda t: t.append(timeout(149, epoch=2))), "wrong_view"),
        (TC(2, 5, ()), "wrong_epoch"),
    ],
)
def test_timeout_certificates_are_judged(certificate: TC, reason: str | None) -> None:
    assert check_tc(certificate, EQUAL) == reason


def test_repeating_signers_does_not_make_a_quorum() -> None:
    certificate = TC(3, 5, tuple(timeout(s) for s in (0, 1, 1, 2)))
    assert check_tc(certificate, epoch((1, 1, 1, 1))) == "order"


@given(st.sets(st.integers(0, 300)))
def test_bitmap_members_round_trip(ids: set[int]) -> None:
    bitmap = sum(1 << i for i in ids)
    assert members(bitmap) == tuple(sorted(ids))


def test_negative_bitmap_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        members(-1)
