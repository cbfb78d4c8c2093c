"""Link rules: first match wins, windows, directions, groups, draws."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sim.world.chance import Chance, mix
from sim.world.network.links import (
    CORRUPT,
    DELAY,
    DROP,
    DUPLICATE,
    EVERYONE,
    FOREVER_NS,
    PASS,
    Group,
    LinkRule,
    Links,
    Verdict,
    partition,
)

SITES = ("a/1", "a/2", "b", "b", "c")
KEY = Chance(3, 0).key("test/links")


def test_without_rules_nothing_is_judged() -> None:
    links = Links((), SITES)
    assert links.idle
    assert links.judge(0, 4, 10**12, 5) is None


def test_the_first_rule_that_matches_decides() -> None:
    shield = LinkRule(PASS, Group(nodes=(0,)), Group(nodes=(4,)))
    slow = LinkRule(DELAY, Group(regions=("a",)), Group(regions=("c",)), delay_ns=7)
    cut = LinkRule(DROP)
    links = Links((shield, slow, cut), SITES)
    assert links.judge(0, 4, 0, 0) == Verdict(PASS, 0, 0)
    assert links.judge(1, 4, 0, 0) == Verdict(DELAY, 7, 1)
    assert links.judge(4, 1, 0, 0) == Verdict(DELAY, 7, 1)
    assert links.judge(2, 3, 0, 0) == Verdict(DROP, 0, 2)
    reordered = Links((cut, slow, shield), SITES)
    assert reordered.judge(0, 4, 0, 0) == Verdict(DROP, 0, 0)


def test_rules_hold_from_start_to_before_end_at_the_time_of_sending() -> None:
    links = Links((LinkRule(DROP, start_ns=100, end_ns=200),), SITES)
    judged = [links.judge(0, 1, now, 0) is not None for now in (0, 99, 100, 199, 200, 10**15)]
    assert judged == [False, False, True, True, False, False]
    # Drivers may ask about an earlier time again: the plane lags behind the clock.
    assert links.judge(0, 1, 150, 0) is not None
    assert links.judge(0, 1, 50, 0) is None


def test_overlapping_windows_change_at_each_edge() -> None:
    rules = (
        LinkRule(DELAY, start_ns=10, end_ns=30, delay_ns=1),
        LinkRule(DROP, start_ns=20, end_ns=40),
    )
    links = Links(rules, SITES)
    kinds = []
    for now in range(0, 50, 5):
        verdict = links.judge(0, 1, now, 0)
        kinds.append("" if verdict is None else verdict.kind)
    assert kinds == ["", "", DELAY, DELAY, DELAY, DELAY, DROP, DROP, "", ""]


def test_one_way_rules_leave_the_way_back_open() -> None:
    rule = LinkRule(DROP, Group(regions=("a",)), Group(regions=("b",)), both_ways=False)
    links = Links((rule,), SITES)
    assert links.judge(0, 2, 0, 0) is not None
    assert links.judge(2, 0, 0, 0) is None
    both = Links((replace(rule, both_ways=True),), SITES)
    assert both.judge(2, 0, 0, 0) is not None
    assert both.judge(2, 3, 0, 0) is None


def test_groups_are_nodes_regions_zones_or_everyone_but() -> None:
    assert EVERYONE.members(SITES) == (True,) * 5
    assert Group(regions=("a",)).members(SITES) == (True, True, False, False, False)
    assert Group(regions=("a/2",)).members(SITES) == (False, True, False, False, False)
    assert Group(nodes=(4,), regions=("b",)).members(SITES) == (False, False, True, True, True)
    assert Group(nodes=(4,), outside=True).members(SITES) == (True, True, True, True, False)
    with pytest.raises(ValueError, match="no node is in d"):
        Group(regions=("d",)).members(SITES)
    with pytest.raises(ValueError, match="node 5"):
        Group(nodes=(5,)).members(SITES)


def test_a_partition_cuts_between_groups_and_nowhere_else() -> None:
    groups = (Group(regions=("a",)), Group(regions=("b",)), Group(regions=("c",)))
    links = Links(partition(groups), SITES)
    for src in range(5):
        for dst in range(5):
            apart = SITES[src][0] != SITES[dst][0]
            assert (links.judge(src, dst, 0, 0) is not None) == apart


def test_a_partition_of_one_group_cuts_it_from_the_rest_one_way_if_asked() -> None:
    links = Links(partition((Group(nodes=(2,)),), one_way=True, start_ns=5), SITES)
    assert links.judge(2, 0, 5, 0) is not None
    assert links.judge(0, 2, 5, 0) is None
    assert links.judge(0, 1, 5, 0) is None
    assert links.judge(2, 0, 4, 0) is None


def test_a_flapping_partition_opens_and_closes() -> None:
    rules = partition(
        (Group(regions=("a",)), Group(regions=("b",))),
        start_ns=100,
        end_ns=175,
        period_ns=30,
        active_ns=10,
    )
    links = Links(rules, SITES)
    cut = [now for now in range(90, 200) if links.judge(0, 2, now, 0) is not None]
    assert cut == [*range(100, 110), *range(130, 140), *range(160, 170)]


def test_probabilities_are_met_and_leave_later_rules_the_rest() -> None:
    rules = (LinkRule(DROP, probability_ppb=250_000_000), LinkRule(CORRUPT, probability_ppb=10**8))
    links = Links(rules, SITES)
    count = 40_000
    seen = {DROP: 0, CORRUPT: 0}
    for message in range(count):
        verdict = links.judge(0, 1, 0, mix(KEY, message))
        if verdict is not None:
            seen[verdict.kind] += 1
    for kind, p in ((DROP, 0.25), (CORRUPT, 0.75 * 0.1)):
        assert abs(seen[kind] - count * p) < 5 * math.sqrt(count * p * (1 - p))


def test_jitter_is_uniform_and_reorders() -> None:
    links = Links((LinkRule(DELAY, delay_ns=1_000, jitter_ns=1_000),), SITES)
    verdicts = [links.judge(0, 1, 0, mix(KEY, message)) for message in range(20_000)]
    extra = [verdict.extra_ns for verdict in verdicts if verdict is not None]
    assert len(extra) == 20_000
    assert min(extra) >= 1_000
    assert max(extra) < 2_000
    mean = sum(extra) / len(extra)
    assert abs(mean - 1_499.5) < 5 * 1_000 / math.sqrt(12 * len(extra))


def test_verdicts_depend_on_the_message_alone() -> None:
    rules = (LinkRule(DROP, probability_ppb=500_000_000),)
    forward = [Links(rules, SITES).judge(0, 1, t, mix(KEY, t)) for t in range(200)]
    links = Links(rules, SITES)
    backward = [links.judge(0, 1, t, mix(KEY, t)) for t in reversed(range(200))]
    assert forward == backward[::-1]


def test_duplicates_say_how_much_later_the_copy_comes() -> None:
    links = Links((LinkRule(DUPLICATE, delay_ns=40),), SITES)
    assert links.judge(0, 1, 0, 0) == Verdict(DUPLICATE, 40, 0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"verdict": "loose"}, "need one of"),
        ({"verdict": DROP, "start_ns": 5, "end_ns": 5}, "never holds"),
        ({"verdict": DROP, "probability_ppb": 0}, "probability"),
        ({"verdict": DROP, "delay_ns": 5}, "delay"),
        ({"verdict": DELAY}, "delay"),
        ({"verdict": DELAY, "delay_ns": -1}, "< 0"),
        ({"verdict": DROP, "period_ns": 5}, "active"),
        ({"verdict": DROP, "active_ns": 5}, "no period"),
    ],
)
def test_impossible_rules_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LinkRule(**fields)  # type: ignore[arg-type]
    assert LinkRule(DROP).end_ns == FOREVER_NS


def test_a_partition_needs_a_group() -> None:
    with pytest.raises(ValueError, match="no groups"):
        partition(())


def test_who_stands_in_for_another_place_is_judged_as_its_host() -> None:
    cut = partition([Group(regions=("a",))])
    links = Links(cut, SITES)
    assert links.judge(0, 2, 0, 0) is not None
    links.stand_in(0, 3)
    assert links.judge(0, 2, 0, 0) is None
    assert links.judge(0, 1, 0, 0) is not None
    assert links.judge(1, 0, 0, 0) is not None
    links.stand_in(0, 0)
    assert links.judge(0, 2, 0, 0) is not None
