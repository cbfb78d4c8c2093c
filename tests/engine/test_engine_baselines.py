"""Baselines in the whole simulation: scenarios, determinism, signatures, limits, memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sim import load_scenario, run
from sim.engine.world import World
from tests.engine.worlds import SECOND, Ran, crash, ran, world

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "scenarios" / "baselines"
FILES = sorted(FOLDER.glob("*.yaml"))
KINDS = ("pbft", "hotstuff", "tendermint", "streamlet")
COMMENT = "# yaml-language-server: $schema=../../sim/scenario/schema.json"


def sections(kind: str, **more: Any) -> dict[str, Any]:
    """Return BASE with a baseline and without what baselines have not."""
    consensus: dict[str, Any] = {"epoch_blocks": None, "leader": "weighted"}
    if kind == "streamlet":
        consensus["min_block_interval"] = None
        consensus["timer_base"] = "150 ms"
    return {
        "protocol": {"kind": kind},
        "quorum": None,
        "validators": {"count": 7},
        **more,
        "consensus": consensus,
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_scenario_meets_what_it_expects(path: Path, tmp_path: Path) -> None:
    outcome = run(load_scenario(path), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence
    assert path.read_text(encoding="utf-8").splitlines()[0] == COMMENT


def test_every_scenario_is_in_the_table_of_its_folder() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    rows = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ")][1:]
    assert sorted(rows) == [path.stem for path in FILES]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_datasets(kind: str, tmp_path: Path) -> None:
    troubled = sections(
        kind,
        faults=[crash([1], "1 s", "2 s")],
        adversaries=[{"kind": "silent", "nodes": {"random": 1}, "when": {"probability": "50 %"}}],
        network={"delays": {"kind": "normal", "mean": "10 ms", "deviation": "1 ms"}},
    )
    first, second = ran(tmp_path / "a", **troubled), ran(tmp_path / "b", **troubled)
    assert first.run.digests() == second.run.digests()
    assert first.metric("blocks_committed") >= 5
    other = ran(tmp_path / "c", **troubled, seed=2)
    assert other.run.digests() != first.run.digests()


@pytest.mark.parametrize("kind", KINDS)
def test_signatures_real_or_modelled_give_the_same_run(kind: str, tmp_path: Path) -> None:
    """Whole view changes included: the first leader is down from the start."""
    short = sections(kind, duration="1200 ms", validators={"count": 4})
    short["faults"] = [crash([0], "0 s", "600 ms")]
    real = ran(tmp_path / "real", **short, crypto={"signatures": "real"})
    modelled = ran(tmp_path / "modelled", **short)
    assert real.run.digests() == modelled.run.digests()
    assert real.frame("blocks").height >= 2
    assert real.reasons("rejected").get("invalid_signature", 0) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_f_silent_of_n_are_stood_and_one_more_is_not(kind: str, tmp_path: Path) -> None:
    def late_commits(silent: int) -> int:
        attack = {"kind": "silent", "nodes": {"ids": list(range(silent))}, "start": "1 s"}
        found: Ran = ran(
            tmp_path / str(silent), **sections(kind, adversaries=[attack], duration="16 s")
        )
        assert found.verdict == "met", found.evidence
        return found.commits_between(4 * SECOND, 16 * SECOND)

    assert late_commits(2) >= 3
    assert late_commits(3) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_trees_and_gossip_carry_proposals_too(kind: str, tmp_path: Path) -> None:
    for way in ({"kind": "tree", "fanout": 2}, {"kind": "gossip", "fanout": 3}):
        asked = sections(kind)
        asked["consensus"] = {**asked["consensus"], "dissemination": way}
        found = ran(tmp_path / str(way["kind"]), **asked)
        assert found.metric("blocks_committed") >= 5


def sizes(running: World) -> dict[str, int]:
    """Measure every container of every core, and of what the cores share."""
    found: dict[str, int] = {}
    for node in running.nodes:
        core: Any = node.validator
        for name, value in (*vars(core).items(), *vars(core.electorate).items()):
            if isinstance(value, dict | list | tuple):
                found[name] = max(found.get(name, 0), len(value))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_chain(kind: str, tmp_path: Path) -> None:
    asked = sections(kind, duration="1 h", validators={"count": 4})
    asked["consensus"] = {**asked["consensus"], "store_blocks": 16}
    if kind == "streamlet":
        asked["consensus"]["timer_base"] = "60 ms"
    else:
        asked["consensus"]["min_block_interval"] = None
    running = world(tmp_path, **asked)
    running.start()
    running.advance(20 * SECOND)
    assert running.observer.blocks_committed > 100
    before = sizes(running)
    running.advance(60 * SECOND)
    after = sizes(running)
    # Leaders and tables by number are remembered, 4,096 of each at most.
    bounded = {"_turns", "_tables", "_committed"}
    grown = {name for name in after if after[name] > before[name] + 40}
    assert grown <= bounded, {name: (before[name], after[name]) for name in grown}


def test_names_of_messages_are_told_apart_in_traffic(tmp_path: Path) -> None:
    kinds = {row["kind"] for row in ran(tmp_path, **sections("pbft")).rows("traffic")}
    assert {"proposal", "prepare", "commit", "checkpoint"} <= kinds
    assert all(re.fullmatch(r"[a-z_]+", kind) for kind in kinds)
