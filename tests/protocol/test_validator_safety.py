"""Above the Byzantine limit safety breaks, visibly, and exactly the guilty are convicted.

Below it, nothing that two copies of f identities say makes two honest validators disagree.
"""

from __future__ import annotations

import pytest

from sim.protocol.effects import Accused, Forked, Reconciled
from sim.protocol.events import TimerFired
from sim.protocol.messages import Message
from sim.protocol.pacemaker import ConsensusParameters
from sim.protocol.types import PayloadRef
from sim.protocol.validator import Validator
from tests.protocol.harness import MS, Network, hash_delay, rules, settings


def one_side(
    nodes: set[int], side: int, *, count: int, epoch_blocks: int, parameters: ConsensusParameters
) -> Network:
    """Run the network as one side of a partition sees it; the others are not there."""
    network = Network(
        count,
        parameters=parameters,
        ledger=rules(epoch_blocks=epoch_blocks),
        link=hash_delay(("side", side)),
        private_ledgers=True,
    )
    network.down = set(range(count)) - nodes
    network.offered = [(10 * MS, PayloadRef(0, 0, 9 + side, 100))]
    return network.start()


def split_brain(
    *,
    guilty: int,
    honest: int,
    epoch_blocks: int = 1_000,
    views: tuple[int, int] = (30_000, 30_000),
    **changes: object,
) -> tuple[Network, Network, Network]:
    """Run `guilty` identities twice, once with each of two groups of `honest`, then heal."""
    count = guilty + 2 * honest
    parameters = settings(**changes)
    twins = set(range(guilty))
    groups = (set(range(guilty, guilty + honest)), set(range(guilty + honest, count)))
    sides = [
        one_side(
            twins | groups[i], i, count=count, epoch_blocks=epoch_blocks, parameters=parameters
        ).run(views[i] * MS)
        for i in (0, 1)
    ]
    cores: dict[int, Validator] = {}
    for side, group in zip(sides, groups, strict=True):
        cores |= {node: side.validators[node] for node in sorted(group)}
    healed = Network(count, parameters=parameters, ledger=sides[0].rules, validators=cores)
    healed.now_ns = max(side.now_ns for side in sides)
    return sides[0], sides[1], healed


def convicted_weight(healed: Network) -> int:
    core = next(iter(healed.validators.values()))
    guilty = {accused.evidence.offender for accused in healed.seen(Accused)}
    return sum(core.chain.epoch.weights.weights[who] for who in guilty)


def overlap(healed: Network) -> int:
    epoch = next(iter(healed.validators.values())).chain.epoch
    return 2 * epoch.quorum - epoch.weights.total


@pytest.mark.parametrize(("guilty", "honest"), [(2, 1), (3, 2)])
def test_a_split_brain_conflicts_and_convicts_the_guilty_only(guilty: int, honest: int) -> None:
    left, right, healed = split_brain(guilty=guilty, honest=honest)
    assert min(left.heights([guilty]) + right.heights([guilty + honest])) > 3
    healed.nudge().run(healed.now_ns + 10_000 * MS)
    assert healed.forks("finality")
    offenders = {accused.evidence.offender for accused in healed.seen(Accused)}
    assert offenders <= set(range(guilty))
    assert convicted_weight(healed) >= overlap(healed)


def test_a_split_brain_in_different_views_is_convicted_by_hidden_certificates() -> None:
    """One side loses some views to timeouts first, so no view has two certificates."""
    left, _, _ = split_brain(guilty=2, honest=1)
    slow = one_side({0, 1, 3}, 1, count=4, epoch_blocks=1_000, parameters=left.parameters)
    busy = left.validators[2].view + 3

    def timeouts_only(a: int, b: int, message: object, now_ns: int) -> int | None:
        if slow.validators[3].view < busy and type(message).__name__ in ("Proposal", "VoteMessage"):
            return None
        return 10 * MS

    slow.link = timeouts_only
    slow.run(120_000 * MS, stop=lambda: len(slow.chains[3]) > 5)
    assert len(slow.chains[3]) > 5
    cores = {2: left.validators[2], 3: slow.validators[3]}
    healed = Network(4, parameters=left.parameters, ledger=left.rules, validators=cores)
    healed.now_ns = slow.now_ns
    healed.nudge().run(healed.now_ns + 20_000 * MS)
    assert healed.forks("finality")
    kinds = {accused.evidence.kind for accused in healed.seen(Accused)}
    assert kinds == {"stale_timeout"}
    assert {accused.evidence.offender for accused in healed.seen(Accused)} == {0, 1}
    assert convicted_weight(healed) >= overlap(healed)


