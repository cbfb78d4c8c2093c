"""Random adversaries, all of which have given up when a scenario heals.

Owns the ranges of each kind of attack. Members of two adversaries are never the same, so that no
two minds contradict each other. Must not know faults, nor what a scenario expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sim.study.fuzz.die import STEP_MS, Die, percent_text, time_text

Settings: TypeAlias = dict[str, Any]


class Cast:
    """Who is who, for the draw of one attack: its members, and the others."""

    def __init__(self, members: Sequence[int], everyone: Sequence[int]) -> None:
        self.members = list(members)
        self.others = [i for i in everyone if i not in members]


def _nothing(die: Die, cast: Cast) -> Settings:
    return {}


def _victims(die: Die, cast: Cast) -> Settings:
    return {"victims": {"ids": die.some(cast.others, 1, len(cast.others))}}


def _withhold(die: Die, cast: Cast) -> Settings:
    what = die.some(("votes", "proposals", "timeouts"), 1, 3)
    return {"what": what} | _victims(die, cast)


def _delay_proposals(die: Die, cast: Cast) -> Settings:
    return {"amount": time_text(die.time_ms(STEP_MS, 1_000))} if die.chance(50) else {}


def _lazy_vote(die: Die, cast: Cast) -> Settings:
    return {"amount": time_text(die.time_ms(0, 500)), "blind": die.chance(50)}


def _censor(die: Die, cast: Cast) -> Settings:
    victims = {"ids": die.some(cast.others, 1, 3)}
    return {"validators": victims, "gateways": victims, "refuse_votes": die.chance(50)}


def _flood(die: Die, cast: Cast) -> Settings:
    asked = {"every": f"{die.pick((20, 50, 100))} ms", "signatures": die.pick((1, 5))}
    return asked | _victims(die, cast)


def _timeout_spam(die: Die, cast: Cast) -> Settings:
    return {"repeats": die.whole(1, 3), "ahead": die.pick((0, 0, 1, 2, 16))}


def _protected(die: Die, cast: Cast) -> Settings:
    return {"protected": {"ids": die.some(cast.members, 1, len(cast.members))}}


def _sleeper(die: Die, cast: Cast) -> Settings:
    then = die.pick(("silent", "double_vote", "equivocate"))
    return {"then": then, "until_height": die.whole(1, 30)}


def _twins(die: Die, cast: Cast) -> Settings:
    asked: Settings = {}
    if die.chance(40):
        first = die.some(cast.others, 1, len(cast.others) - 1)
        asked["sides"] = [{"ids": first}, {"ids": [i for i in cast.others if i not in first]}]
    elif die.chance(60):
        asked["turn"] = time_text(die.time_ms(250, 2_000))
    if die.chance(25):
        asked["cut"] = False
    return asked


def _corruption(die: Die, cast: Cast) -> Settings:
    return {"budget": die.whole(1, len(cast.members)), "mobile": die.chance(50)}


ATTACKS: dict[str, Callable[[Die, Cast], Settings]] = {
    "silent": _nothing,
    "withhold": _withhold,
    "selective_send": lambda die, cast: {"reach": percent_text(die.pick((10, 50, 90)))},
    "equivocate": lambda die, cast: {"twin_share": percent_text(die.pick((10, 34, 50, 90)))},
    "double_vote": _nothing,
    "twins": _twins,
    "delay_proposals": _delay_proposals,
    "lazy_vote": _lazy_vote,
    "censor": _censor,
    "invalid_signature_flood": _flood,
    "timeout_spam": _timeout_spam,
    "attendance_theft": _victims,
    "evidence_suppression": _protected,
    "sleeper": _sleeper,
    "stake_grinding": lambda die, cast: {"tries": die.pick((2, 8, 32))},
    "adaptive_corruption": _corruption,
    "long_range": _victims,
    "hide_certificate": _nothing,
    "invented_history": _nothing,
}
"""By kind: how what is its own is drawn. `level_then_silence` is a timed `double_vote` and
`silent`, which are drawn one by one."""

SIGN_TWICE = ("twins", "double_vote", "equivocate")
"""Kinds whose members sign conflicting statements: with enough weight they can break safety."""


def _trigger(die: Die) -> Settings:
    return die.pick(
        (
            {"probability": percent_text(die.pick((10, 50, 90)))},
            {"heights": {"from": die.whole(1, 20), "to": die.whole(20, 60)}},
            {"views": {"from": die.whole(1, 5), "to": die.whole(5, 20)}},
            {"epochs": {"from": die.whole(1, 3)}},
            {"phase": die.pick(("epoch_start", "epoch_end", "view_change"))},
            {"level": {"at_least": die.whole(0, 1)}},
        )
    )


LIKELY = ("hide_certificate", "double_vote", "invented_history")
"""Kinds that are drawn twice as often: what they try rarely comes to pass."""


def attacks(
    die: Die, bad: Sequence[int], everyone: Sequence[int], heal_ms: int, kinds: Sequence[str]
) -> list[Settings]:
    """Draw the adversaries that share out the validators `bad` among them, of some of `kinds`."""
    left, found = list(bad), list[Settings]()
    while left:
        members = left[: die.whole(1, len(left))]
        left = left[len(members) :]
        kind = die.pick([*kinds, *(each for each in LIKELY if each in kinds)])
        start_ms, end_ms = die.window_ms(heal_ms)
        attack: Settings = {"kind": kind, "nodes": {"ids": members}}
        attack |= ATTACKS[kind](die, Cast(members, everyone))
        if die.chance(60):
            start_ms = 0
        attack |= {"start": time_text(start_ms), "end": time_text(end_ms)}
        if kind not in ("twins", "long_range") and die.chance(25):
            attack["when"] = _trigger(die)
        found.append(attack)
    return found


def split(die: Die, bad: Sequence[int], everyone: Sequence[int], heal_ms: int) -> list[Settings]:
    """Draw the strategy that breaks safety if any does: twins of all who are bad, under a cut."""
    others = [i for i in everyone if i not in bad]
    middle = (len(others) + 1) // 2
    sides = [{"ids": others[:middle]}, {"ids": others[middle:]}]
    attack: Settings = {"kind": "twins", "nodes": {"ids": list(bad)}}
    if die.chance(50):
        attack["sides"] = sides
    return [attack | {"end": time_text(heal_ms)}]
