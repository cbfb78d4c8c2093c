"""What each attack does, as the smallest world that shows it: settings, and a measure that moves.

A case runs the attack and a control (the same world without the attack, or with a tamer one) and
compares one figure. The figure is what the attack's docstring promises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.engine.worlds import SECOND, WEST, Ran

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One attack: `attacks` against `control` in the same world, judged by `measure`.

    `moves(attacked, control)` says whether the figures differ as promised.
    """

    attacks: list[Settings]
    measure: Callable[[Ran], Any]
    moves: Callable[[Any, Any], bool]
    control: list[Settings] = field(default_factory=list)
    world: Settings = field(default_factory=dict)

    def sections(self, adversaries: list[Settings]) -> Settings:
        base: Settings = {"duration": "6 s", "validators": {"count": 7}}
        return {**base, **self.world, "adversaries": adversaries}


def owned(kind: str, *nodes: int, **settings: Any) -> Settings:
    return {"kind": kind, "nodes": {"ids": list(nodes)}, **settings}


def blocks(ran: Ran) -> int:
    return ran.metric("blocks_committed")


def late_blocks(ran: Ran) -> int:
    """Count the commits of the last two seconds."""
    return ran.commits_between(4 * SECOND, 6 * SECOND)


def convicted(ran: Ran) -> list[int]:
    return sorted({row["offender"] for row in ran.rows("evidence", event="punished")})


def first_punishment_ns(ran: Ran) -> int:
    return min(row["time_ns"] for row in ran.rows("evidence", event="punished"))


def applied(ran: Ran) -> list[int]:
    """List who proposed the blocks in which operations took effect."""
    heights = [row["height"] for row in ran.rows("operations", event="applied")]
    made = {row["height"]: row["proposer"] for row in ran.rows("blocks", status="committed")}
    return [made[height] for height in heights]


def uptimes(ran: Ran, *validators: int) -> list[int]:
    """Return the uptime of validators as the last epoch pinned it, ppm."""
    last = max(row["epoch"] for row in ran.rows("validators"))
    rows = {row["validator"]: row for row in ran.rows("validators", epoch=last)}
    return [rows[validator]["uptime"] for validator in validators]


def led_ppm(ran: Ran, validator: int) -> int:
    """Return the share of committed blocks that a validator proposed."""
    made = [row["proposer"] for row in ran.rows("blocks", status="committed")]
    return made.count(validator) * 1_000_000 // len(made)


def conflicts(ran: Ran) -> int:
    """Count heights at which honest validators committed different blocks."""
    return sum(row["monitor"] == "agreement" for row in ran.rows("violations"))


def refused_signatures(ran: Ran) -> int:
    return ran.reasons("rejected").get("invalid_signature", 0)


def block_latency_ns(ran: Ran) -> int:
    return ran.metric("block_latency_p50_ns")


VIOLATED = [{"safety": "violated"}]
SPLIT: Settings = {
    "duration": "8 s",
    "validators": {"count": 10},
    "consensus": {"leader": "weighted", "epoch_blocks": 1000, "timer_backoff": 1},
    "expect": VIOLATED,
}
UNBOND = [{"kind": "unbond", "validator": 0, "amount": 50_000, "at": "1 s"}]
NO_LEVELS: Settings = {"cooldown_epochs": 1000, "missed": ["90 %", "95 %"]}
EVICTED = [
    *({"kind": "register", "validator": v, "amount": 10**6, "at": "100 ms"} for v in range(7, 12)),
    *({"kind": "unbond", "validator": v, "amount": 10**6, "at": "800 ms"} for v in range(5)),
]
"""Five of seven leave, five candidates take their place."""
FARMED: Settings = {
    "duration": "14 s",
    "validators": {"count": 13},
    "quorum": NO_LEVELS,
    "faults": [{"kind": "crash", "nodes": {"ids": [9, 10, 11, 12]}, "at": "1 s", "until": "6 s"}],
}


def last_second_blocks(ran: Ran) -> int:
    return ran.commits_between(10 * SECOND, 14 * SECOND)


def all_but(*left_out: int) -> Settings:
    return {"ids": [v for v in range(7) if v not in left_out]}


HOTSTUFF: Settings = {
    "protocol": {"kind": "hotstuff"},
    "validators": {"count": 7},
    "consensus": {"min_block_interval": None, "epoch_blocks": None, "leader": "weighted"},
    "quorum": None,
}
"""BASE without what HotStuff has not."""

