"""Coalitions: who is chosen, when they act, what contradicts, and that nobody can forge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.engine.adversary import Engagement, Mind
from sim.engine.world import World
from sim.protocol.effects import Send
from sim.protocol.evidence import double_vote
from sim.protocol.messages import (
    CertificateResponse,
    EpochProofMessage,
    EvidenceMessage,
    LateVotes,
    Message,
    OperationMessage,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.types import (
    QC,
    TC,
    Block,
    EpochProof,
    Operation,
    PayloadRef,
    Timeout,
    Vote,
    digest,
)
from sim.scenario.errors import ScenarioErrors
from sim.scenario.load import load_scenario
from sim.scenario.selection import up_to_share
from sim.world.adversary import Alarm, Attack, Edited, Scene, own_vote
from sim.world.crypto.signer import FORGED
from sim.world.crypto.signing import MARK
from tests.adversaries.rows import Rows
from tests.engine.worlds import SECOND, ran, scenario_text, world, written

SEVEN: dict[str, Any] = {"count": 7}
FORGER, VICTIM = 3, 5
FOREVER = 1 << 62


def owned(kind: str, *nodes: int, **settings: Any) -> dict[str, Any]:
    return {"kind": kind, "nodes": {"ids": list(nodes)}, **settings}


def refusals(folder: Path, *adversaries: dict[str, Any], **sections: Any) -> list[str]:
    """Return the errors of a scenario, without the file's name: `line:column: path: message`."""
    text = scenario_text(validators=SEVEN, adversaries=list(adversaries), **sections)
    path = written(folder, text)
    try:
        load_scenario(path)
    except ScenarioErrors as errors:
        return [str(error).removeprefix(f"{path}:") for error in errors.errors]
    return []


