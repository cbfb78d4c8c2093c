"""Claims of the papers that the core follows, one a test.

[J] Gelashvili, Kokoris-Kogias, Sonnino, Spiegelman, Xiang: "Jolteon and Ditto: Network-Adaptive
Efficient Consensus with Asynchronous Fallback", FC 2022, arXiv:2106.10362.
[D] The Diem Team: "DiemBFT v4: State Machine Replication in the Diem Blockchain", 2021.
[H] Yin, Malkhi, Reiter, Golan Gueta, Abraham: "HotStuff: BFT Consensus with Linearity and
Responsiveness", PODC 2019, arXiv:1803.05069.
"""

from __future__ import annotations

import pytest

from sim.protocol.effects import Broadcast, Certified, Committed, Effect, Send, ViewChanged
from sim.protocol.events import MessageReceived, Started, TimerFired
from sim.protocol.messages import Message, Proposal, TimeoutMessage, VoteMessage
from sim.protocol.safety import SafetyRules
from sim.protocol.types import QC, TC, Block, Timeout
from tests.protocol.harness import MS, Network, rules, settings

DELTA_NS = 10 * MS
PARENT = b"p" * 32


def steady(count: int = 4, **changes: object) -> Network:
    """Every message takes exactly one network delay."""
    return Network(
        count,
        ledger=rules(epoch_blocks=1_000),
        parameters=settings(**changes),
        link=lambda sender, receiver, message, now_ns: DELTA_NS,
    )


def sent(network: Network) -> list[tuple[int, int, int, Message]]:
    """Record (time, from, to, message) of everything that leaves a validator for another."""
    log: list[tuple[int, int, int, Message]] = []
    original = network.send

    def send(node: int, to: int, message: Message) -> None:
        if node != to:
            log.append((network.now_ns, node, to, message))
        original(node, to, message)

    network.send = send  # type: ignore[method-assign]
    return log


def candidate(view: int, justify_view: int, tc: tuple[int, ...] | None) -> Block:
    """A block of `view`; `tc` lists the high QC views that the TC of the view before reports."""
    ticket = None
    if tc is not None:
        reports = tuple(Timeout(1, view - 1, high, PARENT, i) for i, high in enumerate(tc))
        ticket = TC(1, view - 1, reports)
    return Block(1, view, view, 0, PARENT, QC(1, justify_view, PARENT, 7), ticket)


@pytest.mark.parametrize(
    ("view", "justify_view", "tc", "votes"),
    [
        (5, 4, None, True),
        (5, 3, None, False),
        (5, 3, (1, 2, 3), True),
        (5, 3, (1, 2, 4), False),
        (5, 2, (2, 2, 2), True),
        (5, 5, None, False),
    ],
)
def test_vote_rule(view: int, justify_view: int, tc: tuple[int, ...] | None, votes: bool) -> None:
    """[J] vote iff r > r_vote and (qc.r = r - 1, or tc.r = r - 1 and qc.r >= max qc_high.r)."""
    rule = SafetyRules(0, 1)
    block = candidate(view, justify_view, tc)
    assert (rule.refusal(block) is None) == votes
    if votes:
        rule.vote(block)
        assert rule.refusal(block) == "voted_or_timed_out", "at most one vote a round"


def test_block_latency_is_five_message_delays() -> None:
    """[J] two chained certificates: proposal, vote, proposal, vote, proposal (HotStuff needs 7)."""
    network = steady()
    log = sent(network)
    network.start().run(1_000 * MS)
    proposed: dict[bytes, int] = {}
    for when, _, _, message in log:
        if isinstance(message, Proposal):
            proposed.setdefault(message.block.id, when)
    waits = [
        (when - proposed[e.block], node, e.view)
        for when, node, e in network.log
        if isinstance(e, Committed)
    ]
    core = network.validators[0]
    for wait, node, view in waits:
        delays = wait // DELTA_NS
        # Whoever leads a view is not sent its own proposal, and whoever collects knows a hop early.
        involved = node in {core.leader(view + i) for i in range(3)}
        assert delays == 5 or (involved and 2 <= delays <= 5)
    assert sum(wait == 5 * DELTA_NS for wait, _, _ in waits) > len(waits) // 4


def test_the_happy_path_is_linear_and_the_view_change_quadratic() -> None:
    """[J] a round costs n - 1 proposals and at most n votes; a timeout is multicast by everyone."""
    for count in (4, 7, 13):
        network = steady(count)
        log = sent(network)
        network.start().run(2_000 * MS)
        views = max(core.view for core in network.validators.values())
        votes = sum(isinstance(m, VoteMessage) for *_, m in log)
        proposals = sum(isinstance(m, Proposal) for *_, m in log)
        assert votes <= count * views
        assert proposals <= (count - 1) * views
        assert not any(isinstance(m, TimeoutMessage) for *_, m in log)
        halted = steady(count)
        log = sent(halted)
        halted.link = lambda a, b, m, now: None if isinstance(m, Proposal) else DELTA_NS
        halted.start().run(505 * MS)
        assert sum(isinstance(m, TimeoutMessage) for *_, m in log) == count * (count - 1)


def test_rounds_advance_at_network_speed() -> None:
    """[H] optimistic responsiveness: no timer is waited for while leaders are honest."""
    fast, slow = steady(timer_base_ns=500 * MS), steady(timer_base_ns=4_000 * MS)
    fast.start().run(2_000 * MS)
    slow.start().run(2_000 * MS)
    assert fast.heights() == slow.heights()
    assert min(fast.heights()) >= 2_000 // 20 - 5, "two delays a block"


