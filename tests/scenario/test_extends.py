"""`extends`: maps merge, lists and unions replace, and errors stand in the file that made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sim.scenario.fields import Placement
from sim.scenario.load import ScenarioErrors, load_scenario
from sim.scenario.model import Star, Tree

CHILD = """\
schema: creto-sim/1
title: Child
question: And now?
extends: parent.yaml
"""


@pytest.fixture
def family(tmp_path: Path, minimal: str) -> Callable[..., Path]:
    """Write parent.yaml (the minimal scenario and more) and child.yaml; return the child."""

    def write(child: str = "", parent: str = "") -> Path:
        (tmp_path / "parent.yaml").write_text(minimal + parent)
        path = tmp_path / "child.yaml"
        path.write_text(CHILD + child)
        return path

    return write


def test_maps_merge_and_the_child_wins(family: Callable[..., Path]) -> None:
    child = "consensus: {epoch_blocks: 20, timer_max: 9 s}\n"
    scenario = load_scenario(family(child, "seed: 5\nquorum: {initial_level: 1}\n"))
    assert scenario.consensus.timer_base_ns == 500_000_000
    assert scenario.consensus.timer_max_ns == 9_000_000_000
    assert (scenario.seed, scenario.quorum.initial_level) == (5, 1)
    assert (scenario.title, scenario.name) == ("Child", "child")


def test_lists_unions_and_placements_replace(family: Callable[..., Path]) -> None:
    parent = """\
operations: [{kind: top_up, validator: 1, amount: 5, at: 1 s}]
ledger: {tombstone: [double_vote, downtime]}
"""
    child = """\
validators: {count: 5, placement: {aws:us-gov-east-1: 5}}
operations: [{kind: unbond, validator: 2, amount: 5, at: 1 s}]
ledger: {tombstone: []}
consensus: {dissemination: {kind: tree, fanout: 2}}
"""
    scenario = load_scenario(family(child, parent))
    assert scenario.validators.placement == Placement(("aws:us-gov-east-1",), (5,))
    assert [each.kind for each in scenario.operations] == ["unbond"]
    assert scenario.ledger.tombstone == ()
    assert scenario.consensus.dissemination == Tree(kind="tree", fanout=2)
    # The grandchild's union replaces the whole: no fanout is left over.
    path = family(child, parent).with_name("grandchild.yaml")
    path.write_text(
        CHILD.replace("parent.yaml", "child.yaml") + "consensus: {dissemination: {kind: star}}\n"
    )
    assert load_scenario(path).consensus.dissemination == Star()


def test_regions_of_the_scenarios_own_merge(family: Callable[..., Path]) -> None:
    parent = ""
    child = "network: {regions: {b: {latitude: 2.5, longitude: -1}}}\n"
    path = family(child, parent)
    text = path.with_name("parent.yaml").read_text()
    path.with_name("parent.yaml").write_text(
        text.replace(
            "bandwidth: 1 Gbit/s", "bandwidth: 1 Gbit/s, regions: {a: {latitude: 1, longitude: 1}}"
        )
    )
    scenario = load_scenario(path)
    assert list(scenario.network.regions) == ["a", "b"]
    assert scenario.network.regions["b"].latitude_microdegrees == 2_500_000


def test_a_parents_sweep_title_and_question_are_its_own(family: Callable[..., Path]) -> None:
    path = family("", "sweep: {grid: {quorum.initial_level: [0, 1]}}\n")
    assert load_scenario(path).sweep is None
    path.write_text("schema: creto-sim/1\nextends: parent.yaml\n")
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(path)
    assert [error.message for error in caught.value.errors] == [
        "`question` is missing",
        "`title` is missing",
    ]


def test_errors_stand_in_the_file_that_made_them(family: Callable[..., Path]) -> None:
    path = family("consensus: {epoch_blocks: 1}\n", "seed: 1e3\nweights: {stake: 50 %}\n")
    parent = path.with_name("parent.yaml")
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(path, ["replicates=0"])
    assert [str(error) for error in caught.value.errors] == [
        f"{path}:5:27: consensus.epoch_blocks: 1 is below the least value, 3",
        f"{parent}:9:7: `1e3` has an exponent; write the number out",
        f"{parent}:10:1: weights: stake, reputation and uptime add up to 110 %, not 100 %",
        "--set:1:12: replicates: 0 is below the least value, 1",
    ]


def test_cycles_and_missing_parents_are_errors_at_their_place(tmp_path: Path) -> None:
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text(CHILD.replace("parent", "b"))
    b.write_text(CHILD.replace("parent", "a"))
    with pytest.raises(ScenarioErrors, match=r"b\.yaml:4:10: `a\.yaml` extends this file in turn"):
        load_scenario(a)
    a.write_text(CHILD.replace("parent", "a"))
    with pytest.raises(ScenarioErrors, match=r"a\.yaml:4:10: `a\.yaml` extends this file in turn"):
        load_scenario(a)
    a.write_text(CHILD)
    with pytest.raises(ScenarioErrors, match=r"a\.yaml:4:10: `parent\.yaml`: No such file"):
        load_scenario(a)
    a.write_text(CHILD.replace("parent.yaml", "[b.yaml]"))
    with pytest.raises(ScenarioErrors, match=r"a\.yaml:4:10: `extends` names one file"):
        load_scenario(a)


def test_generations_are_bounded(tmp_path: Path) -> None:
    for rank in range(20):
        text = CHILD.replace("parent", f"g{rank + 1}")
        (tmp_path / f"g{rank}.yaml").write_text(text)
    with pytest.raises(ScenarioErrors, match="more than 16 generations"):
        load_scenario(tmp_path / "g0.yaml")
