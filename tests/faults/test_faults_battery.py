"""What every fault of the register must pass: documented, picklable, deterministic, of effect."""

from __future__ import annotations

import inspect
import json
import pickle
import typing
from pathlib import Path
from typing import Any

import pytest

from sim import load_scenario
from sim.engine.disturbances import timetable
from sim.engine.genesis import Census
from sim.engine.rollouts import releases
from sim.scenario.agent_faults import AgentFault
from sim.scenario.disturbances import Fault as Settings
from sim.world.chance import Chance
from sim.world.faults import Fault
from tests.engine.worlds import Ran, ran, scenario
from tests.faults.effects import CASES, one_of_each
from tests.faults.test_fault_scenarios import FILES

REGISTER: dict[str, type[Any]] = {
    typing.get_args(typing.get_type_hints(kind)["kind"])[0]: kind
    for kind in typing.get_args(typing.get_args(Settings)[0])
    if kind not in typing.get_args(AgentFault)
}
"""By kind, what a scenario says of it. What befalls agents has a battery of its own."""
KINDS = sorted(REGISTER)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Run each case's fault once, on demand, for the tests that follow."""

    class Runs(dict[str, Ran]):
        def __missing__(self, kind: str) -> Ran:
            case = CASES[kind]
            self[kind] = ran(tmp_path_factory.mktemp(kind), **case.sections(case.faults))
            return self[kind]

    return Runs()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Run each world of the cases without any fault once, on demand, by its text."""

    class Runs(dict[str, Ran]):
        def __missing__(self, text: str) -> Ran:
            self[text] = ran(tmp_path_factory.mktemp("calm"), **json.loads(text))
            return self[text]

    return Runs()


def made(kind: str, folder: Path) -> list[Fault]:
    """Make the faults of a case, as the engine does."""
    world = scenario(folder, **CASES[kind].sections(CASES[kind].faults))
    regions = world.validators.placement.each(world.validators.count)
    census = Census(regions, [1] * len(regions), [1] * len(regions), Chance(1, 0))
    found = [entry.fault for entry in timetable(world, census)]
    for release in releases(world, census):
        found += [fault for wave in release.course.waves for fault, _ in release.course.stop(wave)]
    return found


def test_the_register_is_whole() -> None:
    assert set(CASES) == set(REGISTER)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_documented_in_a_file_of_its_own(kind: str, tmp_path: Path) -> None:
    (first, *_) = made(kind, tmp_path)
    assert first.kind == kind
    fault = type(first)
    assert fault.__module__ == f"sim.world.faults.{kind}"
    module = inspect.getmodule(fault)
    assert module is not None
    # What happens, and the figure that shows it.
    assert len((module.__doc__ or "").split()) >= 25
    assert "Shows in" in " ".join((module.__doc__ or "").split())
    assert inspect.getdoc(fault)
    assert inspect.getdoc(REGISTER[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_scenario_uses_it(kind: str) -> None:
    used = [
        path.stem
        for path in FILES
        if any(fault.kind == kind for fault in load_scenario(path).faults)
    ]
    assert used, f"no scenario under scenarios/faults or scenarios/threats uses {kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_pickled(kind: str, tmp_path: Path) -> None:
    for fault in made(kind, tmp_path):
        again = pickle.loads(pickle.dumps(fault))
        assert type(again) is type(fault)
        assert again == fault


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_what_its_file_says(
    kind: str, faulty: dict[str, Ran], calm: dict[str, Ran]
) -> None:
    case = CASES[kind]
    control = calm[json.dumps(case.sections([]))]
    figures = case.measure(faulty[kind]), case.measure(control)
    assert case.moves(*figures), figures


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_on_the_record_and_harms_nobody_honest(kind: str, faulty: dict[str, Ran]) -> None:
    done = faulty[kind]
    rows = done.rows("faults", source="fault", kind=kind)
    assert {row["event"] for row in rows} == {"begin", "end"}
    assert done.rows("evidence") == []
    assert done.rows("violations") == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_deterministic(kind: str, faulty: dict[str, Ran], tmp_path: Path) -> None:
    case = CASES[kind]
    again = ran(tmp_path, **case.sections(case.faults))
    assert again.run.digests() == faulty[kind].run.digests()


def test_every_setting_survives_a_round_trip(tmp_path: Path) -> None:
    whole = scenario(tmp_path, **one_of_each())
    path = tmp_path / "case.yaml"
    path.write_text(whole.to_yaml(), encoding="utf-8")
    again = load_scenario(path)
    assert again == whole
    assert {fault.kind for fault in again.faults} == set(REGISTER)