def test_one_block_is_certified_a_round_and_its_certificate_serves_two_phases() -> None:
    """[H] chaining: the certificate of a round is the second phase of its parent."""
    network = steady().start().run(1_000 * MS)
    views = [certified.qc.view for certified in network.seen(Certified)]
    assert len(views) == len(set(views))
    committed = {commit.view for commit in network.seen(Committed)}
    assert len(committed) >= len(views) - 3


def test_consecutive_rounds_commit_and_a_gap_does_not() -> None:
    """[J] B commits when B and a child of the next round are certified; after a gap it waits."""
    chain = steady().validators[0].chain
    out: list[Effect] = []
    block, justify = chain.ledger.genesis_block, chain.high_qc
    committed = []
    for view in (1, 3, 4):
        block = Block(1, view, block.height + 1, 0, block.id, justify)
        assert chain.insert(block, out) is None
        justify = QC(1, view, block.id, 0b0111, (b"", b"", b""))
        assert chain.check(justify) is None
        chain.adopt(justify, out)
        committed.append([e.view for e in out if isinstance(e, Committed)])
    assert committed == [[], [], [1, 3]]


def test_a_certificate_resets_the_timer_and_a_tc_lengthens_it() -> None:
    """[D] pacemaker: the round timer is set anew on entering a round, longer after timeouts."""
    network = steady()
    core = network.validators[0]
    core.handle(Started(), 0)
    reasons: list[tuple[str, int]] = []
    network.down.add(2)
    original = network.execute

    def execute(node: int, effect: Effect) -> None:
        if node == 0 and type(effect).__name__ == "SetTimer" and effect.timer_id[2] == "view":  # type: ignore[union-attr]
            changed = [e for _, n, e in network.log if n == 0 and isinstance(e, ViewChanged)]
            reasons.append((changed[-1].reason, effect.delay_ns))  # type: ignore[union-attr]
        original(node, effect)

    network.execute = execute  # type: ignore[method-assign]
    network.start().run(20_000 * MS)
    assert {delay for reason, delay in reasons if reason == "certificate"} >= {500 * MS}
    assert min(delay for reason, delay in reasons if reason == "timeout") == 750 * MS


def test_timeouts_of_more_than_f_make_others_join() -> None:
    """[D] process_remote_timeout: f + 1 timeouts of a round time it out here as well."""
    core = steady().validators[3]
    core.handle(Started(), 0)
    genesis = core.ledger.genesis_block.id
    first, second = (TimeoutMessage(Timeout(1, 1, 0, genesis, i, b"s")) for i in (0, 1))
    effects = core.handle(MessageReceived(0, first), 1)
    assert not [e for e in effects if isinstance(e, Broadcast)]
    effects = core.handle(MessageReceived(1, second), 2)
    assert [e.message.timeout.view for e in effects if isinstance(e, Broadcast)] == [1]  # type: ignore[union-attr]


def test_a_timeout_carries_the_highest_certificate() -> None:
    """[J] on expiry a replica stops voting for the round and multicasts its qc_high."""
    network = steady().start().run(300 * MS)
    core = network.validators[1]
    effects = core.handle(TimerFired((1, core.view, "view")), network.now_ns)
    (told,) = [e.message for e in effects if isinstance(e, Broadcast)]
    assert isinstance(told, TimeoutMessage)
    high = core.chain.high_qc
    assert (told.timeout.high_qc_view, told.timeout.high_qc_block) == (high.view, high.block)


def test_after_a_view_change_the_leader_shows_the_tc() -> None:
    """[J] a proposal after a bad round carries the TC: proof that nothing higher is hidden."""
    network = steady()
    network.down.add(2)
    log = sent(network)
    network.start().run(20_000 * MS)
    blocks = {m.block.id: m.block for *_, m in log if isinstance(m, Proposal)}
    with_tc = [b for b in blocks.values() if b.tc is not None]
    assert with_tc
    for block in blocks.values():
        assert (block.tc is None) == (block.justify.view == block.view - 1)
    for block in with_tc:
        assert block.tc is not None
        assert block.justify.view >= block.tc.high_qc_view


def test_votes_go_to_the_next_leader_only() -> None:
    """[J] linear: a vote of round r is sent to the leader of round r + 1."""
    network = steady()
    core = network.validators[0]
    votes = [(to, m.vote) for _, _, to, m in run_log(network) if isinstance(m, VoteMessage)]
    assert votes
    assert all(to == core.leader(vote.view + 1) for to, vote in votes)


def run_log(network: Network) -> list[tuple[int, int, int, Message]]:
    log = sent(network)
    network.start().run(1_000 * MS)
    return log


def test_a_lone_send_is_a_vote_and_nothing_leaves_before_it_is_on_disk() -> None:
    """[J] r_vote is persisted before the vote is sent, so that a crash cannot make a second one."""
    network = steady()
    order: list[str] = []
    original = network.execute

    def execute(node: int, effect: Effect) -> None:
        if node == 1:
            own = isinstance(effect, Send) and isinstance(effect.message, VoteMessage)
            if own or type(effect).__name__ == "Persist":
                order.append(type(effect).__name__)
        original(node, effect)

    network.execute = execute  # type: ignore[method-assign]
    network.start().run(500 * MS)
    sends = [i for i, kind in enumerate(order) if kind == "Send"]
    assert sends
    assert all(order[i - 1] == "Persist" for i in sends)
