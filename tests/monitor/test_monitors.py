"""Each monitor: silent on a clean run, and speaking when its own invariant breaks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim.monitor import base, safety, votes
from sim.monitor.base import Violation
from sim.monitor.watch import Watch
from sim.protocol.effects import (
    Accused,
    Certified,
    Committed,
    EpochChanged,
    Observation,
    Reconciled,
    ViewChanged,
)
from sim.protocol.messages import VoteMessage
from sim.protocol.types import (
    QC,
    Block,
    BlockId,
    EpochParameters,
    Evidence,
    PayloadRef,
    Vote,
    WeightTable,
)
from sim.record.recorder import Recorder

N = 4
HONEST = 0b0111
"""Validators 0, 1, 2 are honest; 3 is not."""
ROOT = b"\x07" * 32
STEP_NS = 1_000


def parameters(epoch: int, root: BlockId) -> EpochParameters:
    return EpochParameters(epoch, root, 0, WeightTable((10, 10, 10, 10), 40), 0, 27, 14, root)


class Chain:
    """Five blocks on a root, and what the engine answers about them."""

    def __init__(self, length: int = 5) -> None:
        self.blocks: dict[BlockId, Block] = {}
        self.line: list[Block] = []
        self.epochs = {0: parameters(0, ROOT)}
        parent, justify = ROOT, QC(0, 0, ROOT, 0)
        for height in range(1, length + 1):
            block = self.add(height, height, parent, justify)
            self.line.append(block)
            parent, justify = block.id, QC(0, height, block.id, 0b0111)

    def add(self, height: int, view: int, parent: BlockId, justify: QC, **other: Any) -> Block:
        settings = {"payload": (PayloadRef(0, 10 * (height - 1), 10 * height - 1, 100),)}
        block = Block(0, view, height, 0, parent, justify, **settings | other)
        self.blocks[block.id] = block
        return block

    def watch(self, **other: Any) -> Watch:
        settings: dict[str, Any] = {
            "honest": HONEST,
            "validators": N,
            "block_of": self.blocks.get,
            "epoch_of": self.epochs.get,
            "commit_within_ns": 3 * STEP_NS,
        }
        return Watch(**settings | other)


def commit(block: Block, state: bytes | None = None, **other: Any) -> Committed:
    seen = Committed(block.id, block.epoch, block.view, block.height, state or block.id[::-1])
    return seen._replace(**other)


def epoch_change(**other: Any) -> EpochChanged:
    return EpochChanged(1, ROOT, 27, 40, b"\x01" * 32, 0)._replace(**other)


def accuse(offender: int, view: int = 1) -> Accused:
    return Accused(Evidence("double_vote", offender, 0, view))


def clean(chain: Chain, watch: Watch, blocks: Iterable[Block] | None = None) -> int:
    """Let three honest validators commit the chain in step; return the time it took."""
    now_ns = 0
    for block in chain.line if blocks is None else blocks:
        now_ns += STEP_NS
        qc = QC(block.epoch, block.view, block.id, 0b1011)
        watch.observe(0, now_ns, Certified(qc, 30))
        for node in range(3):
            vote = Vote(block.epoch, block.view, block.id, node)
            watch.stated(node, now_ns + node, VoteMessage(vote))
            watch.observe(node, now_ns + node, commit(block))
            watch.observe(node, now_ns + node, ViewChanged(0, block.view + 1, "certificate"))
    watch.supply(now_ns, 0, minted=10, held={"bonded": 7, "free": 2, "burned": 1})
    watch.conserve(
        now_ns, offered=10, delivered=6, stored=1, in_flight=1, dropped={"queue": 1, "crash": 1}
    )
    return now_ns


def only(watch: Watch, now_ns: int = 0) -> Violation:
    (violation,) = watch.finish(now_ns)
    return violation


def test_a_clean_run_breaks_nothing() -> None:
    chain = Chain()
    watch = chain.watch()
    for node in range(3):
        watch.observe(node, 5, epoch_change())
    watch.observe(0, 6, accuse(3))
    end_ns = clean(chain, watch)
    assert watch.finish(end_ns) == ()
    assert watch.lost_messages == 0
    assert len(watch.monitors) == 17


def test_agreement() -> None:
    chain = Chain()
    watch = chain.watch(block_of=None, epoch_of=None, commit_within_ns=None)
    one, two = chain.line[0], chain.add(1, 9, ROOT, QC(0, 0, ROOT, 0))
    watch.observe(0, 100, commit(one))
    watch.observe(3, 150, commit(two))
    assert watch.finish(160) == ()
    watch.observe(1, 200, commit(two))
    watch.observe(2, 300, commit(two))
    found = only(watch)
    assert (found.monitor, found.node, found.count) == ("agreement", 1, 2)
    assert (found.window_from_ns, found.window_to_ns, found.time_ns) == (100, 200, 200)
    assert found.proof["block"] == two.id.hex()
    assert found.proof["other_block"] == one.id.hex()
    assert "agreement broken at 200 ns, validator 1 (2 times)" in str(found)


def test_who_is_corrupted_is_believed_no_longer() -> None:
    chain = Chain()
    watch = chain.watch(block_of=None, epoch_of=None, commit_within_ns=None)
    two = chain.add(1, 9, ROOT, QC(0, 0, ROOT, 0))
    watch.observe(0, 100, commit(chain.line[0]))
    watch.corrupted(1)
    watch.observe(1, 200, commit(two))
    watch.observe(0, 200, accuse(1))
    assert watch.finish(300) == ()


def test_certificate_uniqueness_believes_any_collector() -> None:
    watch = Chain().watch()
    watch.observe(3, 10, Certified(QC(0, 4, b"\x01" * 32, 0b1011), 30))
    watch.observe(0, 20, Certified(QC(0, 4, b"\x01" * 32, 0b1101), 30))
    watch.observe(0, 20, Certified(QC(1, 4, b"\x02" * 32, 0b1101), 30))
    assert watch.finish(20) == ()
    watch.observe(3, 30, Certified(QC(0, 4, b"\x02" * 32, 0b1110), 30))
    found = only(watch)
    assert (found.monitor, found.window_from_ns) == ("certificate_uniqueness", 10)
    assert found.proof["signed_both"] == 2


def test_commit_monotonicity_by_height() -> None:
    chain = Chain()
    watch = chain.watch(commit_within_ns=None)
    clean(chain, watch)
    late = chain.watch(commit_within_ns=None)
    for block in chain.line:
        late.observe(0, block.height, commit(block))
    # A first commit may be anywhere, but what follows is one above.
    late.observe(1, 10, commit(chain.line[2]))
    late.observe(1, 11, commit(chain.line[4]))
    found = only(late)
    assert (found.monitor, found.node) == ("commit_monotonicity", 1)
    assert (found.proof["height"], found.proof["height_before"]) == (5, 3)
    assert (found.window_from_ns, found.window_to_ns) == (10, 11)


@pytest.mark.parametrize("how", ["restart", "reconcile"])
def test_commits_may_start_again(how: str) -> None:
    chain = Chain()
    watch = chain.watch(commit_within_ns=None)
    for block in chain.line:
        watch.observe(0, block.height, commit(block))
    if how == "restart":
        watch.restarted(0, 7)
    else:
        watch.observe(0, 7, Reconciled(4, (), ()))
    watch.observe(0, 8, commit(chain.line[1]))
    watch.observe(0, 9, commit(chain.line[2]))
    assert watch.finish(9) == ()


def test_commit_monotonicity_by_parent() -> None:
    chain = Chain(3)
    stray = chain.add(2, 8, b"\x55" * 32, QC(0, 7, b"\x55" * 32, 0b0111))
    watch = chain.watch(epoch_of=None, commit_within_ns=None)
    watch.observe(0, 1, commit(chain.line[0]))
    watch.observe(0, 2, commit(stray))
    found = only(watch)
    assert found.monitor == "commit_monotonicity"
    assert found.proof["parent"] == "55" * 32


def test_ledger_equality() -> None:
    chain = Chain()
    watch = chain.watch()
    watch.observe(0, 10, commit(chain.line[0]))
    watch.observe(3, 11, commit(chain.line[0], b"\x09" * 32))
    assert watch.finish(11) == ()
    watch.observe(2, 12, commit(chain.line[0], b"\x09" * 32))
    found = only(watch)
    assert (found.monitor, found.node, found.proof["other_validator"]) == ("ledger_equality", 2, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"root": b"\x08" * 32},
        {"quorum": 30},
        {"total_weight": 41},
        {"weights_digest": b"\x02" * 32},
        {"level": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_pinned_parameters(change: dict[str, Any]) -> None:
    watch = Chain().watch()
    watch.observe(0, 1, epoch_change())
    watch.observe(1, 2, epoch_change())
    watch.observe(3, 3, epoch_change(**change))
    watch.observe(1, 3, epoch_change(epoch=2, **change))
    assert watch.finish(3) == ()
    watch.observe(2, 4, epoch_change(**change))
    found = only(watch)
    assert (found.monitor, found.node) == ("pinned_parameters", 2)
    assert found.proof["differs"] == list(change)


def bad_blocks() -> dict[str, tuple[Chain, Committed]]:
    """A second block of each kind that no honest validator may commit, by the reason."""
    cases = {}

    def case(reason: str, *, observed: dict[str, Any] | None = None, **change: Any) -> None:
        chain = Chain(1)
        first = chain.line[0]
        settings: dict[str, Any] = {
            "height": 2,
            "view": 2,
            "parent": first.id,
            "justify": QC(0, 1, first.id, 0b0111),
        }
        block = chain.add(**settings | change)
        cases[reason] = (chain, commit(block, **observed or {}))

    first = Chain(1).line[0].id
    other = b"\x66" * 32
    case("not_the_block_observed", observed={"view": 3})
    case("certificate_not_of_its_parent", justify=QC(0, 1, other, 0b0111))
    case("height_not_above_its_parent", height=3, payload=())
    case("view_not_above_its_parent", view=1)
    case("certificate_of_another_epoch", justify=QC(5, 1, first, 0b0111))
    case("root_certificate_of_another_block", justify=QC(0, 0, first, 0))
    case("certificate_below_quorum", justify=QC(0, 1, first, 0b0011))
    case("signer_without_a_vote", justify=QC(0, 1, first, 0b10111))
    case("repeated_transactions_of_gateway_0", payload=(PayloadRef(0, 9, 12, 1),))
    case("skipped_transactions_of_gateway_0", payload=(PayloadRef(0, 11, 12, 1),))
    case("skipped_transactions_of_gateway_1", payload=(PayloadRef(1, 1, 2, 1),))
    case("empty_range_of_gateway_0", payload=(PayloadRef(0, 10, 9, 1),))
    return cases


@pytest.mark.parametrize("reason", sorted(bad_blocks()))
def test_validity(reason: str) -> None:
    chain, bad = bad_blocks()[reason]
    watch = chain.watch(commit_within_ns=None)
    watch.observe(0, 1, commit(chain.line[0]))
    assert watch.finish(1) == ()
    watch.observe(0, 2, bad)
    found = {v.monitor: v for v in watch.finish(2)}
    assert found["validity"].proof["why"] == reason
    assert found.keys() <= {"validity", "commit_monotonicity"}


def test_validity_needs_the_block_and_its_epoch() -> None:
    chain = Chain(2)
    watch = chain.watch()
    watch.observe(0, 1, Committed(b"\x44" * 32, 0, 1, 1, b""))
    assert only(watch).proof["why"] == "unknown_block"
    chain.epochs.clear()
    watch = chain.watch()
    watch.observe(0, 1, commit(chain.line[0]))
    assert only(watch).proof["why"] == "epoch_unknown"


def test_a_new_epoch_starts_on_its_root() -> None:
    chain = Chain(2)
    root = chain.line[-1]
    chain.epochs[1] = replace(parameters(1, root.id), root_height=2)
    payload = (PayloadRef(0, 20, 29, 1),)
    block = Block(1, 1, 3, 0, root.id, QC(1, 0, root.id, 0), payload=payload)
    chain.blocks[block.id] = block
    watch = chain.watch()
    end_ns = clean(chain, watch, [*chain.line, block])
    assert watch.finish(end_ns) == ()


def test_no_honest_validator_is_convicted() -> None:
    watch = Chain().watch()
    watch.observe(3, 5, accuse(1))
    assert watch.finish(5) == ()
    watch.observe(0, 6, accuse(1))
    watch.observe(2, 7, accuse(1))
    found = only(watch)
    assert (found.monitor, found.count, found.proof["offender"]) == ("accountability", 1, 1)


def test_an_amnesiac_may_be_convicted_yet_its_commits_count() -> None:
    chain = Chain()
    watch = chain.watch(block_of=None, epoch_of=None, commit_within_ns=None)
    watch.restarted(1, 5, amnesia=True)
    watch.observe(0, 6, accuse(1))
    assert watch.finish(6) == ()
    watch.observe(0, 7, commit(chain.line[0]))
    watch.observe(1, 8, commit(chain.add(1, 9, ROOT, QC(0, 0, ROOT, 0))))
    assert only(watch).monitor == "agreement"
    watch = chain.watch(commit_within_ns=None)
    watch.restarted(1, 5)
    watch.observe(0, 6, accuse(1))
    assert only(watch).monitor == "accountability"


@pytest.mark.parametrize(("guilty", "enough"), [((), False), ((3,), False), ((2, 3), True)])
def test_a_conflict_convicts_its_authors(guilty: tuple[int, ...], enough: bool) -> None:
    # 2q - W = 14 of 40: two of four validators.
    chain = Chain()
    watch = chain.watch(honest=0b0011, commit_within_ns=None)
    rival = chain.add(1, 9, ROOT, QC(0, 0, ROOT, 0))
    watch.observe(0, 100, commit(chain.line[0]))
    watch.observe(1, 200, commit(rival))
    for offender in guilty:
        watch.observe(0, 300, accuse(offender))
    found = {v.monitor: v for v in watch.finish(400)}
    assert found.keys() == ({"agreement"} if enough else {"agreement", "accountability"})
    if not enough:
        assert found["accountability"].proof["needed_weight"] == 14
        assert found["accountability"].proof["convicted_weight"] == 10 * len(guilty)
        assert found["accountability"].window_from_ns == 100


def test_liveness_between_commits_and_at_the_end() -> None:
    chain = Chain()
    watch = chain.watch(commit_within_ns=STEP_NS)
    end_ns = clean(chain, watch)
    assert watch.finish(end_ns + STEP_NS) == ()
    found = only(watch, end_ns + STEP_NS + 1)
    assert (found.monitor, found.node, found.window_from_ns) == ("liveness", -1, end_ns)
    slow = chain.watch(commit_within_ns=STEP_NS - 1)
    clean(chain, slow)
    found = only(slow)
    assert (found.monitor, found.count) == ("liveness", 5)
    assert found.proof["waited_ns"] == STEP_NS


def test_liveness_starts_anew_at_a_heal_only() -> None:
    chain = Chain()
    for heal_ns, broken in ((None, True), (500, False), (399, True)):
        watch = chain.watch(commit_within_ns=100)
        watch.observe(0, 100, commit(chain.line[0]))
        # A laggard's commit of an old height is no progress.
        watch.observe(1, 450, commit(chain.line[0]))
        if heal_ns is not None:
            watch.healed(heal_ns)
        watch.observe(0, 500, commit(chain.line[1]))
        assert bool(watch.finish(500)) == broken


@pytest.mark.parametrize(
    ("change", "lost"),
    [({"delivered": 5}, 1), ({"delivered": 7}, -1), ({"dropped": {"": 2}}, 0)],
)
def test_no_lost_message(change: dict[str, Any], lost: int) -> None:
    counters: dict[str, Any] = {
        "offered": 10,
        "delivered": 6,
        "stored": 1,
        "in_flight": 1,
        "dropped": {"queue": 2},
    }
    watch = Chain().watch(commit_within_ns=None)
    assert watch.lost_messages is None
    watch.conserve(10, **counters)
    assert watch.finish(10) == ()
    watch.conserve(20, **counters | change)
    found = only(watch)
    assert (found.monitor, found.proof["lost"]) == ("no_lost_message", lost)
    assert (found.window_from_ns, found.window_to_ns) == (10, 20)
    assert watch.lost_messages == lost


@pytest.mark.parametrize("held", [{"bonded": 9, "free": 2}, {"bonded": 11, "free": -1}])
def test_supply_conservation(held: dict[str, int]) -> None:
    watch = Chain().watch(commit_within_ns=None)
    watch.supply(5, 0, minted=10, held={"bonded": 8, "free": 2})
    assert watch.finish(5) == ()
    watch.supply(6, 1, minted=10, held=held)
    found = only(watch)
    assert (found.monitor, found.node, found.window_from_ns) == ("supply_conservation", 1, 5)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "KEEP", 8)
    monkeypatch.setattr(votes, "KEEP", 8)
    assert base.KEEP > 8
    chain = Chain(40)
    watch = chain.watch(commit_within_ns=None)
    for i in range(40):
        watch.observe(0, i, epoch_change(epoch=i))
    end_ns = clean(chain, watch)
    assert watch.finish(end_ns) == ()
    stores = [
        value
        for monitor in watch.monitors
        for name, value in vars(monitor).items()
        if isinstance(value, dict) and name not in ("_next", "_lost", "epochs")
    ]
    sizes = [len(store) for store in stores]
    assert (max(sizes), sizes.count(8)) == (8, 7)


def test_a_violation_becomes_a_row(tmp_path: Path) -> None:
    watch = Chain().watch()
    watch.observe(0, 1, epoch_change())
    watch.observe(1, 2, epoch_change(weights_digest=b"\x02" * 32))
    with Recorder(tmp_path / "r") as recorder:
        recorder.append_row("violations", **only(watch).row())
    (row,) = pl.read_parquet(tmp_path / "r" / "violations.parquet").rows(named=True)
    assert (row["monitor"], row["node"], row["count"]) == ("pinned_parameters", 1, 1)
    assert json.loads(row["proof"])["values"] == ["02" * 32]


@pytest.mark.benchmark
def test_cost_of_an_observation_at_150_validators() -> None:
    from time import process_time_ns

    chain = Chain(60)
    honest = (1 << 150) - 1
    watch = chain.watch(honest=honest, validators=150)
    feed: list[tuple[int, int, Observation]] = []
    for block in chain.line:
        at_ns = block.height * STEP_NS
        feed.append((0, at_ns, Certified(QC(0, block.view, block.id, 7), 30)))
        feed += [(i, at_ns, ViewChanged(0, block.view, "certificate")) for i in range(150)]
        feed += [(i, at_ns, commit(block)) for i in range(150)]
    begin_ns = process_time_ns()
    for node, now_ns, observation in feed:
        watch.observe(node, now_ns, observation)
    spent_ns = process_time_ns() - begin_ns
    print(f"\nmonitors: {spent_ns / len(feed):.0f} ns an observation over {len(feed)}")
    assert watch.finish(60 * STEP_NS) == ()
