"""Write results/README.md from the column dictionary: `python -m sim.record.reference`."""

from __future__ import annotations

import sys

from sim.record.summary import METRICS
from sim.record.tables import DETAILS, KINDS, TABLES, Column, Table

_HEAD = """\
# Results

<!-- Generated from sim/record by `python -m sim.record.reference > results/README.md`. -->

A run is a directory `<scenario>/<UTC>-<digest>/`; `<scenario>/latest` is the last that ended.

| file | what it holds |
|---|---|
| `manifest.json` | scenario digest, seed, versions, platform, command, state, digests, resources |
| `scenario.yaml` | the scenario as it was run, everything resolved |
| `runs.parquet` | one row a replicate of a point |
| `[point=NNN/]replicate=NNN/<table>.parquet` | a table; a large one is a folder of pieces |
| `[point=NNN/]replicate=NNN/result.json` | a replicate's verdict, metrics, digests; its last file |
| `summary.json` | verdict, evidence and metrics of every replicate |
| `DONE` | written last: state and digest |

A directory whose manifest says `running` while no process holds the lock of its `RUNNING` belonged
to a process that died; what it had flushed is still there. Read any of them with

```python
from sim import open_run

run = open_run("results/smoke/latest")
run.state, run.verdict, run.summary
run.table("blocks").filter(status="committed").collect()  # a lazy Polars frame
```

Columns hold integers, ids (64 hex digits) and words; no floats, no nulls. Units come last in a
name: `_ns` nanoseconds of simulated time, `_ppm` parts per million. Rows are sorted by every
column, left to right, and the digest of a table is over exactly that: it does not depend on
slices, part files or workers. Columns marked *wall* are measured on the machine that ran and are in
no digest. In tables marked *merged* there is one row a key, and the marked columns are sums, least
or largest values over it.
"""


def _cell(column: Column) -> str:
    notes = [column.meaning]
    if column.values:
        notes.append("one of " + ", ".join(f"`{value}`" for value in column.values))
    if column.merge != "key":
        notes.append({"sum": "summed", "min": "least kept", "max": "largest kept"}[column.merge])
    if column.wall:
        notes.append("*wall*")
    return f"| `{column.name}` | {column.dtype} | {'; '.join(notes)} |"


def _section(table: Table) -> str:
    merged = " *Merged.*" if table.additive else ""
    lines = [
        f"## {table.name}",
        "",
        f"{table.meaning} Kept from detail `{table.detail}` on.{merged}",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        *(_cell(column) for column in table.columns),
    ]
    return "\n".join(lines) + "\n"


def readme() -> str:
    """Return the text of results/README.md."""
    details = " < ".join(f"`{detail}`" for detail in DETAILS)
    kinds = [f"| `{kind}` | {meaning} |" for kind, meaning in KINDS.items()]
    metrics = [f"| `{m.name}` | {m.unit} | {m.meaning} |" for m in METRICS]
    return "\n".join(
        [
            _HEAD,
            f"Detail: {details}; each keeps what the ones before it keep.",
            "",
            "## Metrics",
            "",
            "Of each replicate, in `summary.json`; `null` where there was nothing to measure.",
            "",
            "| metric | unit | meaning |",
            "|---|---|---|",
            *metrics,
            "",
            "## Kinds of messages",
            "",
            "| kind | what it is, and what its latency is |",
            "|---|---|",
            *kinds,
            "",
            "Messages between validators go by the snake case of their class: `proposal`, `vote`.",
            "",
            "## Latency buckets",
            "",
            "Bucket b < 32 holds the value b ns. From 32 on, with s = floor(b / 32) - 1,",
            "it starts at (32 + b mod 32) x 2^s ns: 32 buckets an octave. A quantile is the",
            "largest value of its bucket: never below the exact one, less than 1/32 above it.",
            "",
            *(_section(table) for table in TABLES),
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(readme())
