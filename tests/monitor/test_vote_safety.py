"""Votes and timeouts of honest validators: each rule, with the bug that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.monitor import votes
from sim.monitor.base import Violation
from sim.monitor.verdict import judge
from sim.monitor.watch import Watch
from sim.protocol.messages import Proposal, TimeoutMessage, VoteMessage
from sim.protocol.safety import SafetyRules
from sim.protocol.types import QC, TC, Block, BlockId, EpochParameters, Timeout, Vote, WeightTable
from sim.protocol.validator import Validator
from sim.scenario.checks import Safety
from tests.engine.worlds import crash, ran

ROOT = b"\x07" * 32
N = 4
MIND = 3
"""An adversary's validator; the others are honest."""


def pinned(epoch: int) -> EpochParameters:
    return EpochParameters(epoch, ROOT, 0, WeightTable((10,) * N, 40), 0, 27, 13, ROOT)


class Tree:
    """Blocks by id, and a watch that knows them."""

    def __init__(self) -> None:
        self.blocks: dict[BlockId, Block] = {}
        self.watch = Watch(honest=0b0111, validators=N, block_of=self.blocks.get, epoch_of=pinned)

    def block(self, view: int, on: Block | None, tc: TC | None = None, **other: Any) -> Block:
        parent, height = (ROOT, 0) if on is None else (on.id, on.height)
        justify = QC(1, 0, ROOT, 0) if on is None else QC(1, on.view, on.id, 0b0111)
        block = Block(1, view, height + 1, 0, parent, other.get("justify", justify), tc)
        self.blocks[block.id] = block
        return block

    def tc(self, view: int, high: int, signers: int = 3, **other: Any) -> TC:
        said = tuple(Timeout(1, view, high, ROOT, who) for who in range(signers))
        return TC(other.get("epoch", 1), view, said)

    def found(self) -> Violation | None:
        broken = self.watch.finish(10**6)
        assert len(broken) <= 1
        return broken[0] if broken else None


Bug = type[SafetyRules]
_timeout = SafetyRules.timeout


def keep_the_vote(rules: SafetyRules, view: int, high_qc: QC) -> Timeout:
    voted = rules.last_voted_view
    said = _timeout(rules, view, high_qc)
    rules.last_voted_view = voted
    return said


def hide_the_lock(rules: SafetyRules, view: int, high_qc: QC) -> Timeout:
    return _timeout(rules, view, high_qc._replace(view=0, block=ROOT))


class VotesTwice(SafetyRules):
    """Forgets that the view's vote is spent."""

    def refusal(self, block: Block) -> str | None:
        return None if block.view == self.last_voted_view else super().refusal(block)


class VotesBelow(SafetyRules):
    """Knows the last vote and the last timeout, but not what is below the vote."""

    def refusal(self, block: Block) -> str | None:
        given_up = 0 if self.last_timeout is None else self.last_timeout.view
        spent = block.view <= given_up or block.view == self.last_voted_view
        return "voted_or_timed_out" if spent else None


class VotesAfterTimeout(SafetyRules):
    """A timeout does not spend the view's vote."""

    def timeout(self, view: int, high_qc: QC) -> Timeout:
        return keep_the_vote(self, view, high_qc)


class VotesAgainstRule(SafetyRules):
    """Asks for no TC."""

    def refusal(self, block: Block) -> str | None:
        return "voted_or_timed_out" if block.view <= self.last_voted_view else None

    def vote(self, block: Block) -> Vote:
        self.last_voted_view = block.view
        return Vote(block.epoch, block.view, block.id, self._me)


class TimesOutBackwards(SafetyRules):
    """Gives up views that it has long left."""

    def timeout(self, view: int, high_qc: QC) -> Timeout:
        left = view if self.last_timeout is None else view - 2
        self.last_timeout = None
        return super().timeout(left, high_qc)


class HidesItsCertificate(SafetyRules):
    """From the second timeout on it says that it has seen no certificate."""

    def timeout(self, view: int, high_qc: QC) -> Timeout:
        first = self.last_timeout is None
        return super().timeout(view, high_qc if first else QC(1, 0, ROOT, 0))


class LosesItsLock(SafetyRules):
    """Never says what it voted upon."""

    def timeout(self, view: int, high_qc: QC) -> Timeout:
        return hide_the_lock(self, view, high_qc)


class GoesBack(SafetyRules):
    """Votes in an epoch that is over."""

    def vote(self, block: Block) -> Vote:
        late = self.last_voted_view > 0
        return super().vote(block)._replace(epoch=1 if late else 2)


