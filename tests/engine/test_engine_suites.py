"""A run with real signatures checks its suites before it signs anything."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim.engine.build as engine_build
from sim import load_scenario
from sim.record.recorder import NullRecorder
from sim.world.crypto.checks import SuiteFailure

SMOKE = Path(__file__).resolve().parents[2] / "scenarios" / "seven_nodes.yaml"


def test_a_broken_suite_stops_the_run_before_the_first_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> tuple[str, ...]:
        raise SuiteFailure("suite pqcrypto: vector 3 is wrong")

    monkeypatch.setattr(engine_build, "self_check", broken)
    modelled = load_scenario(SMOKE)
    engine_build.build(modelled, 0, NullRecorder())
    real = load_scenario(SMOKE, ["crypto.signatures=real"])
    with pytest.raises(SuiteFailure, match="vector 3"):
        engine_build.build(real, 0, NullRecorder())
