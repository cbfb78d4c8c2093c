"""The machine that ran: versions, platform, time and memory used, and whether a run still lives.

Owns: everything about the host that enters a manifest. None of it enters a digest.
"""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sim.compiled.finder import core

try:
    import fcntl
except ImportError:  # no advisory locks here: a run without DONE cannot be told from a dead one
    fcntl = None  # type: ignore[assignment]

_SOURCES = (".py", ".csv", ".json")
_PACKAGES = (
    "simpy",
    "numpy",
    "numba",
    "networkx",
    "polars",
    "pydantic",
    "ruamel.yaml",
    "pqcrypto",
    "pycryptodome",
)


@cache
def source_digest() -> str:
    """SHA-256 over this program's own files, in order of their names: which code ran."""
    root = Path(__file__).resolve().parent.parent
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in _SOURCES and path.is_file():
            whole.update(path.relative_to(root).as_posix().encode())
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python, of this program and of what its results may depend on."""
    # Asked of the loaded package: importing it by name would point an arrow up, at its whole API.
    own = getattr(sys.modules[__name__.partition(".")[0]], "__version__", "unknown")
    found = {
        "python": platform.python_version(),
        "creto-sim": str(own),
        "source": source_digest(),
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def platform_facts() -> dict[str, Any]:
    """Operating system, architecture, processors, memory; how the validators' code runs."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "core": core(),
        "implementation": platform.python_implementation(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def peak_memory_bytes() -> int:
    """Largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_time_ns() -> int:
    """CPU time of this process, all threads, and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = children.ru_utime + children.ru_stime
    return time.process_time_ns() + round(seconds * 1e9)


def hold_lock(path: Path, size_bytes: int) -> int:
    """Make a file of this size, locked as long as this process lives; return its descriptor."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    os.write(handle, bytes(size_bytes))
    os.fsync(handle)
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def retake_lock(path: Path, size_bytes: int) -> int | None:
    """Lock the file that a dead process left, or a new one; None where a living one holds it."""
    try:
        return hold_lock(path, size_bytes)
    except FileExistsError:
        handle = os.open(path, os.O_RDWR)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def release_lock(handle: int, path: Path) -> None:
    """Remove the file, which gives its space back, and its lock."""
    path.unlink(missing_ok=True)
    os.close(handle)


def lock_is_held(path: Path) -> bool:
    """Whether a living process holds the lock of a file."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        if fcntl is None:
            return True
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
