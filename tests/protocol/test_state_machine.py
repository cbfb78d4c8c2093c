"""An adversary with one of four identities, any schedule, crashes: never two conflicting commits.

Each example has a safety phase, in which messages are reordered, dropped, repeated and forged with
the adversary's key, and a healed liveness phase, in which the honest must commit again.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sim.protocol.effects import (
    Accused,
    Broadcast,
    Committed,
    Effect,
    Persist,
    PersistentState,
    RequestBlocks,
    RequestPayload,
    Send,
    SetTimer,
)
from sim.protocol.events import (
    BlocksReceived,
    MessageReceived,
    PayloadReady,
    Restarted,
    Started,
    TimerFired,
)
from sim.protocol.ledger import Ledger
from sim.protocol.messages import (
    BlocksRequest,
    BlocksResponse,
    Message,
    Proposal,
    TimeoutMessage,
    VoteMessage,
    with_signatures,
)
from sim.protocol.types import QC, Block, PayloadRef, Timeout, Vote
from sim.protocol.validator import Validator
from tests.protocol.harness import MS, accounts, rules, sign
from tests.protocol.harness import settings as consensus

ADVERSARY = 0
HONEST = (1, 2, 3)
EVERYONE = (0, 1, 2, 3)
COUNTS: dict[str, int] = defaultdict(int)
"""What happened over all examples, so that a test can see that the search was not idle."""


class Soup:
    """Messages in flight in no order; the searching test decides what happens to each."""

    def __init__(self, core: type[Validator] = Validator) -> None:
        ledger = Ledger(rules(epoch_blocks=5), accounts(4))
        self.cores = {i: core(i, consensus(), ledger) for i in EVERYONE}
        self.flying: list[tuple[int, int, Message]] = []
        self.timers: dict[int, list[tuple[int, int, str]]] = {i: [] for i in EVERYONE}
        self.disk: dict[int, PersistentState] = {}
        self.final: dict[int, tuple[bytes, int]] = {}
        self.heights = dict.fromkeys(EVERYONE, 0)
        self.conflicts: list[tuple[int, int, int]] = []
        self.accused: dict[int, None] = {}
        self.votes: dict[tuple[int, int, int], bytes] = {}
        self.gave_up: dict[tuple[int, int], int] = {}
        self.broken_vows: list[str] = []
        self.blocks: dict[bytes, Block] = {}
        self.certificates: dict[bytes, QC] = {}
        self.now_ns = 0
        for node in EVERYONE:
            self.handle(node, Started())

    def handle(self, node: int, event: Any) -> None:
        self.now_ns += MS
        for effect in self.cores[node].handle(event, self.now_ns):
            self.execute(node, effect)

    def execute(self, node: int, effect: Effect) -> None:
        if isinstance(effect, Send):
            self.send(node, (effect.to,), effect.message)
        elif isinstance(effect, Broadcast):
            self.send(node, [i for i in EVERYONE if i != node], effect.message)
        elif isinstance(effect, SetTimer):
            self.timers[node] = [*self.timers[node][-7:], effect.timer_id]
        elif isinstance(effect, Persist):
            self.disk[node] = effect.state
        elif isinstance(effect, RequestPayload):
            first = self.cores[node].ledger.state(self.cores[node].chain.high_qc.block).next_tx[0]
            refs = effect.refs or (PayloadRef(0, first, first + 4, 50),)
            self.handle(node, PayloadReady(refs, effect.request_id))
        elif isinstance(effect, RequestBlocks):
            ask = BlocksRequest(effect.wanted, effect.above_height, effect.epoch)
            self.send(node, (effect.peer,), ask)
        elif isinstance(effect, Accused):
            self.accused[effect.evidence.offender] = None
        elif isinstance(effect, Committed) and node != ADVERSARY:
            COUNTS["commits"] += 1
            self.heights[node] = effect.height
            block, who = self.final.setdefault(effect.height, (effect.block, node))
            if block != effect.block:
                self.conflicts.append((effect.height, who, node))

    def send(self, node: int, to: Any, message: Message) -> None:
        message = with_signatures(message, node, lambda said: sign(node, said))
        if node != ADVERSARY:
            self.watch(node, message)
        if isinstance(message, Proposal):
            self.blocks[message.block.id] = message.block
            self.certificates[message.block.justify.block] = message.block.justify
        self.flying.extend((node, peer, message) for peer in to)

    def watch(self, node: int, message: Message) -> None:
        """Note an honest validator that votes twice in a view, or in a view it gave up."""
        if isinstance(message, TimeoutMessage):
            place = (node, message.timeout.epoch)
            self.gave_up[place] = max(self.gave_up.get(place, 0), message.timeout.view)
        elif isinstance(message, VoteMessage):
            vote = message.vote
            first = self.votes.setdefault((node, vote.epoch, vote.view), vote.block)
            if first != vote.block:
                self.broken_vows.append(f"{node} voted twice in view {vote.view}")
            if vote.view <= self.gave_up.get((node, vote.epoch), 0):
                self.broken_vows.append(f"{node} voted in view {vote.view}, which it gave up")

    def deliver(self, index: int) -> None:
        sender, to, message = self.flying.pop(index % len(self.flying))
        if isinstance(message, BlocksResponse):
            self.handle(to, BlocksReceived(sender, message))
        else:
            self.handle(to, MessageReceived(sender, message))

    def settle(self, rounds: int) -> None:
        """Deliver everything in order; when all is quiet, let the present view timers run out."""
        before = dict(self.heights)
        for _ in range(rounds):
            for _ in range(400):
                if not self.flying:
                    break
                self.deliver(0)
            if all(self.heights[i] > before[i] + 1 for i in HONEST):
                return
            self.now_ns += 5_000 * MS
            for node in EVERYONE:
                timers, self.timers[node] = self.timers[node], []
                for timer in timers:
                    self.handle(node, TimerFired(timer))


class AdversarySchedules(RuleBasedStateMachine):
    core: type[Validator] = Validator

    @initialize(warm=st.integers(0, 60))
    def begin(self, warm: int) -> None:
        self.soup = Soup(self.core)
        self.deliver_some(warm)

    @rule(count=st.integers(1, 40))
    def deliver_some(self, count: int) -> None:
        for _ in range(count):
            if self.soup.flying:
                self.soup.deliver(0)

    @precondition(lambda self: self.soup.flying)
    @rule(index=st.integers(0, 10_000))
    def deliver_any(self, index: int) -> None:
        self.soup.deliver(index)

    @precondition(lambda self: self.soup.flying)
    @rule(index=st.integers(0, 10_000), count=st.integers(1, 6))
    def drop(self, index: int, count: int) -> None:
        at = index % len(self.soup.flying)
        del self.soup.flying[at : at + count]
        COUNTS["drops"] += 1

    @precondition(lambda self: self.soup.flying)
    @rule(index=st.integers(0, 10_000))
    def repeat(self, index: int) -> None:
        self.soup.flying.append(self.soup.flying[index % len(self.soup.flying)])

    @rule(node=st.sampled_from(EVERYONE), age=st.integers(0, 3))
    def fire(self, node: int, age: int) -> None:
        """Let a timer run out, a superseded one as likely as the present one."""
        if self.soup.timers[node]:
            timers = self.soup.timers[node]
            self.soup.handle(node, TimerFired(timers[-1 - age % len(timers)]))

    @rule()
    def fire_all(self) -> None:
        for node in EVERYONE:
            core = self.soup.cores[node]
            self.soup.handle(node, TimerFired((core.epoch, core.view, "view")))

    @rule(node=st.sampled_from(HONEST))
    def crash_and_restart(self, node: int) -> None:
        """Restart at once: what is in flight still arrives (and may be dropped by its own rule)."""
        COUNTS["restarts"] += 1
        self.soup.handle(node, Restarted(self.soup.disk[node]))

    @precondition(lambda self: self.soup.blocks)
    @rule(which=st.integers(0, 10_000), to=st.sampled_from(HONEST))
    def vote_for_anything(self, which: int, to: int) -> None:
        recent = list(self.soup.blocks.values())[-8:]
        block = recent[which % len(recent)]
        vote = Vote(block.epoch, block.view, block.id, ADVERSARY)
        self.soup.send(ADVERSARY, (to,), VoteMessage(vote))
        COUNTS["forged votes"] += 1

    @precondition(lambda self: self.soup.certificates)
    @rule(which=st.integers(0, 10_000), ahead=st.integers(0, 3), lie=st.integers(0, 1))
    def time_out_with_any_claim(self, which: int, ahead: int, lie: int) -> None:
        known = list(self.soup.certificates.values())[-6:]
        qc = known[which % len(known)]
        view = self.soup.cores[1].view + ahead
        claimed = min(view - 1, qc.view + lie)
        if claimed >= 0:
            timeout = Timeout(qc.epoch, view, claimed, qc.block, ADVERSARY)
            self.soup.send(ADVERSARY, HONEST, TimeoutMessage(timeout))

    @precondition(lambda self: self.soup.certificates)
    @rule(which=st.integers(0, 10_000), subset=st.integers(1, 7), mark=st.integers(0, 3))
    def equivocate(self, which: int, subset: int, mark: int) -> None:
        """Propose one more block in a view that the adversary leads, to some of the honest."""
        known = list(self.soup.certificates.values())[-6:]
        qc = known[which % len(known)]
        core = self.soup.cores[1]
        parent = core.chain.tree.get(qc.block)
        if parent is None or qc.epoch != core.epoch:
            return
        view = next((v for v in range(qc.view + 1, qc.view + 9) if core.leader(v) == 0), 0)
        tc = core._last_tc
        if not view or (view != qc.view + 1 and (tc is None or tc.view != view - 1)):
            return
        ticket = None if view == qc.view + 1 else tc
        first = core.ledger.state(parent.id).next_tx[1]
        payload = (PayloadRef(1, first, first + mark, 9),) if mark else ()
        block = Block(qc.epoch, view, parent.height + 1, 0, parent.id, qc, ticket, payload)
        to = [i for i in HONEST if subset >> (i - 1) & 1]
        self.soup.send(ADVERSARY, to, Proposal(block))
        COUNTS["forged proposals"] += 1

    @invariant()
    def nothing_conflicts(self) -> None:
        if hasattr(self, "soup"):
            assert self.soup.conflicts == []
            assert self.soup.broken_vows == []
            assert not any(node in self.soup.accused for node in HONEST)

    def teardown(self) -> None:
        if not hasattr(self, "soup"):
            return
        before = dict(self.soup.heights)
        self.soup.settle(rounds=40)
        COUNTS["examples"] += 1
        COUNTS["epochs"] += self.soup.cores[1].epoch - 1
        COUNTS["accusations"] += len(self.soup.accused)
        self.nothing_conflicts()
        assert all(self.soup.heights[i] > before[i] for i in HONEST), "the honest commit again"


SEARCH = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class TestAdversarySchedules(AdversarySchedules.TestCase):  # type: ignore[name-defined,misc]
    settings = SEARCH


def test_the_search_was_not_idle() -> None:
    """Counts what the machine above did; it runs first in this file."""
    assert COUNTS["examples"] >= 60
    assert COUNTS["commits"] > 10 * COUNTS["examples"]
    for happened in ("epochs", "drops", "restarts", "forged votes", "forged proposals"):
        assert COUNTS[happened] >= 20, happened
    assert COUNTS["accusations"] >= 1
