"""What every attack of the register must pass: documented, picklable, deterministic, of effect."""

from __future__ import annotations

import inspect
import pickle
import typing
from pathlib import Path
from typing import Any

import pytest

from sim import load_scenario
from sim.engine.attacks import MAKERS, Terms
from sim.engine.genesis import Census
from sim.scenario.adversaries import Adversary
from sim.scenario.attacks import Attack as Settings
from sim.world.adversary import Attack
from sim.world.chance import Chance
from tests.adversaries.effects import CASES, one_of_each, one_of_the_others
from tests.adversaries.test_threats import FILES
from tests.engine.worlds import Ran, ran, scenario

SETTINGS: dict[str, type[Adversary]] = {
    typing.get_args(typing.get_type_hints(kind)["kind"])[0]: kind
    for kind in typing.get_args(typing.get_args(Settings)[0])
    if issubclass(kind, Adversary)
}
"""The register of attacks by validators: by kind, what a scenario says of it."""
KINDS = sorted(SETTINGS)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Run each case's attack once, on demand, for the tests that follow."""

    class Runs(dict[str, Ran]):
        def __missing__(self, kind: str) -> Ran:
            case = CASES[kind]
            self[kind] = ran(tmp_path_factory.mktemp(kind), **case.sections(case.attacks))
            return self[kind]

    return Runs()


def made(kind: str, folder: Path) -> Attack:
    """Make the attack of a case, as the engine does."""
    case = CASES[kind]
    world = scenario(folder, **case.sections(case.attacks))
    asked = next(a for a in world.adversaries if a.kind == kind)  # type: ignore[union-attr]
    census = Census(["here"] * 20, [1] * 20, [1] * 20, Chance(1, 0))
    return MAKERS[type(asked)](asked, Terms(7, (0, 1), census))


def test_the_register_is_whole() -> None:
    assert set(MAKERS) == set(SETTINGS.values())
    assert set(CASES) == set(SETTINGS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_documented_in_a_file_of_its_own(kind: str, tmp_path: Path) -> None:
    attack = type(made(kind, tmp_path))
    assert attack.kind == kind
    assert attack.__module__ == f"sim.world.adversary.{kind}"
    module, words = inspect.getmodule(attack), (inspect.getdoc(attack) or "").split()
    assert module is not None
    assert module.__doc__
    # What it does, what it costs whom, what it cannot do.
    assert len(words) >= 20
    assert inspect.getdoc(SETTINGS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_threat_scenario_uses_it(kind: str) -> None:
    used = [
        path.stem
        for path in FILES
        if any(adversary.kind == kind for adversary in load_scenario(path).adversaries)
    ]
    assert used, f"no scenario under scenarios/threats uses {kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_pickled(kind: str, tmp_path: Path) -> None:
    attack = made(kind, tmp_path)
    again: Any = pickle.loads(pickle.dumps(attack))
    assert type(again) is type(attack)
    plain = {k: v for k, v in vars(attack).items() if not isinstance(v, Attack)}
    assert {k: v for k, v in vars(again).items() if not isinstance(v, Attack)} == plain


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_what_its_docstring_says(
    kind: str, attacked: dict[str, Ran], tmp_path: Path
) -> None:
    case = CASES[kind]
    control = ran(tmp_path, **case.sections(case.control))
    figures = case.measure(attacked[kind]), case.measure(control)
    assert case.moves(*figures), figures


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_deterministic(kind: str, attacked: dict[str, Ran], tmp_path: Path) -> None:
    case = CASES[kind]
    again = ran(tmp_path, **case.sections(case.attacks))
    assert again.run.digests() == attacked[kind].run.digests()


def test_every_setting_survives_a_round_trip(tmp_path: Path) -> None:
    found: set[type[Any]] = set()
    for sections in (one_of_each(), one_of_the_others()):
        whole = scenario(tmp_path, **sections)
        path = tmp_path / "case.yaml"
        path.write_text(whole.to_yaml(), encoding="utf-8")
        again = load_scenario(path)
        assert again == whole
        found |= {type(adversary) for adversary in again.adversaries}
    assert found == set(MAKERS)
