"""Link rules: what happens to a message between two nodes, as data with verdicts.

Owns: rules, whom they concern, when they hold, and which one decides.
Must not know: message contents, delays without rules, the event loop.

A rule concerns a message if its sender, its receiver, the time of sending and the rule's own draw
all match. The first rule that concerns a message gives the verdict; without one it passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sim.world.chance import mix

PPB = 10**9
FOREVER_NS = 1 << 62

PASS = "pass"
DELAY = "delay"
DROP = "drop"
DUPLICATE = "duplicate"
CORRUPT = "corrupt"
VERDICTS = (PASS, DELAY, DROP, DUPLICATE, CORRUPT)


@dataclass(frozen=True, slots=True)
class Group:
    """Some nodes: by index, by region or by zone ("region/zone"); all of them if nothing is given.

    `outside` turns it round: everyone but those.
    """

    nodes: tuple[int, ...] = ()
    regions: tuple[str, ...] = ()
    outside: bool = False

    def members(self, sites: Sequence[str]) -> tuple[bool, ...]:
        """Say for each node whether it belongs. `sites`: each node's region or zone.

        Raises ValueError for a node or a region that the network doesn't have.
        """
        for node in self.nodes:
            if not 0 <= node < len(sites):
                raise ValueError(f"link rule: node {node} is not among {len(sites)} nodes")
        regions = dict.fromkeys(site.partition("/")[0] for site in sites)
        known = dict.fromkeys([*sites, *regions])
        for region in self.regions:
            if region not in known:
                raise ValueError(f"link rule: no node is in {region}; nodes are in {list(known)}")
        if not self.nodes and not self.regions:
            return tuple(not self.outside for _ in sites)
        return tuple(
            (node in self.nodes or site in self.regions or site.partition("/")[0] in self.regions)
            != self.outside
            for node, site in enumerate(sites)
        )


EVERYONE = Group()


@dataclass(frozen=True, slots=True)
class LinkRule:
    """One rule. Holds from `start_ns` to before `end_ns`, judged at the time of sending.

    `delay`: `delay_ns` more, plus a uniform draw below `jitter_ns` (which reorders). `duplicate`: a
    second copy, that much later. `corrupt`: arrives unreadable, its cost is charged. `pass`:
    shields from the rules after it. With `period_ns` the rule flaps: it holds in the first
    `active_ns` of each period from `start_ns` on.
    """

    verdict: str
    sources: Group = EVERYONE
    destinations: Group = EVERYONE
    both_ways: bool = True
    start_ns: int = 0
    end_ns: int = FOREVER_NS
    probability_ppb: int = PPB
    delay_ns: int = 0
    jitter_ns: int = 0
    period_ns: int = 0
    active_ns: int = 0

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"link rule: verdict {self.verdict}; need one of {VERDICTS}")
        if not 0 <= self.start_ns < self.end_ns:
            raise ValueError(f"link rule: from {self.start_ns} to {self.end_ns} ns never holds")
        if not 0 < self.probability_ppb <= PPB:
            raise ValueError(f"link rule: probability {self.probability_ppb} ppb; need 1 to {PPB}")
        if self.delay_ns < 0 or self.jitter_ns < 0:
            raise ValueError(f"link rule: delay {self.delay_ns}, jitter {self.jitter_ns} ns < 0")
        slow = self.delay_ns + self.jitter_ns > 0
        if (self.verdict == DELAY) != slow and self.verdict != DUPLICATE:
            raise ValueError(f"link rule: {self.verdict} with a delay of {self.delay_ns} ns")
        if self.period_ns and not 0 < self.active_ns < self.period_ns:
            raise ValueError(
                f"link rule: active {self.active_ns} ns of a period of {self.period_ns} ns"
            )
        if self.active_ns and not self.period_ns:
            raise ValueError(f"link rule: active {self.active_ns} ns of no period")

    def holds(self, now_ns: int) -> bool:
        """Say whether the rule is in force."""
        if not self.start_ns <= now_ns < self.end_ns:
            return False
        if not self.period_ns:
            return True
        return (now_ns - self.start_ns) % self.period_ns < self.active_ns

    def next_change_ns(self, now_ns: int) -> int:
        """Return the first time after `now_ns` at which it may come into force or lapse."""
        if now_ns < self.start_ns:
            return self.start_ns
        if now_ns >= self.end_ns:
            return FOREVER_NS
        if not self.period_ns:
            return self.end_ns
        phase = (now_ns - self.start_ns) % self.period_ns
        turn = self.active_ns if phase < self.active_ns else self.period_ns
        return min(self.end_ns, now_ns - phase + turn)


def partition(
    groups: Sequence[Group],
    *,
    start_ns: int = 0,
    end_ns: int = FOREVER_NS,
    one_way: bool = False,
    period_ns: int = 0,
    active_ns: int = 0,
) -> tuple[LinkRule, ...]:
    """Return rules that cut every group from every other; one group is cut from everyone else.

    `one_way`: only what an earlier group sends to a later one is lost.
    """
    if not groups:
        raise ValueError("partition: no groups")
    sides = list(groups)
    if len(sides) == 1:
        only = sides[0]
        sides.append(Group(only.nodes, only.regions, not only.outside))
    return tuple(
        LinkRule(
            DROP,
            sides[i],
            sides[j],
            both_ways=not one_way,
            start_ns=start_ns,
            end_ns=end_ns,
            period_ns=period_ns,
            active_ns=active_ns,
        )
        for i in range(len(sides))
        for j in range(i + 1, len(sides))
    )


class Verdict(NamedTuple):
    """What becomes of a message. `extra_ns`: the added delay, or how much later the copy comes."""

    kind: str
    extra_ns: int
    rule: int


def stopped(verdict: Verdict | None) -> bool:
    """Say whether a message does not get through, or not as it was."""
    return verdict is not None and verdict.kind in (DROP, CORRUPT)


def added_ns(verdict: Verdict | None) -> int:
    """Return how much later than without rules a message comes."""
    return verdict.extra_ns if verdict is not None and verdict.kind == DELAY else 0


class Links:
    """Rules compiled for a set of nodes.

    While no rule is in force, `judge` costs one comparison of times; with none at all, a driver
    need not call it (`idle`). Verdicts are drawn from 64 uniform bits of the message, each rule
    from its own hash of them.
    """

    __slots__ = ("_from_ns", "_in_force", "_like", "_matches", "_until_ns", "rules")

    def __init__(self, rules: Iterable[LinkRule], sites: Sequence[str]) -> None:
        self.rules = tuple(rules)
        self._matches: list[list[list[bool]]] = []
        for rule in self.rules:
            sources, targets = rule.sources.members(sites), rule.destinations.members(sites)
            self._matches.append(
                [
                    [
                        (sources[a] and targets[b])
                        or (rule.both_ways and sources[b] and targets[a])
                        for b in range(len(sites))
                    ]
                    for a in range(len(sites))
                ]
            )
        self._from_ns = self._until_ns = 0
        self._in_force: list[int] = []
        self._like = list(range(len(sites)))

    @property
    def idle(self) -> bool:
        """Whether there is no rule at all."""
        return not self.rules

    def judge(self, src: int, dst: int, now_ns: int, bits: int) -> Verdict | None:
        """Return the verdict on a message sent now; None if no rule concerns it."""
        if not self._from_ns <= now_ns < self._until_ns:
            self._enter(now_ns)
        like = self._like
        for index in self._in_force:
            if not self._matches[index][like[src]][like[dst]]:
                continue
            rule = self.rules[index]
            drawn = 0
            if rule.probability_ppb < PPB or rule.jitter_ns:
                drawn = mix(bits, index)
            if (drawn >> 32) * PPB >> 32 >= rule.probability_ppb:
                continue
            jitter = (drawn & 0xFFFFFFFF) * rule.jitter_ns >> 32
            return Verdict(rule.verdict, rule.delay_ns + jitter, index)
        return None

    def stand_in(self, node: int, other: int) -> None:
        """Judge what `node` sends and receives from now on as if it were `other`; or as itself."""
        self._like[node] = other

    def _enter(self, now_ns: int) -> None:
        """Find the rules in force now and the interval in which they stay so."""
        self._in_force = [i for i, rule in enumerate(self.rules) if rule.holds(now_ns)]
        self._from_ns = now_ns
        self._until_ns = min(
            (rule.next_change_ns(now_ns) for rule in self.rules), default=FOREVER_NS
        )
