"""Ten bugs are planted one by one; each must be caught, and sound code must pass every detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as search
from hypothesis.stateful import run_state_machine_as_test

from sim.protocol import ledger as ledger_module
from sim.protocol import safety as safety_module
from sim.protocol import stake_manager
from sim.protocol import validator as validator_module
from sim.protocol.chain import Chain
from sim.protocol.effects import Accused, NoVote, Rejected
from sim.protocol.events import MessageReceived, Restarted, Started, TimerFired
from sim.protocol.evidence import vote_rule
from sim.protocol.fork_detector import BlockTree
from sim.protocol.ledger import Account
from sim.protocol.messages import Proposal, VoteMessage
from sim.protocol.multi_signature import Conflict, RejectedVote, VoteCollector
from sim.protocol.safety import SafetyRules
from sim.protocol.types import QC, TC, Block, Timeout, Vote, WeightTable
from sim.protocol.validator import Validator
from sim.protocol.weighted_voting import effective_cap_ppm
from tests.protocol.harness import MS, STAKE, Network, accounts, rules
from tests.protocol.test_state_machine import AdversarySchedules
from tests.protocol.test_validator_faults import proposal_twin, vote_once, votes_in
from tests.protocol.test_validator_safety import split_brain

Patch = pytest.MonkeyPatch


# The plants


def quorum_off_by_one(patch: Patch) -> None:
    """One vote less than the ratio asks for."""
    sound = ledger_module.quorum_weight
    patch.setattr(ledger_module, "quorum_weight", lambda w, level: sound(w, level) - w // 5)


def stale_timer(patch: Patch) -> None:
    """Any timer of a view counts, whichever view this is."""

    def on_timer(self: Validator, event: TimerFired, out: list[Any]) -> None:
        if event.timer_id[2] == "view" and self.is_member:
            self._time_out(out)

    patch.setattr(Validator, "_on_timer", on_timer)


def unpinned_weights(patch: Patch) -> None:
    """Certificates are judged by the stakes of the last final block."""
    sound, opened = Chain._report, Chain._open

    def own_copy(self: Chain, root: Block) -> None:
        opened(self, root)
        self.epoch = replace(self.epoch)

    def report(self: Chain, blocks: tuple[Block, ...], out: list[Any]) -> None:
        sound(self, blocks, out)
        stakes = self.ledger.state(self.tree.final.id).books.stake.bonded
        unit = 10**9
        weights = tuple(s * unit // sum(stakes) for s in stakes)
        table = WeightTable(weights, sum(weights))
        object.__setattr__(self.epoch, "weights", table)

    patch.setattr(Chain, "_open", own_copy)
    patch.setattr(Chain, "_report", report)


def lost_persistence(patch: Patch) -> None:
    """What is written to disk forgets the last vote."""
    sound = SafetyRules.state
    patch.setattr(
        SafetyRules,
        "state",
        lambda self, qc: sound(self, qc)._replace(last_voted_view=0, last_timeout=None),
    )


def clamp_and_renormalise(patch: Patch) -> None:
    """Clamp at the cap, then scale to one: the clamped rise above the cap again."""

    def table(stakes: Any, reputations: Any, uptimes: Any, parameters: Any) -> WeightTable:
        unit, total = 10**9, sum(stakes)
        clamped = [min(s * unit // total, parameters.cap_ppm * 1_000) for s in stakes]
        weights = tuple(c * unit // sum(clamped) for c in clamped)
        return WeightTable(weights, sum(weights))

    patch.setattr(ledger_module, "weight_table", table)


def missing_equivocation_check(patch: Patch) -> None:
    """A second vote of one key is a duplicate, whatever it says."""
    sound = VoteCollector.add

    def add(self: VoteCollector, vote: Vote, verified: bool) -> Any:
        result = sound(self, vote, verified)
        return RejectedVote("duplicate") if isinstance(result, Conflict) else result

    patch.setattr(VoteCollector, "add", add)


def vote_after_timeout(patch: Patch) -> None:
    """A timeout doesn't spend the view's vote."""

    def timeout(self: SafetyRules, view: int, high_qc: QC) -> Timeout:
        said = Timeout(self._epoch, view, high_qc.view, high_qc.block, self._me)
        self.last_timeout = said
        return said

    patch.setattr(SafetyRules, "timeout", timeout)


def tc_without_the_high_qc_rule(patch: Patch) -> None:
    """Any justification goes with a TC."""

    def rule(block: Block) -> str | None:
        reason = vote_rule(block)
        return None if reason == "justification_below_tc" else reason

    patch.setattr(safety_module, "vote_rule", rule)
    patch.setattr(validator_module, "vote_rule", rule)


def fork_choice_across_finality(patch: Patch) -> None:
    """The longest certified branch wins, whatever is final."""

    def choose(self: BlockTree) -> bytes:
        certified = [n for n in self._nodes.values() if n.qc is not None]
        best = max(
            certified, key=lambda n: (n.block.height, self._weigh(n.qc)), default=self._chain[-1]
        )
        return best.block.id

    patch.setattr(BlockTree, "fork_choice", choose)


def supply_not_conserved(patch: Patch) -> None:
    """What is slashed is taken and burned nowhere."""
    sound = stake_manager.slash
    patch.setattr(
        ledger_module.stakes,
        "slash",
        lambda state, *rest: sound(state, *rest)._replace(burned=state.burned),
    )


# The detectors


def no_split_below_the_limit() -> None:
    """One of five in both halves of a split must not let either half commit."""
    left, right, _ = split_brain(guilty=1, honest=2)
    assert max(left.heights() + right.heights()) == 0


def superseded_timers_do_nothing() -> None:
    network = Network(4).start().run(1_000 * MS)
    core = network.validators[0]
    assert core.handle(TimerFired((core.epoch, core.view - 1, "view")), network.now_ns) == []


def run_with_a_double_voter(**changes: Any) -> Network:
    """Validator 3 sends each collector a second vote for another block, and is slashed for it."""
    network = Network(4, ledger=rules(epoch_blocks=40, **changes))

    def mind(net: Network, node: int, effects: list[Any]) -> list[Any]:
        extra = []
        for effect in effects:
            message = getattr(effect, "message", None)
            if isinstance(message, VoteMessage) and message.vote.view < 8:
                other = message.vote._replace(block=b"\1" * 32)
                extra.append(effect._replace(message=VoteMessage(other)))
        return [*effects, *extra]

    network.minds[3] = mind
    return network.start().run(2_000 * MS)


def everyone_judges_by_what_the_root_pins() -> None:
    network = run_with_a_double_voter()
    for core in network.validators.values():
        root = core.chain.tree.get(core.chain.epoch.root)
        assert root is not None
        assert core.chain.epoch == core.ledger.next_epoch(root).parameters


def a_restart_never_votes_twice() -> None:
    core, proposal, state = vote_once()
    core.handle(Restarted(state), 0)
    effects = core.handle(MessageReceived(0, proposal_twin(proposal)), 0)
    assert votes_in(effects) == []


def no_weight_above_the_effective_cap() -> None:
    whale = Account(stake=STAKE * 500)
    genesis = [whale] * 3 + accounts(7)
    network = Network(genesis=genesis).start([])
    epoch = network.validators[0].chain.epoch
    cap = effective_cap_ppm(10, network.rules.weights)
    assert max(epoch.weights.weights) * 1_000_000 <= cap * epoch.weights.total + 10_000_000


def a_double_vote_is_evidence_and_is_punished() -> None:
    network = run_with_a_double_voter()
    assert {key[:2] for key in network.accused()} == {("double_vote", 3)}
    core = network.validators[0]
    books = core.ledger.state(core.chain.tree.final.id).books
    assert books.stake.burned > 0


def a_timeout_spends_the_vote() -> None:
    core, proposal, _ = vote_once()
    fresh = Validator(2, core.parameters, core.ledger)
    fresh.handle(Started(), 0)
    fresh.handle(TimerFired((1, 1, "view")), 0)
    effects = fresh.handle(MessageReceived(0, proposal), 0)
    assert votes_in(effects) == []
    assert [e.reason for e in effects if isinstance(e, NoVote)] == ["voted_or_timed_out"]


def below_its_tc() -> tuple[Validator, Proposal]:
    """A validator in a view entered by TC, and a proposal that hides the TC's highest QC."""
    network = Network(4, ledger=rules(epoch_blocks=200)).start().run(1_000 * MS)
    core = network.validators[1]
    high = core.chain.high_qc
    view = next(v for v in range(core.view + 1, 200) if core.leader(v + 1) not in (1, core.me))
    timeouts = tuple(Timeout(1, view, high.view, high.block, i) for i in (0, 2, 3))
    block = core.chain.tree.get(high.block)
    assert block is not None
    old = block.justify
    parent = core.chain.tree.get(old.block)
    assert parent is not None
    leader = core.leader(view + 1)
    hiding = Block(1, view + 1, parent.height + 1, leader, parent.id, old, TC(1, view, timeouts))
    return core, Proposal(hiding)


