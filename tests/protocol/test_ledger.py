"""The ledger: exactly-once ranges, epochs, attendance, evidence, conservation, purity."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.protocol.adaptive_quorum import EpochSignals, QuorumParameters
from sim.protocol.evidence import double_vote
from sim.protocol.ledger import Account, Ledger, LedgerParameters, LedgerState
from sim.protocol.multi_signature import check_certificate
from sim.protocol.stake_manager import StakeParameters, eligible
from sim.protocol.types import QC, Block, EpochParameters, Evidence, Operation, PayloadRef, Vote
from sim.protocol.weighted_voting import WeightParameters, weight_table

L = 6
RULES = LedgerParameters(
    stake=StakeParameters(min_stake=100, unbonding_epochs=2, jail_epochs=1),
    epoch_blocks=L,
    late_blocks=2,
)
SEVEN = tuple(Account(1_000) for _ in range(7))


class Chain:
    """Grows a chain on a ledger, one epoch after another, every view led by `view % n`."""

    def __init__(
        self, rules: LedgerParameters = RULES, genesis: tuple[Account, ...] = SEVEN
    ) -> None:
        self.ledger = Ledger(rules, genesis)
        self.tip = self.ledger.genesis_block
        self.epoch, self.view = 1, 0
        self.n = len(genesis)

    @property
    def state(self) -> LedgerState:
        return self.ledger.state(self.tip.id)

    def block(self, signers: int | None = None, skip: int = 0, **content: object) -> Block:
        everyone = sum(1 << i for i, w in enumerate(self.state.weights.weights) if w)
        chosen = everyone if signers is None else signers
        justify = QC(self.epoch, self.view, self.tip.id, chosen if self.view else 0)
        view = self.view + 1 + skip
        return Block(
            self.epoch, view, self.tip.height + 1, view % self.n, self.tip.id, justify, **content
        )  # type: ignore[arg-type]

    def add(self, block: Block) -> LedgerState:
        assert self.ledger.check_content(block) is None
        state = self.ledger.apply(block)
        self.tip, self.view = block, block.view
        if state.epoch != self.epoch:
            self.epoch, self.view = state.epoch, 0
        return state

    def grow(self, count: int, signers: int | None = None, **content: object) -> LedgerState:
        for _ in range(count):
            self.add(self.block(signers, **content))
        return self.state

    def opened(self) -> EpochParameters:
        return self.ledger.next_epoch(self.tip).parameters


def accuse(who: int, epoch: int = 1, view: int = 1) -> Evidence:
    return double_vote(Vote(epoch, view, b"x" * 32, who), Vote(epoch, view, b"y" * 32, who))


@pytest.mark.parametrize(
    ("refs", "reason"),
    [
        ([(0, 0, 9)], None),
        ([(0, 0, 9), (0, 10, 10), (3, 0, 0)], None),
        ([(0, 1, 9)], "gap"),
        ([(0, 0, 9), (0, 9, 12)], "gap"),
        ([(0, 0, 9), (0, 0, 9)], "gap"),
        ([(7, 0, 9)], "unknown_gateway"),
        ([(-1, 0, 9)], "unknown_gateway"),
        ([(0, 0, -1)], "empty_range"),
    ],
)
def test_ranges_commit_in_order_without_gap(
    refs: list[tuple[int, int, int]], reason: str | None
) -> None:
    chain = Chain()
    payload = tuple(PayloadRef(*ref, 100) for ref in refs)
    assert chain.ledger.check_payload(chain.tip.id, payload) == reason
    assert chain.ledger.check_content(chain.block(payload=payload)) == reason


def test_a_transaction_commits_once_on_each_branch_and_a_repeat_has_no_effect() -> None:
    chain = Chain()
    first = chain.block(payload=(PayloadRef(2, 0, 9, 100),))
    rival = chain.block(skip=1, payload=(PayloadRef(2, 0, 4, 50),))
    assert chain.add(first).next_tx[2] == 10
    assert chain.ledger.apply(rival).next_tx[2] == 5
    again = chain.block(payload=first.payload)
    assert chain.ledger.check_content(again) == "gap"
    state = chain.ledger.apply(again)
    assert (state.next_tx[2], state.transactions) == (10, 10)


def test_genesis_opens_epoch_one() -> None:
    chain = Chain()
    opened = chain.opened()
    assert (opened.epoch, opened.root, opened.root_height) == (1, chain.tip.id, 0)
    assert opened.weights.total == 7 * opened.weights.weights[0]
    assert opened.quorum > 4 * opened.weights.weights[0]
    assert opened.join == opened.weights.total - opened.quorum
    assert chain.ledger.next_epoch(chain.tip).change is None


def test_an_epoch_closes_at_its_last_block_and_pins_the_next() -> None:
    chain = Chain()
    before = chain.opened()
    chain.grow(L - 1)
    assert not chain.ledger.is_root(chain.tip.id)
    with pytest.raises(ValueError, match="closes no epoch"):
        chain.ledger.next_epoch(chain.tip)
    chain.grow(1, signers=0b0011111)
    assert chain.ledger.is_root(chain.tip.id)
    opened = chain.opened()
    assert (opened.epoch, opened.root, opened.root_height) == (2, chain.tip.id, L)
    assert opened.beacon == chain.tip.id
    # A certificate is judged by its own epoch's pin and by no other.
    certificate = QC(1, L, chain.tip.id, 0b1111111, (b"",) * 7)
    assert check_certificate(certificate, before) is None
    assert check_certificate(certificate, opened) == "wrong_epoch"


def test_tail_blocks_are_empty_and_leave_no_trace() -> None:
    chain = Chain()
    root_state = chain.grow(L)
    root = chain.tip
    tail = Block(1, L + 1, L + 1, 0, root.id, QC(1, L, root.id, 127))
    assert chain.ledger.check_content(tail) is None
    after = chain.ledger.apply(tail)
    assert after.is_tail
    assert not chain.ledger.is_root(tail.id)
    assert (after.books, after.next_tx, after.root) == (
        root_state.books,
        root_state.next_tx,
        root.id,
    )
    full = replace(tail, payload=(PayloadRef(0, 0, 5, 1),))
    assert chain.ledger.check_content(full) == "tail_not_empty"
    assert chain.ledger.apply(full).next_tx == root_state.next_tx
    late = Block(2, 1, L + 2, 0, tail.id, QC(2, 0, tail.id, 0))
    assert chain.ledger.check_content(late) == "on_tail"
    assert chain.ledger.apply(late).blocks == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parent": b"?" * 32}, "unknown_parent"),
        ({"height": 3}, "wrong_height"),
        ({"epoch": 2}, "wrong_epoch"),
        ({"attendance": (Vote(1, 1, b"", 0),) * 22}, "attendance_surplus"),
        ({"evidence": (Evidence("double_vote", 1, 1, 1),)}, "evidence:malformed"),
    ],
)
def test_content_that_no_honest_validator_votes_for(change: dict[str, object], reason: str) -> None:
    chain = Chain()
    chain.grow(1)
    bad = replace(chain.block(), **change)  # type: ignore[arg-type]
    assert chain.ledger.check_content(bad) == reason


def test_old_epoch_blocks_inside_a_new_epoch_are_refused() -> None:
    chain = Chain()
    chain.grow(L + 1)
    stale = replace(chain.block(), epoch=1)
    assert chain.ledger.check_content(stale) == "wrong_epoch"
    assert chain.ledger.apply(stale).books == chain.state.books


def test_attendance_counts_certificates_and_late_votes_alike() -> None:
    """Validator 6 is always beaten to the quorum; its late votes earn it the same uptime."""
    chain = Chain()
    fast = 0b0111111
    history: list[Block] = []
    for i in range(L):
        votes = [Vote(1, b.view, b.id, 6) for b in history[-2:-1]]
        if i == 4:
            votes.append(Vote(1, history[-1].view, history[-1].id, 5))  # already credited
        chain.add(chain.block(fast, attendance=tuple(votes)))
        history.append(chain.tip)
        if i == L - 2:
            open_state = chain.state
    assert open_state.tally.expected == L - 1 - 3  # the last k + 1 blocks are still open
    assert open_state.tally.attended == (open_state.tally.expected,) * 7
    assert chain.state.books.uptimes == (1_000_000,) * 7


def test_without_late_votes_the_slow_lose_uptime_and_reputation() -> None:
    chain = Chain()
    chain.grow(L, 0b0111111)
    books = chain.state.books
    assert books.uptimes == (*(1_000_000,) * 6, 750_000)
    # No block attended: absence; validator 6 led view 6 and is credited for that proposal.
    assert books.reputation.scores[5] == 520_000 + 1_000
    assert books.reputation.scores[6] == 500_000 - 40_000 + 1_000
    # The next epoch's weights are those of the scores and uptimes that this one ended with.
    pinned = weight_table([1_000] * 7, books.reputation.scores, books.uptimes, WeightParameters())
    assert chain.opened().weights == pinned
    assert pinned.weights[6] < pinned.weights[5]
    share = chain.ledger.state(chain.ledger.genesis_block.id).weights.weights[6]
    assert books.level.window == (EpochSignals(0, 7 * share, 0, L, share),)


@pytest.mark.parametrize(
    "vote",
    [
        Vote(1, 1, b"?" * 32, 6),
        Vote(1, 9, b"", 6),
        Vote(2, 1, b"", 6),
        Vote(1, 1, b"", 7),
        Vote(1, 1, b"", -1),
        Vote(1, 1, b"", 1 << 60),
    ],
)
def test_attendance_that_fits_nothing_has_no_effect(vote: Vote) -> None:
    chain = Chain()
    chain.grow(1)
    first = chain.tip
    chain.grow(1, 0b0111111)
    late = vote if vote.block else vote._replace(block=first.id)
    block = chain.block(0b0111111, attendance=(late,))
    plain = chain.block(0b0111111)
    assert chain.ledger.check_content(block) is None
    credited = [c.voters for c in chain.ledger.apply(block).tally.recent[:-1]]
    assert credited == [c.voters for c in chain.ledger.apply(plain).tally.recent[:-1]]


def test_late_votes_beyond_the_window_have_no_effect() -> None:
    chain = Chain()
    chain.grow(1)
    late = Vote(1, chain.tip.view, chain.tip.id, 6)
    chain.grow(3, 0b0111111)  # the third of them closes the first block's account
    assert chain.state.tally.expected == 1
    chain.add(chain.block(attendance=(late,)))
    assert chain.state.tally.attended[6] == 0


def test_timeouts_are_the_views_that_the_chain_skipped() -> None:
    chain = Chain()
    chain.add(chain.block(skip=2))
    chain.grow(1)
    chain.add(chain.block(skip=1))
    assert chain.state.tally.timeouts == 3


def test_evidence_slashes_jails_and_counts_once() -> None:
    chain = Chain()
    chain.grow(1)
    chain.add(chain.block(evidence=(accuse(3), accuse(3))))
    assert chain.state.books.stake.bonded[3] == 950
    assert chain.state.tally.offences == (0, 0, 0, 1, 0, 0, 0)
    assert chain.ledger.check_accusation(chain.tip.id, accuse(3)) == "punished"
    chain.add(chain.block(evidence=(accuse(3),)))
    assert chain.state.books.stake.bonded[3] == 950
    assert chain.state.weights.weights[3] > 0  # pinned until the epoch ends
    chain.grow(L - 3)
    assert chain.opened().weights.weights[3] == 0
    # (500,000 + 20,000 + 1,000) / 2
    assert chain.state.books.reputation.scores[3] == 260_500


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (accuse(3, epoch=4), None),
        (accuse(3, epoch=2), None),
        (accuse(3, epoch=1), "out_of_age"),
        (accuse(3, epoch=5), "out_of_age"),
        (accuse(9, epoch=4), "unknown_validator"),
        (Evidence("theft", 3, 4, 1), "unknown_kind"),
        (Evidence("double_vote", 3, 4, 1), "malformed"),
    ],
)
def test_accusations_are_checked(evidence: Evidence, reason: str | None) -> None:
    chain = Chain()
    chain.grow(3 * L)
    assert chain.state.epoch == 4
    assert chain.ledger.check_accusation(chain.tip.id, evidence) == reason


def test_state_depends_on_nothing_that_the_id_does_not_cover() -> None:
    """Two bodies under one evidence key are two copies of one block: they must give one state."""
    a, b = Chain(), Chain()
    sound = a.block(evidence=(accuse(3),))
    hollow = b.block(evidence=(Evidence("double_vote", 3, 1, 1),))
    assert sound.id == hollow.id
    assert a.ledger.check_content(hollow) == "evidence:malformed"
    assert a.ledger.apply(sound).digest() == b.ledger.apply(hollow).digest()


def test_a_few_equivocators_raise_the_level_and_calm_lowers_it() -> None:
    rules = replace(RULES, quorum=QuorumParameters(window_epochs=1, cooldown_epochs=2))
    n = 60
    chain = Chain(rules, tuple(Account(1_000) for _ in range(n)))
    chain.grow(1)
    chain.add(chain.block(evidence=(accuse(7),)))
    chain.grow(L - 2)
    change = chain.ledger.next_epoch(chain.tip).change
    assert change is not None
    assert (change.epoch, change.old, change.new, change.reason) == (2, 0, 1, "up:byzantine")
    assert chain.opened().level == 1
    chain.grow(L)
    assert chain.opened().level == 1  # cooldown
    chain.grow(L)
    change = chain.ledger.next_epoch(chain.tip).change
    assert change is not None
    assert (change.old, change.new, change.reason) == (1, 0, "down:calm")


def operate(kind: str, who: int, amount: int, nonce: int) -> Operation:
    return Operation(kind, who, amount, nonce)


def test_operations_apply_once_and_in_nonce_order() -> None:
    chain = Chain(genesis=(*SEVEN, Account(0, free=500)))
    register = operate("register", 7, 300, 0)
    assert chain.ledger.check_operation(chain.tip.id, register) is None
    later = operate("top_up", 7, 100, 1)
    assert chain.ledger.check_operation(chain.tip.id, later) == "not_registered"
    chain.add(chain.block(operations=(register, register, later)))
    assert chain.state.books.stake.bonded[7] == 400
    assert chain.state.books.nonces[7] == 2
    assert chain.ledger.check_operation(chain.tip.id, operate("top_up", 7, 10, 1)) == "nonce"
    assert chain.state.weights.weights[7] == 0
    chain.grow(L - 1)
    assert chain.opened().weights.weights[7] > 0


def test_memberships_may_be_disjoint_from_one_epoch_to_the_next() -> None:
    chain = Chain(genesis=(*(Account(500) for _ in range(5)), *(Account(0, free=500),) * 5))
    chain.grow(1)
    moves = [operate("unbond", i, 500, 0) for i in range(5)]
    moves += [operate("register", i, 500, 0) for i in range(5, 10)]
    chain.add(chain.block(operations=tuple(moves)))
    chain.grow(L - 2)
    assert [w > 0 for w in chain.opened().weights.weights] == [False] * 5 + [True] * 5
    assert not chain.state.books.membership_kept
    assert chain.grow(2 * L).books.stake.free[:5] == (500,) * 5


def test_too_few_qualified_leave_the_membership_as_it_was() -> None:
    chain = Chain()
    before = chain.opened().weights
    leave = tuple(operate("unbond", i, 1_000, 0) for i in range(4))
    chain.add(chain.block(operations=leave))
    chain.grow(L - 1)
    assert chain.state.books.membership_kept
    assert chain.opened().weights == before
    assert sum(map(bool, eligible(chain.state.books.stake, RULES.stake))) == 3


def test_downtime_is_slashed_when_it_is_on() -> None:
    terms = replace(RULES.stake, min_signed_ppm=500_000)
    on, off = Chain(replace(RULES, stake=terms)), Chain()
    for chain in (on, off):
        chain.grow(L, 0b0111111)
    assert on.state.books.stake.bonded == (1_000,) * 6 + (990,)
    assert on.opened().weights.weights[6] == 0
    assert off.state.books.stake.bonded[6] == 1_000
    assert off.opened().weights.weights[6] > 0
    unjail = operate("unjail", 6, 0, 0)
    assert on.ledger.check_operation(on.tip.id, unjail) is None
    on.add(on.block(operations=(unjail,)))
    on.grow(L - 1)
    assert on.opened().weights.weights[6] > 0


content = st.fixed_dictionaries(
    {
        "operations": st.lists(
            st.builds(
                Operation,
                st.sampled_from(["register", "top_up", "unbond", "unjail", "mint"]),
                st.integers(0, 9),
                st.integers(-5, 1_200),
                st.integers(0, 3),
            ),
            max_size=6,
        ).map(tuple),
        "evidence": st.lists(
            st.builds(accuse, st.integers(0, 8), st.integers(1, 4), st.integers(1, 3)), max_size=2
        ).map(tuple),
        "payload": st.lists(
            st.builds(
                PayloadRef, st.integers(0, 9), st.integers(0, 5), st.integers(0, 9), st.just(9)
            ),
            max_size=3,
        ).map(tuple),
        "attendance": st.lists(
            st.builds(Vote, st.just(1), st.integers(1, 5), st.just(b"x"), st.integers(0, 9)),
            max_size=2,
        ).map(tuple),
    }
)


@settings(max_examples=60)
@given(st.lists(st.tuples(content, st.integers(0, 511), st.integers(0, 2)), max_size=20))
def test_supply_is_conserved_and_apply_is_pure_on_any_chain(
    run: list[tuple[dict[str, object], int, int]],
) -> None:
    genesis = (*(Account(1_000, free=300) for _ in range(8)), Account(0, free=900))
    chain = Chain(genesis=genesis)
    blocks = []
    for body, signers, skip in run:
        block = chain.block(signers, skip, **body)
        state = chain.ledger.apply(block)
        blocks.append(block)
        assert state.supply == chain.ledger.minted == 8 * 1_300 + 900
        assert chain.ledger.apply(block) is state
        assert state.weights.total == sum(state.weights.weights) > 0
        chain.tip, chain.view = block, block.view
        if state.epoch != chain.epoch:
            chain.epoch, chain.view = state.epoch, 0
    other = Ledger(RULES, genesis)
    for block in blocks:
        other.apply(block)
    assert all(other.state(b.id).digest() == chain.ledger.state(b.id).digest() for b in blocks)


def test_forget_keeps_what_is_needed_and_genesis() -> None:
    chain = Chain()
    blocks = []
    for _ in range(4 * L):
        chain.grow(1)
        blocks.append(chain.tip)
    chain.ledger.forget([(3 * L, 10**6), (5, 7)])
    known = [b.height for b in blocks if chain.ledger.knows(b.id)]
    assert known == [5, 6, 7, *range(3 * L, 4 * L + 1)]
    assert chain.ledger.knows(chain.ledger.genesis_block.id)
    chain.ledger.forget([])
    assert not any(chain.ledger.knows(block.id) for block in blocks)
    with pytest.raises(KeyError):
        chain.ledger.state(chain.tip.id)


def test_what_was_forgotten_is_applied_anew() -> None:
    """As by a validator that lost its memory: from genesis, over several epochs."""
    chain = Chain()
    blocks, digests = [], []
    for _ in range(3 * L):
        digests.append(chain.grow(1).digest())
        blocks.append(chain.tip)
    first = chain.ledger.next_epoch(chain.ledger.genesis_block)
    chain.ledger.forget([(3 * L, 10**6)])
    assert [chain.ledger.apply(block).digest() for block in blocks] == digests
    assert chain.ledger.next_epoch(chain.ledger.genesis_block) == first


def test_what_is_remembered_of_an_epoch_ends_four_epochs_later() -> None:
    chain = Chain()
    memos = []
    for _ in range(6):
        chain.grow(L)
        memo = chain.opened().memo
        memo["leaders"] = {}
        memos.append(memo)
    assert [bool(memo) for memo in memos] == [False, False, True, True, True, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch_blocks": 3}, "late_blocks"),
        ({"late_blocks": -1}, "late_blocks"),
        ({"uptime_gain_ppm": 0}, "uptime_gain_ppm"),
        ({"least_members": 0}, "least_members"),
    ],
)
def test_impossible_rules_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RULES, **change)


def test_genesis_needs_members() -> None:
    with pytest.raises(ValueError, match="least_members asks for 4"):
        Ledger(RULES, [Account(1_000)] * 3 + [Account(99)] * 5)
    with pytest.raises(ValueError, match="uptimes"):
        Ledger(RULES, [Account(1_000, uptime=2_000_000)] * 7)
