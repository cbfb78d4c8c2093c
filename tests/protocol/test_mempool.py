"""The pools: bounds, order without gap, fairness between gateways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.effects import Dropped, Effect
from sim.protocol.mempool import OPERATIONS_PER_VALIDATOR, Mempool
from sim.protocol.types import Evidence, Operation, PayloadRef, Vote


def pool(refs: int = 100, operations: int = 10, votes: int = 10) -> Mempool:
    return Mempool(refs=refs, operations=operations, evidence=4, votes=votes)


def ref(gateway: int, first: int, last: int) -> PayloadRef:
    return PayloadRef(gateway, first, last, 10 * (last - first + 1))


def test_only_the_run_that_starts_at_the_next_number_is_drawn() -> None:
    mempool, out = pool(), []
    mempool.add_refs([ref(0, 10, 19), ref(0, 20, 29), ref(1, 5, 9)], (10, 0), out)
    drawn = mempool.draw_refs((10, 0), turn=0, refs=10, transactions=100)
    assert drawn == (ref(0, 10, 19), ref(0, 20, 29))
    assert mempool.draw_refs((20, 5), turn=0, refs=10, transactions=100) == (
        ref(0, 20, 29),
        ref(1, 5, 9),
    )
    assert out == []


def test_committed_held_overlapping_and_malformed_references_are_skipped() -> None:
    mempool, out = pool(), []
    good = ref(0, 10, 19)
    bad = [ref(0, 0, 9), good, ref(0, 15, 25), ref(9, 0, 1), PayloadRef(0, 30, 29, 1)]
    mempool.add_refs([good, *bad, PayloadRef(0, 40, 41, -1)], (10,), out)
    assert len(mempool) == 1


def test_what_comes_next_is_never_shut_out_by_what_comes_later() -> None:
    mempool = pool(refs=4)
    out: list[Effect] = []
    late = [ref(0, n, n) for n in range(5, 12)]
    mempool.add_refs(late, (0, 0), out)
    assert len(mempool) == 2, "half of the room is gateway 1's"
    mempool.add_refs([ref(0, 0, 4)], (0, 0), out)
    assert mempool.draw_refs((0, 0), turn=0, refs=9, transactions=99)[0] == ref(0, 0, 4)
    dropped = [r for e in out if isinstance(e, Dropped) for r in e.refs]
    assert sorted([*dropped, ref(0, 0, 4), ref(0, 5, 5)]) == sorted([*late, ref(0, 0, 4)])


def test_a_full_block_leaves_out_others_in_turn() -> None:
    mempool = pool(refs=1_000)
    mempool.add_refs([ref(g, 0, 9) for g in range(6)], (0,) * 6, [])
    first = {
        tuple(r.gateway for r in mempool.draw_refs((0,) * 6, turn=t, refs=2, transactions=99))
        for t in range(6)
    }
    assert len(first) == 6


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 6)), max_size=60),
    st.integers(1, 12),
    st.integers(1, 60),
)
def test_a_draw_commits_in_order_within_its_bounds(
    offers: list[tuple[int, int, int]], refs: int, transactions: int
) -> None:
    mempool = pool(refs=30)
    mempool.add_refs([ref(g, a, a + n) for g, a, n in offers], (0, 3, 7), [])
    following = [0, 3, 7]
    drawn = mempool.draw_refs((0, 3, 7), turn=1, refs=refs, transactions=transactions)
    for chosen in drawn:
        assert chosen.first == following[chosen.gateway]
        following[chosen.gateway] = chosen.last + 1
    assert len(drawn) <= refs
    assert sum(r.tx_count for r in drawn) <= transactions
    assert len(mempool) <= 30


def test_operations_are_bounded_by_validator_and_in_all() -> None:
    mempool = pool(operations=3)
    assert mempool.add_operation(Operation("top_up", 1, 1, 4), 5) == "stale_nonce"
    far = Operation("top_up", 1, 1, 5 + OPERATIONS_PER_VALIDATOR)
    assert mempool.add_operation(far, 5) == "far_nonce"
    assert mempool.add_operation(Operation("top_up", 1, 1, 5), 5) is None
    assert mempool.add_operation(Operation("unbond", 1, 1, 5), 5) == "known"
    assert mempool.add_operation(Operation("top_up", 2, 1, 0), 0) is None
    assert mempool.add_operation(Operation("top_up", 3, 1, 0), 0) is None
    assert mempool.add_operation(Operation("top_up", 4, 1, 0), 0) == "full"


def test_evidence_is_kept_once_a_key() -> None:
    mempool = pool()
    for view in range(4):
        assert mempool.add_evidence(Evidence("double_vote", 1, 1, view)) is None
    assert mempool.add_evidence(Evidence("double_vote", 1, 1, 0)) == "known"
    assert mempool.add_evidence(Evidence("double_vote", 1, 1, 9)) == "full"


def test_a_conflicting_late_vote_is_given_back_and_the_oldest_gives_way() -> None:
    mempool = pool(votes=2)
    first = Vote(1, 1, b"a", 7)
    assert mempool.add_vote(first) is None
    assert mempool.add_vote(first) == "known"
    assert mempool.add_vote(first._replace(block=b"b")) == first
    assert mempool.add_vote(Vote(1, 2, b"c", 7)) is None
    assert mempool.add_vote(Vote(1, 3, b"d", 7)) == "full"
    assert list(mempool.votes) == [(2, 7), (3, 7)]
