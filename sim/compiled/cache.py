"""Which modules are compiled, and where machine code of exactly these sources is kept.

Owns: the list of modules, the digest that names their cache folder, what a build left there. Asked
at every start, so it costs a few file reads and imports nothing of the program. Must not know: how
modules are compiled or imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import sysconfig
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARY = "creto_sim_core__mypyc"
"""The module that holds all machine code; the others are doors into it."""
MODULES = (
    "sim.protocol.accountability",
    "sim.protocol.adaptive_quorum",
    "sim.protocol.baselines.electorate",
    "sim.protocol.baselines.hotstuff",
    "sim.protocol.baselines.messages",
    "sim.protocol.baselines.ordering",
    "sim.protocol.baselines.pbft",
    "sim.protocol.baselines.replica",
    "sim.protocol.baselines.streamlet",
    "sim.protocol.baselines.tally",
    "sim.protocol.baselines.tendermint",
    "sim.protocol.baselines.view_change",
    "sim.protocol.chain",
    "sim.protocol.effects",
    "sim.protocol.epochs",
    "sim.protocol.events",
    "sim.protocol.evidence",
    "sim.protocol.fork_detector",
    "sim.protocol.ledger",
    "sim.protocol.ledger_state",
    "sim.protocol.mempool",
    "sim.protocol.messages",
    "sim.protocol.multi_signature",
    "sim.protocol.pacemaker",
    "sim.protocol.proposing",
    "sim.protocol.replica",
    "sim.protocol.reputation_tracker",
    "sim.protocol.safety",
    "sim.protocol.stake_manager",
    "sim.protocol.sync",
    "sim.protocol.types",
    "sim.protocol.validator",
    "sim.protocol.weighted_voting",
    "sim.world.chance",
    "sim.world.crypto.signing",
    "sim.world.network.dissemination",
    "sim.world.network.links",
    "sim.world.network.stations",
    "sim.world.network.tables",
    "sim.monitor.base",
    "sim.monitor.binomial",
    "sim.monitor.branches",
    "sim.monitor.compliance",
    "sim.monitor.pinned",
    "sim.monitor.progress",
    "sim.monitor.punishment",
    "sim.monitor.safety",
    "sim.monitor.votes",
    "sim.monitor.watch",
    "sim.engine.agenda",
    "sim.engine.driver",
    "sim.engine.ledger_rows",
    "sim.engine.load",
    "sim.engine.meter",
    "sim.engine.node",
    "sim.engine.observer",
    "sim.engine.stations",
    "sim.engine.transport",
    "sim.engine.witness",
)
"""Compiled together, or not at all: they know one another's memory layout."""
SWITCH = "CRETO_SIM_COMPILED"
"""Environment variable: 0 runs the sources."""
_RECORD = "build.json"


def source_of(module: str, package: Path | None = None) -> Path:
    """Return the file of a module of this package, or of a copy of it."""
    return (package or PACKAGE).joinpath(*module.split(".")[1:]).with_suffix(".py")


def entry_of(module: str) -> str:
    """Name a module's entry in the library; its last part alone would not be unique."""
    return module.replace(".", "_")


def digest(package: Path | None = None) -> str:
    """SHA-256 over the sources in order, the Python that runs and the platform.

    Not over the compiler's version: what another mypyc made of the same sources is not stale.
    """
    whole = hashlib.sha256()
    for fact in (sys.version, platform.machine(), sysconfig.get_platform()):
        whole.update(fact.encode() + b"\0")
    for module in MODULES:
        whole.update(module.encode() + b"\0")
        whole.update(hashlib.sha256(source_of(module, package).read_bytes()).digest())
    return whole.hexdigest()


def roots() -> tuple[Path, ...]:
    """Return the folders in which builds may be, the best one first.

    Where the kernels are cached, so that one setting moves both: NUMBA_CACHE_DIR where it is set;
    else the package's `__pycache__`, and the user's own cache, as an installation of somebody
    else's cannot be written to.
    """
    moved = os.environ.get("NUMBA_CACHE_DIR")
    if moved:
        return (Path(moved),)
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return PACKAGE / "world" / "__pycache__", Path(own) / "creto-sim"


def found() -> Path | None:
    """Return the folder of the build of these very sources, None where there is none."""
    name = folder_name()
    return next((root / name for root in roots() if record_of(root / name)), None)


def folder_name(package: Path | None = None) -> str:
    """Name the folder where machine code of these very sources belongs, or of a copy's."""
    return f"compiled-{digest(package)[:16]}"


def library_file(where: Path) -> Path:
    """Return the shared library of a build."""
    return where / (LIBRARY + (sysconfig.get_config_var("EXT_SUFFIX") or ".so"))


def record_of(where: Path) -> dict[str, str]:
    """Return what a build says of itself; nothing where there is none."""
    try:
        found: dict[str, str] = json.loads((where / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def write_record(where: Path, facts: dict[str, str]) -> None:
    """Say of a build how it was made. Written last: without it the build does not count."""
    text = json.dumps(facts, indent=2, sort_keys=True)
    (where / _RECORD).write_text(text + "\n", encoding="utf-8")
