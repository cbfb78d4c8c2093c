"""What a run's routing tables are declared to be."""

from __future__ import annotations

from sim.study.directory import table_state


def test_tables_are_declared_by_the_worst_that_lookups_met() -> None:
    def said(short: int | None, stale: int | None) -> str | None:
        return table_state({"routing_short_ppm": short, "routing_stale_ppm": stale})

    assert said(None, None) is None
    assert said(0, 0) == (
        "routing tables converged: 0.00 % of the buckets short, 0.00 % of the contacts gone"
    )
    assert (said(12_300, 0) or "").startswith("routing tables under-filled: 1.23 % of the buckets")
    assert (said(12_300, 50) or "").startswith("routing tables stale: 1.23 %")
