"""What each fault does, as the smallest world that shows it: settings, and a measure that moves.

A case runs the fault and a control (the same world without it) and compares one figure. The figure
is the one that the fault's file names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.engine.worlds import EAST, EUROPE, MS, SECOND, WEST, Ran

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One fault: `faults` against none in the same world, judged by `measure`.

    `moves(faulty, control)` says whether the figures differ as promised.
    """

    faults: list[Settings]
    measure: Callable[[Ran], Any]
    moves: Callable[[Any, Any], bool]
    world: Settings = field(default_factory=dict)

    def sections(self, faults: list[Settings]) -> Settings:
        base: Settings = {"duration": "5 s", "validators": {"count": 7}}
        return {**base, **self.world, "faults": faults}


def struck(kind: str, *nodes: int, **settings: Any) -> Settings:
    """Write a fault of some validators from 1 s to 3 s."""
    return {"kind": kind, "nodes": {"ids": list(nodes)}, "at": "1 s", "until": "3 s", **settings}


def lasting(kind: str, **settings: Any) -> Settings:
    """Write a fault of links or places from 1 s to 3 s."""
    return {"kind": kind, "at": "1 s", "until": "3 s", **settings}


EVERYBODY = range(7)
ALL_LINKS: Settings = {"between": [{"ids": [0, 1, 2]}, {"ids": [3, 4, 5, 6]}]}
AT_WILL: Settings = {"min_block_interval": None, "timer_base": "2 s"}
"""Blocks as fast as they come, and timers that never fire."""
THREE_PLACES: Settings = {
    "validators": {"count": 9, "placement": {WEST: 3, EAST: 3, EUROPE: 3}},
    "consensus": {"timer_base": "800 ms"},
}


def during(ran: Ran) -> int:
    """Count commits while the fault is on, from when what was under way is over."""
    return ran.commits_between(1300 * MS, 3 * SECOND)


def during_and_after(ran: Ran) -> tuple[int, int]:
    return during(ran), ran.commits_between(3500 * MS, 5 * SECOND)


def commits_of(ran: Ran, *nodes: int) -> int:
    """Count the commits of some validators while the fault is on."""
    times = [row["time_ns"] for row in ran.rows("commits") if row["node"] in nodes]
    return sum(1300 * MS < time_ns < 3 * SECOND for time_ns in times)


def repeated(ran: Ran) -> int:
    """Count the heights that validator 6 committed more than once."""
    heights = [row["height"] for row in ran.rows("commits", node=6)]
    return len(heights) - len(set(heights))


def refused(ran: Ran, reason: str) -> int:
    return sum(row["count"] for row in ran.rows("rejections") if row["reason"] == reason)


def messages(ran: Ran, outcome: str) -> int:
    rows = ran.rows("traffic", lane="consensus", outcome=outcome)
    return sum(row["messages"] for row in rows)


def latencies_ns(ran: Ran) -> list[int]:
    """Times from proposal to commit of blocks proposed while the fault is on."""
    return sorted(
        row["committed_ns"] - row["proposed_ns"]
        for row in ran.rows("blocks", status="committed")
        if SECOND < row["proposed_ns"] < 2800 * MS
    )


