"""How much the agents of a scenario will offer on average, before anything runs.

Owns: the means of the workload's own distributions, for `check` and for warnings. These are
estimates for people: floats are allowed, and nothing of a run depends on them.
Must not know: how arrivals are drawn.
"""

from __future__ import annotations

import math

from sim.scenario.agents import Agents, Bursts, ClosedLoop, Diurnal, Poisson, WeibullSessions
from sim.scenario.model import Scenario

_NANO, _MICRO = 1e9, 1e6


def online_share(agents: Agents) -> float:
    """Return the share of the agents that are online in equilibrium.

    mean session / (mean session + mean absence); a Weibull mean is scale x gamma(1 + 1 / shape).
    """
    sessions = agents.sessions
    if not isinstance(sessions, WeibullSessions):
        return 1.0
    on = sessions.on_scale_ns * math.gamma(1 + _MICRO / sessions.on_shape_micro)
    off = sessions.off_scale_ns * math.gamma(1 + _MICRO / sessions.off_shape_micro)
    return on / (on + off)


def mean_rate_per_s(arrivals: Poisson | Bursts | Diurnal | ClosedLoop, duration_ns: int) -> float:
    """Return the mean rate of an online agent over a run; for a closed loop, its upper bound."""
    if isinstance(arrivals, ClosedLoop):
        return arrivals.share_ppm / _MICRO / (arrivals.think_ns / _NANO)
    rate = arrivals.rate_nhz / _NANO
    if isinstance(arrivals, Bursts):
        burst, calm = arrivals.burst_ns, arrivals.calm_ns
        return (rate * calm + arrivals.burst_rate_nhz / _NANO * burst) / (calm + burst)
    if isinstance(arrivals, Diurnal):
        turn = 2 * math.pi / arrivals.period_ns
        swing = math.sin(turn * (duration_ns - arrivals.peak_ns)) + math.sin(
            turn * arrivals.peak_ns
        )
        return rate * (1 + arrivals.amplitude_ppm / _MICRO * swing / (turn * duration_ns))
    return rate


def offered(scenario: Scenario) -> dict[str, int]:
    """Return the mean number of messages and of transactions that agents offer in a run."""
    agents = scenario.agents
    if agents is None:
        return {}
    online = agents.count * online_share(agents) * scenario.duration_ns / _NANO
    flows = {"messages": agents.workload.messages, "transactions": agents.workload.transactions}
    return {
        name: round(online * mean_rate_per_s(flow.arrivals, scenario.duration_ns))
        for name, flow in flows.items()
        if flow is not None
    }
