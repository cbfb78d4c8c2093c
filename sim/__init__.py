"""creto-sim: Byzantine-fault-tolerant agent networks at a million agents, simulated.

Python API: `load_scenario(path)`, `run(scenario, ...)`, `open_run(path)`; `run_study` and
`resume_study` for sweeps and replicates on many workers. Nothing heavy is imported before one of
them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.compiled.finder import install as _install_compiled

if TYPE_CHECKING:
    from sim.engine.run import run
    from sim.record.runs import open_run
    from sim.scenario.load import load_scenario
    from sim.study.sweep import resume_study, run_study

__all__ = ["__version__", "load_scenario", "open_run", "resume_study", "run", "run_study"]
__version__ = "0.1.0"

_install_compiled()

_HOMES = {
    "load_scenario": "sim.scenario.load",
    "open_run": "sim.record.runs",
    "resume_study": "sim.study.sweep",
    "run": "sim.engine.run",
    "run_study": "sim.study.sweep",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sim' has no attribute {name!r}")
