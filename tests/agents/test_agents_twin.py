"""The columns against the SimPy reference: the same messages at the same nanoseconds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from sim.engine.reference import Reference
from sim.world.agents.payload import book
from sim.world.agents.plane import AgentPlane
from sim.world.chance import Chance
from tests.agents.cases import MS, Case, cases, fixed_cases
from tests.agents.scripts import rows, run_script, settled

MUST_OCCUR = (
    "simultaneous_arrivals",
    "throttled",
    "crash_with_queue",
    "cache_hit",
    "cache_joined",
    "cache_expired",
    "copy_lost",
    "copy_revoked",
    "pulled",
    "access_loss",
    "gateway_down",
    "not_registered",
    "rate_limited",
    "ingress_full",
    "lookup_failed",
    "unknown_target",
    "uplink_full",
    "downlink_full",
    "link_blocked",
    "link_loss",
    "egress_full",
    "crash",
    "store_full",
    "expired",
    "sender_offline",
    "requester_offline",
    "moved",
    "gateway_registrations",
    "all_registrations",
    "quorum",
    "stale",
    "no_quorum",
    "lost_write",
    "re_homed",
    "taken_over",
    "moved_in",
    "dht_near",
    "dht_far",
    "dht_failed",
    "dht_came",
    "dht_went",
    "borrowed",
    "dht_poisoned",
    "forgotten",
    "copied_anew",
    "lied",
    "relayed",
    "relay_full",
    "entered_elsewhere",
    "crash_with_queue_at_relay",
    "crash_with_queue_at_relay_uplink",
    "crash_with_queue_at_relay_downlink",
    "place_used_again",
)
"""Counted by the reference over all cases; the last by the columns."""


def compare(case: Case, seen: Counter[str]) -> None:
    chance = Chance(case.seed, 0)
    reference = Reference(case.parameters, case.network, chance)
    expected = run_script(reference, case)
    seen.update(reference.ledgers.notes)
    tables = rows(reference.drain(final=True))
    for slices_ns, ahead, places in ((0, False, 0), (100 * MS, True, 2), (7 * MS + 1, False, 2)):
        with pytest.MonkeyPatch.context() as patch:
            if places:
                # So few that they are used again and again.
                patch.setattr(book, "_FIRST_PLACES", places)
            plane = AgentPlane(case.parameters, case.network, chance)
        answers = run_script(plane, case, slices_ns, ahead)
        if places:
            assert settled(answers) == settled(expected)
        else:
            assert answers == expected
        found = rows(plane.drain(final=True))
        for name, table in tables.items():
            assert found[name] == table, name


def test_columns_equal_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    release = book.PayloadBook._release

    def counted(self: book.PayloadBook, before_ns: int) -> None:
        before = len(self._free)
        release(self, before_ns)
        seen["place_used_again"] += len(self._free) > before

    monkeypatch.setattr(book.PayloadBook, "_release", counted)

    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def check(case: Case) -> None:
        compare(case, seen)

    for case in fixed_cases():
        compare(case, seen)
    check()
    assert not [what for what in MUST_OCCUR if not seen[what]]
