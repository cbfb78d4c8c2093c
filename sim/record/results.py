"""What one replicate came to, as a file beside its tables: `result.json`.

Owns: that file's format. It is written last, so that a replicate folder is whole if and only if it
holds one; its `identity` says which point and replicate of which scenario the tables are of, and
so whether a study that goes on may keep them. Must not know: how a replicate is run or judged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.record.digests import TableDigest
from sim.record.runs import ReplicateResult, RunError, portable
from sim.record.store import write_json

FILE = "result.json"
SCHEMA = "creto-sim-result/1"

_FIGURES = ("point", "replicate", "simulated_ns", "wall_ns", "cpu_ns", "peak_memory_bytes")
_WORDS = ("state", "verdict")


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result as its file has it. `lines`: (expectation, outcome, found) of the verdict."""

    result: ReplicateResult
    lines: tuple[tuple[str, str, str], ...]
    identity: str


def write_result(
    folder: Path, result: ReplicateResult, lines: Sequence[tuple[str, str, str]], identity: str
) -> None:
    """Write the result of the replicate in `folder`, whole or not at all."""
    value: dict[str, Any] = {name: getattr(result, name) for name in _FIGURES + _WORDS}
    value |= {
        "schema": SCHEMA,
        "identity": identity,
        "digest": result.digest,
        "metrics": dict(result.metrics),
        "evidence": [portable(line) for line in result.evidence],
        "lines": [[portable(word) for word in line] for line in lines],
        "tables": {n: {"rows": t.rows, "digest": t.digest} for n, t in result.tables.items()},
    }
    write_json(folder / FILE, value)


def read_result(folder: Path) -> StoredResult | None:
    """Return the result of the replicate in `folder`; None where it has none, so is not whole.

    Raises RunError where another version wrote it, or where it does not say what its digest says.
    """
    path = folder / FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{_name(path)}: not JSON: {error}") from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise RunError(f"{_name(path)}: schema {schema!r}; this version reads {SCHEMA!r}")
    try:
        told: dict[str, Any] = {name: int(value[name]) for name in _FIGURES}
        told |= {name: str(value[name]) for name in _WORDS}
        result = ReplicateResult(
            **told,
            metrics=value["metrics"],
            evidence=tuple(value["evidence"]),
            tables={n: TableDigest(t["rows"], t["digest"]) for n, t in value["tables"].items()},
        )
        lines = tuple((str(a), str(b), str(c)) for a, b, c in value["lines"])
        identity, digest = str(value["identity"]), value["digest"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{_name(path)}: damaged: {type(error).__name__}: {error}") from None
    if digest != result.digest:
        raise RunError(f"{_name(path)}: damaged: its tables do not give its digest")
    return StoredResult(result, lines, identity)


def _name(path: Path) -> str:
    return "/".join(path.parts[-3:])
