"""Fixtures for scenarios written to a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sim.scenario.load import ScenarioErrors, load_scenario
from sim.scenario.model import Scenario

MINIMAL = """\
schema: creto-sim/1
title: Four validators
question: Do they commit?
network: {bandwidth: 1 Gbit/s}
validators: {count: 4, placement: [aws:us-gov-west-1]}
consensus: {timer_base: 500 ms}
expect:
  - safety: held
"""


@pytest.fixture
def minimal() -> str:
    """The least scenario that loads."""
    return MINIMAL


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Scenario]:
    """Load a text as `case.yaml`."""

    def load(text: str, overrides: Sequence[str] = ()) -> Scenario:
        path = tmp_path / "case.yaml"
        path.write_text(text, encoding="utf-8")
        return load_scenario(path, overrides)

    return load


@pytest.fixture
def errors_of(tmp_path: Path) -> Callable[..., list[str]]:
    """Return what is wrong with a text, as `line:column: message` (or `--set:...`)."""

    def errors(text: str, overrides: Sequence[str] = ()) -> list[str]:
        path = tmp_path / "case.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ScenarioErrors) as caught:
            load_scenario(path, overrides)
        assert str(caught.value).splitlines() == [str(e) for e in caught.value.errors]
        return [str(error).removeprefix(f"{path}:") for error in caught.value.errors]

    return errors
