"""Run directories: written once, whole, and honest about how the run ended.

Owns: the layout under the results root, the manifest, and `open_run`. Must not know: engines,
scenarios' meaning, verdict rules; it is handed their texts and figures.

    <root>/<scenario>/<UTC>-<digest>/
        manifest.json      first file; state running, then complete, interrupted or failed
        RUNNING            locked while the process lives; 64 KiB kept free for the last words
        scenario.yaml      the resolved scenario
        [point=NNN/]replicate=NNN/<table>.parquet
        runs.parquet, summary.json
        DONE               last file; state and digest

A directory whose manifest says `running` and whose RUNNING nobody locks belonged to a process that
died. Directories are never overwritten; nothing in them names an absolute path.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sim.record.canonical import canonical
from sim.record.digests import TableDigest, replicate_digest, run_digest
from sim.record.encode import frame_of
from sim.record.folders import fresh_folder, point_latest
from sim.record.machine import (
    cpu_time_ns,
    hold_lock,
    lock_is_held,
    peak_memory_bytes,
    platform_facts,
    release_lock,
    retake_lock,
    versions,
)
from sim.record.recorder import PARTS, Window
from sim.record.store import write_frame, write_json, write_text
from sim.record.tables import BY_NAME, DETAILS, TABLES, kept, table_of

SCHEMA = "creto-sim-run/1"
_BALLAST_BYTES = 64 << 10
_STATES = ("complete", "interrupted", "failed")
_ENDINGS = ("verdict", "digest", "digests", "finished_utc", "error")
"""What the manifest of an unfinished run does not have."""
_ABSOLUTE = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"=:,]+[/\\])+")


class RunError(Exception):
    """A run directory that cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class ReplicateResult:
    """What one replicate of one point came to. `verdict`: met, violated, missed, inconclusive."""

    point: int
    replicate: int
    state: str
    verdict: str
    simulated_ns: int
    tables: Mapping[str, TableDigest]
    metrics: Mapping[str, int | None] = field(default_factory=dict)
    evidence: Sequence[str] = ()
    wall_ns: int = 0
    cpu_ns: int = 0
    peak_memory_bytes: int = 0

    @property
    def digest(self) -> str:
        return replicate_digest({name: table.digest for name, table in self.tables.items()})


def portable(text: str) -> str:
    """Reduce absolute paths in a text to their last part."""
    return _ABSOLUTE.sub("", text)


def replicate_folder(point: int | None, replicate: int) -> Path:
    """Return the folder of a replicate inside a run; `point` is None without a sweep."""
    leaf = Path(f"replicate={replicate:03d}")
    return leaf if point is None else Path(f"point={point:03d}") / leaf


