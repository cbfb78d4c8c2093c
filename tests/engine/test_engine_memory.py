"""Memory does not grow with the length of a run: objects are counted, not bytes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sim.engine import observer
from sim.engine.world import World
from sim.monitor import pinned, punishment, safety, votes, watch
from sim.protocol import ledger
from sim.world.agents.payload import book
from tests.engine.census import census
from tests.engine.worlds import AGENTS, BASE, SECOND, crash, world

LONG: dict[str, Any] = {
    "duration": "1 h",
    "validators": {"count": 10},
    "consensus": {
        **BASE["consensus"],
        "min_block_interval": "10 ms",
        "timer_base": "60 ms",
        "store_blocks": 64,
    },
    "faults": [
        crash([5], "1 s", "1200 ms", "amnesia_crash"),
        crash([6], "2 s", None),
        crash([7], "18 s", "18500 ms", "amnesia_crash"),
    ],
    "adversaries": [{"kind": "silent", "nodes": {"ids": [4]}, "end": "500 ms"}],
    "agents": AGENTS,
}


def grown(world: World, blocks: int, now_ns: int) -> int:
    """Run until so many blocks are committed; return the time, a whole second."""
    while world.observer.blocks_committed < blocks:
        now_ns += SECOND
        assert now_ns < 300 * SECOND, f"{world.observer.blocks_committed} blocks only"
        world.advance(now_ns)
    return now_ns


@pytest.fixture
def small_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a short run reaches; they are counts, and the code beside them is the same."""
    monkeypatch.setattr(safety, "KEEP", 64)
    monkeypatch.setattr(watch, "KEEP", 64)
    monkeypatch.setattr(votes, "KEEP", 64)
    monkeypatch.setattr(punishment, "KEEP", 64)
    monkeypatch.setattr(pinned, "_EPOCHS_KEPT", 16)
    monkeypatch.setattr(observer, "_ONCE_KEPT", 128)
    monkeypatch.setattr(observer, "_EPOCHS_KEPT", 16)
    monkeypatch.setattr(ledger, "_COMMITS_KEPT", 64)
    monkeypatch.setattr(ledger, "_EPOCHS_KEPT", 16)
    monkeypatch.setattr(book, "_FEW_ROWS", 32)


SWINGS = {"Node.leaving": 10 * 9 * 3}
"""What varies by more than chance, and its bound: each validator's last broadcast, three items a
copy (its place in the queue, when it leaves, the delivery)."""


def growth(early: Counter[str], late: Counter[str]) -> dict[str, tuple[int, int]]:
    """Return what grew by more than chance: a third, and 40 items."""
    return {
        place: (early[place], count)
        for place, count in late.items()
        if count > SWINGS.get(place, early[place] * 4 // 3 + 40)
    }


@pytest.mark.usefixtures("small_memories")
def test_a_run_three_times_as_long_holds_no_more(tmp_path: Path) -> None:
    built = world(tmp_path, **LONG)
    assert built.plane is not None
    built.plane._payload._retain_ns = SECOND
    built.start()
    now_ns = grown(built, 400, 0)
    early = census(built)
    now_ns = grown(built, 1200, now_ns)
    late = census(built)
    assert growth(early, late) == {}
    # One came back in time, one is down for good, one found nobody who keeps the first blocks.
    heights = [node.validator.chain.tree.final.height for node in built.nodes]
    assert heights[5] >= 1190
    assert 10 < heights[6] < 100
    assert heights[7] == 0
    assert built.watch.finish(now_ns) == ()
    # The census sees what it is meant to see.
    assert early["Ledger._states"] > 64
    assert early["BlockTree._nodes"] > 8 * 64
    assert early["PayloadBook._refs"] > 0