def median_latency_ns(ran: Ran) -> int:
    times = latencies_ns(ran)
    return times[len(times) // 2]


HALTED = (lambda f, c: f[0] == 0 < c[0] and f[1] > 5, "halted, then on")

CASES: dict[str, Case] = {
    "crash": Case(
        [struck("crash", 5, 6)],
        lambda ran: (commits_of(ran, 5, 6), commits_of(ran, 0, 1)),
        lambda f, c: f[0] == 0 < f[1] and c[0] > 0,
    ),
    "amnesia_crash": Case([struck("amnesia_crash", 6)], repeated, lambda f, c: f > 5 and c == 0),
    "slow_node": Case(
        [struck("slow_node", 4, 5, 6, factor=50)],
        during,
        lambda f, c: 0 < 3 * f < c,
        world={"consensus": AT_WILL},
    ),
    "throttle": Case(
        [struck("throttle", *EVERYBODY, bandwidth_left="1 %")],
        during,
        lambda f, c: 0 < 3 * f < c,
        world={"consensus": AT_WILL},
    ),
    "partition": Case(
        [lasting("partition", groups=[{"ids": [0, 1, 2]}])], during_and_after, HALTED[0]
    ),
    "link_loss": Case(
        [lasting("link_loss", **ALL_LINKS, probability="30 %")],
        lambda ran: (ran.dropped().get("link_rule", 0), during(ran)),
        lambda f, c: f[0] > 20 and c[0] == 0 and 4 * f[1] < 3 * c[1],
    ),
    "link_delay": Case(
        [lasting("link_delay", **ALL_LINKS, amount="80 ms")],
        median_latency_ns,
        lambda f, c: f > c + 80 * MS,
    ),
    "link_duplication": Case(
        [lasting("link_duplication", **ALL_LINKS, probability="50 %")],
        lambda ran: messages(ran, "delivered") - messages(ran, "offered"),
        lambda f, c: f > 100 and c <= 0,
    ),
    "link_reordering": Case(
        [lasting("link_reordering", **ALL_LINKS, within="100 ms")],
        lambda ran: (latencies_ns(ran)[-1] - latencies_ns(ran)[0], messages(ran, "dropped")),
        lambda f, c: f[0] > c[0] + 30 * MS and f[1] == c[1],
    ),
    "link_corruption": Case(
        [lasting("link_corruption", **ALL_LINKS, probability="30 %")],
        lambda ran: (refused(ran, "invalid_signature"), during(ran)),
        lambda f, c: f[0] > 20 and c[0] == 0 and 4 * f[1] < 3 * c[1],
    ),
    "zone_outage": Case(
        [lasting("zone_outage", zones=[f"{WEST}/2"])],
        lambda ran: (commits_of(ran, 1, 4), commits_of(ran, 0, 2)),
        lambda f, c: f[0] == 0 < f[1] and c[0] > 0,
        world={"consensus": {"timer_base": "150 ms"}},
    ),
    "region_outage": Case(
        [lasting("region_outage", regions=[EUROPE])],
        lambda ran: (commits_of(ran, 6, 7, 8), ran.dropped().get("receiver_down", 0)),
        lambda f, c: f[0] == 0 < c[0] and f[1] > 0 == c[1],
        world={**THREE_PLACES, "duration": "6 s"},
    ),
    "provider_outage": Case(
        [lasting("provider_outage", providers=["aws"], cut_off=True)],
        lambda ran: (ran.dropped().get("link_rule", 0), during(ran), commits_of(ran, 6, 7, 8)),
        lambda f, c: f[0] > 0 == c[0] and f[1] == f[2] == 0 < c[2],
        world={
            "validators": {"count": 9, "placement": {WEST: 3, EAST: 3, "az:usgovvirginia": 3}},
            "consensus": {"timer_base": "800 ms"},
            "quorum": {"initial_level": 1, "cooldown_epochs": 1000, "missed": ["90 %", "95 %"]},
        },
    ),
    "clock_skew": Case(
        [struck("clock_skew", 4, 5, 6, rate=10)],
        lambda ran: (messages(ran, "offered"), ran.metric("timeouts"), timeouts_of(ran, 4)),
        lambda f, c: f[2] > 5 > c[2] == 0,
    ),
    "slow_disk": Case(
        [struck("slow_disk", *EVERYBODY, write="40 ms")],
        median_latency_ns,
        lambda f, c: f > c + 80 * MS,
    ),
    "failing_disk": Case(
        [struck("failing_disk", 4, 5, 6)],
        lambda ran: (refused(ran, "not_persisted"), during(ran), commits_of(ran, 4)),
        lambda f, c: f[0] > 0 == c[0] and f[1] == 0 < c[1],
    ),
    "full_disk": Case(
        [struck("full_disk", 6)],
        lambda ran: (
            refused(ran, "disk_full"),
            commits_of(ran, 6),
            commits_of(ran, 0),
            caught_up(ran, 6),
        ),
        lambda f, c: f[0] > 0 == c[0] and f[1] == 0 < f[2] and c[1] > 0 and f[3],
    ),
    "kms_outage": Case(
        [struck("kms_outage", 4, 5, 6)],
        lambda ran: (*during_and_after(ran), refused(ran, "not_signed")),
        lambda f, c: f[0] == 0 < f[1] and c[0] > 0 and f[2] > 0 == c[2],
    ),
    "kms_throttle": Case(
        [struck("kms_throttle", *EVERYBODY, quota="8 /s", delay="20 ms")],
        during,
        lambda f, c: 0 < 2 * f < c,
        world={"consensus": {"timer_base": "2 s"}},
    ),
    "rollout": Case(
        [
            {
                "kind": "rollout",
                "nodes": {"ids": [3, 4, 5, 6]},
                "at": "1 s",
                "downtime": "400 ms",
                "strategy": {"kind": "rolling", "wave": 1, "pause": "200 ms"},
            }
        ],
        lambda ran: [row["node"] for row in ran.rows("faults", event="end", target="restart")],
        lambda f, c: f == [3, 4, 5, 6] and c == [],
    ),
}


def timeouts_of(ran: Ran, node: int) -> int:
    """Count the timeouts that left the validators' one region while the fault is on."""
    rows = ran.rows("traffic", lane="consensus", kind="timeout", outcome="offered")
    return sum(row["messages"] for row in rows if 1 <= row["second"] < 3)


def caught_up(ran: Ran, node: int) -> bool:
    """Say whether a validator has committed what the others have, but for the last blocks."""
    heights = [row["height"] for row in ran.rows("commits", node=node)]
    return max(heights) >= ran.metric("blocks_committed") - 3


def drawn_crashes() -> list[Settings]:
    """Return crashes by rates, one a distribution."""
    rates: list[Settings] = [
        {"kind": "fixed", "value": "100 ms"},
        {"kind": "exponential", "mean": "100 ms"},
        {"kind": "lognormal", "median": "100 ms", "sigma": 0.5},
        {"kind": "weibull", "scale": "100 ms", "shape": 0.6},
        {"kind": "known", "figure": "vm_restart", "faster": 10000},
    ]
    return [
        {
            "kind": "crash",
            "name": f"drawn-{i}",
            "nodes": {"ids": [i, i + 5]},
            "at": "0 s",
            "every": rate,
            "lasting": rates[(i + 1) % len(rates)],
            "strikes": ("all", "each", "one")[i % 3],
        }
        for i, rate in enumerate(rates)
    ]


def one_of_each() -> Settings:
    """Return a short world in which every kind and field of faults and selections is used."""
    soon: Settings = {"kind": "fixed", "value": "100 ms"}
    short: Settings = {"at": "200 ms", "until": "600 ms"}
    ends: list[Settings] = [
        {"regions": [WEST]},
        {"zones": [f"{EAST}/1"]},
        {"providers": ["az"]},
        {"ids": [0]},
    ]
    return {
        "duration": "1 s",
        "validators": {"count": 24, "placement": {WEST: 10, EAST: 10, "az:usgovvirginia": 4}},
        "faults": [
            *drawn_crashes(),
            {"kind": "amnesia_crash", "nodes": {"ids": [10]}, **short},
            {"kind": "slow_node", "nodes": {"zone": f"{WEST}/1"}, "factor": 2, **short},
            {"kind": "throttle", "nodes": {"provider": "az"}, "bandwidth_left": "50 %", **short},
            {"kind": "partition", "groups": [ends[1]], "one_way": True, "flap": "90 ms", **short},
            {"kind": "link_loss", "from": ends[0], "to": ends[1], "probability": "1 %", **short},
            {"kind": "link_delay", "between": [ends[2], ends[3]], "amount": "1 ms", **short},
            {"kind": "link_delay", "from": ends[0], "to": ends[3], "amount": "1 ms", **short},
            {"kind": "link_duplication", "from": ends[3], "probability": "1 %", **short},
            {"kind": "link_reordering", "to": ends[3], "within": "1 ms", **short},
            {"kind": "link_corruption", "from": ends[3], "probability": "1 %", **short},
            {"kind": "zone_outage", "zones": [f"{EAST}/2"], "cut_off": True, **short},
            {
                "kind": "region_outage",
                "regions": [EAST],
                "every": soon,
                "lasting": soon,
                "strikes": "each",
                **short,
            },
            {"kind": "provider_outage", "providers": ["az"], **short},
            {"kind": "clock_skew", "nodes": {"ids": [12]}, "ahead": "1 s", "rate": 1.1, **short},
            {"kind": "clock_skew", "nodes": {"ids": [13]}, "behind": "1 s", **short},
            {"kind": "slow_disk", "nodes": {"ids": [14]}, "write": "1 ms", **short},
            {"kind": "failing_disk", "nodes": {"ids": [15]}, "share": "50 %", **short},
            {"kind": "full_disk", "nodes": {"ids": [16]}, **short},
            {"kind": "kms_outage", "nodes": {"ids": [17]}, **short},
            {
                "kind": "kms_throttle",
                "nodes": {"ids": [18, 19]},
                "quota": "100 /s",
                "burst": 2,
                "per": "region",
                "delay": "1 ms",
                **short,
            },
            rollout(20, {"kind": "rolling", "wave": 2, "pause": "1 ms"}, factor=2),
            rollout(21, {"kind": "blue_green"}) | {"abort_on": ABORT_ON, "bad_version": {}},
            rollout(
                22, {"kind": "canary", "share": "50 %", "bake": "9 ms", "wave": 1, "pause": "1 ms"}
            ),
        ],
        "adversaries": [{"kind": "double_vote", "nodes": {"rollout": "rollout-20"}}],
    }


ABORT_ON: Settings = {
    "alerts": ["validators_down"],
    "monitors": ["agreement"],
    "no_commit_for": "1 s",
    "reaction": "5 ms",
    "watch_for": "2 s",
}


def rollout(first: int, strategy: Settings, factor: int | None = None) -> Settings:
    """Write a rollout to two validators whose new version is bad."""
    bad: Settings = {"noticed_after": "50 ms", **({} if factor is None else {"factor": factor})}
    return {
        "kind": "rollout",
        "name": f"rollout-{first}",
        "nodes": {"ids": [first, first + 1]},
        "at": "100 ms",
        "downtime": "10 ms",
        "strategy": strategy,
        "bad_version": bad,
    }
