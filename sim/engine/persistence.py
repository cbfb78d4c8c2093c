"""Keep what a run leaves in its store, and begin a run from the store of another one.

Owns: when accounts are written, and that an audit log is believed only if it hashes to its heads.
Must not know: RocksDB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sim.record.recorder import Sink
from sim.record.rocks import FOLDER, Kept, RocksStore, StoreError
from sim.record.runs import replicate_folder
from sim.scenario.model import Scenario
from sim.world.compliance.merkle import MerkleTree


class Past(NamedTuple):
    """What an earlier run left: accounts by validator, size and root of its audit log."""

    accounts: list[Kept]
    size: int
    root: bytes


class StoringSink:
    """Pass rows on to the recorder, and the accounts of each epoch to the store as well."""

    def __init__(self, recorder: Sink, store: RocksStore) -> None:
        self._recorder = recorder
        self.store = store
        self.keeps = recorder.keeps
        self.append = recorder.append
        self.append_rows = recorder.append_rows
        self.latency = recorder.latency

    def append_row(self, table: str, **values: Any) -> None:
        """Pass a row on."""
        self._recorder.append_row(table, **values)
        if table == "validators":
            account = Kept(values["stake"], values["unbonding"], values["reputation"])
            self.store.write_account(values["epoch"], values["validator"], account)


@contextmanager
def kept_store(scenario: Scenario, folder: Path) -> Iterator[RocksStore | None]:
    """Make the store of a replicate beside its tables, closed at the end; None in memory."""
    if scenario.storage != "rocksdb":
        yield None
        return
    store = RocksStore.create(folder / FOLDER)
    try:
        yield store
    finally:
        store.close()


def past_of(scenario: Scenario, replicate: int) -> Past | None:
    """Read what the scenario starts from; None where it starts anew.

    The same replicate of the other run, or its first. StoreError: there is none, its accounts do
    not fit the validators, or its audit log is corrupt.
    """
    if scenario.start_from is None:
        return None
    run = Path(scenario.start_from)
    folders = [run / replicate_folder(None, number) / FOLDER for number in (replicate, 0)]
    store = RocksStore.read(next((path for path in folders if path.is_dir()), folders[0]))
    try:
        accounts = store.accounts()
        candidates = scenario.validators.candidates
        more = 0 if candidates is None else sum(candidates.placement.amounts or ())
        if len(accounts) != scenario.validators.count + more:
            raise StoreError(
                f"{scenario.start_from}: has accounts of {len(accounts)} validators, the scenario "
                f"has {scenario.validators.count + more}"
            )
        return Past(accounts, *checked_log(store, scenario.start_from))
    finally:
        store.close()


def checked_log(store: RocksStore, name: str) -> tuple[int, bytes]:
    """Hash a stored audit log and hold it against its heads; return size and root."""
    tree = MerkleTree()
    for _, leaf in store.records():
        tree.append(leaf)
    good = 0
    for size, root in store.heads():
        if size > len(tree):
            raise StoreError(f"{name}: audit record {len(tree)} is missing, a head covers {size}")
        if tree.root(size) != root:
            raise StoreError(
                f"{name}: audit records {good} to {size - 1} do not hash to their head"
            )
        good = size
    if good < len(tree):
        raise StoreError(f"{name}: no head covers audit record {good} and those after it")
    return len(tree), tree.root()
