"""Claims of the baselines' papers about their own course: delays and messages of a block.

[P] Castro, Liskov: "Practical Byzantine Fault Tolerance", OSDI 1999.
[H] Yin et al.: "HotStuff: BFT Consensus in the Lens of Blockchain", arXiv:1803.05069.
[T] Buchman, Kwon, Milosevic: "The latest gossip on BFT consensus", arXiv:1807.04938.
[S] Chan, Shi: "Streamlet: Textbook Streamlined Blockchains", AFT 2020.

Every message takes one delay, computers take no time: what is left is the protocol.
"""

from __future__ import annotations

from collections import Counter

import pytest

from sim.protocol.effects import Committed
from sim.protocol.messages import Message
from tests.protocol.baselines.cluster import TIMER_MS, Cluster
from tests.protocol.harness import MS

DELAY_NS = 10 * MS
COUNT = 7


class Counted(Cluster):
    """Note when blocks were proposed, and what was sent between two validators."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, COUNT, link=lambda s, r, m, now: DELAY_NS, leaders="round_robin")
        self.kinds: Counter[str] = Counter()
        self.proposed: dict[bytes, int] = {}

    def send(self, node: int, to: int, message: Message) -> None:
        name = type(message).__name__.removesuffix("Message").lower()
        if node != to:
            self.kinds[name] += 1
        if name == "proposal":
            self.proposed.setdefault(message.block.id, self.now_ns)  # type: ignore[union-attr]
        super().send(node, to, message)

    def delays(self) -> list[int]:
        """Return, for the blocks that all committed, the delays from proposal to the last."""
        last: dict[bytes, list[int]] = {}
        for now, _, effect in self.log:
            if isinstance(effect, Committed):
                last.setdefault(effect.block, []).append(now)
        return [
            (max(times) - self.proposed[block]) // DELAY_NS
            for block, times in last.items()
            if len(times) == COUNT
        ]


def run(kind: str, blocks: int = 12) -> Counted:
    cluster = Counted(kind)
    cluster.start()
    cluster.run(60_000 * MS, stop=lambda: min(cluster.heights()) >= blocks)
    return cluster


@pytest.mark.parametrize(
    ("kind", "delays"),
    [
        ("pbft", 3),  # [P] pre-prepare, prepare, commit
        ("tendermint", 3),  # [T] proposal, prevote, precommit
        ("hotstuff", 7),  # [H] three views of two delays, and the proposal that shows the third
    ],
)
def test_a_block_is_final_after_so_many_delays(kind: str, delays: int) -> None:
    found = run(kind).delays()
    assert len(found) >= 12
    assert set(found) == {delays}


def test_streamlet_is_final_two_epochs_and_two_delays_later() -> None:
    """[S] Of three notarised blocks in a row the second is final: it waits one epoch of its own."""
    epochs = TIMER_MS["streamlet"] * MS // DELAY_NS
    assert set(run("streamlet").delays()) == {epochs + 2}


def test_pbft_sends_n_squared_messages_twice_a_block() -> None:
    """[P] n - 1 pre-prepares, (n - 1)**2 prepares (not the primary's), n (n - 1) commits."""
    kinds, others = run("pbft", 12).kinds, COUNT - 1
    # The last block or two are on their way.
    assert kinds["proposal"] in (12 * others, 13 * others, 14 * others)
    assert kinds["prepare"] in (12 * others**2, 13 * others**2)
    assert kinds["commit"] == 12 * COUNT * others


def test_hotstuff_is_linear() -> None:
    """[H] A proposal to all and a vote to the next leader: 2 (n - 1) messages a view."""
    cluster = run("hotstuff")
    assert set(cluster.kinds) == {"proposal", "vote"}
    views = cluster.kinds["proposal"] // (COUNT - 1)
    assert abs(cluster.kinds["vote"] - views * (COUNT - 1)) <= 2 * COUNT


def test_tendermint_prevotes_and_precommits_are_everybodys() -> None:
    """[T] n (n - 1) of each a height, under one proposal."""
    kinds, others = run("tendermint", 12).kinds, COUNT - 1
    assert kinds["proposal"] in (12 * others, 13 * others)
    assert kinds["prevote"] == kinds["precommit"] == 12 * COUNT * others