# -- two minds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (owned("silent", 1, 2), owned("double_vote", 2), "validator 2 is in two minds"),
        (owned("twins", 1), owned("timeout_spam", 1), "everything that leaves it"),
        (owned("equivocate", 1), owned("delay_proposals", 1), "both decide on its proposals"),
        (owned("lazy_vote", 1, amount="1 ms"), owned("double_vote", 1), "on its votes"),
        (owned("double_vote", 1), owned("double_vote", 1), "on its votes"),
        (
            owned("double_vote", 1),
            {"kind": "silent", "nodes": {"random": 1}},
            "a validator may be in two minds",
        ),
        (owned("silent", 0), {"kind": "equivocate", "nodes": {"by_weight": 1}}, "validator 0 is"),
    ],
)
def test_contradictory_minds_are_refused_with_their_line(
    first: dict[str, Any], second: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (error,) = refusals(tmp_path, first, second)
    place, path, message = error.split(": ", 2)
    assert path == "adversaries.1.nodes"
    assert words in message
    lines = (tmp_path / "case.yaml").read_text(encoding="utf-8").splitlines()
    line, column = map(int, place.split(":"))
    assert lines[line - 1][column - 1 :].startswith('"nodes"')
    # That of the second adversary.
    assert sum('"nodes"' in text for text in lines[: line - 1]) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (owned("double_vote", 1), owned("equivocate", 1)),
        (owned("silent", 1, end="1 s"), owned("double_vote", 1, start="1 s")),
        (owned("silent", 1), owned("double_vote", 2)),
        (
            owned("withhold", 1, what=["votes"], victims={"ids": [0]}),
            owned("withhold", 1, what=["proposals"], victims={"ids": [2]}),
        ),
        (owned("double_vote", 1), owned("evidence_suppression", 1, protected={"ids": [1]})),
    ],
)
def test_minds_that_agree_are_let_through(
    first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    assert refusals(tmp_path, first, second) == []


@pytest.mark.parametrize(
    ("asked", "path", "words"),
    [
        (owned("sleeper", 1, then="silent"), "adversaries.0", "never wakes"),
        (
            owned("sleeper", 1, then="silent", until_reputation="95 %"),
            "adversaries.0.until_reputation",
            "above the ceiling",
        ),
        (owned("censor", 1), "adversaries.0", "censors nobody"),
        (owned("withhold", 1, what=[], victims={"ids": [0]}), "adversaries.0.what", "nothing"),
        (
            owned("level_then_silence", 1, 2, provokers=2),
            "adversaries.0.provokers",
            "nobody is left to fall silent",
        ),
        (
            owned("twins", 1, sides=[{"ids": [0, 2]}, {"ids": [2]}]),
            "adversaries.0.sides.1",
            "`2` is on both sides",
        ),
        (
            owned("twins", 1, sides=[{"ids": [0]}, {"ids": [2]}], turn="1 s"),
            "adversaries.0.turn",
            "do not take turns",
        ),
        (
            owned("silent", 1, when={"heights": {"from": 9, "to": 3}}),
            "adversaries.0.when.heights",
            "`to` is before `from`",
        ),
        (
            owned("silent", 1, when={"level": {"at_least": 2, "at_most": 1}}),
            "adversaries.0.when.level",
            "never act",
        ),
        (
            {"kind": "silent", "nodes": {"heaviest": "5 %"}},
            "adversaries.0.nodes.heaviest",
            "chooses nobody",
        ),
        (
            owned("long_range", 1, victims={"ids": [9]}),
            "adversaries.0.victims.ids.0",
            "there is no validator 9",
        ),
        (
            owned("long_range", 1, victims={"regions": ["aws:us-gov-wst-1"]}),
            "adversaries.0.victims.regions.0",
            "did you mean `aws:us-gov-west-1`",
        ),
    ],
)
def test_an_attack_that_cannot_be_is_refused(
    asked: dict[str, Any], path: str, words: str, tmp_path: Path
) -> None:
    ledger = {"reputation": {"ceiling": "90 %"}}
    (error,) = refusals(tmp_path, asked, ledger=ledger)
    assert error.split(": ")[1] == path
    assert words in error


# -- selection --------------------------------------------------------------------------------


def test_a_share_of_the_weight_is_never_exceeded() -> None:
    weights = [50, 0, 10, 20, 20]
    assert up_to_share(weights, 500_000, heaviest=True) == (0,)
    assert up_to_share(weights, 499_999, heaviest=True) == ()
    assert up_to_share(weights, 700_000, heaviest=True) == (0, 3)
    assert up_to_share(weights, 300_000, heaviest=False) == (2, 3)
    assert up_to_share(weights, 1_000_000, heaviest=False) == (0, 2, 3, 4)


def test_heaviest_and_lightest_follow_the_genesis_weight(tmp_path: Path) -> None:
    stake = {"kind": "listed", "amounts": [10**6, 5 * 10**6, 10**6, 2 * 10**6, 9 * 10**5, 10**6, 1]}
    ledger = {"min_stake": 1}
    for nodes, members in (({"heaviest": "40 %"}, (1, 3)), ({"lightest": "30 %"}, (4, 6))):
        made = world(
            tmp_path / next(iter(nodes)),
            validators={**SEVEN, "stake": stake},
            ledger=ledger,
            adversaries=[{"kind": "silent", "nodes": nodes}],
        )
        assert tuple(n.id for n in made.nodes if n.mind is not None) == members


# -- triggers ---------------------------------------------------------------------------------


class Probe(Attack):
    """Note each own vote that is edited, with what the triggers go by."""

    kind = "probe"

    def __init__(self) -> None:
        self.votes: list[tuple[int, int, int, int, bool, int]] = []
        self.heard = 0

    def see(self, me: int, event: Any, now_ns: int) -> list[Edited] | None:
        self.heard += 1
        return None

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        for effect in effects:
            vote = own_vote(effect, me)
            if vote is None:
                continue
            core = self.scene.cores[me]
            block = core.chain.tree.get(vote.block)
            assert block is not None
            done = block.height - core.chain.epoch.root_height - 1
            skipped = block.justify.view + 1 < block.view
            level = core.chain.epoch.level
            self.votes.append((vote.epoch, vote.view, block.height, done, skipped, level))
        return effects


def probed(folder: Path, when: dict[str, Any] | None) -> Probe:
    """Run seven validators for four seconds, one silent, one of them a probe with a trigger."""
    probe = owned("timeout_spam", FORGER, start="1 ms", **({} if when is None else {"when": when}))
    made = world(
        folder,
        validators=SEVEN,
        adversaries=[owned("silent", 0), probe],
        consensus={"epoch_blocks": 8},
        quorum={"liveness_guard": False, "missed": ["5 %", "90 %"]},
    )
    node = made.nodes[FORGER]
    assert node.mind is not None
    (engaged,) = node.mind._engagements
    attack = Probe()
    attack.join(engaged.attack.scene)
    node.own(Mind(node.mind.core, (engaged._replace(attack=attack),)))
    made.start()
    made.advance(4 * SECOND)
    return attack


def test_a_trigger_lets_through_what_it_says(tmp_path: Path) -> None:
    everything = probed(tmp_path / "all", None).votes
    assert len(everything) >= 15
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"heights": {"from": 3, "to": 9}}, lambda e, v, h, d, s, q: 3 <= h <= 9),
        ({"views": {"from": 4}}, lambda e, v, h, d, s, q: v >= 4),
        ({"epochs": {"from": 2, "to": 2}}, lambda e, v, h, d, s, q: e == 2),
        ({"phase": "epoch_start"}, lambda e, v, h, d, s, q: d < 3),
        ({"phase": "epoch_end"}, lambda e, v, h, d, s, q: d >= 5),
        ({"phase": "view_change"}, lambda e, v, h, d, s, q: s),
        ({"level": {"at_least": 1}}, lambda e, v, h, d, s, q: q >= 1),
        ({"level": {"at_most": 0}}, lambda e, v, h, d, s, q: q == 0),
    ]
    for number, (when, holds) in enumerate(cases):
        seen = probed(tmp_path / str(number), when).votes
        expected = [vote for vote in everything if holds(*vote)]
        assert seen == expected, when
        assert 0 < len(seen) < len(everything), when


