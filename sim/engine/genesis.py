"""Resolve who and where: regions, stakes and selections of a scenario, before the first event."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from sim.engine.persistence import Past
from sim.engine.protocol_parameters import ledger_parameters
from sim.protocol.ledger import Account, Ledger
from sim.scenario.exposure import genesis_stakes, in_place
from sim.scenario.model import LognormalStake, Scenario, Validators
from sim.scenario.selection import (
    ByStake,
    ByWeight,
    Heaviest,
    Ids,
    InRegion,
    InZone,
    Lightest,
    OfProvider,
    Random,
    Selection,
    up_to_share,
)
from sim.world.chance import Chance
from sim.world.network.regions import provider_of, spread_over_zones


def validator_regions(scenario: Scenario) -> list[str]:
    """Return the region of every identity: genesis validators first, then candidates."""
    regions = scenario.validators.placement.each(scenario.validators.count)
    candidates = scenario.validators.candidates
    if candidates is not None:
        amounts = candidates.placement.amounts or (1,) * len(candidates.placement.regions)
        for region, count in zip(candidates.placement.regions, amounts, strict=True):
            regions.extend([region] * count)
    return regions


def stakes(validators: Validators, chance: Chance) -> list[int]:
    """Return the genesis stake of each validator, in stake units; lognormal ones are dealt out."""
    amounts = genesis_stakes(validators)
    if not isinstance(validators.stake, LognormalStake):
        return amounts
    order = chance.stream("validators/stake").permutation(validators.count)
    return [amounts[int(i)] for i in order]


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

    def key(self, purpose: str) -> int:
        """Return the key of a draw."""
        return self._chance.key(purpose)

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
        if isinstance(selection, Heaviest):
            return up_to_share(self.weights[:count], selection.heaviest_ppm, heaviest=True)
        if isinstance(selection, Lightest):
            return up_to_share(self.weights[:count], selection.lightest_ppm, heaviest=False)
        assert isinstance(selection, InRegion | InZone | OfProvider)
        return tuple(in_place(selection, self.regions[:count]))

    def in_regions(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the identities that live in one of `names`, ascending."""
        return tuple(i for i, region in enumerate(self.regions) if region in names)

    def in_zones(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the identities that run in one of these zones, ascending."""
        zones = spread_over_zones(self.regions)
        return tuple(i for i, zone in enumerate(zones) if zone in names)

    def at_providers(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the identities that run at one of these providers, ascending."""
        return tuple(i for i, name in enumerate(self.regions) if provider_of(name) in names)

    def stream(self, purpose: str) -> Generator:
        """Return the stream of draws that `purpose` names."""
        return self._chance.stream(purpose)


def _largest(values: Sequence[int], how_many: int) -> tuple[int, ...]:
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return tuple(sorted(order[:how_many]))


def ledger_of(scenario: Scenario, genesis: list[int], identities: int, past: Past | None) -> Ledger:
    """Return the ledger at genesis: stakes as drawn, wallets that cover what operations move.

    `past`: what an earlier run left, instead of the stakes and reputations of the scenario.
    """
    validators = scenario.validators
    accounts = [
        Account(
            stake=stake,
            reputation=validators.initial_reputation_ppm,
            uptime=validators.initial_uptime_ppm,
        )
        for stake in genesis
    ]
    wallets: dict[int, int] = {}
    for operation in scenario.operations:
        if operation.kind in ("register", "top_up"):
            wallets[operation.validator] = wallets.get(operation.validator, 0) + operation.amount
    accounts += [Account(stake=0)] * (identities - len(genesis))
    funded = [
        account._replace(free=wallets.get(index, 0)) for index, account in enumerate(accounts)
    ]
    if past is not None:
        # What was on its way out is out: the runs are further apart than any unbonding.
        funded = [
            account._replace(
                stake=kept.stake,
                reputation=kept.reputation,
                free=account.free + kept.unbonding,
            )
            for account, kept in zip(funded, past.accounts, strict=True)
        ]
    return Ledger(ledger_parameters(scenario), funded)
