"""Make the cores of a baseline: who takes part, and one core each.

Owns the step from a scenario's `protocol` to cores. Must not know wiring: `build` does that.
"""

from __future__ import annotations

from sim.engine.protocol_parameters import consensus_parameters
from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.hotstuff import HotStuff
from sim.protocol.baselines.pbft import Pbft
from sim.protocol.baselines.replica import Baseline
from sim.protocol.baselines.streamlet import Streamlet
from sim.protocol.baselines.tendermint import Tendermint
from sim.scenario import protocols as asked
from sim.scenario.model import Scenario
from sim.world.chance import Chance

CERTIFIED = (asked.Creto, asked.HotStuff, asked.Streamlet)
"""Protocols whose blocks carry the certificate of their parent, of their own epoch."""


def electorate_of(scenario: Scenario, chance: Chance) -> Electorate | None:
    """Return who takes part in a baseline, None for the main protocol.

    Leaders that are drawn are drawn anew in each replicate.
    """
    if isinstance(scenario.protocol, asked.Creto):
        return None
    beacon = chance.key("validators/leaders")
    return Electorate(scenario.validators.count, beacon, scenario.consensus.leader)


def baseline(scenario: Scenario, electorate: Electorate, me: int) -> Baseline:
    """Make the core of one validator. Errors: TypeError for the main protocol."""
    protocol, parameters = scenario.protocol, consensus_parameters(scenario)
    if isinstance(protocol, asked.Pbft):
        return Pbft(me, parameters, electorate, protocol.checkpoint_interval)
    if isinstance(protocol, asked.HotStuff):
        return HotStuff(me, parameters, electorate, protocol.reign)
    if isinstance(protocol, asked.Tendermint):
        return Tendermint(me, parameters, electorate)
    if isinstance(protocol, asked.Streamlet):
        return Streamlet(me, parameters, electorate)
    raise TypeError(f"{protocol.kind} is no baseline")
