"""Resolve who and where: regions, stakes and selections of a scenario, before the first event."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from sim.scenario.fields import Placement
from sim.scenario.model import (
    EqualStake,
    ListedStake,
    Scenario,
    Stakes,
    ZipfStake,
)
from sim.scenario.selection import ByStake, ByWeight, Ids, InRegion, Random, Selection
from sim.world.chance import Chance


def counts(placement: Placement, total: int) -> tuple[int, ...]:
    """Return how many of `total` live in each region of `placement`.

    Evenly where it states no amounts, the remainder going to the first regions; amounts that are
    shares (in ppm, adding up to 1,000,000) by largest remainder, ties to the first region.
    """
    if placement.amounts is None:
        share, rest = divmod(total, len(placement.regions))
        return tuple(share + (i < rest) for i in range(len(placement.regions)))
    if sum(placement.amounts) == total:
        return placement.amounts
    whole = sum(placement.amounts)
    floors = [amount * total // whole for amount in placement.amounts]
    remainders = [amount * total % whole for amount in placement.amounts]
    order = sorted(range(len(floors)), key=lambda i: (-remainders[i], i))
    for i in order[: total - sum(floors)]:
        floors[i] += 1
    return tuple(floors)


def validator_regions(scenario: Scenario) -> list[str]:
    """Return the region of every identity: genesis validators first, then candidates."""
    placement = scenario.validators.placement
    regions: list[str] = []
    for region, count in zip(
        placement.regions, counts(placement, scenario.validators.count), strict=True
    ):
        regions.extend([region] * count)
    candidates = scenario.validators.candidates
    if candidates is not None:
        amounts = candidates.placement.amounts or (1,) * len(candidates.placement.regions)
        for region, count in zip(candidates.placement.regions, amounts, strict=True):
            regions.extend([region] * count)
    return regions


def stakes(rule: Stakes, count: int, chance: Chance) -> list[int]:
    """Return the genesis stake of each of `count` validators, in stake units."""
    if isinstance(rule, EqualStake):
        return [rule.amount] * count
    if isinstance(rule, ListedStake):
        return list(rule.amounts)
    if isinstance(rule, ZipfStake):
        exponent = rule.exponent_micro / 1e6
        return [max(1, int(rule.largest / (i + 1) ** exponent)) for i in range(count)]
    normal = NormalDist()
    sigma = rule.sigma_micro / 1e6
    dealt = [
        max(1, round(rule.median * float(np.exp(sigma * normal.inv_cdf((i + 0.5) / count)))))
        for i in range(count)
    ]
    order = chance.stream("validators/stake").permutation(count)
    return [dealt[int(i)] for i in order]


class Census:
    """The validators that selections choose from; draws are keyed by what asks.

    `regions`: of every identity; `stakes`, `weights`: of the genesis validators.
    """

    def __init__(
        self,
        regions: Sequence[str],
        stakes: Sequence[int],
        weights: Sequence[int],
        chance: Chance,
    ) -> None:
        self.regions = regions
        self.stakes = stakes
        self.weights = weights
        self._chance = chance

    def select(self, selection: Selection, purpose: str) -> tuple[int, ...]:
        """Return the identities that `selection` names, ascending.

        `purpose` names the draw of a random selection, so that two of them are independent.
        """
        count = len(self.stakes)
        if isinstance(selection, Ids):
            return tuple(sorted(selection.ids))
        if isinstance(selection, Random):
            drawn = self._chance.stream(f"select/{purpose}").permutation(count)
            return tuple(sorted(int(i) for i in drawn[: selection.random]))
        if isinstance(selection, ByStake):
            return _largest(self.stakes, selection.by_stake)
        if isinstance(selection, ByWeight):
            return _largest(self.weights[:count], selection.by_weight)
        assert isinstance(selection, InRegion)
        return self.in_regions((selection.region,), count)

    def in_regions(self, names: Sequence[str], count: int | None = None) -> tuple[int, ...]:
        """Return the identities that live in one of `names`, ascending."""
        chosen = self.regions if count is None else self.regions[:count]
        return tuple(i for i, region in enumerate(chosen) if region in names)


def _largest(values: Sequence[int], how_many: int) -> tuple[int, ...]:
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return tuple(sorted(order[:how_many]))
