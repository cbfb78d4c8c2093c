"""Faults in a running world: what may never happen under any of them, and how they meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.worlds import AGENTS, EAST, MS, SECOND, WEST, Ran, crash, ran
from tests.faults.effects import refused, struck

SEVEN: dict[str, Any] = {"duration": "5 s", "validators": {"count": 7}}
STILL: dict[str, Any] = {"cooldown_epochs": 1000, "missed": ["90 %", "95 %"]}
PLACES = {"count": 6, "placement": {WEST: 3, EAST: 3}}


def nobody_is_accused(done: Ran) -> None:
    assert done.rows("evidence") == []
    assert done.rows("violations") == []


@pytest.mark.parametrize("seed", range(1, 5))
def test_who_cannot_write_never_contradicts_itself(seed: int, tmp_path: Path) -> None:
    """Disks fail half of the time and are slow, and validators crash meanwhile: what left was
    durable, so nobody votes twice."""
    done = ran(
        tmp_path,
        **SEVEN,
        seed=seed,
        quorum=STILL,
        faults=[
            struck("failing_disk", 2, 3, 4, 5, 6, share="50 %"),
            struck("slow_disk", 0, 1, 4, 5, 6, write="30 ms"),
            {
                "kind": "crash",
                "nodes": {"ids": [0, 1, 2, 3, 4, 5, 6]},
                "strikes": "each",
                "at": "1 s",
                "until": "3 s",
                "every": {"kind": "exponential", "mean": "700 ms"},
                "lasting": {"kind": "exponential", "mean": "100 ms"},
            },
        ],
    )
    nobody_is_accused(done)
    assert refused(done, "not_persisted") > 0
    assert done.commits_between(3500 * MS, 5 * SECOND) > 5


def test_what_could_not_be_written_is_written_when_it_can_be(tmp_path: Path) -> None:
    """A crash right after the fault finds the state of the votes that left since."""
    faults = [struck("failing_disk", *range(7)), crash([4, 5, 6], "3300 ms", "3400 ms")]
    done = ran(tmp_path, **SEVEN, quorum=STILL, faults=faults)
    nobody_is_accused(done)
    assert done.commits_between(1100 * MS, 3 * SECOND) == 0
    assert done.commits_between(3600 * MS, 5 * SECOND) > 5


def test_a_quota_for_a_region_is_shared(tmp_path: Path) -> None:
    """Six signatures a second each, or for three together: a third of the pace, or less."""
    fault = {"kind": "kms_throttle", "nodes": {"random": 6}, "at": "1 s", "quota": "9 /s"}
    settings: dict[str, Any] = {"duration": "6 s", "validators": PLACES}
    pace = {"timer_base": "5 s"}
    own, shared = (
        ran(tmp_path / per, **settings, consensus=pace, faults=[{**fault, "per": per}])
        for per in ("validator", "region")
    )
    counts = [done.commits_between(2 * SECOND, 6 * SECOND) for done in (own, shared)]
    assert 0 < 2 * counts[1] < counts[0]


def test_a_slow_clock_that_is_set_right_gives_up_at_once(tmp_path: Path) -> None:
    """Timers are deadlines on the clock: a jump ahead lets them all expire, once."""
    cut = {"kind": "partition", "groups": [{"ids": [0, 1, 2]}], "at": "1 s", "until": "4 s"}
    jump = struck("clock_skew", 0, ahead="1 h") | {"at": "1100 ms"}
    settings = SEVEN | {"consensus": {"timer_base": "10 s"}, "quorum": STILL}
    calm = ran(tmp_path / "calm", **settings, faults=[cut])
    jumped = ran(tmp_path / "jump", **settings, faults=[cut, jump])
    sent = [
        sum(
            row["messages"]
            for row in done.rows("traffic", kind="timeout", outcome="offered", second=1)
        )
        for done in (calm, jumped)
    ]
    assert sent == [0, 6]
    nobody_is_accused(jumped)


def test_a_fault_and_an_attack_share_a_validator(tmp_path: Path) -> None:
    """The mind sits on a struck computer: its core cannot sign, so there is nothing to double."""
    double = {"kind": "double_vote", "nodes": {"ids": [3]}, "start": "1200 ms", "end": "2900 ms"}
    keyless = struck("kms_outage", 3)
    free = ran(tmp_path / "free", **SEVEN, adversaries=[double])
    bound = ran(tmp_path / "bound", **SEVEN, adversaries=[double], faults=[keyless])
    assert free.metric("offenders_accused") == 1
    assert bound.metric("offenders_accused") == 0
    assert refused(bound, "not_signed") > 0


def test_an_outage_and_a_crash_of_one_validator_count_once(tmp_path: Path) -> None:
    region = {"kind": "region_outage", "regions": [EAST], "at": "2 s", "until": "4 s"}
    done = ran(
        tmp_path,
        duration="7 s",
        validators={"count": 9, "placement": {WEST: 7, EAST: 2}},
        consensus={"timer_base": "600 ms"},
        faults=[crash([7], "1 s", "3 s"), region],
    )
    times = [row["time_ns"] for row in done.rows("commits", node=7)]
    assert not [t for t in times if SECOND + 100 * MS < t < 4 * SECOND]
    assert [t for t in times if t > 4 * SECOND]
    assert {row["target"] for row in done.rows("faults", kind="region_outage")} == {EAST}
    nobody_is_accused(done)


def with_agents(folder: Path, *faults: dict[str, Any]) -> Ran:
    """Run agents of two regions under faults."""
    agents = AGENTS | {"placement": {WEST: "50 %", EAST: "50 %"}}
    return ran(
        folder,
        duration="6 s",
        validators=PLACES,
        consensus={"timer_base": "800 ms"},
        quorum=STILL,
        agents=agents,
        faults=list(faults),
    )


def test_outages_and_links_strike_the_gateways_too(tmp_path: Path) -> None:
    """Agents feel what their gateways feel, and every message has an account."""
    window = {"at": "2 s", "until": "4 s"}
    calm = with_agents(tmp_path / "calm")
    link = {"between": [{"regions": [WEST]}, {"regions": [EAST]}]}
    region = {"kind": "region_outage", "regions": [EAST], **window}
    down = with_agents(tmp_path / "down", region)
    cut = with_agents(tmp_path / "cut", region | {"cut_off": True})
    zone = with_agents(tmp_path / "zone", {"kind": "zone_outage", "zones": [f"{EAST}/1"], **window})
    lossy = with_agents(tmp_path / "lossy", {"kind": "link_loss", **link, **window})
    slow = with_agents(
        tmp_path / "slow", {"kind": "link_reordering", **link, **window, "within": "2 s"}
    )
    for done in (calm, down, cut, zone, lossy, slow):
        assert done.metric("lost_messages") == 0
        nobody_is_accused(done)
    assert calm.metric("retries") == 0
    assert min(down.metric("retries"), zone.metric("retries")) > 0
    for done in (cut, lossy):
        assert done.metric("messages_delivered") < calm.metric("messages_delivered")
    p99 = "delivery_latency_p99_ns"
    # Half of a uniform hold-up on every message: the mean is kept.
    assert slow.metric(p99) > calm.metric(p99) + 800 * MS


def test_a_skewed_clock_does_not_reach_the_agents(tmp_path: Path) -> None:
    """Only when blocks are committed may differ for them."""
    skew = {"kind": "clock_skew", "nodes": {"ids": [0]}, "at": "2 s", "ahead": "1 h"}
    calm, skewed = with_agents(tmp_path / "calm"), with_agents(tmp_path / "skew", skew)
    for name in ("messages_offered", "messages_delivered", "delivery_latency_p99_ns"):
        assert calm.metric(name) == skewed.metric(name)
