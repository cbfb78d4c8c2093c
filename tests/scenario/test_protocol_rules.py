"""What a baseline has not is refused where it is asked for, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.scenario.errors import ScenarioErrors
from sim.scenario.load import load_scenario
from tests.engine.worlds import AGENTS, scenario_text, written

PLAIN = {"epoch_blocks": None, "min_block_interval": None}
"""Settings of the test worlds that no baseline, or not every one, has."""


def refusals(folder: Path, kind: str, **sections: object) -> str:
    consensus = {**PLAIN, **sections.pop("consensus", {})}  # type: ignore[dict-item]
    given = {"protocol": {"kind": kind}, "quorum": None, "consensus": consensus, **sections}
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(written(folder, scenario_text(**given)))
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "sections", "words"),
    [
        ("pbft", {"consensus": {"epoch_blocks": 10}}, "`pbft` has no epochs"),
        ("pbft", {"consensus": {"max_block_refs": 7}}, "`pbft` has no transactions"),
        ("hotstuff", {"quorum": {"initial_level": 1}}, "`hotstuff` has one quorum, n - f"),
        ("hotstuff", {"weights": {"cap": "20 %"}}, "`hotstuff` has equal weights"),
        ("tendermint", {"ledger": {"min_stake": 7}}, "`tendermint` has no ledger"),
        ("tendermint", {"agents": AGENTS}, "`tendermint` has no transactions"),
        (
            "tendermint",
            {"validators": {"stake": {"kind": "zipf", "largest": 10_000_000}}},
            "has equal weights",
        ),
        ("pbft", {"validators": {"initial_reputation": "60 %"}}, "has no reputation"),
        ("streamlet", {"consensus": {"timer_backoff": 2}}, "`streamlet` has epochs of one length"),
        ("streamlet", {"consensus": {"min_block_interval": "9 ms"}}, "one block an epoch"),
        (
            "pbft",
            {"adversaries": [{"kind": "double_vote", "nodes": {"ids": [0]}}]},
            "not known for `pbft`: silent",
        ),
        (
            "tendermint",
            {"adversaries": [{"kind": "forking", "nodes": {"ids": [0]}}]},
            "not known for `tendermint`: silent",
        ),
        (
            "hotstuff",
            {
                "adversaries": [
                    {"kind": "silent", "nodes": {"ids": [0]}, "when": {"reputation": "10 %"}}
                ]
            },
            "`hotstuff` has views only",
        ),
        (
            "pbft",
            {
                "faults": [
                    {"kind": "amnesia_crash", "nodes": {"ids": [0]}, "at": "1 s", "until": "2 s"}
                ]
            },
            "all it knows on disk: use `crash`",
        ),
        ("pbft", {"expect": [{"level": {"reached": 1}}]}, "`pbft` has one quorum"),
        (
            "pbft",
            {"faults": [{"kind": "clock_skew", "nodes": {"ids": [0]}, "at": "1 s"}]},
            "not known for `pbft`: crash, slow_node, throttle, partition",
        ),
        ("pbft", {"storage": "rocksdb"}, "`pbft` has no ledger to keep"),
        ("streamlet", {"start_from": "results/x"}, "`streamlet` has no ledger to start from"),
        ("paxos", {}, "paxos"),
    ],
)
def test_what_a_baseline_has_not_is_refused(
    kind: str, sections: dict[str, object], words: str, tmp_path: Path
) -> None:
    assert words in refusals(tmp_path, kind, **sections)


def test_all_of_it_at_once_each_with_its_place(tmp_path: Path) -> None:
    found = refusals(
        tmp_path,
        "pbft",
        agents=AGENTS,
        weights={"cap": "20 %"},
        consensus={"epoch_blocks": 10},
    )
    for key in ("agents", "weights", "consensus.epoch_blocks"):
        assert key.split(".")[-1] in found
    assert found.count("case.yaml:") >= 3


def test_forking_is_not_for_the_main_protocol(tmp_path: Path) -> None:
    text = scenario_text(adversaries=[{"kind": "forking", "nodes": {"ids": [0]}}])
    with pytest.raises(ScenarioErrors, match="overwrites what HotStuff has not locked"):
        load_scenario(written(tmp_path, text))


def test_normal_delays_stay_above_zero(tmp_path: Path) -> None:
    delays = {"kind": "normal", "mean": "10 ms", "deviation": "3 ms"}
    with pytest.raises(ScenarioErrors, match="3 ms is more than a fifth of the mean, 10 ms"):
        load_scenario(written(tmp_path, scenario_text(network={"delays": delays})))
