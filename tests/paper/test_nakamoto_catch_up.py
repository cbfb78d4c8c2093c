"""An attacker who mines in secret catches up with z confirmations as often as the papers say.

[N] Nakamoto: "Bitcoin: A Peer-to-Peer Electronic Cash System", 2008, section 11: its table.
[R] Rosenfeld: "Analysis of Hashrate-Based Double Spending", arXiv:1402.2009.

Both branches grow in the real block tree, and its fork choice says who is ahead. Nakamoto takes the
honest chain to need exactly its expected time for z blocks, so that the attacker's progress is
Poisson; where both arrive at random it is negative binomial, which gives Rosenfeld's figures. A
draw level counts as caught up, in both.
"""

from __future__ import annotations

from math import comb, exp, factorial, sqrt

import numpy as np
import pytest

from sim.protocol.fork_detector import BlockTree
from sim.protocol.types import QC, Block

TABLE = {(0.1, 1): 0.2045873, (0.1, 2): 0.0509779, (0.3, 5): 0.1773523, (0.3, 10): 0.0416605}
"""[N], section 11: P for q = 0.1 at z = 1, 2 and for q = 0.3 at z = 5, 10."""
TRIALS = 2_000
SIGMAS = 4.5
HOPELESS = 1e-5
"""A race is given up when the attacker's chance of drawing level is below this."""
HONEST, ATTACKER = 0, 1
GENESIS = Block(1, 0, 0, 0, bytes(32), QC(1, 0, bytes(32), 0))


def nakamoto(q: float, z: int) -> float:
    """[N], section 11."""
    p, mean = 1 - q, z * q / (1 - q)
    law = [exp(-mean) * mean**k / factorial(k) for k in range(z + 1)]
    return 1 - sum(law[k] * (1 - (q / p) ** (z - k)) for k in range(z + 1))


def rosenfeld(q: float, z: int) -> float:
    """[R], equation 1, where drawing level suffices."""
    p = 1 - q
    law = [comb(k + z - 1, k) * p**z * q**k for k in range(z + 1)]
    return 1 - sum(law[k] * (1 - (q / p) ** (z - k)) for k in range(z + 1))


class Race:
    """Two branches above genesis. Votes for the attacker's weigh more: a draw is the attacker's."""

    def __init__(self) -> None:
        self.tree = BlockTree(GENESIS, lambda qc: qc.signers)
        self.tips = [GENESIS, GENESIS]
        self.views = 0

    def mine(self, who: int) -> None:
        parent = self.tips[who]
        self.views += 1
        justify = self.tree.certificate(parent.id) or QC(1, 0, parent.id, 0)
        block = Block(1, self.views, parent.height + 1, who, parent.id, justify)
        self.tree.insert(block)
        self.tree.certify(QC(1, block.view, block.id, 1 + who))
        self.tips[who] = block

    @property
    def deficit(self) -> int:
        return self.tips[HONEST].height - self.tips[ATTACKER].height

    @property
    def caught_up(self) -> bool:
        return self.tree.fork_choice() == self.tips[ATTACKER].id


def attack(q: float, z: int, rng: np.random.Generator, *, poisson: bool) -> bool:
    """Mine z honest blocks and what the attacker finds meanwhile, then race to the end."""
    race = Race()
    if poisson:
        for _ in range(z):
            race.mine(HONEST)
        for _ in range(rng.poisson(z * q / (1 - q))):
            race.mine(ATTACKER)
    else:
        while race.tips[HONEST].height < z:
            race.mine(ATTACKER if rng.random() < q else HONEST)
    while not race.caught_up:
        if (q / (1 - q)) ** race.deficit < HOPELESS:
            return False
        race.mine(ATTACKER if rng.random() < q else HONEST)
    return True


def share(q: float, z: int, *, poisson: bool) -> float:
    rng = np.random.default_rng([z, round(10 * q), poisson])
    return sum(attack(q, z, rng, poisson=poisson) for _ in range(TRIALS)) / TRIALS


def within(found: float, expected: float) -> bool:
    return abs(found - expected) < SIGMAS * sqrt(expected * (1 - expected) / TRIALS)


@pytest.mark.parametrize(("q", "z"), TABLE)
def test_the_table_follows_from_its_formula(q: float, z: int) -> None:
    assert round(nakamoto(q, z), 7) == TABLE[q, z]


@pytest.mark.parametrize(("q", "z"), TABLE)
def test_a_steady_honest_chain_is_caught_as_in_the_table(q: float, z: int) -> None:
    assert within(share(q, z, poisson=True), TABLE[q, z])


@pytest.mark.parametrize(("q", "z"), [(0.1, 2), (0.3, 5)])
def test_two_poisson_processes_race_as_rosenfeld_says(q: float, z: int) -> None:
    assert within(share(q, z, poisson=False), rosenfeld(q, z))


@pytest.mark.parametrize(("q", "z"), [(0.1, 1), (0.1, 2), (0.3, 5)])
def test_the_bands_tell_one_confirmation_more_or_less(q: float, z: int) -> None:
    assert not within(nakamoto(q, z - 1), TABLE[q, z])
    assert not within(nakamoto(q, z + 1), TABLE[q, z])
