"""Measure the reference, so that a bench can state how much faster the columns are.

Owns: nothing but the measurement. The load and the network are those of `sim.world.agents.bench`.
"""

from __future__ import annotations

import time

from sim.engine.reference import Reference
from sim.world.agents.bench import Figures, bench_network, bench_parameters
from sim.world.agents.kinds import GRID_NS, SECOND_NS
from sim.world.chance import Chance


def measure_reference(agents: int, seconds: int, *, offered_per_s: int, seed: int = 1) -> Figures:
    """Measure the reference as `bench.measure` measures the columns, at a load it can bear."""
    reference = Reference(bench_parameters(agents, offered_per_s), bench_network(), Chance(seed, 0))
    start_ns = time.process_time_ns()
    for now_ns in range(5 * GRID_NS, seconds * SECOND_NS + 1, 5 * GRID_NS):
        reference.advance(now_ns)
        reference.commit(reference.new_refs(0, now_ns), now_ns)
        reference.drain()
    cpu_ns = time.process_time_ns() - start_ns
    counters = reference.counters()
    return Figures(
        agents=agents,
        simulated_ns=seconds * SECOND_NS,
        offered=sum(counters.offered),
        delivered=sum(counters.delivered),
        cpu_ns=cpu_ns,
        plane_bytes=0,
        peak_bytes=0,
    )
