"""The monitor of registrations fires once a host has taken acknowledged writes with it."""

from __future__ import annotations

from sim.monitor.progress import NoLostRegistration
from sim.monitor.watch import Watch


def test_nothing_lost_holds() -> None:
    monitor = NoLostRegistration()
    monitor.registry(10, {})
    assert monitor.violation is None


def test_losses_are_counted_by_host_with_the_window_since_the_last_look() -> None:
    monitor = NoLostRegistration()
    monitor.registry(10, {})
    monitor.registry(20, {3: 7})
    monitor.registry(30, {3: 7})
    monitor.registry(40, {3: 9, 5: 1})
    found = monitor.violation
    assert found is not None
    assert (found.monitor, found.time_ns, found.node) == ("no_lost_registration", 20, 3)
    assert (found.window_from_ns, found.window_to_ns) == (10, 20)
    assert found.proof == {"host": 3, "lost": 7}
    assert found.count == 3


def test_every_run_watches_it() -> None:
    watch = Watch(honest=0b1111, validators=4)
    watch.registry(5, {2: 1})
    assert [violation.monitor for violation in watch.finish(6)] == ["no_lost_registration"]
