"""What a researcher should know of a scenario that is sound but may not do what it seems to.

Owns: the texts of warnings. Must not know: how they are shown.
"""

from __future__ import annotations

from sim.protocol.weighted_voting import WeightParameters, effective_cap_ppm
from sim.scenario.checks import Liveness
from sim.scenario.exposure import genesis_stakes, liveness_limit_ppm, unavailable_ppm
from sim.scenario.model import Scenario
from sim.scenario.quantities import SHARE


def warnings_of(scenario: Scenario) -> list[str]:
    """Return one sentence for each thing to know, in a fixed order."""
    return [*_effective_cap(scenario), *_liveness(scenario)]


def _effective_cap(scenario: Scenario) -> list[str]:
    weights = scenario.weights
    members = sum(
        stake >= scenario.ledger.min_stake for stake in genesis_stakes(scenario.validators)
    )
    parameters = WeightParameters(
        stake_ppm=weights.stake_ppm,
        reputation_ppm=weights.reputation_ppm,
        uptime_ppm=weights.uptime_ppm,
        cap_ppm=weights.cap_ppm,
        combine=weights.combine,
    )
    effective = effective_cap_ppm(members, parameters)
    if effective <= weights.cap_ppm:
        return []
    return [
        f"weights.cap: {SHARE.format(weights.cap_ppm)} cannot hold for {members} members, whose "
        f"weights add up to 100 %; the effective cap is {SHARE.format(effective)}"
    ]


def _liveness(scenario: Scenario) -> list[str]:
    if not any(isinstance(check, Liveness) for check in scenario.expect):
        return []
    away = unavailable_ppm(
        scenario.validators, scenario.weights, scenario.adversaries, scenario.faults
    )
    limit = liveness_limit_ppm(scenario.quorum.initial_level)
    if away <= limit:
        return []
    return [
        f"expect: liveness is expected, but validators that are Byzantine or down to the end own "
        f"{SHARE.format(away)} of the voting weight at genesis; at this level the chain is sure to "
        f"stay live only up to {SHARE.format(limit)} (1 - q)"
    ]
