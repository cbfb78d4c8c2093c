"""The models behind faults: clocks, disks, key services, zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.world.crypto.key_service import KeyService
from sim.world.faults.clock_skew import LocalClock
from sim.world.faults.disk import Disk
from sim.world.network.regions import provider_of, spread_over_zones, zones_of
from tests.engine.worlds import MS, SECOND

# -- clock ----------------------------------------------------------------------------------------


def test_a_clock_is_true_until_it_is_skewed_and_after() -> None:
    clock = LocalClock()
    assert clock.true
    assert clock.local_ns(7 * SECOND) == 7 * SECOND
    clock.change(10 * SECOND, 3 * SECOND, 500_000, on=True)
    assert not clock.true
    assert clock.local_ns(10 * SECOND) == 13 * SECOND
    assert clock.local_ns(12 * SECOND) == 16 * SECOND
    clock.change(12 * SECOND, 3 * SECOND, 500_000, on=False)
    assert clock.true
    assert clock.local_ns(20 * SECOND) == 20 * SECOND


def test_overlapping_skews_add_up() -> None:
    clock = LocalClock()
    clock.change(0, -SECOND, 1_000_000, on=True)
    clock.change(2 * SECOND, 5 * SECOND, -500_000, on=True)
    assert clock.rate_ppm == 500_000
    assert clock.local_ns(2 * SECOND) == 8 * SECOND
    clock.change(4 * SECOND, -SECOND, 1_000_000, on=False)
    assert clock.rate_ppm == -500_000
    assert clock.local_ns(4 * SECOND) == 12 * SECOND
    clock.change(6 * SECOND, 5 * SECOND, -500_000, on=False)
    assert clock.local_ns(6 * SECOND) == 6 * SECOND


@given(
    rate_ppm=st.integers(-900_000, 9_000_000),
    step_ns=st.integers(-(10**15), 10**15),
    passed_ns=st.integers(0, 10**15),
)
def test_true_time_is_the_first_at_which_it_is_shown(
    rate_ppm: int, step_ns: int, passed_ns: int
) -> None:
    clock = LocalClock()
    clock.change(SECOND, step_ns, rate_ppm, on=True)
    local_ns = clock.local_ns(SECOND) + passed_ns
    true_ns = clock.true_ns(local_ns)
    assert clock.local_ns(true_ns) >= local_ns
    if passed_ns:
        assert clock.local_ns(true_ns - 1) < local_ns


# -- disk -----------------------------------------------------------------------------------------


def test_writes_queue_on_a_slow_disk() -> None:
    disk = Disk(1)
    assert disk.sound
    assert disk.write(5) == 5
    disk.slow(40, on=True)
    disk.slow(10, on=True)
    assert [disk.write(10), disk.write(10), disk.write(200)] == [50, 90, 240]
    assert disk.durable_ns(220) == 240
    disk.slow(40, on=False)
    assert disk.write(300) == 310
    disk.crash(305)
    assert disk.durable_ns(305) == 305


def test_a_share_of_the_writes_fails_and_all_do_on_a_full_disk() -> None:
    disk = Disk(99)
    disk.fail(250_000, on=True)
    disk.fail(100_000, on=True)
    failed = sum(disk.write(i) is None for i in range(10_000))
    # Five standard deviations of a binomial: 5 x sqrt(10,000 x 0.25 x 0.75).
    assert abs(failed - 2_500) < 217
    disk.fill(on=True)
    disk.fill(on=True)
    assert disk.write(10_000) is None
    disk.fill(on=False)
    assert disk.full
    disk.fill(on=False)
    disk.fail(250_000, on=False)
    disk.fail(100_000, on=False)
    assert disk.sound
    assert disk.write(10_001) == 10_001


# -- key service ----------------------------------------------------------------------------------


def test_a_quota_grants_a_burst_and_then_its_rate() -> None:
    service = KeyService(rate_nhz=10 * 10**9, burst=3, delay_ns=2 * MS)
    granted = [service.sign(0) for _ in range(5)]
    assert granted == [2 * MS, 2 * MS, 2 * MS, 102 * MS, 202 * MS]
    assert service.asked == 5
    # After a rest of a gap, one more at once; after a long one, the burst again.
    assert service.sign(300 * MS) == 302 * MS
    assert [service.sign(5 * SECOND) - 5 * SECOND for _ in range(4)] == [2 * MS] * 3 + [102 * MS]


def test_no_quota_is_a_delay() -> None:
    service = KeyService(0, 1, 5)
    assert [service.sign(10), service.sign(10), service.sign(11)] == [15, 15, 16]


@given(
    rate_nhz=st.integers(10**6, 10**12),
    burst=st.integers(1, 20),
    gaps=st.lists(st.integers(0, 10**10), min_size=1, max_size=40),
)
def test_no_window_holds_more_than_the_burst_and_the_rate(
    rate_nhz: int, burst: int, gaps: list[int]
) -> None:
    service, now, granted = KeyService(rate_nhz, burst, 0), 0, []
    for gap in gaps:
        now += gap
        granted.append(service.sign(now))
        assert granted[-1] >= now
    assert granted == sorted(granted)
    for i, first in enumerate(granted):
        for j in range(i, len(granted)):
            window_ns = granted[j] - first
            assert (j - i + 1 - burst) * 10**18 <= window_ns * rate_nhz


def test_a_quota_needs_sense() -> None:
    for terms in ((-1, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(ValueError, match="key service"):
            KeyService(*terms)


# -- places ---------------------------------------------------------------------------------------


def test_validators_of_a_region_are_spread_over_its_zones_in_turn() -> None:
    west, texas = "aws:us-gov-west-1", "az:usgovtexas"
    homes = [west, texas, west, west, "lab", west, texas]
    zones = [zone.rpartition("/")[2] for zone in spread_over_zones(homes)]
    assert zones == ["1", "1", "2", "3", "1", "1", "1"]
    assert zones_of(texas) == (f"{texas}/1",)
    assert len(zones_of("lab")) == 3
    assert [provider_of(home) for home in (west, texas, "lab")] == ["aws", "az", "custom"]
