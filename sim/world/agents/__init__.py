"""One million agents as columns: population, workload, stages, kernels.

Owns: the agent plane. `README.md` beside this states its semantics, which `sim.engine.reference`
follows too. Must not know: SimPy, scenarios, consensus.
"""
