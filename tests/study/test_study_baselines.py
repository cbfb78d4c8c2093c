"""The table of protocols: what it counts, and the command that prints it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.scenario.protocols import Protocol
from sim.study.baselines import MS, PROTOCOLS, Plan, epoch_ns, measure

KINDS = [protocol.kind for protocol in PROTOCOLS]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=KINDS)
def test_a_block_takes_what_its_protocol_sends(protocol: Protocol) -> None:
    n = 8
    row = measure(protocol, n, Plan(delay_ns=20 * MS))
    others = n - 1
    sent = {
        # Late votes are passed on to three coming leaders.
        "creto": 2 * others + 3,
        "hotstuff": 2 * others,
        "pbft": others + others**2 + n * others + n * others // 16,
        "tendermint": others + 2 * n * others,
        "streamlet": others + n * others,
    }
    assert int(row["messages"]) == pytest.approx(sent[str(row["protocol"])], rel=0.12)
    # Of each message at least its signature counts.
    assert int(row["bytes"]) > int(row["messages"]) * 4_627 * 9 // 10
    delays = {"creto": 5, "hotstuff": 7, "pbft": 3, "tendermint": 3, "streamlet": 4}
    assert int(row["latency_ns"]) > delays[str(row["protocol"])] * 20 * MS
    assert row["certificate_bytes"] == 6 * 4_627


def test_streamlets_epoch_has_room_for_what_it_takes() -> None:
    for n in (4, 64, 512):
        assert epoch_ns(n, 20 * MS) > 80 * MS
    assert epoch_ns(512, 20 * MS) > epoch_ns(64, 20 * MS)


def test_the_command_prints_a_table_and_writes_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["baselines", "--sizes", "4", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for kind in KINDS:
        assert kind in result.output
    data = pl.read_parquet(tmp_path / "baselines.parquet")
    assert data["protocol"].to_list() == KINDS
    assert data["validators"].to_list() == [4] * len(KINDS)
    assert all(dtype.is_integer() for name, dtype in data.schema.items() if name != "protocol")
    assert (tmp_path / "baselines.png").stat().st_size > 10_000
    assert "</svg>" in (tmp_path / "baselines.svg").read_text(encoding="utf-8")
