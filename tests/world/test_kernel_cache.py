"""Compiled kernels are kept by the state of their sources, so that none is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.world import kernel_cache


def test_the_folder_changes_with_any_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agents" / "stages").mkdir(parents=True)
    (tmp_path / "kernels.py").write_text("A = 1\n", encoding="utf-8")
    far = tmp_path / "agents" / "stages" / "kernels.py"
    far.write_text("B = 1\n", encoding="utf-8")
    monkeypatch.setattr(kernel_cache, "_WORLD", tmp_path)
    before = kernel_cache.cache_folder()
    assert kernel_cache.cache_folder() == before
    far.write_text("B = 2\n", encoding="utf-8")
    assert kernel_cache.cache_folder() != before


def test_few_old_folders_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cache.config, "CACHE_DIR", str(tmp_path))
    for number in range(6):
        (tmp_path / f"kernels-{number}").mkdir()
    kernel_cache.cache_folder()
    assert len(list(tmp_path.glob("kernels-*"))) == 2


def test_no_index_counts_from_an_arrays_end() -> None:
    """Numba would read the last item at -1; without that question there is none to be read."""
    compiled = kernel_cache.njit(pipeline_class=kernel_cache.Pipeline, boundscheck=True)

    @compiled  # type: ignore[untyped-decorator]
    def read(values: Any, i: int) -> int:
        return int(values[i])

    @compiled  # type: ignore[untyped-decorator]
    def write(values: Any, i: int) -> None:
        values[0, i] = 7

    values = np.arange(3)
    assert read(values, 2) == 2
    with pytest.raises(IndexError):
        read(values, -1)
    write(values.reshape(1, 3), 2)
    assert values.tolist() == [0, 1, 7]
    with pytest.raises(IndexError):
        write(values.reshape(1, 3), -1)
