"""What linters cannot say: the protocol's purity, sizes that keep a room liveable, paths, tone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "sim").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PROTOCOL = sorted((ROOT / "sim" / "protocol").rglob("*.py"))
TOP_LEVEL = {"sim", "scenarios", "notebooks", "results", "tests", "pyproject.toml", "README.md"}

FILE_LINES = 500
FUNCTION_LINES = 70
LINE_COLUMNS = 100
PROTOCOL_CODE_LINES = 3_350


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=_name(path))


@pytest.mark.parametrize("path", PROTOCOL, ids=_name)
def test_protocol_imports_the_standard_library_and_itself_only(path: Path) -> None:
    banned = {"asyncio", "random", "time", "datetime", "secrets", "socket", "threading"}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: relative import"
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            inside = name.startswith("sim.protocol")
            assert inside or (top in sys.stdlib_module_names and top not in banned), (
                f"{path.name}:{node.lineno}: imports {name}"
            )


@pytest.mark.parametrize("path", PROTOCOL, ids=_name)
def test_protocol_has_no_float_and_no_true_division(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float | complex), f"{where}: float literal"
        if isinstance(node, ast.BinOp | ast.AugAssign):
            assert not isinstance(node.op, ast.Div), f"{where}: true division"
        if isinstance(node, ast.Name):
            assert node.id != "float", f"{where}: float"


def _code_lines(path: Path) -> int:
    """Count lines that hold code: docstrings, comments and blank lines apart."""
    text = path.read_text(encoding="utf-8")
    lines = {
        number
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_protocol_stays_small() -> None:
    lines = sum(_code_lines(path) for path in PROTOCOL if "baselines" not in path.parts)
    assert lines <= PROTOCOL_CODE_LINES, f"{lines} lines of code; {PROTOCOL_CODE_LINES} at most"


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=_name)
def test_files_and_functions_stay_readable(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= FILE_LINES, f"{len(lines)} lines; {FILE_LINES} at most"
    for number, line in enumerate(lines, 1):
        text = re.sub(r"\s*# (type: ignore|noqa).*", "", line)  # as ruff counts
        assert len(text) <= LINE_COLUMNS, f"line {number}: {len(text)} columns"
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, (
                f"{node.name}: {length} lines; {FUNCTION_LINES} at most"
            )


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(_tree(path)), "no module docstring"


def test_no_floats_carry_time() -> None:
    """Inside the engine nothing named `_ns` is divided with `/`."""
    for path in (ROOT / "sim" / "engine").glob("*.py"):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
                targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
                if any(t.endswith("_ns") for t in targets):
                    assert not isinstance(node.value.op, ast.Div), f"{_name(path)}:{node.lineno}"


def test_nothing_iterates_over_a_set() -> None:
    """Order of a set of bytes or str depends on PYTHONHASHSEED: sort it, or keep a dict."""
    for path in SOURCES:
        for node in ast.walk(_tree(path)):
            loops = []
            if isinstance(node, ast.For):
                loops = [node.iter]
            elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
                loops = [g.iter for g in node.generators]
            for iterated in loops:
                called = isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name)
                bad = isinstance(iterated, ast.Set | ast.SetComp) or (
                    called and iterated.func.id in {"set", "frozenset"}  # type: ignore[attr-defined]
                )
                assert not bad, f"{_name(path)}:{node.lineno}"


def test_the_top_level_holds_what_was_agreed() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    tops = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {top for top in tops if not top.startswith(".")} <= TOP_LEVEL


def test_no_path_of_a_machine_in_what_is_shipped() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:home|root|Users|work|tmp)/\w")
    for path in [*SOURCES, *(ROOT / "scenarios").rglob("*.yaml"), ROOT / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert not pattern.search(text), f"{_name(path)}: {pattern.search(text)}"
