"""What a researcher should know of a scenario that is sound but may not do what it seems to.

Owns: the texts of warnings. Must not know: how they are shown.
"""

from __future__ import annotations

import math

from sim.protocol.weighted_voting import WeightParameters, effective_cap_ppm
from sim.scenario.checks import CountCheck, Liveness
from sim.scenario.exposure import genesis_stakes, liveness_limit_ppm, unavailable_ppm
from sim.scenario.model import Scenario
from sim.scenario.offered import offered
from sim.scenario.protocols import Creto
from sim.scenario.quantities import SHARE

SIGMAS = 6
"""What is expected above the mean by more standard deviations (of Poisson arrivals) than this will
not be reached: one run in a billion."""
OF = {
    "messages_offered": "messages",
    "messages_delivered": "messages",
    "transactions_committed": "transactions",
}
"""What a metric cannot exceed."""


def warnings_of(scenario: Scenario) -> list[str]:
    """Return one sentence for each thing to know, in a fixed order."""
    if not isinstance(scenario.protocol, Creto):
        # Equal weights and a quorum of n - f: what follows is about weights and levels.
        return _demand(scenario)
    return [*_effective_cap(scenario), *_liveness(scenario), *_demand(scenario)]


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


def _demand(scenario: Scenario) -> list[str]:
    """Find counts that are expected although the agents do not offer that many."""
    supply = offered(scenario)
    found = []
    for index, check in enumerate(scenario.expect):
        if not isinstance(check, CountCheck) or check.at_least is None or check.metric not in OF:
            continue
        what = OF[check.metric]
        mean = supply.get(what, 0)
        if check.at_least > mean + SIGMAS * math.sqrt(mean):
            found.append(
                f"expect.{index}.at_least: {check.at_least:,} {check.metric} are expected, but the "
                f"agents offer only about {mean:,} {what} in the run"
            )
    return found