CASES: dict[str, Case] = {
    "silent": Case([owned("silent", 4, 5, 6, start="1 s")], late_blocks, lambda a, c: a == 0 < c),
    "withhold": Case(
        [owned("withhold", 4, 5, 6, what=["votes"], victims={"ids": [0, 1]})],
        lambda ran: ran.metric("timeouts"),
        lambda a, c: c == 0 and a >= 3,
        world={"quorum": NO_LEVELS},
    ),
    "selective_send": Case(
        [owned("selective_send", 5, 6, reach="40 %")],
        lambda ran: ran.metric("timeouts"),
        lambda a, c: c == 0 and a >= 3,
        world={"quorum": NO_LEVELS},
    ),
    "equivocate": Case(
        [owned("equivocate", 3, 4, twin_share="34 %")],
        lambda ran: [row["kind"] for row in ran.rows("forks")].count("equivocation"),
        lambda a, c: a > c == 0,
    ),
    "double_vote": Case([owned("double_vote", 3)], convicted, lambda a, c: a == [3] and c == []),
    "twins": Case(
        [owned("twins", 0, 1, 2, 3)],
        conflicts,
        lambda a, c: a == 1 and c == 0,
        control=[owned("twins", 0, 1, 2)],
        world=SPLIT,
    ),
    "delay_proposals": Case(
        [owned("delay_proposals", 1, 3, 5)],
        lambda ran: (blocks(ran), ran.metric("timeouts")),
        lambda a, c: 2 * a[0] < c[0] and a[1] <= 2,
    ),
    "lazy_vote": Case(
        [owned("lazy_vote", 4, 5, 6, amount="200 ms")],
        lambda ran: (blocks(ran), ran.metric("timeouts")),
        lambda a, c: 2 * a[0] < c[0] and a[1] == 0,
    ),
    "censor": Case(
        [owned("censor", 3, 4, 5, 6, validators={"ids": [0]})],
        applied,
        lambda a, c: len(a) == len(c) == 1 and a[0] < 3 <= c[0],
        world={"operations": UNBOND},
    ),
    "invalid_signature_flood": Case(
        [
            owned(
                "invalid_signature_flood",
                6,
                every="2 ms",
                signatures=40,
                victims=all_but(6),
                start="1 s",
            )
        ],
        lambda ran: (refused_signatures(ran), blocks(ran)),
        lambda a, c: a[0] > 1000 > c[0] == 0 and 3 * a[1] < 2 * c[1],
    ),
    "timeout_spam": Case(
        [owned("timeout_spam", 4, 5, 6, ahead=1)],
        blocks,
        lambda a, c: a == 0 and c >= 80,
        control=[owned("timeout_spam", 5, 6, ahead=1)],
        world={"quorum": NO_LEVELS},
    ),
    "attendance_theft": Case(
        [owned("attendance_theft", 4, 5, 6, victims={"ids": [0, 1]})],
        lambda ran: (max(uptimes(ran, 0, 1)), min(uptimes(ran, 2, 3, 4, 5, 6))),
        lambda a, c: a[0] < 800_000 and a[1] > 950_000 and c[0] > 800_000,
        world={"quorum": NO_LEVELS},
    ),
    "evidence_suppression": Case(
        [
            owned("double_vote", 3, start="1 s"),
            owned("evidence_suppression", *range(1, 7), protected={"ids": [3]}),
        ],
        first_punishment_ns,
        lambda a, c: a > c,
        control=[owned("double_vote", 3, start="1 s")],
    ),
    "sleeper": Case(
        [owned("sleeper", 0, 1, 2, 3, then="silent", until_reputation="58 %", start="6 s")],
        last_second_blocks,
        lambda a, c: a == 0 < c,
        control=[owned("silent", 0, 1, 2, 3, start="10 s", end="10001 ms")],
        world=FARMED,
    ),
    "level_then_silence": Case(
        [owned("level_then_silence", 0, 1, 2, 3, provokers=1)],
        late_blocks,
        lambda a, c: a == 0 < c,
        control=[owned("silent", 1, 2, 3, start="1 s")],
        world={"validators": {"count": 16}, "quorum": NO_LEVELS},
    ),
    "stake_grinding": Case(
        [owned("stake_grinding", 6, tries=200)],
        lambda ran: led_ppm(ran, 6),
        lambda a, c: a > 3 * 1_000_000 // 14 > c,
        world={"duration": "8 s", "consensus": {"leader": "weighted"}},
    ),
    "adaptive_corruption": Case(
        [owned("adaptive_corruption", *range(7), budget=1)],
        blocks,
        lambda a, c: a == 0 and c >= 30,
        control=[owned("adaptive_corruption", *range(7), budget=1, delay="2 s")],
    ),
    "long_range": Case(
        [owned("long_range", 0, 1, 2, 3, 4, start="2500 ms", victims={"ids": [13]})],
        conflicts,
        lambda a, c: a == 1 and c == 0,
        world={
            "duration": "12 s",
            "validators": {"count": 7, "candidates": {"placement": {WEST: 7}}},
            "ledger": {"unbonding_epochs": 1},
            "consensus": {"leader": "weighted"},
            "operations": EVICTED,
            "faults": [
                {"kind": "amnesia_crash", "nodes": {"ids": [13]}, "at": "500 ms", "until": "7 s"}
            ],
            "expect": VIOLATED,
        },
    ),
    "forking": Case(
        [owned("forking", 0, 1)],
        blocks,
        lambda a, c: c // 3 < a < c * 7 // 10,
        world=HOTSTUFF,
    ),
}


