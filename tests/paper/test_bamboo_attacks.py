"""Chained HotStuff under the attacks of Bamboo: 32 replicas, b of them leading badly.

Gai, Farahbakhsh, Niu, Feng, Beschastnikh, Duan: "Dissecting the Performance of Chained-BFT", ICDCS
2021, arXiv:2103.00777: chain growth rate, the share of proposed blocks that are committed.

Leaders are drawn, each replica alike, so with a = b / 32 both figures have closed forms. Forking: a
bad leader builds on the lock, two blocks below the highest certificate, so a block survives where
the next two leaders are good: (1 - a)**2. Silence: the votes for a block go to the next leader, so
it survives where that one is good: 1 - a. What was published lies within 0.013 of both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import sqrt
from typing import Any

import pytest

from sim.engine.build import build
from sim.record.recorder import NullRecorder
from sim.scenario.adversaries import Forking, Silent
from sim.scenario.model import Consensus, Scenario
from sim.scenario.protocols import HotStuff
from sim.scenario.selection import Random
from sim.study.baselines import Plan, scenario

REPLICAS = 32
MS = 1_000_000
FORKING = {0: 1.0, 2: 0.873, 4: 0.766, 6: 0.658, 8: 0.562, 10: 0.476}
SILENCE = {0: 1.0, 2: 0.930, 4: 0.864, 6: 0.807, 8: 0.738}
"""Published chain growth by the number of Byzantine replicas."""
SIGMAS = 4.5


class Fates(NullRecorder):
    """Count blocks by what became of them."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def append_row(self, table: str, **values: Any) -> None:
        if table == "blocks":
            self.of[values["status"]] += 1


def growth(adversary: Any, blocks: int) -> tuple[float, int]:
    """Run until so many blocks are settled; return the committed share and their number."""
    base = scenario(HotStuff(kind="hotstuff"), REPLICAS, Plan(delay_ns=MS, seed=5))
    timer = Consensus(timer_base_ns=400 * MS, timer_backoff_ppm=1_000_000, leader="weighted")
    asked: Scenario = replace(base, consensus=timer)
    if adversary is not None:
        asked = replace(asked, adversaries=(adversary,))
    fates = Fates()
    world = build(asked, 0, fates)
    world.start()
    now_ns = 0
    while sum(fates.of.values()) < blocks:
        now_ns += 100 * MS
        world.advance(now_ns)
        assert now_ns < 600_000 * MS, fates.of
    assert world.watch.finish(now_ns) == ()
    settled = fates.of["committed"] + fates.of["orphaned"]
    return fates.of["committed"] / settled, settled


def error(survives: float, overlap: float, blocks: int) -> float:
    """Standard error of a share whose neighbours survive together with probability `overlap`."""
    return sqrt((survives * (1 - survives) + 2 * (overlap - survives**2)) / blocks)


def check(found: float, blocks: int, a: float, *, forking: bool, published: float) -> None:
    if forking:
        expected, overlap = (1 - a) ** 2, (1 - a) ** 3
    else:
        expected, overlap = 1 - a, (1 - a) ** 2
    band = SIGMAS * error(expected, overlap, blocks)
    assert abs(found - expected) <= band, (found, expected, band)
    assert abs(found - published) <= band, (found, published, band)


def fork(count: int) -> Forking:
    return Forking(kind="forking", nodes=Random(random=count))


def hush(count: int) -> Silent:
    return Silent(kind="silent", nodes=Random(random=count))


def test_without_attackers_every_block_is_committed() -> None:
    assert growth(None, 300)[0] == FORKING[0] == SILENCE[0]


@pytest.mark.parametrize("b", [4, 10])
def test_forking_costs_the_two_blocks_above_the_lock(b: int) -> None:
    found, blocks = growth(fork(b), 900)
    check(found, blocks, b / REPLICAS, forking=True, published=FORKING[b])


def test_silence_costs_the_block_whose_votes_nobody_collects() -> None:
    found, blocks = growth(hush(8), 500)
    check(found, blocks, 8 / REPLICAS, forking=False, published=SILENCE[8])


@pytest.mark.slow
@pytest.mark.parametrize("b", [2, 4, 6, 8, 10])
def test_the_curve_of_forking(b: int) -> None:
    found, blocks = growth(fork(b), 6_000)
    check(found, blocks, b / REPLICAS, forking=True, published=FORKING[b])


@pytest.mark.slow
@pytest.mark.parametrize("b", [2, 4, 6, 8])
def test_the_curve_of_silence(b: int) -> None:
    found, blocks = growth(hush(b), 4_000)
    check(found, blocks, b / REPLICAS, forking=False, published=SILENCE[b])


def test_the_attacks_are_told_apart_by_the_band() -> None:
    """A quarter of the leaders: 0.56 and 0.75 are many errors apart even in the short runs."""
    assert 2 * SIGMAS * error(0.75, 0.5625, 900) < 0.75 - 0.5625
