"""100 signatures verified and aggregated into a certificate, for each suite.

The source document asks for under 10 ms. Run with `-m benchmark -s` to see the figures; the tests
assert the work, never the time.
"""

from __future__ import annotations

import os
import time

import pytest

from sim.protocol.multi_signature import Accepted, VoteCollector, check_certificate
from sim.protocol.types import QC, EpochParameters, Vote, WeightTable
from sim.world.crypto.signer import RealSigner
from sim.world.crypto.suites import available_suites, suite

SIGNERS = 100
ROUNDS = 7
BLOCK = bytes(32)
PARAMETERS = EpochParameters(
    epoch=1,
    root=BLOCK,
    root_height=0,
    weights=WeightTable((1,) * SIGNERS, SIGNERS),
    level=0,
    quorum=SIGNERS,
    join=0,
    beacon=BLOCK,
)

pytestmark = pytest.mark.benchmark


def _votes(signer: RealSigner, view: int) -> list[Vote]:
    bare = [Vote(1, view, BLOCK, i) for i in range(SIGNERS)]
    return [v._replace(signature=signer.sign(v.voter, v.signed_bytes())) for v in bare]


def _aggregate(votes: list[Vote], view: int, verified: bool) -> QC:
    collector = VoteCollector(PARAMETERS, view)
    for vote in votes:
        outcome = collector.add(vote, verified)
        assert isinstance(outcome, Accepted)
    assert collector.certificate is not None
    return collector.certificate


def _assert_work(signer: RealSigner, certificate: QC, views: int) -> None:
    assert check_certificate(certificate, PARAMETERS) is None
    assert len(certificate.signatures) == SIGNERS
    assert all(len(signature) == 4_627 for signature in certificate.signatures)
    assert signer.verified == views * SIGNERS
    assert signer.hits == 0


def _median_ms(times_ns: list[int]) -> float:
    return sorted(times_ns)[len(times_ns) // 2] / 1e6


@pytest.mark.parametrize("name", list(available_suites()))
def test_one_thread_all_at_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    signer = RealSigner(suite(name), SIGNERS, seed=1)
    times = []
    for view in range(1, ROUNDS + 1):
        votes = _votes(signer, view)
        start = time.process_time_ns()
        valid = signer.verify_all([(v.voter, v.signed_bytes(), v.signature) for v in votes])
        certificate = _aggregate(votes, view, valid)
        times.append(time.process_time_ns() - start)
        assert valid
    _assert_work(signer, certificate, ROUNDS)
    with capsys.disabled():
        print(f"\n{name}: 100 verified and aggregated, 1 thread: {_median_ms(times):.1f} ms of CPU")


@pytest.mark.parametrize("name", [n for n, s in available_suites().items() if s.releases_gil])
def test_threads(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    threads = max(2, os.cpu_count() or 2)
    signer = RealSigner(suite(name), SIGNERS, seed=1, threads=threads)
    times = []
    for view in range(1, ROUNDS + 1):
        votes = _votes(signer, view)
        start = time.perf_counter_ns()
        valid = signer.verify_all([(v.voter, v.signed_bytes(), v.signature) for v in votes])
        certificate = _aggregate(votes, view, valid)
        times.append(time.perf_counter_ns() - start)
        assert valid
    signer.close()
    _assert_work(signer, certificate, ROUNDS)
    with capsys.disabled():
        took, best = _median_ms(times), min(times) / 1e6
        print(
            f"\n{name}: 100 verified and aggregated, {threads} threads: {took:.1f} ms of wall, "
            f"best {best:.1f}"
        )


@pytest.mark.parametrize("name", list(available_suites()))
def test_incremental_on_arrival(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each signature is verified as it comes; what remains at the last one is its own."""
    signer = RealSigner(suite(name), SIGNERS, seed=1)
    times = []
    for view in range(1, ROUNDS + 1):
        votes = _votes(signer, view)
        collector = VoteCollector(PARAMETERS, view)
        for vote in votes:
            start = time.process_time_ns()
            valid = signer.verify(vote.voter, vote.signed_bytes(), vote.signature)
            outcome = collector.add(vote, valid)
            last = time.process_time_ns() - start
            assert valid
            assert isinstance(outcome, Accepted)
        times.append(last)
    assert collector.certificate is not None
    _assert_work(signer, collector.certificate, ROUNDS)
    with capsys.disabled():
        took = _median_ms(times)
        print(f"\n{name}: last of 100 arrives to certificate, 1 thread: {took:.2f} ms of CPU")