def test_halt_answers_nothing_after_a_violation() -> None:
    _, _, healed = split_brain(guilty=2, honest=1)
    healed.nudge().run(healed.now_ns + 10_000 * MS)
    halted = [core for core in healed.validators.values() if core.chain.halted]
    assert halted
    for core in halted:
        assert core.handle(TimerFired((core.epoch, core.view, "view")), healed.now_ns) == []


def test_reconcile_brings_both_sides_back_to_one_chain() -> None:
    left, right, healed = split_brain(
        guilty=3, honest=2, views=(30_000, 60_000), on_safety_violation="reconcile"
    )
    longest = right.heights([5])[0]
    assert longest > left.heights([3])[0] > 3
    for twin in (0, 1, 2):
        healed.validators[twin] = left.validators[twin]
    healed = Network(
        7,
        parameters=left.parameters,
        ledger=left.rules,
        validators=dict(sorted(healed.validators.items())),
    )
    healed.now_ns = max(left.now_ns, right.now_ns)
    healed.nudge().run(healed.now_ns + 30_000 * MS)
    moved = [r for r in healed.seen(Reconciled) if r.depth]
    assert moved, "the shorter side gives way"
    finals = {core.chain.tree.final.height: core for core in healed.validators.values()}
    lowest = finals[min(finals)].chain.tree.final
    assert lowest.height > longest, "the chain goes on"
    for core in healed.validators.values():
        assert core.chain.tree.extends(core.chain.tree.final.id, lowest.id)
        assert core.ledger.state(core.chain.tree.final.id).supply == core.ledger.minted


def test_roots_that_differ_are_a_finality_fork_across_epochs() -> None:
    left, right, healed = split_brain(guilty=2, honest=1, epoch_blocks=6)
    assert left.validators[2].epoch > 2
    assert right.validators[3].epoch > 2
    healed.nudge().run(healed.now_ns + 20_000 * MS)
    assert [fork for fork in healed.seen(Forked) if fork.kind == "finality"]
    assert {accused.evidence.offender for accused in healed.seen(Accused)} <= {0, 1}


def test_f_twins_below_the_limit_never_split_the_honest() -> None:
    """One of four runs twice, each copy with its own half: no quorum without the other half."""
    left, right, healed = split_brain(guilty=1, honest=2)
    del healed
    assert left.heights([1]) == [0]
    assert right.heights([2]) == [0]


def after_a_crash_of_two(*, amnesia: bool) -> Network:
    """Commit with 0, 1, 2 while 3 is cut off; crash 1 and 2; go on with 1, 2, 3; then heal."""
    base = hash_delay(3)
    cut_off = [3]

    def link(sender: int, receiver: int, message: Message, now_ns: int) -> int | None:
        if (sender in cut_off) != (receiver in cut_off):
            return None
        return base(sender, receiver, message, now_ns)

    network = Network(4, ledger=rules(epoch_blocks=1_000), link=link, private_ledgers=True)
    network.start().run(10_000 * MS)
    assert min(network.heights([0, 1, 2])) > 3
    network.crash(1)
    network.crash(2)
    network.offered = [(network.now_ns, PayloadRef(0, 0, 9, 100))]
    cut_off[:] = [0]
    network.restart(1, amnesia=amnesia)
    network.restart(2, amnesia=amnesia)
    network.run(40_000 * MS)
    cut_off.clear()
    return network.run(60_000 * MS)


def test_an_amnesia_crash_of_more_than_f_breaks_safety_and_is_convicted() -> None:
    """Nobody is malicious: two of four forget their votes, and finality forks."""
    network = after_a_crash_of_two(amnesia=True)
    assert network.conflicts()
    assert network.forks("finality")
    assert {key[1] for key in network.accused()} == {1, 2}


def test_the_same_crash_with_persistence_does_not() -> None:
    network = after_a_crash_of_two(amnesia=False)
    assert network.conflicts() == []
    assert network.accused() == {}
    assert min(network.heights()) > 10
