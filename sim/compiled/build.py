"""Compile the hot path with mypyc and a C compiler, into the cache.

Owns: the steps from sources to one shared library, and what is said when a tool is missing. The
sources are copied first and compiled there, so that neither C files nor absolute paths get into
the installation or the library. Must not know: the terminal, or what the modules do.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from sim.compiled import cache

_GROUP = cache.LIBRARY.removesuffix("__mypyc")
_DOORS = "doors.c"
_FLAGS = ("-fwrapv", "-fno-strict-aliasing", "-fvisibility=hidden", "-DNDEBUG", "-g0")
_LINES_SHOWN = 20


class BuildError(Exception):
    """The compiled core cannot be made; the text says why."""


class MissingTool(BuildError):
    """Something has to be installed first; the text says what."""


def made_by() -> str:
    """Name the compiler of Python and its version. Errors: MissingTool."""
    for tool in ("mypyc", "setuptools"):
        if find_spec(tool) is None:
            raise MissingTool(
                f"{tool} is not installed; pip install 'creto-sim[compile]' brings it"
            )
    return f"mypyc {metadata.version('mypy')}"


def build(tell: Callable[[str], None] = print, *, optimise: int = 2) -> Path:
    """Compile `cache.MODULES` and return the folder that holds the library.

    `tell` is given one line a step. Nothing is done where this very build is there already. Builds
    of other sources are removed. Errors: BuildError.
    """
    maker = made_by()
    known = cache.found()
    if known is not None and cache.record_of(known)["made_by"] == maker:
        tell(f"nothing to do: these sources are compiled already, by {maker}")
        return known
    root = _writable()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="creto-sim-compile-") as scratch:
        tell(f"{len(cache.MODULES)} modules to C with {maker} ...")
        # The copy names the folder: who edits a source meanwhile gets no stale machine code.
        where = root / cache.folder_name(_copy(Path(scratch)))
        sources = _generate(Path(scratch))
        lines = sum(path.read_bytes().count(b"\n") for path in sources)
        tell(f"{lines:,} lines of C after {time.perf_counter() - start:.0f} s; to machine code ...")
        library = _compile(Path(scratch), sources, optimise)
        _install(library, where, {"made_by": maker, "python": sys.version.split()[0]})
    tell(f"compiled in {time.perf_counter() - start:.0f} s")
    return where


def _writable() -> Path:
    """Return the first folder for builds that can be written."""
    for root in cache.roots():
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=root).close()
            return root
    raise BuildError(
        f"no folder for machine code can be written: {', '.join(map(str, cache.roots()))}"
    )


def _copy(scratch: Path) -> Path:
    """Copy the sources; return the copy of the package."""
    package = scratch / "sim"
    for path in sorted(cache.PACKAGE.rglob("*.py")):
        copy = package / path.relative_to(cache.PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    # The package's own front door names the whole program: nothing compiled goes through it.
    (package / "__init__.py").write_text("", encoding="utf-8")
    return package


def _generate(scratch: Path) -> list[Path]:
    """Let mypyc write C for the copy of the sources; return the C files."""
    (scratch / _SETTINGS).write_text(_MYPY, encoding="utf-8")
    names = [str(Path(*module.split(".")).with_suffix(".py")) for module in cache.MODULES]
    ended = subprocess.run(
        [sys.executable, "-c", _GENERATE, _GROUP, _SETTINGS, *names],
        cwd=scratch,
        env={**os.environ, cache.SWITCH: "0", "PYTHONPATH": "", "MYPYPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise BuildError(f"mypyc refused the sources:\n{ended.stdout}{ended.stderr}")
    (scratch / _DOORS).write_text(_doors(), encoding="utf-8")
    return [*sorted((scratch / "c").glob("*.c")), scratch / _DOORS]


_SETTINGS = "settings.ini"
_MYPY = """[mypy]
follow_imports = silent
ignore_missing_imports = True
[mypy-numpy.*,simpy.*,polars.*,pydantic.*,networkx.*,pqcrypto.*,Crypto.*,numba.*]
follow_imports = skip
"""
"""What is not compiled is read for its types; libraries' types are of no use and long to read."""
_GENERATE = """
import sys
from mypyc.build import mypycify
arguments = ["--config-file", sys.argv[2], *sys.argv[3:]]
mypycify(arguments, target_dir="c", group_name=sys.argv[1], multi_file=True)
"""
"""mypyc ends the process when it finds an error, so it gets one of its own."""


