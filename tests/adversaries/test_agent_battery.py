"""What attacks and faults on agents must pass: documented, picklable, deterministic, of effect."""

from __future__ import annotations

import inspect
import pickle
import typing
from pathlib import Path
from typing import Any

import pytest

from sim import load_scenario
from sim.engine.disturbances import timetable
from sim.engine.genesis import Census
from sim.engine.plane_attacks import MAKERS, Terms
from sim.engine.plane_parameters import network_tables
from sim.scenario.agent_adversaries import AgentAdversary
from sim.scenario.agent_faults import AgentFault
from sim.scenario.attacks import Attack
from sim.world.chance import Chance
from tests.adversaries.agent_effects import CASES, one_of_each
from tests.adversaries.test_threats import FILES
from tests.engine.worlds import Ran, ran, scenario


def _kind(settings: type[Any]) -> str:
    return str(typing.get_args(typing.get_type_hints(settings)["kind"])[0])


ATTACKS = {
    _kind(kind): kind
    for kind in typing.get_args(typing.get_args(Attack)[0])
    if issubclass(kind, AgentAdversary)
}
FAULTS = {_kind(kind): kind for kind in typing.get_args(AgentFault)}
SETTINGS: dict[str, type[Any]] = {**ATTACKS, **FAULTS}
"""The register: by kind, what a scenario says of it."""
KINDS = sorted(SETTINGS)


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Run each case once, on demand, for the tests that follow."""

    class Runs(dict[str, Ran]):
        def __missing__(self, kind: str) -> Ran:
            case = CASES[kind]
            self[kind] = ran(tmp_path_factory.mktemp(kind), **case.sections(case.strikes))
            return self[kind]

    return Runs()


def made(kind: str, folder: Path) -> Any:
    """Make the attack or fault of a case, as the engine does."""
    case = CASES[kind]
    world = scenario(folder, **case.sections(case.strikes))
    census = Census(["here"] * 6, [1] * 6, [1] * 6, Chance(1, 0))
    if kind in FAULTS:
        return timetable(world, census)[0].fault
    assert world.agents is not None
    terms = Terms(0, world.agents, network_tables(world), census)
    return MAKERS[ATTACKS[kind]](world.adversaries[0], terms)


def test_the_register_is_whole() -> None:
    assert set(MAKERS) == set(ATTACKS.values())
    assert set(CASES) == set(SETTINGS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_documented_in_a_file_of_its_own(kind: str, tmp_path: Path) -> None:
    one = made(kind, tmp_path)
    folder = "faults" if kind in FAULTS else "adversary"
    assert one.kind == kind
    assert type(one).__module__ == f"sim.world.{folder}.{kind}"
    module, words = inspect.getmodule(type(one)), (inspect.getdoc(type(one)) or "").split()
    assert module is not None
    assert module.__doc__
    assert len(words) >= 20
    assert inspect.getdoc(SETTINGS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_threat_scenario_uses_it(kind: str) -> None:
    loaded = [(path.stem, load_scenario(path)) for path in FILES]
    used = [
        name
        for name, asked in loaded
        if any(item.kind == kind for item in (*asked.adversaries, *asked.faults))
    ]
    assert used, f"no scenario under scenarios/threats uses {kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_pickled(kind: str, tmp_path: Path) -> None:
    one = made(kind, tmp_path)
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_what_its_docstring_says(kind: str, struck: dict[str, Ran], tmp_path: Path) -> None:
    case = CASES[kind]
    control = ran(tmp_path, **case.sections(case.control))
    figures = case.measure(struck[kind]), case.measure(control)
    assert case.moves(*figures), figures


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_deterministic(kind: str, struck: dict[str, Ran], tmp_path: Path) -> None:
    case = CASES[kind]
    again = ran(tmp_path, **case.sections(case.strikes))
    assert again.run.digests() == struck[kind].run.digests()


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_faults_says_when_it_was_on(kind: str, struck: dict[str, Ran]) -> None:
    rows = struck[kind].rows("faults", kind=kind)
    assert next(row["event"] for row in rows) == "begin"
    assert {row["node"] for row in rows} == {-1}
    assert {row["target"] for row in rows} <= {"agents", "registry", "dht"}


def test_every_setting_survives_a_round_trip(tmp_path: Path) -> None:
    used: dict[str, None] = {}
    for number, sections in enumerate(one_of_each()):
        whole = scenario(tmp_path / str(number), **sections)
        path = tmp_path / f"{number}.yaml"
        path.write_text(
            whole.to_yaml().replace("name: case", f'name: "{number}"'), encoding="utf-8"
        )
        again = load_scenario(path)
        assert (again.adversaries, again.faults) == (whole.adversaries, whole.faults)
        used |= dict.fromkeys(item.kind for item in (*again.adversaries, *again.faults))
    assert set(used) == set(KINDS)