def temptations(tree: Tree) -> Iterator[Block | tuple[int, QC]]:
    """Whatever others may bring before an honest validator: blocks, and (view, high QC) expired."""
    one, twin = tree.block(1, None), tree.block(1, None, tree.tc(0, 0))
    two = tree.block(2, one)
    three = tree.block(3, two)
    qc_one, qc_two = three.justify._replace(view=1, block=one.id), three.justify
    yield one
    yield twin
    yield two
    yield one
    yield 3, qc_two
    yield three
    yield 4, qc_two
    yield tree.block(5, one, tree.tc(4, 2))
    yield tree.block(5, one)
    yield tree.block(5, two, tree.tc(3, 2))
    yield tree.block(5, two, tree.tc(4, 2, signers=2))
    yield tree.block(5, two, tree.tc(4, 2, epoch=2))
    yield tree.block(5, two, tree.tc(4, 2), justify=qc_one)
    five = tree.block(5, two, tree.tc(4, 2))
    yield five
    yield 6, qc_two
    yield tree.block(7, five, tree.tc(6, 5))


def tempt(tree: Tree, rules: SafetyRules, node: int = 0) -> list[Vote | Timeout]:
    """Bring everything before `rules`; the watch sees what it signs, which is returned."""
    signed: list[Vote | Timeout] = []
    for now_ns, come in enumerate(temptations(tree), 1):
        if isinstance(come, Block):
            weak = come.tc is not None and len(come.tc.timeouts) < 3
            # A TC below the quorum never reaches the rules: `Chain.check_tc` sees to that.
            if (weak and type(rules) is not VotesAgainstRule) or rules.refusal(come) is not None:
                continue
            try:
                vote = rules.vote(come)
            except ValueError:
                vote = Vote(1, come.view, come.id, node)
                rules.last_voted_view = come.view
            signed.append(vote)
            tree.watch.stated(node, now_ns, VoteMessage(vote))
        else:
            timeout = rules.timeout(*come)
            signed.append(timeout)
            tree.watch.stated(node, now_ns, TimeoutMessage(timeout))
    return signed


def test_who_keeps_the_rules_breaks_nothing() -> None:
    tree = Tree()
    signed = tempt(tree, SafetyRules(0, 1))
    assert [s.view for s in signed if isinstance(s, Vote)] == [1, 2, 5, 7]
    assert [s.view for s in signed if isinstance(s, Timeout)] == [3, 4, 6]
    tree.watch.stated(0, 50, Proposal(tree.block(9, None)))
    assert tree.found() is None


@pytest.mark.parametrize(
    ("bug", "rule"),
    [
        (VotesTwice, "vote_twice"),
        (VotesBelow, "vote_below_vote"),
        (VotesAfterTimeout, "vote_after_timeout"),
        (VotesAgainstRule, "vote_against_rule"),
        (TimesOutBackwards, "timeout_below_timeout"),
        (HidesItsCertificate, "high_qc_sank"),
        (LosesItsLock, "timeout_below_lock"),
        (GoesBack, "past_epoch"),
    ],
)
def test_each_rule_has_its_bug(bug: Bug, rule: str) -> None:
    tree = Tree()
    tempt(tree, bug(0, 1))
    found = tree.found()
    assert found is not None
    assert found.monitor == "vote_safety"
    assert found.proof["rule"] == rule
    assert found.node == 0
    assert found.window_from_ns <= found.time_ns == found.window_to_ns
    assert f"rule {rule}" in str(found)
    (line,) = judge(
        [Safety(safety="held")], violations=[found], metrics={}, levels=[], complete=True
    ).lines
    assert line.outcome == "violated"
    lines = judge(
        [Safety(safety="violated")], violations=[found], metrics={}, levels=[], complete=True
    )
    assert [line.expectation for line in lines.lines] == ["safety violated", "vote_safety holds"]