def _doors() -> str:
    """Write the entry of each module that Python looks for: all are in one library.

    mypyc would make a shared library a module, each no more than this function, at a compiler's
    and a linker's start each.
    """
    doors = (
        _DOOR.format(
            entry=cache.entry_of(module),
            name=module.replace(".", "___"),
            library=cache.LIBRARY,
        )
        for module in cache.MODULES
    )
    return _HALL.replace("LIBRARY", cache.LIBRARY) + "".join(doors)


_HALL = """#include <Python.h>

static PyObject *enter(const char *attribute, const char *capsule_name)
{
    PyObject *library = PyImport_ImportModule("LIBRARY");
    if (library == NULL) return NULL;
    PyObject *capsule = PyObject_GetAttrString(library, attribute);
    Py_DECREF(library);
    if (capsule == NULL) return NULL;
    void *start = PyCapsule_GetPointer(capsule, capsule_name);
    Py_DECREF(capsule);
    if (start == NULL) return NULL;
    return ((PyObject *(*)(void))start)();
}
"""
_DOOR = """
PyMODINIT_FUNC PyInit_{entry}(void)
{{
    return enter("init_{name}", "{library}.init_{name}");
}}
"""


def _compile(scratch: Path, sources: list[Path], optimise: int) -> Path:
    """Compile the C files, as many at a time as there are processors, and link them."""
    from mypyc.build import include_dir

    compiler = shlex.split(os.environ.get("CC") or _configured("CC"))
    flags = [f"-O{optimise}", "-w", *_FLAGS, *shlex.split(_configured("CCSHARED"))]
    for folder in (include_dir(), str(scratch / "c"), sysconfig.get_path("include")):
        flags += ("-I", folder)

    def compile_one(source: Path) -> str:
        target = str(scratch / f"{source.stem}.o")
        _call([*compiler, *flags, "-c", str(source), "-o", target])
        return target

    # The longest first, so that no processor idles at the end.
    ordered = sorted(sources, key=lambda path: (-path.stat().st_size, path.name))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, ordered))
    library = cache.library_file(scratch)
    linker = [*compiler, *shlex.split(_configured("LDSHARED"))[1:]]
    _call([*linker, *sorted(objects), "-o", str(library)])
    return library


def _configured(name: str) -> str:
    """Return what this Python was compiled with."""
    found = sysconfig.get_config_var(name)
    return found if isinstance(found, str) else ""


def _call(command: list[str]) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MissingTool(
            f"there is no C compiler {command[0]!r}; install one, and Python's headers, or name "
            "it in the environment variable CC"
        ) from None
    if ended.returncode != 0:
        text = "\n".join(ended.stderr.splitlines()[:_LINES_SHOWN])
        raise BuildError(f"the C compiler failed, {shlex.join(command[:1])}:\n{text}")


def _install(library: Path, where: Path, facts: dict[str, str]) -> None:
    """Put a finished build in its place, whole or not at all; remove those of other sources."""
    staged = Path(tempfile.mkdtemp(prefix="compiling-", dir=where.parent))
    try:
        shutil.copy2(library, cache.library_file(staged))
        cache.write_record(staged, facts)
        shutil.rmtree(where, ignore_errors=True)
        os.replace(staged, where)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    for old in _others(where):
        shutil.rmtree(old, ignore_errors=True)


def _others(where: Path) -> Iterator[Path]:
    return (old for old in sorted(where.parent.glob("compiled-*")) if old != where)
