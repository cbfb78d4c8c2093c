"""What a run leaves to a later one: audit log, stakes and reputations in RocksDB.

Owns: the column families `audit`, `reputation` and `stake`, their keys, and that what is read back
is what was written. Must not know: ledgers, logs, who writes when. RocksDB comes with `rocksdict`,
an extra.

Keys are big-endian, so that they sort: sequence (8 bytes) in `audit`, epoch (8) and validator (4)
in the others. Values: the leaf of a record; a score; bonded and unbonding stake (8 bytes each).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from sim.record.runs import RunError

FOLDER = "store"
FAMILIES = ("audit", "reputation", "stake")
_PLACE, _ACCOUNT = Struct(">Q"), Struct(">QI")
_SCORE, _STAKE = Struct(">Q"), Struct(">QQ")


class StoreError(RunError):
    """A store that is missing, of another shape, or corrupt; says where."""


class Kept(NamedTuple):
    """A validator's account in the last epoch that was written."""

    stake: int
    unbonding: int
    reputation: int


class RocksStore:
    """One store. `create` makes a new one to write to, `read` opens one that is there."""

    def __init__(self, database: Any, path: Path, batches: Any) -> None:
        self._database = database
        self._path = path
        self._batches = batches
        self._families = {name: database.get_column_family(name) for name in FAMILIES}

    @staticmethod
    def create(path: Path) -> RocksStore:
        """Make an empty store in a new folder. ModuleNotFoundError: rocksdict is missing."""
        library = _library()
        options = library.Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        families = {name: library.Options(raw_mode=True) for name in FAMILIES}
        database = library.Rdict(str(path), options, column_families=families)
        return RocksStore(database, path, library.WriteBatch)

    @staticmethod
    def read(path: Path) -> RocksStore:
        """Open a store for reading. StoreError: there is none, or it cannot be opened."""
        library = _library()
        families = {name: library.Options(raw_mode=True) for name in FAMILIES}
        if not (path / "CURRENT").is_file():
            raise StoreError(
                f"{path.parent.name}: has no store; run its scenario with `storage: rocksdb`"
            )
        try:
            database = library.Rdict(
                str(path),
                library.Options(raw_mode=True),
                column_families=families,
                access_type=library.AccessType.read_only(),
            )
        # rocksdict raises plain exceptions, with what RocksDB says.
        except Exception as error:
            raise StoreError(f"{path.parent.name}/{path.name}: cannot be opened: {error}") from None
        return RocksStore(database, path, library.WriteBatch)

    # Writing

    def write_records(self, first: int, leaves: Sequence[bytes]) -> None:
        """Write records of the audit log from sequence `first` on, all or none."""
        rows = [(_PLACE.pack(first + i), leaf) for i, leaf in enumerate(leaves)]
        self._write("audit", rows)

    def write_account(self, epoch: int, validator: int, account: Kept) -> None:
        """Write a validator's stake and reputation in an epoch."""
        key = _ACCOUNT.pack(epoch, validator)
        self._write("reputation", [(key, _SCORE.pack(account.reputation))])
        self._write("stake", [(key, _STAKE.pack(account.stake, account.unbonding))])

    def write_head(self, size: int, root: bytes) -> None:
        """Write a root that the audit log had at a size."""
        self._database.put(b"head" + _PLACE.pack(size), root)

    def _write(self, family: str, rows: list[tuple[bytes, bytes]]) -> None:
        batch = self._batches(raw_mode=True)
        handle = self._database.get_column_family_handle(family)
        for key, value in rows:
            batch.put(key, value, handle)
        self._database.write(batch)

    def close(self) -> None:
        """Close it. RocksDB's own log goes: it names paths of this machine."""
        for family in self._families.values():
            family.close()
        self._database.close()
        for path in self._path.glob("LOG*"):
            path.unlink()

    # Reading

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, leaf) in order. StoreError: one is missing."""
        for expected, (key, leaf) in enumerate(self._families["audit"].items()):
            (sequence,) = _PLACE.unpack(key)
            if sequence != expected:
                raise StoreError(f"{self._path.parent.name}: audit record {expected} is missing")
            yield sequence, bytes(leaf)

    def heads(self) -> list[tuple[int, bytes]]:
        """Return (size, root) of the audit log, by size."""
        rows = [(key, root) for key, root in self._database.items() if key.startswith(b"head")]
        return [(_PLACE.unpack(key[4:])[0], bytes(root)) for key, root in rows]

    def accounts(self) -> list[Kept]:
        """Return the accounts of the last epoch, by validator."""
        scores = dict(self._families["reputation"].items())
        stakes = dict(self._families["stake"].items())
        if not stakes:
            raise StoreError(f"{self._path.parent.name}: its store has no epoch")
        if scores.keys() != stakes.keys():
            raise StoreError(f"{self._path.parent.name}: stakes and reputations do not match")
        last = max(_ACCOUNT.unpack(key)[0] for key in stakes)
        keys = sorted(key for key in stakes if _ACCOUNT.unpack(key)[0] == last)
        return [
            Kept(*_STAKE.unpack(stakes[key]), _SCORE.unpack(scores[key])[0])  # type: ignore[call-arg]
            for key in keys
        ]


def _library() -> Any:
    try:
        import rocksdict
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "`storage: rocksdb` and `start_from` need rocksdict: pip install 'creto-sim[rocksdb]'"
        ) from error
    return rocksdict