def test_chance_and_reputation_as_triggers(tmp_path: Path) -> None:
    everything = probed(tmp_path / "all", None).votes
    half = probed(tmp_path / "half", {"probability": "50 %"}).votes
    assert 0 < len(half) < len(everything)
    assert half == [vote for vote in everything if vote in half]
    assert probed(tmp_path / "never", {"reputation": "99 %"}).votes == []
    assert probed(tmp_path / "always", {"reputation": "1 %"}).votes == everything
    later = probed(tmp_path / "later", {"reputation": "51 %"}).votes
    assert later
    assert later == [vote for vote in everything if vote[0] >= later[0][0]]
    assert later[0][0] > 1


def test_an_attack_sees_what_its_member_hears(tmp_path: Path) -> None:
    assert probed(tmp_path, None).heard > 60


# -- keys -------------------------------------------------------------------------------------


def claims(vote: Vote) -> dict[str, Message]:
    """Forge, in a view, everything that speaks of somebody else's word."""
    block = digest("forged", vote.view)
    said = Vote(vote.epoch, vote.view, block, VICTIM, MARK)
    other = said._replace(block=digest("other", vote.view))
    late = Timeout(vote.epoch, vote.view, 0, block, VICTIM, FORGED)
    qc = QC(vote.epoch, vote.view, block, 127, (MARK,) * 7)
    everyone = tuple(late._replace(signer=i, signature=MARK) for i in range(7))
    forged = Block(vote.epoch, vote.view, 1, VICTIM, block, qc)
    above = Block(vote.epoch, vote.view + 1, 2, VICTIM, forged.id, qc)
    twin = Block(vote.epoch, vote.view, 1, VICTIM, block, qc, payload=(PayloadRef(0, 0, 1, 9),))
    two = double_vote(said, other)
    return {
        "vote": VoteMessage(said),
        "vote_of_no_key": VoteMessage(said._replace(signature=FORGED)),
        "timeout": TimeoutMessage(late),
        "certificate": CertificateResponse(qc),
        "misshapen": CertificateResponse(qc._replace(signatures=(MARK,))),
        "timeout_certificate": TimeoutCertificateMessage(TC(vote.epoch, vote.view, everyone)),
        "proposal": Proposal(forged.signed(MARK)),
        "operation": OperationMessage(Operation("unbond", VICTIM, 1_000_000, 0, MARK)),
        "late_votes": LateVotes((said, other)),
        "evidence": EvidenceMessage(two),
        "twins_in_evidence": EvidenceMessage(
            two.__class__(
                "double_proposal",
                VICTIM,
                vote.epoch,
                vote.view,
                blocks=(forged.signed(MARK), twin.signed(MARK)),
            )
        ),
        "epoch_proof": EpochProofMessage(EpochProof(forged, (above,), qc)),
    }


