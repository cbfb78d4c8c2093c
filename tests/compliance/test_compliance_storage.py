"""`storage: rocksdb`: what a run leaves, a later run that starts from it, and a corrupt segment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sim.engine.persistence import checked_log
from sim.record.rocks import FOLDER, Kept, RocksStore, StoreError
from sim.record.runs import RunError
from sim.scenario.errors import ScenarioErrors
from sim.world.compliance.merkle import MerkleTree
from tests.compliance.worlds import AUDIT, PEOPLE, PLACES, world
from tests.engine.worlds import Ran, ran, scenario

SECTIONS: dict[str, Any] = {
    "duration": "3 s",
    "compliance": {"audit": AUDIT, "people": PEOPLE},
    "adversaries": [{"kind": "double_vote", "nodes": {"ids": [1]}, "start": "500 ms"}],
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return world(tmp_path_factory.mktemp("first"), storage="rocksdb", **SECTIONS)


def store_of(done: Ran) -> Path:
    return done.outcome.path / "replicate=000" / FOLDER


def test_the_store_holds_what_the_tables_hold(first: Ran, tmp_path: Path) -> None:
    """Stakes, reputations and every record, in three column families; no path of this machine."""
    store = RocksStore.read(store_of(first))
    rows = first.frame("validators").filter(epoch=first.frame("validators")["epoch"].max())
    kept = [Kept(r["stake"], r["unbonding"], r["reputation"]) for r in rows.to_dicts()]
    assert store.accounts() == kept
    assert len({account.stake for account in kept}) == 2
    records = first.frame("audit").height
    size, _ = checked_log(store, "first")
    assert size == records > 20
    heads = {head["size"]: head["root"] for head in first.rows("heads")}
    assert max(heads) <= size
    store.close()
    for path in store_of(first).iterdir():
        assert str(tmp_path.parent).encode() not in path.read_bytes(), path.name


def test_keeping_it_changes_no_digest(first: Ran, tmp_path: Path) -> None:
    assert world(tmp_path, **SECTIONS).digest == first.digest


def test_a_later_run_starts_from_it(first: Ran, tmp_path: Path) -> None:
    """The one who was slashed begins with less; the log begins with the root of the one before."""
    later = world(
        tmp_path,
        start_from=str(first.outcome.path),
        duration="1 s",
        compliance=SECTIONS["compliance"],
    )
    last = first.frame("validators").filter(epoch=first.frame("validators")["epoch"].max())
    begun = later.frame("validators").filter(epoch=1)
    assert begun["stake"].to_list() == last["stake"].to_list()
    assert begun["reputation"].to_list() == last["reputation"].to_list()
    (row,) = later.rows("audit", action="continue")
    assert row["sequence"] == 0
    assert row["acts"] == first.frame("audit").height
    tree = MerkleTree()
    store = RocksStore.read(store_of(first))
    tree.extend(leaf for _, leaf in store.records())
    store.close()
    assert row["object"] == f"segment/{tree.root().hex()}"


@pytest.mark.parametrize(
    ("sequence", "leaf", "said"),
    [
        (7, b"somebody else", r"audit records \d+ to \d+ do not hash to their head"),
        (1_000, b"from nowhere", "audit record \\d+ is missing"),
    ],
)
def test_a_corrupt_segment_is_refused_with_its_place(
    tmp_path: Path, sequence: int, leaf: bytes, said: str
) -> None:
    store = RocksStore.create(tmp_path / FOLDER)
    tree = MerkleTree()
    for first_of in (0, 5, 10):
        leaves = [b"record %d" % i for i in range(first_of, first_of + 5)]
        store.write_records(first_of, leaves)
        tree.extend(leaves)
        store.write_head(len(tree), tree.root())
    assert checked_log(store, "run") == (15, tree.root())
    store.write_records(sequence, [leaf])
    with pytest.raises(StoreError, match=said):
        checked_log(store, "run")
    store.close()


def test_what_does_not_fit_is_refused(first: Ran, tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match="has no store in it"):
        scenario(tmp_path, **PLACES, start_from=str(tmp_path))
    with pytest.raises(RunError, match="has accounts of 6 validators, the scenario has 4"):
        ran(tmp_path, start_from=str(first.outcome.path))
    with pytest.raises(ScenarioErrors, match="stakes are those of `start_from`"):
        scenario(
            tmp_path,
            validators={**PLACES["validators"], "stake": {"kind": "zipf", "largest": 10_000_000}},
            start_from=str(first.outcome.path),
        )


def test_without_the_library_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'creto-sim\[rocksdb\]'"):
        ran(tmp_path, storage="rocksdb", duration="1 s")