CASES["hide_certificate"] = Case(
    [owned("silent", 2), owned("hide_certificate", 3)],
    lambda ran: ran.reasons("rejected").get("justification_below_tc", 0),
    lambda a, c: a > c == 0,
    control=[owned("silent", 2)],
    world={"consensus": {"leader": "round_robin", "epoch_blocks": 1000}},
)
CASES["invented_history"] = Case(
    [owned("invented_history", 0, 1)],
    lambda ran: (ran.reasons("rejected").get("below_quorum", 0), conflicts(ran)),
    lambda a, c: a[0] > c[0] == 0 and a[1] == c[1] == 0,
    world={
        "faults": [{"kind": "crash", "nodes": {"ids": [5, 6]}, "at": "1 s", "until": "3 s"}],
        "consensus": {"epoch_blocks": 1000},
    },
)


def one_of_the_others() -> Settings:
    """Return a short world with the attacks on other protocols than the main one."""
    return {**HOTSTUFF, "duration": "1 s", "adversaries": [owned("forking", 1)]}


def one_of_each() -> Settings:
    """Return a short world in which every kind, field, trigger and selection of attacks is used.

    Those on the main protocol, that is: see `one_of_the_others`.
    """
    some = {"ids": [30, 31]}
    whens: list[Settings] = [
        {"probability": "50 %"},
        {"heights": {"from": 2, "to": 6}},
        {"views": {"from": 2}},
        {"epochs": {"to": 3}},
        {"phase": "view_change"},
        {"level": {"at_least": 0, "at_most": 1}},
        {"reputation": "10 %"},
    ]
    triggered = [owned("silent", 10 + i, when=when) for i, when in enumerate(whens)]
    return {
        "duration": "1 s",
        "validators": {"count": 32},
        "expect": VIOLATED,
        "adversaries": [
            *triggered,
            owned("withhold", 0, what=["proposals", "timeouts"], victims=some, end="980 ms"),
            owned("selective_send", 1, reach="50 %"),
            owned("equivocate", 2, twin_share="10 %"),
            owned("double_vote", 3),
            owned("twins", 4, sides=[{"ids": [29]}, {"ids": [28]}], cut=False, end="500 ms"),
            owned("twins", 5, turn="300 ms", start="600 ms", end="900 ms"),
            owned("delay_proposals", 6, amount="10 ms"),
            owned("lazy_vote", 7, amount="10 ms", blind=True),
            owned("censor", 8, gateways=some, validators=some, refuse_votes=True),
            owned("invalid_signature_flood", 9, every="100 ms", signatures=2, victims=some),
            owned("timeout_spam", 17, repeats=2, ahead=1),
            owned("attendance_theft", 18, victims=some),
            owned("evidence_suppression", 19, protected=some),
            owned("sleeper", 20, then="equivocate", until_reputation="90 %", until_height=5),
            owned("level_then_silence", 21, 22, provokers=1, level=1),
            owned("adaptive_corruption", 23, 24, budget=1, delay="10 ms", mobile=False),
            owned("stake_grinding", 25, tries=2),
            owned("long_range", 26, victims=some, start="500 ms"),
            owned("hide_certificate", 27),
            owned("invented_history", 28, start="500 ms"),
            {"kind": "silent", "nodes": {"heaviest": "4 %"}, "start": "990 ms", "end": "991 ms"},
            {"kind": "silent", "nodes": {"lightest": "4 %"}, "start": "992 ms", "end": "993 ms"},
        ],
    }
