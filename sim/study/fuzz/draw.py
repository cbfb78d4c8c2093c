"""Whole random scenarios: the k-th is a function of (seed, k).

Owns which features there are and the ranges that their settings are drawn from. Swarm testing:
each scenario first switches a random subset of features on, then draws settings for those, because
a feature that is always on hides what needs it off (Groce, Zhang, Eide, Chen, Regehr, "Swarm
testing", ISSTA 2012). Every scenario has two phases: until it heals anything may go wrong, after
that nothing does, and the chain has to move. Must not know how a scenario is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from sim.scenario.quantities import DURATION
from sim.scenario.validate import validate
from sim.study.fuzz.die import Die, percent_text, time_text
from sim.study.fuzz.disorder import amnesia, faults, rules
from sim.study.fuzz.malice import ATTACKS, SIGN_TWICE, attacks, split
from sim.world.chance import Chance

Settings: TypeAlias = dict[str, Any]

FEATURES = (
    "adversaries",
    "agents",
    "amnesia",
    "crypto",
    "dissemination",
    "epochs",
    "faults",
    "ledger",
    "levels",
    "operations",
    "regions",
    "rules",
    "stakes",
    "weights",
)
RARE = {"agents": 20, "amnesia": 20, "crypto": 20}
"""Features that are on in so many of a hundred scenarios; the others in half of them."""
OVER_BUDGET_PERCENT = 15
"""Scenarios in which more weight may sign twice than two quorums have in common."""
REGIONS = ("aws:us-gov-west-1", "aws:us-gov-east-1", "aws:eu-central-1", "aws:ap-southeast-2")
SIZES = (4, 4, 4, 5, 6, 7, 7, 7, 8, 10, 10, 13)
STAKE = 1_000_000
TIMERS_MAX = 4
"""Longest view timers within which commits must come back after the healing: one that runs as the
network heals, one to agree on a view, and two for leaders who have not caught up yet."""
MOVE_MS = 3_000
"""What else the first commit after the healing may take: syncing, three views, slow regions."""


def draw(seed: int, number: int) -> Settings:
    """Return the scenario `number` of `seed` as plain YAML values, with what it expects.

    A scenario below the limits expects safety, and commits within a bound once it has healed; one
    above them expects safety to be violated, which it may be or not: what it must never violate is
    everything else.
    """
    attempt = 0
    while True:
        die = Die(Chance(seed, number).stream(f"fuzz/scenario/{attempt}"))
        drawn = _drawn(die, seed, number)
        if validate(drawn)[0] is not None:
            return drawn
        attempt += 1


def _drawn(die: Die, seed: int, number: int) -> Settings:
    """Draw a scenario, which the rules may still refuse: two minds may meet in one validator."""
    on = [name for name in FEATURES if die.chance(RARE.get(name, 50))]
    over = die.chance(OVER_BUDGET_PERCENT)
    count, heal_ms = die.pick(SIZES), die.time_ms(1_500, 6_000)
    everyone = list(range(count))
    consensus = _consensus(die, on, count, over=over)
    if over and "epoch_blocks" in consensus:
        consensus["epoch_blocks"] = max(consensus["epoch_blocks"], _long_enough(consensus, heal_ms))
    timer_max_ms = _milliseconds(consensus["timer_max"])
    within_ms = TIMERS_MAX * timer_max_ms + MOVE_MS
    drawn: Settings = {
        "schema": "creto-sim/1",
        "name": f"fuzz_{seed}_{number}",
        "title": f"Scenario {number} of seed {seed}",
        "question": "Does an invariant break?",
        "seed": die.whole(1, 10**6),
        "duration": time_text(heal_ms + within_ms + 1_000),
        "network": {"bandwidth": "1 Gbit/s"},
        "validators": _validators(die, on, count),
        "consensus": consensus,
    }
    drawn |= _parameters(die, on)
    if "rules" in on:
        drawn["network"]["rules"] = rules(die, everyone, heal_ms)
    _trouble(die, on, drawn, everyone, heal_ms, over=over)
    if "operations" in on:
        drawn["operations"] = _operations(die, drawn["validators"], heal_ms + within_ms)
    if "agents" in on or (over and consensus.get("on_safety_violation") and die.chance(70)):
        drawn["agents"] = _agents(die, drawn["validators"]["placement"])
    live = {"commit_within": time_text(within_ms), "after": time_text(heal_ms)}
    drawn["expect"] = [{"safety": "violated"}] if over else [{"safety": "held"}, {"liveness": live}]
    return drawn


def heals_in_time(plain: Mapping[str, Any]) -> bool:
    """Say whether a scenario leaves the network the time that it needs once all has healed.

    Whatever breaks ends; from then on, and from when commits are asked for, there is time for the
    timers and the syncing. Only then may commits, and convictions, be asked for.
    """
    ends = [item.get("until") for item in plain.get("faults", ())]
    ends += [item.get("end") for item in plain.get("adversaries", ())]
    ends += [item.get("end") for item in plain["network"].get("rules", ())]
    if None in ends:
        return False
    healed_ms = max(map(_milliseconds, ends), default=0)
    needed_ms = TIMERS_MAX * _milliseconds(plain["consensus"].get("timer_max", "60 s")) + MOVE_MS
    live = next((c["liveness"] for c in plain["expect"] if "liveness" in c), None)
    if live is None:
        return _milliseconds(plain["duration"]) >= healed_ms + needed_ms
    asked_ms, within_ms = (_milliseconds(live.get(k, "0 s")) for k in ("after", "commit_within"))
    return healed_ms <= asked_ms and within_ms >= needed_ms


def _milliseconds(text: str) -> int:
    return DURATION.parse(text) // 1_000_000


def _long_enough(consensus: Settings, heal_ms: int) -> int:
    """Return blocks an epoch of which a fork can close one before the healing, and no second.

    Sides that part for longer show each other proofs of an epoch in which neither has offended;
    the offence lies in one before, which nobody digs up. That is a limit of the protocol, known:
    `tests/fuzz/known` holds it.
    """
    return heal_ms * 2 // (3 * _milliseconds(consensus["min_block_interval"])) + 1


def _consensus(die: Die, on: list[str], count: int, *, over: bool) -> Settings:
    base_ms = die.pick((300, 400, 600, 1_000))
    consensus: Settings = {
        "timer_base": time_text(base_ms),
        "timer_max": time_text(base_ms * die.pick((1, 2, 4))),
        "min_block_interval": time_text(die.pick((50, 100, 100, 150, 200))),
    }
    if die.chance(40):
        consensus["timer_backoff"] = die.pick((1, Decimal("1.2"), 2))
    if die.chance(40):
        consensus["leader"] = "round_robin"
    late = die.whole(0, 3)
    if "epochs" in on:
        consensus |= {"epoch_blocks": die.whole(late + 3, 20), "late_vote_leaders": late}
    if "dissemination" in on and count > 4:
        way = die.pick(("tree", "gossip"))
        least = 2 if way == "tree" else 3
        consensus["dissemination"] = {"kind": way, "fanout": die.whole(least, count - 1)}
    if die.chance(10):
        consensus |= {"sync_blocks": die.whole(1, 4)}
    if over and die.chance(70):
        consensus["on_safety_violation"] = "reconcile"
    return consensus


def _validators(die: Die, on: list[str], count: int) -> Settings:
    regions = die.some(REGIONS, 2, 3) if "regions" in on else [die.pick(REGIONS[:2])]
    validators: Settings = {"count": count, "placement": regions}
    if "stakes" in on:
        validators["stake"] = die.pick(
            (
                {"kind": "zipf", "largest": 4 * STAKE, "exponent": Decimal("0.5")},
                {"kind": "lognormal", "median": STAKE, "sigma": Decimal("0.4")},
                {"kind": "listed", "amounts": [die.whole(1, 8) * STAKE for _ in range(count)]},
            )
        )
    if "operations" in on and die.chance(60):
        validators["candidates"] = {"placement": {regions[0]: die.whole(1, 3)}}
    return validators


def _parameters(die: Die, on: list[str]) -> Settings:
    found: Settings = {}
    if "weights" in on:
        stake = die.pick((20, 40, 60, 80))
        reputation = die.pick((0, 10, 20))
        found["weights"] = {
            "stake": percent_text(stake),
            "reputation": percent_text(reputation),
            "uptime": percent_text(100 - stake - reputation),
            "cap": percent_text(die.pick((15, 20, 34, 100))),
            "combine": die.pick(("additive", "stake_multiplied")),
        }
    if "levels" in on:
        found["quorum"] = {
            "initial_level": die.whole(0, 2),
            "window_epochs": die.whole(1, 3),
            "cooldown_epochs": die.whole(1, 3),
            "liveness_guard": die.chance(50),
        }
    if "ledger" in on:
        found["ledger"] = {
            "unbonding_epochs": die.whole(1, 4),
            "jail_epochs": die.whole(1, 3),
            "min_signed": percent_text(die.pick((0, 0, 10, 50))),
            "tombstone": die.some(("double_vote", "double_proposal"), 0, 2),
            "slash": {"double_vote": percent_text(die.pick((0, 5, 50, 100)))},
            "correlation_multiplier": die.pick((0, 1, 3)),
        }
    if "crypto" in on:
        found["crypto"] = {"costs": "pycryptodome"}
    return found


def _trouble(
    die: Die, on: list[str], drawn: Settings, everyone: list[int], heal_ms: int, *, over: bool
) -> None:
    """Draw who breaks and who is bad: at most a third of them below the limits."""
    count = len(everyone)
    broken = faults(die, everyone, heal_ms) if "faults" in on else []
    most = (count - 1) // 3
    if over:
        # From 40 % on two sides of a cut can both decide at the lowest level (2q - 1 is 34 %).
        bad = die.some(everyone, -(-2 * count // 5), count - 2)
        if die.chance(75):
            drawn["adversaries"] = split(die, bad, everyone, heal_ms)
        else:
            drawn["adversaries"] = attacks(die, bad, everyone, heal_ms, SIGN_TWICE)
    elif "adversaries" in on:
        bad = die.some(everyone, 1, most)
        kinds = die.some(sorted(ATTACKS), 1, 5)
        drawn["adversaries"] = attacks(die, bad, everyone, heal_ms, kinds)
    else:
        bad = die.some(everyone, 1, most)
    if "amnesia" in on:
        broken.append(amnesia(die, bad[: die.whole(1, len(bad))], heal_ms))
    if broken:
        drawn["faults"] = broken


def _operations(die: Die, validators: Settings, end_ms: int) -> list[Settings]:
    """Draw operations of up to four operators; some of them the ledger will refuse."""
    count, found = validators["count"], list[Settings]()
    later = sum(validators.get("candidates", {"placement": {}})["placement"].values())
    for _ in range(die.whole(1, 4)):
        kind = die.pick(("unbond", "top_up", "unjail", "register"))
        who = die.whole(0, count - 1)
        if kind == "register":
            if not later:
                continue
            who = die.whole(count, count + later - 1)
        asked: Settings = {"kind": kind, "validator": who, "at": time_text(die.time_ms(0, end_ms))}
        if kind != "unjail":
            asked["amount"] = die.pick((STAKE // 10, STAKE // 2, STAKE))
        found.append(asked)
    return found


def _agents(die: Die, regions: list[str]) -> Settings:
    """Draw a few dozen agents of one region that submit transactions."""
    rate = die.pick(("1 /s", "5 /s"))
    return {
        "count": die.whole(10, 60),
        "placement": {regions[0]: "100 %"},
        "workload": {"transactions": {"arrivals": {"kind": "poisson", "rate": rate}}},
    }