class RunWriter:
    """One run directory from its first file to its last. Make it with `RunWriter.start`."""

    def __init__(
        self, path: Path, manifest: dict[str, Any], *, swept: bool, lock: int | None = None
    ) -> None:
        self.path = path
        self._manifest = manifest
        self._swept = swept
        self._results: list[ReplicateResult] = []
        self._wall_start_ns = time.monotonic_ns()
        self._cpu_start_ns = cpu_time_ns()
        self._lock = hold_lock(path / "RUNNING", _BALLAST_BYTES) if lock is None else lock

    @classmethod
    def start(
        cls,
        root: Path,
        *,
        scenario_name: str,
        scenario_text: str,
        scenario_digest: str,
        seed: int,
        detail: str,
        command: Sequence[str],
        points: int | None = None,
        replicates: int = 1,
        settings: Sequence[Sequence[tuple[str, str]]] = (),
        window: Window | None = None,
        replay: Mapping[str, Any] | None = None,
    ) -> RunWriter:
        """Make the directory and its manifest, before the first event.

        `points` is None without a sweep; `settings`: what varies, (path, value) pairs by point;
        `window`: what is kept at more detail; `replay`: which stretch of which run this repeats.
        Raises OSError where the root cannot be written.
        """
        if detail not in DETAILS:
            raise ValueError(f"detail is one of {list(DETAILS)}, not {detail!r}")
        started = datetime.now(UTC)
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", scenario_name) or "scenario"
        stem = f"{started:%Y%m%dT%H%M%SZ}-{scenario_digest[:8]}"
        path = fresh_folder(root / name, stem)
        manifest = {
            "schema": SCHEMA,
            "state": "running",
            "scenario": {"name": name, "digest": scenario_digest},
            "seed": seed,
            "detail": detail,
            "points": points,
            "replicates": replicates,
            "settings": [[[path, portable(text)] for path, text in point] for point in settings],
            "command": [portable(argument) for argument in command],
            "started_utc": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "versions": versions(),
            "platform": platform_facts(),
        }
        if window is not None:
            manifest["window"] = window._asdict()
        if replay is not None:
            manifest["replay"] = dict(replay)
        try:
            write_json(path / "manifest.json", manifest)
            write_text(path / "scenario.yaml", scenario_text)
            return cls(path, manifest, swept=points is not None)
        except OSError:
            # Nothing has run: no directory says it better than half a one.
            shutil.rmtree(path, ignore_errors=True)
            raise

    @classmethod
    def resume(cls, run: Run) -> RunWriter:
        """Take up the directory of a run that died, failed or was interrupted.

        Raises RunError where a process still works on it, where it is complete, and where other
        versions made it: what they wrote and what is still to come would not be one run.
        """
        if run.replay_of is not None:
            raise RunError(f"{run.path.name}: a replay; replay its run again instead")
        if run.state in ("running", "complete"):
            raise RunError(f"{run.path.name}: the run is {run.state}; there is nothing to resume")
        then, now = run.manifest["versions"], versions()
        other = [name for name in sorted({**then, **now}) if then.get(name) != now.get(name)]
        if other:
            raise RunError(
                f"{run.path.name}: made with another version of {', '.join(other)}; what is there "
                "stays readable, the rest has to be run anew"
            )
        lock = retake_lock(run.path / "RUNNING", _BALLAST_BYTES)
        if lock is None:
            raise RunError(f"{run.path.name}: another process has just resumed it")
        left = {k: v for k, v in run.manifest.items() if k not in _ENDINGS}
        resumed = [*run.manifest.get("resumed_utc", ()), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"]
        manifest = left | {"state": "running", "resumed_utc": resumed}
        write_json(run.path / "manifest.json", manifest)
        (run.path / "DONE").unlink(missing_ok=True)
        return cls(run.path, manifest, swept=manifest["points"] is not None, lock=lock)

    def replicate_path(self, point: int, replicate: int) -> Path:
        """Return the folder for a replicate's recorder; the recorder makes it."""
        return self.path / replicate_folder(point if self._swept else None, replicate)

    def add(self, result: ReplicateResult) -> None:
        """Note what a replicate came to."""
        self._results.append(result)

    def finish(
        self,
        state: str,
        *,
        summary: Mapping[str, Any] | None = None,
        verdict: str = "inconclusive",
        error: BaseException | str | None = None,
    ) -> str:
        """Write runs.parquet, summary.json, the manifest and DONE; return the run's digest.

        `state`: complete, interrupted or failed. After a failure the manifest comes first, and
        what a full disk does not take is left out. An OSError on the way to another state turns
        the run into a failed one and is raised.
        """
        if state not in _STATES:
            raise ValueError(f"state is one of {list(_STATES)}, not {state!r}")
        results = sorted(self._results, key=lambda r: (r.point, r.replicate))
        total = run_digest((r.point, r.replicate, r.digest) for r in results)
        self._manifest |= {
            "state": state,
            "verdict": verdict,
            "digest": total,
            "digests": [
                {
                    "point": r.point,
                    "replicate": r.replicate,
                    "digest": r.digest,
                    "tables": {
                        n: {"rows": t.rows, "digest": t.digest} for n, t in r.tables.items()
                    },
                }
                for r in results
            ],
            "finished_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "wall_ns": time.monotonic_ns() - self._wall_start_ns,
            "cpu_ns": cpu_time_ns() - self._cpu_start_ns,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        if error is not None:
            kind = "" if isinstance(error, str) else f"{type(error).__name__}: "
            self._manifest["error"] = portable(f"{kind}{error}")
        told = self._summary(results, summary, verdict)
        if state == "failed":
            self._write_failure(total, results, told)
            return total
        try:
            self._write_tables(results, told)
            write_json(self.path / "manifest.json", self._manifest)
            write_text(self.path / "DONE", f"{state} {total}\n")
        except OSError as full:
            kept = {"state": "failed", "verdict": "inconclusive"}
            self._manifest |= kept | {"error": portable(f"{type(full).__name__}: {full}")}
            self._write_failure(total, results, told)
            raise
        release_lock(self._lock, self.path / "RUNNING")
        self._point_latest()
        return total

    def _write_failure(
        self, total: str, results: Sequence[ReplicateResult], told: Mapping[str, Any]
    ) -> None:
        # The disk may be full: free the ballast, say what happened, then what still fits.
        release_lock(self._lock, self.path / "RUNNING")
        write_json(self.path / "manifest.json", self._manifest)
        with contextlib.suppress(Exception):
            self._write_tables(results, told)
            write_text(self.path / "DONE", f"failed {total}\n")
        self._point_latest()

    def _point_latest(self) -> None:
        # A replay is another look at a run: the latest run stays the latest.
        if "replay" not in self._manifest:
            point_latest(self.path)

    def _write_tables(self, results: Sequence[ReplicateResult], told: Mapping[str, Any]) -> None:
        write_frame(self.path / "runs.parquet", self._runs_frame(results))
        write_json(self.path / "summary.json", told)

    def _runs_frame(self, results: Sequence[ReplicateResult]) -> pl.DataFrame:
        table = BY_NAME["runs"]
        if not results:
            return pl.DataFrame(schema=table.schema)
        names = [n for n in table.names if n != "seed"]
        columns: dict[str, Any] = {n: [getattr(r, n) for r in results] for n in names}
        columns["seed"] = [self._manifest["seed"]] * len(results)
        return frame_of(table, columns, {})

    def _summary(
        self,
        results: Sequence[ReplicateResult],
        extra: Mapping[str, Any] | None,
        verdict: str,
    ) -> dict[str, Any]:
        return {
            **(extra or {}),
            "verdict": verdict,
            "replicates": [
                {
                    "point": r.point,
                    "replicate": r.replicate,
                    "verdict": r.verdict,
                    "metrics": dict(r.metrics),
                    "evidence": [portable(line) for line in r.evidence],
                }
                for r in results
            ],
        }


@dataclass(frozen=True, slots=True)
class Run:
    """A finished, running or dead run, as its directory tells it."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def state(self) -> str:
        """complete | interrupted | failed | running | died."""
        stated = str(self.manifest["state"])
        if stated == "failed" or (self.path / "DONE").exists():
            return stated
        return "running" if lock_is_held(self.path / "RUNNING") else "died"

    @property
    def detail(self) -> str:
        return str(self.manifest["detail"])

    @property
    def window(self) -> Window | None:
        """The stretch that was kept at more detail, if there is one."""
        stated = self.manifest.get("window")
        return None if stated is None else Window(**stated)

    @property
    def _window_detail(self) -> str | None:
        return None if self.window is None else self.window.detail

    @property
    def replay_of(self) -> Mapping[str, Any] | None:
        """Of a replay: `run` (its directory's name), point, replicate, from_ns, to_ns, end_ns."""
        return self.manifest.get("replay")

    @property
    def settings(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """What varies, as (path, value) pairs by point; one empty tuple without a sweep."""
        stated = self.manifest.get("settings") or [[]]
        return tuple(tuple((str(k), str(v)) for k, v in point) for point in stated)

    def folder(self, point: int, replicate: int) -> Path:
        """Return the folder of a replicate's tables."""
        swept = self.manifest.get("points") is not None
        return self.path / replicate_folder(point if swept else None, replicate)

    @property
    def digest(self) -> str | None:
        """Digest over all replicates; None before the run has ended."""
        value = self.manifest.get("digest")
        return None if value is None else str(value)

    @property
    def verdict(self) -> str:
        """met | violated | missed | inconclusive."""
        return str(self.manifest.get("verdict", "inconclusive"))

    @property
    def scenario_text(self) -> str:
        """The resolved scenario as YAML."""
        return (self.path / "scenario.yaml").read_text(encoding="utf-8")

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds; raises RunError before the run has ended."""
        try:
            text = (self.path / "summary.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RunError(f"{self.path.name}: no summary yet, the run is {self.state}") from None
        value: dict[str, Any] = json.loads(text)
        return value

    def replicates(self) -> tuple[tuple[int, int], ...]:
        """The (point, replicate) pairs that have a folder, in order; point 0 without a sweep."""
        found = []
        # Not by `**`: what a live study has in hand comes and goes below its folder.
        folders = [*self.path.glob("replicate=*"), *self.path.glob("point=*/replicate=*")]
        for folder in folders:
            point = folder.parent.name.removeprefix("point=") if folder.parent != self.path else "0"
            found.append((int(point), int(folder.name.removeprefix("replicate="))))
        return tuple(sorted(found))

    def digests(self) -> dict[tuple[int, int, str], TableDigest]:
        """Rows and digest by (point, replicate, table), as the manifest has them."""
        return {
            (entry["point"], entry["replicate"], name): TableDigest(t["rows"], t["digest"])
            for entry in self.manifest.get("digests", [])
            for name, t in entry["tables"].items()
        }

    def tables(self) -> tuple[str, ...]:
        """Names of the tables that this run keeps, those of its window alone included."""
        return tuple(t.name for t in TABLES if kept(t, self.detail, self._window_detail))

    def table(
        self, name: str, *, point: int | None = None, replicate: int | None = None
    ) -> pl.LazyFrame:
        """Return a table lazily, with columns `point` and `replicate` before its own.

        All points and replicates unless one is named. What a dead run had flushed is there too.
        Raises RunError for a table that this run's detail does not keep.
        """
        table = table_of(name)
        if not kept(table, self.detail, self._window_detail):
            raise RunError(
                f"table {name!r} is kept from detail {table.detail!r} on; "
                f"this run was recorded with {self.detail!r}: run it with --detail {table.detail}"
            )
        if name == "runs":
            return self._runs(point, replicate)
        schema = {"point": pl.Int64, "replicate": pl.Int64, **table.schema}
        frames = [pl.LazyFrame(schema=schema)]
        for p, r in self.replicates():
            if point not in (None, p) or replicate not in (None, r):
                continue
            rows = self._rows(name, p, r)
            if rows is not None:
                place = [pl.lit(p, pl.Int64).alias("point"), pl.lit(r, pl.Int64).alias("replicate")]
                frames.append(rows.select(*place, *table.names))
        return pl.concat(frames)

    def _runs(self, point: int | None, replicate: int | None) -> pl.LazyFrame:
        path = self.path / "runs.parquet"
        if not path.exists():
            raise RunError(f"{self.path.name}: no runs.parquet yet, the run is {self.state}")
        rows = _scan(path)
        if point is not None:
            rows = rows.filter(pl.col("point") == point)
        return rows if replicate is None else rows.filter(pl.col("replicate") == replicate)

    def _rows(self, name: str, point: int, replicate: int) -> pl.LazyFrame | None:
        folder = self.folder(point, replicate)
        whole = folder / f"{name}.parquet"
        if whole.is_dir():
            return pl.concat([_scan(path) for path in sorted(whole.glob("*.parquet"))])
        if whole.exists():
            return _scan(whole)
        parts = sorted((folder / PARTS).glob(f"{name}-*.parquet"))
        if not parts:
            return None
        rows = pl.concat([_scan(path) for path in parts])
        return canonical(table_of(name), rows).lazy()


_PARQUET = b"PAR1"
"""First and last four bytes of every whole file (Apache Parquet, file format)."""


def _scan(path: Path) -> pl.LazyFrame:
    """Read a Parquet file lazily; RunError for one that was cut short or overwritten."""
    with path.open("rb") as file:
        ends = file.read(4)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4))
        ends += file.read(4)
    if size < 12 or ends != 2 * _PARQUET:
        raise RunError(
            f"{'/'.join(path.parts[-3:])}: no whole Parquet file; other tables and replicates can "
            "be read (name one: point=, replicate=), `creto-sim verify` lists what is damaged"
        )
    return pl.scan_parquet(path)


def open_run(path: str | Path) -> Run:
    """Open a run directory (or a `latest` link to one) for reading.

    Raises RunError where there is none, or where another program or version wrote it.
    """
    folder = Path(path)
    file = folder / "manifest.json"
    if not folder.is_dir():
        raise RunError(f"{folder}: no such directory; `creto-sim run` prints the path of its run")
    if not file.exists():
        inside = sorted(child.name for child in folder.iterdir() if (child / file.name).exists())
        hint = f"; it holds the runs {inside[-5:]}" if inside else ""
        raise RunError(f"{folder}: not a run directory, it has no manifest.json{hint}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file}: not JSON: {error}") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise RunError(f"{file}: schema {schema!r}; this version reads {SCHEMA!r}")
    return Run(folder, manifest)
