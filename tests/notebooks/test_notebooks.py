"""Notebooks run from top to bottom on the data beside them, and hold what their last cell says."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim import load_scenario, open_run
from sim.record.runs import Run
from sim.study.reference_data import CAPACITY, FOLDER, FRAMES, RUNS, main, simulate
from sim.study.sweep import Workers

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICK = ("first_run", "double_voting")
MOST_BYTES = 2_000_000
"""Of all reference data together."""


def _cells(path: Path, kind: str) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def _name(path: Path) -> str:
    return path.stem


def test_notebooks_are_numbered_and_named_in_the_readme() -> None:
    numbers = [path.stem[:2] for path in NOTEBOOKS]
    assert numbers == [f"{number:02d}" for number in range(1, len(NOTEBOOKS) + 1)]
    assert len(NOTEBOOKS) >= 9
    readme = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        question = _cells(path, "markdown")[0].splitlines()[0].removeprefix("# ")
        assert question.endswith("?")
        assert f"| {path.stem} | {question} |" in readme


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_defines_nothing_and_carries_no_output(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    code = _cells(path, "code")
    for text in code:
        for node in ast.walk(ast.parse(re.sub(r"^%.*", "", text, flags=re.M))):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef)
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                assert node.module.split(".")[0] in ("sim",), node.module
    assert "assert " in code[-1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_holds_what_it_claims(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, without Jupyter: all cells, one after the other."""
    monkeypatch.chdir(ROOT / "notebooks")
    names: dict[str, Any] = {}
    for number, text in enumerate(_cells(path, "code")):
        plain = re.sub(r"^%.*", "", text, flags=re.M)
        exec(compile(plain, f"{path.name}, cell {number}", "exec"), names)


def _through_jupyter(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Execute a notebook in a kernel; return the kinds of what it shows."""
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    book = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        book, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}}
    )
    client.execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    return [kind for output in outputs for kind in output.get("data", ())]


@pytest.mark.filterwarnings("default")  # Jupyter's own, of its event loops and folders
def test_the_first_notebook_shows_its_figures_in_jupyter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _through_jupyter(NOTEBOOKS[0], monkeypatch).count("image/png") == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=_name)
def test_the_others_show_theirs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "image/png" in _through_jupyter(path, monkeypatch)


# -- the data -----------------------------------------------------------------------------------


def test_reference_data_is_small_and_has_a_maker() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    made = {*RUNS, CAPACITY, *(f"{name}.parquet" for name in FRAMES)}
    assert {path.name for path in FOLDER.iterdir()} == made | {"sensitivity.yaml"}


def _digests(name: str, tmp_path: Path) -> tuple[dict[Any, str], dict[Any, str]]:
    """Return the digest of each table of a reference, as kept and as made again.

    Tables that runs have got since are left out: no notebook can have read them.
    """
    kept, again = open_run(FOLDER / name), simulate(name, tmp_path, Workers(count=0))
    before, now = _tables(kept), _tables(again)
    return before, {place: digest for place, digest in now.items() if place in before}


def _tables(run: Run) -> dict[Any, str]:
    return {
        (entry["point"], entry["replicate"], table): told["digest"]
        for entry in run.manifest["digests"]
        for table, told in entry["tables"].items()
    }


def _remedy(name: str) -> str:
    return f"the program gives other data now: python -m sim.study.reference_data {name}"


@pytest.mark.parametrize("name", QUICK)
def test_a_reference_is_what_its_scenario_gives(name: str, tmp_path: Path) -> None:
    kept, again = _digests(name, tmp_path)
    assert kept == again, _remedy(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in RUNS if name not in ("first_run", "double_voting")]
)
def test_every_reference_is_what_its_scenario_gives(name: str, tmp_path: Path) -> None:
    kept, again = _digests(name, tmp_path)
    assert kept == again, _remedy(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FRAMES))
def test_every_table_is_what_its_study_gives(name: str) -> None:
    assert FRAMES[name]().equals(pl.read_parquet(FOLDER / f"{name}.parquet")), _remedy(name)


def test_the_capacity_is_of_the_main_job_as_it_is() -> None:
    stored = load_scenario(FOLDER / CAPACITY / "scenario.yaml")
    assert stored == load_scenario(ROOT / "scenarios" / "million_agents.yaml"), _remedy(CAPACITY)


def test_a_reference_that_is_not_there_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"nonesuch: know first_run, "):
        main(["nonesuch"])
