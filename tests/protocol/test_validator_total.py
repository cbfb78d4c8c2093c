"""`handle` is total: whatever verified nonsense others send, it answers with effects, in bounds."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.protocol.events import BlocksReceived, Event, MessageReceived, PayloadReady, TimerFired
from sim.protocol.messages import (
    BlocksRequest,
    BlocksResponse,
    CertificateRequest,
    CertificateResponse,
    EpochProofMessage,
    EvidenceMessage,
    LateVotes,
    OperationMessage,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.pacemaker import VIEWS_AHEAD, VIEWS_BEHIND
from sim.protocol.replica import EARLY_MESSAGES
from sim.protocol.types import (
    QC,
    TC,
    Block,
    CertificateRef,
    EpochProof,
    Evidence,
    Operation,
    PayloadRef,
    Timeout,
    Vote,
)
from tests.protocol.harness import MS, Network, rules

NETWORK = Network(4, ledger=rules(epoch_blocks=6)).start().run(700 * MS)
CORE = NETWORK.validators[0]
TREE = CORE.chain.tree
KNOWN = TREE.path(CORE.chain.high_qc.block, 0, 1 << 30)
PEERS = st.integers(0, 3)
ANYONE = st.integers(-2, 9)
EPOCHS = st.integers(-1, CORE.epoch + 3)
VIEWS = st.one_of(st.integers(-2, 12), st.integers(0, 10**9))
IDS = st.one_of(st.sampled_from([b.id for b in KNOWN]), st.binary(min_size=32, max_size=32))
MARKS = st.just(b"s")

VOTES = st.builds(Vote, EPOCHS, VIEWS, IDS, ANYONE, MARKS)
TIMEOUTS = st.builds(Timeout, EPOCHS, VIEWS, VIEWS, IDS, ANYONE, MARKS)
CERTIFICATES = st.one_of(
    st.sampled_from([b.justify for b in KNOWN]),
    st.builds(
        lambda e, v, b, bits: QC(e, v, b, bits, (b"s",) * bits.bit_count()),
        EPOCHS,
        VIEWS,
        IDS,
        st.integers(0, 40),
    ),
)
TCS = st.builds(lambda e, v, t: TC(e, v, tuple(t)), EPOCHS, VIEWS, st.lists(TIMEOUTS, max_size=4))
REFS = st.builds(PayloadRef, ANYONE, st.integers(-3, 9), st.integers(-3, 9), st.integers(-1, 9))
OPERATIONS = st.builds(
    Operation,
    st.sampled_from(["register", "top_up", "unbond", "unjail", "mint"]),
    ANYONE,
    st.integers(-5, 10**6),
    st.integers(-1, 20),
)
PLAIN_BLOCKS = st.one_of(
    st.sampled_from(KNOWN),
    st.builds(Block, EPOCHS, VIEWS, st.integers(-1, 40), PEERS, IDS, CERTIFICATES),
)
ACCUSATIONS = st.builds(
    lambda k, who, e, v, votes, blocks, t: Evidence(k, who, e, v, tuple(votes), tuple(blocks), t),
    st.sampled_from(["double_vote", "double_proposal", "stale_timeout", "tc_rule", "rudeness"]),
    ANYONE,
    EPOCHS,
    VIEWS,
    st.lists(VOTES, max_size=2),
    st.lists(PLAIN_BLOCKS, max_size=2),
    st.none() | TIMEOUTS,
)
BLOCKS = st.one_of(
    PLAIN_BLOCKS,
    st.builds(
        lambda e, v, h, who, qc, tc, refs, ops, votes, evidence: Block(
            e, v, h, who, qc.block, qc, tc, tuple(refs), tuple(ops), tuple(votes), tuple(evidence)
        ),
        EPOCHS,
        VIEWS,
        st.integers(0, 40),
        PEERS,
        CERTIFICATES,
        st.none() | TCS,
        st.lists(REFS, max_size=3),
        st.lists(OPERATIONS, max_size=2),
        st.lists(VOTES, max_size=2),
        st.lists(ACCUSATIONS, max_size=2),
    ),
)
PROOFS = st.builds(
    lambda root, path, qc: EpochProof(root, tuple(path), qc),
    BLOCKS,
    st.lists(BLOCKS, max_size=3),
    CERTIFICATES,
)
RESPONSES = st.builds(
    lambda blocks, proof, qc: BlocksResponse(tuple(blocks), proof, qc),
    st.lists(BLOCKS, max_size=3),
    st.none() | PROOFS,
    st.none() | CERTIFICATES,
)
MESSAGES = st.one_of(
    st.builds(Proposal, BLOCKS),
    st.builds(VoteMessage, VOTES),
    st.builds(TimeoutMessage, TIMEOUTS),
    st.builds(TimeoutCertificateMessage, TCS),
    st.builds(CertificateRequest, st.builds(CertificateRef, EPOCHS, VIEWS, IDS)),
    st.builds(CertificateResponse, CERTIFICATES),
    st.builds(EpochProofMessage, PROOFS),
    st.builds(lambda votes: LateVotes(tuple(votes)), st.lists(VOTES, max_size=4)),
    st.builds(EvidenceMessage, ACCUSATIONS),
    st.builds(OperationMessage, OPERATIONS),
    st.builds(BlocksRequest, IDS | st.just(b""), st.integers(-5, 99), EPOCHS),
)
EVENTS = st.one_of(
    st.builds(MessageReceived, PEERS, MESSAGES, st.booleans()),
    st.builds(BlocksReceived, PEERS, RESPONSES),
    st.builds(
        TimerFired,
        st.tuples(EPOCHS, PEERS, st.sampled_from(["view", "propose", "poll", "early", "noon"])),
    ),
    st.builds(lambda refs, i: PayloadReady(tuple(refs), i), st.lists(REFS, max_size=3), ANYONE),
)


@settings(max_examples=1_500, deadline=None, derandomize=True)
@given(event=EVENTS)
def test_any_event_is_answered_within_bounds(event: Event) -> None:
    core: Any = CORE
    effects = core.handle(event, NETWORK.now_ns)
    assert isinstance(effects, list)
    assert not core.chain.halted
    assert len(core._early) <= EARLY_MESSAGES
    assert len(core._collectors) <= VIEWS_AHEAD + VIEWS_BEHIND + 2
    assert len(core._pacemaker._collectors) <= VIEWS_AHEAD + 1
    assert len(core._proposals) <= VIEWS_AHEAD + 3 * VIEWS_BEHIND
    assert len(core._held) <= 4
    assert len(core.sync.orphans) <= 16
    assert len(core.chain.pending) <= 16
