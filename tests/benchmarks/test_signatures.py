"""100 signatures verified and aggregated into a certificate, for each suite.

The source document asks for under 10 ms. Run with `-m benchmark -s` to see the figures; the tests
assert the work, never the time.
"""

from __future__ import annotations

import os

import pytest

from sim.study.limits import Aggregated, aggregate, median_ns
from sim.world.crypto.suites import available_suites

pytestmark = pytest.mark.benchmark


def _assert_work(found: Aggregated) -> None:
    assert found.sound
    assert found.signer.hits == 0
    sizes = [len(signature) for qc in found.certificates for signature in qc.signatures]
    assert sizes == [4_627] * len(sizes)


@pytest.mark.parametrize("name", list(available_suites()))
def test_one_thread_all_at_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = aggregate(name, "at once")
    _assert_work(found)
    with capsys.disabled():
        took = median_ns(found.cpu_ns) / 1e6
        print(f"\n{name}: 100 verified and aggregated, 1 thread: {took:.1f} ms of CPU")


@pytest.mark.parametrize("name", [n for n, s in available_suites().items() if s.releases_gil])
def test_threads(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    threads = max(2, os.cpu_count() or 2)
    found = aggregate(name, "at once", threads)
    _assert_work(found)
    with capsys.disabled():
        took, best = median_ns(found.times_ns) / 1e6, min(found.times_ns) / 1e6
        print(
            f"\n{name}: 100 verified and aggregated, {threads} threads: {took:.1f} ms of wall, "
            f"best {best:.1f}"
        )


@pytest.mark.parametrize("name", list(available_suites()))
def test_incremental_on_arrival(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each signature is verified as it comes; what remains at the last one is its own."""
    found = aggregate(name, "as they come")
    _assert_work(found)
    with capsys.disabled():
        took = median_ns(found.cpu_ns) / 1e6
        print(f"\n{name}: last of 100 arrives to certificate, 1 thread: {took:.2f} ms of CPU")