def a_hidden_certificate_gets_no_vote() -> None:
    core, proposal = below_its_tc()
    effects = core.handle(MessageReceived(proposal.block.proposer, proposal), 0)
    assert votes_in(effects) == []
    assert [e.reason for e in effects if isinstance(e, Rejected)] == ["justification_below_tc"]


def fork_choice_stays_above_finality() -> None:
    left, right, _ = split_brain(guilty=2, honest=1, views=(30_000, 60_000))
    tree = left.validators[2].chain.tree
    final = tree.final
    longer = right.validators[3].chain.tree
    for block in longer.path(right.validators[3].chain.high_qc.block, 0, 1 << 30):
        if block.id not in tree:
            tree.insert(block)
    assert longer.final.height > final.height
    assert tree.extends(tree.fork_choice(), final.id)


def supply_is_conserved() -> None:
    network = run_with_a_double_voter()
    core = network.validators[0]
    assert core.ledger.state(core.chain.tree.final.id).supply == core.ledger.minted
    assert network.seen(Accused)


BUGS: dict[str, tuple[Callable[[Patch], None], Callable[[], None]]] = {
    "quorum off by one": (quorum_off_by_one, no_split_below_the_limit),
    "stale timer": (stale_timer, superseded_timers_do_nothing),
    "unpinned weights": (unpinned_weights, everyone_judges_by_what_the_root_pins),
    "lost persistence": (lost_persistence, a_restart_never_votes_twice),
    "cap by clamp-and-renormalise": (clamp_and_renormalise, no_weight_above_the_effective_cap),
    "missing equivocation check": (
        missing_equivocation_check,
        a_double_vote_is_evidence_and_is_punished,
    ),
    "vote after timeout": (vote_after_timeout, a_timeout_spends_the_vote),
    "TC without the high-QC rule": (tc_without_the_high_qc_rule, a_hidden_certificate_gets_no_vote),
    "fork choice across finality": (fork_choice_across_finality, fork_choice_stays_above_finality),
    "supply not conserved": (supply_not_conserved, supply_is_conserved),
}


@pytest.mark.parametrize("name", BUGS)
def test_sound_code_passes(name: str) -> None:
    _, detect = BUGS[name]
    detect()


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_is_caught(name: str, monkeypatch: Patch) -> None:
    plant, detect = BUGS[name]
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        detect()


@pytest.mark.parametrize("name", ["lost persistence", "vote after timeout"])
def test_the_schedule_search_catches_it_too(name: str, monkeypatch: Patch) -> None:
    """Not only a detector written for it: the search of test_state_machine finds the bug."""
    plant, _ = BUGS[name]
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            AdversarySchedules,
            settings=search(
                max_examples=400,
                stateful_step_count=60,
                deadline=None,
                derandomize=True,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
