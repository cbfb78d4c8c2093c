"""Signatures: real ones give the run that modelled ones give, and nobody forges either kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

import sim.engine.build as engine_world
from sim.engine.adversary import Engagement, Mind
from sim.engine.world import World
from sim.protocol.effects import Accused, Certified, Rejected, Send
from sim.protocol.messages import (
    CertificateResponse,
    Message,
    OperationMessage,
    Proposal,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.multi_signature import members
from sim.protocol.types import QC, Block, Operation, Timeout, Vote, digest
from sim.world.adversary import Attack, Edited
from sim.world.crypto.signer import RealSigner, Statement
from tests.engine.worlds import BUSY, EAST, SECOND, WEST, Ran, ran, world

FAST = {"suite": "pycryptodome"}
FORGER, VICTIM = 3, 0


class CountingSigner(RealSigner):
    """A RealSigner that remembers what it truly signed and what it truly checked."""

    last: ClassVar[CountingSigner]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.made: dict[tuple[int, bytes], bytes] = {}
        self.checked: dict[tuple[int, bytes], bool] = {}
        CountingSigner.last = self

    def sign(self, signer: int, message: bytes) -> bytes:
        signature = super().sign(signer, message)
        self.made[signer, message] = signature
        return signature

    def _check(self, statement: Statement) -> bool:
        valid = super()._check(statement)
        self.checked[statement[:2]] = valid
        return valid


def both_ways(folder: Path, **sections: Any) -> tuple[Ran, Ran]:
    """Run one world with modelled and with real signatures."""
    real = ran(folder / "real", **sections, crypto={**FAST, "signatures": "real"})
    return ran(folder / "modelled", **sections, crypto=FAST), real


@pytest.mark.parametrize("count", [4, 7])
def test_real_signatures_change_nothing(count: int, tmp_path: Path) -> None:
    modelled, real = both_ways(tmp_path, duration="2 s", validators={"count": count})
    assert real.run.digests() == modelled.run.digests()
    assert real.metric("blocks_committed") >= 25


def test_real_signatures_change_nothing_under_faults_and_attacks(tmp_path: Path) -> None:
    modelled, real = both_ways(tmp_path, **BUSY)
    assert modelled.metric("offenders_punished") == 1
    assert modelled.metric("operations_committed") == 2
    assert real.run.digests() == modelled.run.digests()


def test_every_vote_of_a_certificate_is_truly_signed_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_world, "RealSigner", CountingSigner)
    made = world(tmp_path, validators={"count": 7}, crypto={**FAST, "signatures": "real"})
    certificates = observations(made, Certified)
    run_for(made, SECOND)
    signer = CountingSigner.last
    # The last certificate is still on its way to who would check it.
    settled = [seen.qc for _, seen in certificates][:-1]
    assert len(settled) >= 10
    votes = 0
    for qc in settled:
        said = Vote(qc.epoch, qc.view, qc.block, 0).signed_bytes()
        for voter, signature in zip(members(qc.signers), qc.signatures, strict=True):
            assert signer.made[voter, said] == signature
            assert len(signature) == 4627
            assert signer.checked[voter, said]
            votes += 1
    assert votes == sum(qc.signers.bit_count() for qc in settled) >= 5 * len(settled)
    assert signer.signed >= votes
    assert all(signer.checked.values())


class Forge(Attack):
    """Say, beside each own vote, something that the victim never said."""

    kind = "forge"

    def __init__(self, what: str) -> None:
        self.what = what
        self.claimed: list[Message] = []

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for effect in effects:
            out.append(effect)
            if isinstance(effect, Send) and isinstance(effect.message, VoteMessage):
                claim = self._claim(effect.message.vote)
                self.claimed.append(claim)
                out.extend(Send(to, claim) for to in range(7) if to != me)
        return out

    def _claim(self, vote: Vote) -> Message:
        """Forge what a receiver without the edge would believe."""
        block = digest("forged", vote.view)
        if self.what == "vote":
            return VoteMessage(Vote(vote.epoch, vote.view, block, VICTIM, b"\x01"))
        if self.what == "timeout":
            return TimeoutMessage(Timeout(vote.epoch, vote.view, 0, block, VICTIM, b"\x01"))
        if self.what == "certificate":
            return CertificateResponse(QC(vote.epoch, vote.view, block, 127, (b"\x01",) * 7))
        if self.what == "misshapen_certificate":
            return CertificateResponse(QC(vote.epoch, vote.view, block, 127, (b"\x01",)))
        if self.what == "operation":
            return OperationMessage(Operation("unbond", VICTIM, 1_000_000, 0, b"\x01"))
        justify = QC(vote.epoch, 0, block, 0)
        forged = Block(vote.epoch, vote.view, 1, VICTIM, block, justify)
        return Proposal(forged.signed(b"\x01"))


class Tamper(Attack):
    """Send every own vote with a signature that is not one."""

    kind = "tamper"

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return [
            Send(effect.to, VoteMessage(effect.message.vote._replace(signature=b"\x02" * 4627)))
            if isinstance(effect, Send) and isinstance(effect.message, VoteMessage)
            else effect
            for effect in effects
        ]


def attacked(folder: Path, attack: Any, signatures: str) -> World:
    """Build seven validators of which FORGER is owned by `attack`."""
    # A silent adversary that never begins: its validator is owned, as the edge has to know.
    owned = {"kind": "silent", "nodes": {"ids": [FORGER]}, "start": "4 s"}
    made = world(
        folder,
        validators={"count": 7},
        adversaries=[owned],
        crypto={**FAST, "signatures": signatures},
    )
    forger = made.nodes[FORGER]
    forger.own(Mind(forger.mind.core, (Engagement(0, attack, 0, 1 << 62),)))
    return made


def run_for(made: World, duration_ns: int) -> None:
    made.start()
    made.advance(duration_ns)


class Listening:
    """Stand before who watches a run, and note the observations of one kind."""

    def __init__(self, made: World, kind: type[Any]) -> None:
        self.seen: list[tuple[int, Any]] = []
        self._before = made.driver._witness
        self._kind = kind

    def observe(self, node: int, now_ns: int, observation: Any) -> None:
        if isinstance(observation, self._kind):
            self.seen.append((node, observation))
        self._before.observe(node, now_ns, observation)


def observations(made: World, kind: type[Any]) -> list[tuple[int, Any]]:
    """Collect the observations of one kind as (validator, observation)."""
    listening = Listening(made, kind)
    made.driver._witness = listening
    return listening.seen


@pytest.mark.parametrize("signatures", ["modelled", "real"])
@pytest.mark.parametrize(
    "what",
    ["vote", "timeout", "proposal", "operation", "certificate", "misshapen_certificate"],
)
def test_nobody_forges(what: str, signatures: str, tmp_path: Path) -> None:
    """What the victim never said has no effect anywhere but a rejection."""
    forge = Forge(what)
    made = attacked(tmp_path, forge, signatures)
    rejected, accused = observations(made, Rejected), observations(made, Accused)
    run_for(made, SECOND)
    assert len(forge.claimed) >= 10
    refused = [r for _, r in rejected if r.sender == FORGER and r.reason == "invalid_signature"]
    assert len(refused) >= 6 * (len(forge.claimed) - 1)
    assert not accused
    assert made.close(SECOND) == ()
    assert made.observer.blocks_committed >= 10
    stake = made.ledger.state(made.observer.tip).books.stake
    assert stake.bonded == (1_000_000,) * 7
    assert not stake.unbonding


@pytest.mark.parametrize("signatures", ["modelled", "real"])
def test_a_tampered_signature_is_rejected(signatures: str, tmp_path: Path) -> None:
    made = attacked(tmp_path, Tamper(), signatures)
    rejected, certified = observations(made, Rejected), observations(made, Certified)
    run_for(made, SECOND)
    refused = [r for _, r in rejected if r.reason == "invalid_signature"]
    assert len(refused) >= 5
    assert {r.sender for r in refused} == {FORGER}
    assert {r.what for r in refused} >= {"vote"}
    # Its own collector believes itself: it fools nobody else.
    by_others = [seen.qc for node, seen in certified if node != FORGER]
    assert by_others
    assert not any(qc.signers >> FORGER & 1 for qc in by_others)


@pytest.mark.slow
def test_real_signatures_at_150_validators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every vote of 150 validators truly signed and verified: the same commits and digests."""
    monkeypatch.setattr(engine_world, "RealSigner", CountingSigner)
    modelled, real = both_ways(
        tmp_path,
        duration="2 s",
        validators={"count": 150, "placement": {WEST: 75, EAST: 75}},
        network={"bandwidth": "10 Gbit/s"},
        consensus={"timer_base": "2 s", "min_block_interval": None},
    )
    assert real.run.digests() == modelled.run.digests()
    assert real.metric("blocks_committed") >= 5
    signer = CountingSigner.last
    checked_votes = [said for (_, said), valid in signer.checked.items() if valid]
    assert len(checked_votes) >= 101 * real.metric("blocks_committed")
    assert all(signer.checked.values())
