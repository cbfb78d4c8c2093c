"""The bench counts what reaches cores: a figure of nothing delivered is no figure."""

from __future__ import annotations

from sim.study.bench import measure_consensus


def test_the_bench_counts_deliveries_of_every_block() -> None:
    speed = measure_consensus(2, validators=7, warm_up_s=1)
    assert speed.blocks > 0
    assert speed.by_kind["proposal"] >= 6 * (speed.blocks - 1)
    assert speed.by_kind["vote"] >= 6 * (speed.blocks - 1)
    assert sum(speed.by_kind.values()) == speed.messages
