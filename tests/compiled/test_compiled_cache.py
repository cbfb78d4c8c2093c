"""Machine code is used if and only if it was made of exactly these sources."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sim.cli import compiling
from sim.cli.outcome import UsageError
from sim.compiled import build, cache
from sim.compiled.finder import Finder

ROOT = Path(__file__).parents[2]
STATE = "from sim.compiled.finder import core; import sim.protocol.types as t; print(core())"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the compiled sources that may be edited, and an empty cache; the switch is on."""
    for module in cache.MODULES:
        source = cache.source_of(module)
        copy = tmp_path / "sim" / source.relative_to(cache.PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    monkeypatch.setattr(cache, "PACKAGE", tmp_path / "sim")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(cache.SWITCH, "1")
    return tmp_path


def keep(root: Path, text: bytes = b"machine code") -> Path:
    """Put what stands for a build of the present sources into the cache; return its folder."""
    library = root / "library"
    library.write_bytes(text)
    where = root / "cache" / cache.folder_name()
    where.parent.mkdir(exist_ok=True)
    build._install(library, where, {"made_by": "mypyc 0.0"})
    return where


def test_every_module_is_there_and_has_an_entry_of_its_own() -> None:
    assert all(cache.source_of(module).is_file() for module in cache.MODULES)
    assert len({cache.entry_of(module) for module in cache.MODULES}) == len(cache.MODULES)


def test_the_whole_protocol_is_compiled() -> None:
    protocol = {
        f"sim.protocol.{path.stem}"
        for path in (cache.PACKAGE / "protocol").glob("*.py")
        if path.stem != "__init__"
    }
    assert protocol <= set(cache.MODULES)


def finals(module: str) -> list[str]:
    """Names that a module declares as constants for ever."""
    source = cache.source_of(module)
    if not source.is_file():
        source = source.with_suffix("") / "__init__.py"
    return [
        node.target.id
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if "Final" in ast.dump(node.annotation)
    ]


def test_nothing_interpreted_leaves_a_constant_in_machine_code() -> None:
    """mypyc writes `Final` values into whoever imports them: theirs must be in the digest."""
    assert "MASK" in finals("sim.world.chance"), "the search finds nothing"
    for module in cache.MODULES:
        for node in ast.walk(ast.parse(cache.source_of(module).read_text(encoding="utf-8"))):
            origin = node.module if isinstance(node, ast.ImportFrom) else None
            if origin is None or not origin.startswith("sim.") or origin in cache.MODULES:
                continue
            written_in = {alias.name for alias in node.names} & {*finals(origin)}  # type: ignore[attr-defined]
            assert not written_in, f"{module} takes {sorted(written_in)} from {origin}"


def test_nothing_interpreted_inherits_from_what_is_compiled() -> None:
    """Python refuses such a class when machine code runs."""
    for path in sorted(cache.PACKAGE.rglob("*.py")):
        if any(path == cache.source_of(module) for module in cache.MODULES):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        compiled = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in cache.MODULES
            for alias in node.names
        }
        for node in ast.walk(tree):
            bases = node.bases if isinstance(node, ast.ClassDef) else []
            taken = {base.id for base in bases if isinstance(base, ast.Name)} & compiled
            assert not taken, f"{path.name}: {sorted(taken)} compiled, what inherits from it not"


@pytest.mark.parametrize("module", [cache.MODULES[0], cache.MODULES[-1]])
def test_an_edited_source_is_not_run_by_old_machine_code(package: Path, module: str) -> None:
    where = keep(package)
    assert Finder().find_spec(module) is not None
    source = cache.source_of(module)
    before = source.read_bytes()
    source.write_bytes(before + b"\n# edited\n")
    assert cache.found() is None
    finder = Finder()
    assert finder.find_spec(module) is None
    assert finder.core == "interpreted"
    source.write_bytes(before)
    assert cache.found() == where


def test_another_python_has_machine_code_of_its_own(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(package)
    monkeypatch.setattr(sys, "version", "3.99.0 (another)")
    assert cache.found() is None


def test_the_finder_answers_for_compiled_modules_only(package: Path) -> None:
    where = keep(package)
    finder = Finder()
    assert finder.find_spec("sim.engine.run") is None
    assert finder.core == "", "decided before anything compiled was asked for"
    for module in (*cache.MODULES, cache.LIBRARY):
        spec = finder.find_spec(module)
        assert spec is not None
        assert spec.origin == str(cache.library_file(where))
        assert spec.name == module
    assert finder.core == "compiled by mypyc 0.0"


def test_the_switch_runs_the_sources(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(package)
    monkeypatch.setenv(cache.SWITCH, "0")
    finder = Finder()
    assert finder.find_spec(cache.MODULES[0]) is None
    assert finder.core == "interpreted"


def test_an_unfinished_build_does_not_count(package: Path) -> None:
    where = keep(package)
    (where / "build.json").write_text('{"made_by', encoding="utf-8")
    assert cache.found() is None


def test_a_new_build_removes_those_of_other_sources(package: Path) -> None:
    old = keep(package)
    source = cache.source_of(cache.MODULES[0])
    source.write_bytes(source.read_bytes() + b"\n")
    new = keep(package, b"newer")
    assert not old.exists()
    assert cache.library_file(new).read_bytes() == b"newer"
    assert [path.name for path in new.parent.iterdir()] == [new.name]


def test_what_is_compiled_already_is_not_compiled_again(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = keep(package)
    monkeypatch.setattr(build, "made_by", lambda: "mypyc 0.0")
    told: list[str] = []
    assert build.build(told.append) == where
    assert len(told) == 1


def test_an_installation_of_somebody_elses_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    package = tmp_path / "file"
    package.write_text("no folder can be made below a file", encoding="utf-8")
    monkeypatch.setattr(cache, "PACKAGE", package)
    assert build._writable() == tmp_path / "own" / "creto-sim"


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"mypyc is not installed; pip install"):
        compiling.compile_core()


def test_a_missing_compiler_is_named() -> None:
    with pytest.raises(build.MissingTool, match="no C compiler 'no-such-compiler'"):
        build._call(["no-such-compiler", "-c", "x.c"])


def test_a_compiler_that_fails_ends_in_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(tell: object) -> Path:
        return build._call([sys.executable, "-c", "import sys; sys.exit('no room')"]) or Path()

    monkeypatch.setattr(compiling, "build", fail)
    assert compiling.compile_core() == 1
    assert "no room" in capsys.readouterr().err


def test_a_process_decides_by_what_is_there(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop(cache.SWITCH)
    ended = subprocess.run(
        [sys.executable, "-c", STATE], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == "interpreted", ended.stderr
