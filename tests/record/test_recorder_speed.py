"""What recording costs: rows, columns, and memory that does not grow with what was recorded."""

from __future__ import annotations

from pathlib import Path
from time import process_time_ns

import numpy as np
import pytest

from sim.record.histogram import latency_columns
from sim.record.machine import peak_memory_bytes
from sim.record.recorder import Recorder

pytestmark = pytest.mark.benchmark


def test_rows(tmp_path: Path) -> None:
    rows = 100_000
    recorder = Recorder(tmp_path / "r")
    begin_ns = process_time_ns()
    for i in range(rows):
        recorder.append_row("views", time_ns=i, node=i % 150, epoch=0, view=i, reason="timeout")
    print(f"\nappend_row: {(process_time_ns() - begin_ns) / rows:.0f} ns a row, flushes included")
    assert recorder.close()["views"].rows == rows


def test_latencies_and_their_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    regions = [f"region-{i}" for i in range(12)]
    recorder = Recorder(
        tmp_path / "r", vocabularies={"region": regions, "kind": ["message", "transaction"]}
    )
    slices, size = 300, 17_000
    begin_ns, peak = process_time_ns(), []
    for number in range(slices):
        recorder.append(
            "latency",
            latency_columns(
                rng.integers(number * 10**8, (number + 1) * 10**8, size),
                rng.integers(10**6, 3 * 10**8, size),
                kind=rng.integers(0, 2, size),
                source_region=rng.integers(0, 12, size),
                destination_region=rng.integers(0, 12, size),
            ),
        )
        peak.append(peak_memory_bytes())
    counted_ns = process_time_ns() - begin_ns
    digest = recorder.close()["latency"]
    closed_ns = process_time_ns() - begin_ns - counted_ns
    print(
        f"\n{slices * size:,} latencies: {counted_ns / slices / size:.0f} ns each with draws; "
        f"{digest.rows:,} rows closed in {closed_ns / 1e9:.2f} s CPU; memory grew by "
        f"{(peak[-1] - peak[slices // 3]) >> 20} MiB after the first third, "
        f"peak {peak_memory_bytes() >> 20} MiB"
    )
    assert digest.rows > 100_000