BROKEN: dict[str, Callable[[Tree], Block]] = {
    "no_tc": lambda t: t.block(3, t.block(1, None)),
    "tc_of_an_older_view": lambda t: t.block(4, t.block(1, None), t.tc(2, 1)),
    "tc_of_another_epoch": lambda t: t.block(3, t.block(1, None), t.tc(2, 1, epoch=2)),
    "tc_below_its_quorum": lambda t: t.block(3, t.block(1, None), t.tc(2, 1, signers=2)),
    "below_the_highest_of_the_tc": lambda t: t.block(3, None, t.tc(2, 1)),
    "justification_not_older": lambda t: t.block(3, t.block(3, None), t.tc(2, 1)),
    "justification_of_another_block": lambda t: t.block(
        2, t.block(1, None), justify=QC(1, 1, b"\1" * 32, 0b0111)
    ),
    "justification_of_another_epoch": lambda t: t.block(1, None, justify=QC(2, 0, ROOT, 0)),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_no_honest_validator_may_vote_for(broken: str) -> None:
    tree = Tree()
    block = BROKEN[broken](tree)
    for now_ns, node in enumerate((0, 1, MIND), 1):
        vote = Vote(block.epoch, block.view, block.id, node)
        tree.watch.stated(node, now_ns, VoteMessage(vote))
    found = tree.found()
    assert found is not None
    assert (found.proof["rule"], found.count) == ("vote_against_rule", 2)


def test_a_signer_counts_once_in_a_tc() -> None:
    tree = Tree()
    said = Timeout(1, 2, 1, ROOT, 0)
    block = tree.block(3, tree.block(1, None), TC(1, 2, (said, said, said)))
    tree.watch.stated(0, 1, VoteMessage(Vote(1, 3, block.id, 0)))
    assert tree.found() is not None


def test_who_is_not_honest_or_lost_its_memory_is_exempt() -> None:
    for node, turn in ((MIND, None), (0, "corrupted"), (0, "amnesia")):
        tree = Tree()
        if turn == "corrupted":
            tree.watch.corrupted(node)
        elif turn == "amnesia":
            tree.watch.restarted(node, 0, amnesia=True)
        tempt(tree, VotesTwice(node, 1), node)
        assert tree.found() is None
    tree = Tree()
    tree.watch.restarted(0, 0)
    tempt(tree, VotesTwice(0, 1))
    assert tree.found() is not None


def test_a_block_that_nobody_knows_is_not_judged_by_its_content() -> None:
    tree = Tree()
    tree.watch.stated(0, 1, VoteMessage(Vote(1, 1, b"\5" * 32, 0)))
    assert tree.found() is None
    tree.watch.stated(0, 2, VoteMessage(Vote(1, 1, b"\5" * 32, 0)))
    found = tree.found()
    assert found is not None
    assert found.proof["rule"] == "vote_twice"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votes, "KEEP", 8)
    tree = Tree()
    block = None
    for view in range(1, 60):
        block = tree.block(view, block)
        tree.watch.stated(0, view, VoteMessage(Vote(1, view, block.id, 0)))
    assert tree.found() is None
    (monitor,) = (m for m in tree.watch.monitors if isinstance(m, votes.VoteSafety))
    assert len(monitor._judged) == 8


# In whole runs: what the driver signs is what the monitor sees.


def test_a_run_in_which_nobody_asks_for_a_tc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader after a dead one leaves out the TC, and all vote for its block."""
    settings: dict[str, Any] = {"duration": "4 s", "faults": [crash([3], "1 s", None)]}
    assert ran(tmp_path / "sound", **settings).verdict == "met"
    monkeypatch.setattr("sim.protocol.safety.vote_rule", lambda block: None)
    monkeypatch.setattr("sim.protocol.validator.vote_rule", lambda block: None)
    held = Validator._ticket
    monkeypatch.setattr(
        Validator, "_ticket", lambda self: None if isinstance(held(self), TC) else held(self)
    )
    done = ran(tmp_path / "broken", **settings)
    (row,) = done.rows("violations", monitor="vote_safety")
    assert '"rule": "vote_against_rule"' in row["proof"]


def test_a_run_in_which_timeouts_hide_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of all makes everybody time out."""
    blink = crash([0, 1, 2, 3], "1010 ms", "1020 ms")
    settings: dict[str, Any] = {"duration": "3 s", "faults": [blink]}
    assert ran(tmp_path / "sound", **settings).verdict == "met"
    monkeypatch.setattr(SafetyRules, "timeout", hide_the_lock)
    done = ran(tmp_path / "broken", **settings)
    (row,) = done.rows("violations", monitor="vote_safety")
    assert '"rule": "timeout_below_lock"' in row["proof"]


def test_amnesia_is_exempt_in_a_run(tmp_path: Path) -> None:
    blink = crash([0, 1, 2, 3], "1010 ms", "1020 ms", "amnesia_crash")
    alive = [{"liveness": {"commit_within": "2500 ms"}}]
    done = ran(tmp_path, duration="3 s", faults=[blink], expect=alive)
    assert done.rows("violations", monitor="vote_safety") == []
