"""Next hops by region: the run of a scenario, its tables and figures, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim.engine import run as running
from sim.engine.stations import servers_of
from sim.scenario.errors import ScenarioErrors
from tests.engine.worlds import AGENTS, EAST, EUROPE, MS, WEST, Ran, crash, ran, scenario

PEOPLE: dict[str, Any] = {
    **AGENTS,
    "count": 900,
    "placement": [WEST, EAST, EUROPE],
    "workload": {"messages": {"arrivals": {"kind": "poisson", "rate": "3 /s"}}},
}
WORLD: dict[str, Any] = {
    "duration": "3 s",
    "record": {"detail": "rounds", "batches": True},
    "validators": {"count": 12, "placement": {WEST: 4, EAST: 4, EUROPE: 4}},
    "consensus": {"timer_base": "2 s", "min_block_interval": "400 ms"},
}
ENTRY = {"kind": "entry_gateway"}


def hopping(folder: Path, hop: dict[str, Any], **more: Any) -> Ran:
    return ran(folder, **{**WORLD, **more}, agents={**PEOPLE, "next_hop": hop})


def test_entries_save_batches_and_bytes_between_regions(tmp_path: Path) -> None:
    """The pair of `scenarios/entry_gateways.yaml`, smaller: same messages, other ways."""
    direct, entry = (hopping(tmp_path / hop["kind"], hop) for hop in ({"kind": "direct"}, ENTRY))
    assert direct.metric("messages_offered") == entry.metric("messages_offered") > 7_000
    assert entry.metric("lost_messages") == 0
    assert entry.metric("batches_across") < 0.8 * direct.metric("batches_across")
    assert entry.metric("batches_across_bytes") < direct.metric("batches_across_bytes")
    assert entry.metric("batches_sent") > entry.metric("batches_across")
    p50 = "delivery_latency_p50_ns"
    assert 2 * MS < entry.metric(p50) - direct.metric(p50) < 30 * MS
    rows = entry.frame("batches").filter(pl.col("leg") == 1)
    assert rows.height > 0
    assert rows.filter(pl.col("source_region") != pl.col("destination_region")).is_empty()
    assert set(entry.frame("stations")["class"]) >= {"relay", "relay_uplink", "relay_downlink"}
    assert direct.frame("batches")["leg"].max() == 0


def test_batches_are_in_no_digest_where_they_are_not_counted(tmp_path: Path) -> None:
    done = hopping(tmp_path, {"kind": "direct"}, record={"detail": "rounds"}, duration="1 s")
    assert "batches" not in done.outcome.results[0].tables
    assert done.outcome.results[0].metrics["batches_across"] is None


def test_relays_on_shared_lanes_under_faults_know_nothing_of_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of a relay, a throttle of another and loans, by slices of any length."""
    faults = [
        crash([5], "700 ms", "1900 ms"),
        {
            "kind": "throttle",
            "nodes": {"ids": [1, 9]},
            "at": "450 ms",
            "until": "2 s",
            "bandwidth_left": "30 %",
        },
    ]
    network = {"bandwidth": "40 Mbit/s", "lanes": "shared"}
    settings: dict[str, Any] = {"faults": faults, "network": network}
    whole = hopping(tmp_path / "whole", ENTRY, **settings)
    monkeypatch.setattr(running, "TICK_NS", 41 * MS + 7)
    assert hopping(tmp_path / "parts", ENTRY, **settings).digest == whole.digest
    assert whole.rows("violations") == []
    assert whole.metric("lost_messages") == 0
    assert whole.metric("retries") > 50


def test_figures_know_how_many_workers_a_relay_has(tmp_path: Path) -> None:
    hop = {**ENTRY, "servers": 7}
    asked = scenario(tmp_path, **WORLD, agents={**PEOPLE, "next_hop": hop})
    assert servers_of(asked)["relay", "agents"] == 7


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"validators": {"count": 4, "placement": [WEST]}}, "nothing enters another: use `direct`"),
        (
            {"validators": {"count": 4, "placement": [WEST, EAST]}, "gateways": {"ids": [0, 3]}},
            "2 gateways in 2 regions: a message enters a region at the only gateway",
        ),
        ({"hop": {**ENTRY, "link_share": "95 %"}}, "link_share"),
        ({"hop": {"kind": "direct", "servers": 2}}, "servers"),
        (
            {"workload": {"transactions": {"arrivals": {"kind": "poisson", "rate": "1 /s"}}}},
            "there are no messages",
        ),
        (
            {
                "record": {"detail": "rounds"},
                "expect": [{"metric": "batches_across", "at_most": 5}],
            },
            "`batches_across` is not counted: state `record: {batches: true}`",
        ),
        ({"agents": None}, "there are no messages between gateways"),
    ],
)
def test_what_would_be_ignored_is_refused(
    sections: dict[str, Any], words: str, tmp_path: Path
) -> None:
    people = {**PEOPLE, "next_hop": sections.pop("hop", ENTRY)}
    for name in ("gateways", "workload"):
        if name in sections:
            people[name] = sections.pop(name)
    with pytest.raises(ScenarioErrors, match=r".*") as error:
        scenario(tmp_path, **{**WORLD, "agents": people, **sections})
    assert words in str(error.value)