class Forge(Attack):
    """Say, beside each own vote, everything that the victim never said."""

    kind = "forge"

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out = list(effects)
        for effect in effects:
            vote = own_vote(effect, me)
            if vote is None:
                continue
            for name, message in claims(vote).items():
                self.sent[name] = self.sent.get(name, 0) + 1
                out += [Send(to, message) for to in range(7) if to != me]
        return out


def forging(folder: Path, attack: Attack, **sections: Any) -> World:
    made = world(
        folder,
        validators=SEVEN,
        adversaries=[owned("silent", FORGER, start="4 s")],
        operations=[{"kind": "unbond", "validator": 0, "amount": 5, "at": "100 ms"}],
        **sections,
    )
    node = made.nodes[FORGER]
    assert node.mind is not None
    scene = node.mind._engagements[0].attack.scene
    attack.join(scene)
    node.own(Mind(node.mind.core, (Engagement(0, attack, 0, FOREVER),)))
    return made


@pytest.mark.parametrize("signatures", ["modelled", "real"])
def test_nothing_that_another_never_said_is_believed(signatures: str, tmp_path: Path) -> None:
    crypto = {"suite": "pycryptodome", "costs": "pycryptodome", "signatures": signatures}
    attack = Forge()
    rows = Rows()
    made = forging(tmp_path, attack, crypto=crypto, recorder=rows)
    made.start()
    made.advance(SECOND // 2)
    violations = made.close(SECOND // 2)
    assert violations == ()
    assert len(attack.sent) == 12
    assert min(attack.sent.values()) >= 3
    assert VICTIM not in {row["offender"] for row in rows.of("evidence")}
    forged = {digest("forged", view).hex() for view in range(100)}
    certified = {row["block"] for row in rows.of("certificates", kind="quorum")}
    assert certified
    assert not certified & forged
    refused = {row["what"] for row in rows.of("rejections", reason="invalid_signature")}
    assert {
        "vote",
        "timeout",
        "certificateresponse",
        "timeoutcertificate",
        "proposal",
        "operation",
        "latevotes",
        "evidence",
        "epochproof",
    } <= refused
    books = made.ledger.state(made.observer.tip).books
    assert books.nonces[VICTIM] == 0
    assert books.stake.bonded[VICTIM] == 1_000_000


def test_a_coalition_signs_for_its_members_only(tmp_path: Path) -> None:
    made = forging(tmp_path, Forge())
    node = made.nodes[FORGER]
    assert node.mind is not None
    scene: Scene = node.mind._engagements[0].attack.scene
    vote = Vote(1, 1, digest("x"), VICTIM)
    with pytest.raises(PermissionError, match="its key is its own"):
        scene.sign(VICTIM, VoteMessage(vote))
    with pytest.raises(PermissionError):
        scene.copy(VICTIM)
    with pytest.raises(PermissionError):
        scene.sign_operation(Operation("unbond", VICTIM, 1, 0))
    # Asked for a member, it fills in nobody else's word.
    signed = scene.sign(FORGER, TimeoutMessage(Timeout(1, 1, 0, digest("x"), VICTIM)))
    assert not made.driver.edge.verify(FORGER, signed)
    own = scene.sign(FORGER, TimeoutMessage(Timeout(1, 1, 0, digest("x"), FORGER)))
    assert made.driver.edge.verify(FORGER, own)


# -- time -------------------------------------------------------------------------------------


class Clock(Attack):
    """Wake every 100 ms, and count."""

    kind = "clock"

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.woken_ns: list[int] = []

    def begin(self, me: int, now_ns: int) -> list[Edited]:
        self.begun.append(now_ns)
        return [Alarm("tick", 100_000_000)]

    def woken(self, me: int, token: Any, now_ns: int) -> list[Edited]:
        assert token == "tick"
        self.woken_ns.append(now_ns)
        return [Alarm("tick", 100_000_000)]


def test_alarms_go_off_on_time_and_end_with_the_attack_and_with_a_crash(tmp_path: Path) -> None:
    clock = Clock()
    crash = {"kind": "crash", "nodes": {"ids": [FORGER]}, "at": "650 ms", "until": "1 s"}
    made = forging(tmp_path, clock, faults=[crash])
    mind = made.nodes[FORGER].mind
    assert mind is not None
    made.nodes[FORGER].own(Mind(mind.core, (Engagement(0, clock, 0, 1_350_000_000),)))
    made.start()
    made.advance(2 * SECOND)
    assert clock.begun == [0, SECOND]
    ticks = [*range(1, 7), *range(11, 14)]
    assert clock.woken_ns == [tick * 100_000_000 for tick in ticks]


def test_overlapping_attacks_compose_in_either_order(tmp_path: Path) -> None:
    """Proposals are censored and held back, whichever attack comes first."""
    censor = owned("censor", 3, 4, 5, 6, validators={"ids": [0]})
    delay = owned("delay_proposals", 3, 4, 5, 6, amount="100 ms")
    unbond = [{"kind": "unbond", "validator": 0, "amount": 50_000, "at": "1 s"}]
    both = [
        ran(tmp_path / name, validators=SEVEN, operations=unbond, adversaries=order)
        for name, order in (("first", [censor, delay]), ("second", [delay, censor]))
    ]
    for done in both:
        made = {row["height"]: row for row in done.rows("blocks", status="committed")}
        (applied,) = done.rows("operations", event="applied")
        assert made[applied["height"]]["proposer"] < 3
        gaps: dict[bool, list[int]] = {True: [], False: []}
        for height, row in made.items():
            if height > 1:
                gap_ns = row["proposed_ns"] - made[height - 1]["proposed_ns"]
                gaps[row["proposer"] >= 3].append(gap_ns)
        # A block interval of 50 ms, and what holds a member's proposal back.
        assert min(gaps[True]) >= 150_000_000
        assert min(gaps[False]) < 100_000_000
    assert both[0].commit_times_ns() == both[1].commit_times_ns()


def test_splitting_a_stake_pays_under_the_additive_rule_only(tmp_path: Path) -> None:
    """The figures of the two Sybil scenarios: 20 % of the stake, as one identity and as eight."""
    whole = {"kind": "listed", "amounts": [1_000_000] * 6 + [1_500_000]}
    parts = {"kind": "listed", "amounts": [1_000_000] * 6 + [187_500] * 8}
    shares = {}
    for combine in ("additive", "stake_multiplied"):
        for stake in (whole, parts):
            count = len(stake["amounts"])
            made = world(
                tmp_path / f"{combine}{count}",
                validators={"count": count, "stake": stake},
                weights={"combine": combine, "cap": "50 %"},
            )
            table = made.ledger.next_epoch(made.ledger.genesis_block).parameters.weights
            shares[combine, count] = sum(table.weights[6:]) * 1000 // table.total
    # 0.4 x 0.2 + 0.6 x 1/7 and 0.4 x 0.2 + 0.6 x 8/14, in thousandths.
    assert shares["additive", 7] == 165
    assert shares["additive", 14] == 422
    assert shares["stake_multiplied", 7] == shares["stake_multiplied", 14] in (199, 200)
