"""HotStuff as a queue: a decision keeps the leader's computer busy for 4n - f + 4 messages.

Chan, Tay, Yen: "A Performance Analysis of BFT Consensus for Blockchains", arXiv:2411.07622: in a
clique, where a computer takes 1/mu for any message and links take no time, T = (4n - f + 4) / mu.

Read as the leader's queue: n - f new-views; then thrice its own proposal and n votes, of which
n - f suffice but all n come first in the queue of the next phase; then the decision, 1. That is
basic HotStuff. Chained HotStuff under a leader that stays has the same phases, one a view; from the
proposal on, without the new-views, they take 3n + 4. Two differences remain, both known:
- a validator's vote for its own proposal costs it nothing here: 3 less. (Its own proposal does not
  either, but then it waits that long for the others, which take it in at the same time.)
- what is signed queues for the same computer, so the decision leaves after the f votes that came
  after the last certificate, where the paper lets it overtake them: f more.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sim.engine.build import build
from sim.engine.load import Load
from sim.scenario.model import Crypto, Network, Workers
from sim.scenario.protocols import Constant, HotStuff
from sim.study.baselines import LIMIT_NS, Plan, Probe, scenario

MU_NS = 10_000_000
"""1/mu: so long that bits on the wire do not count beside it."""
OWN_VOTES = 3


def published(n: int, f: int) -> int:
    """T in units of 1/mu."""
    return 4 * n - f + 4


def costs(folder: Path) -> str:
    """Write a cost table in which a message costs 1/mu, and signing nothing."""
    figures = {
        "keygen_ns": 0,
        "sign_fixed_ns": 0,
        "sign_attempt_ns": 0,
        "verify_ns": MU_NS,
        "hash_ns_per_kib": 0,
        "decode_ns_per_kib": 0,
        "source": "1/mu a message",
    }
    path = folder / "costs.json"
    text = json.dumps({"schema": "creto-sim/costs/1", "suites": {"pqcrypto": figures}})
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("n", [4, 7, 16, 31])
def test_a_decision_takes_what_the_formula_says(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any message costs the same, as in the paper: there a certificate is one signature.
    monkeypatch.setattr("sim.engine.transport.load_of", lambda message: Load(1))
    plan = Plan(delay_ns=1_000)
    asked = scenario(HotStuff(kind="hotstuff", reign=10**9), n, plan)
    network = Network(
        bandwidth_bits_per_s=10**12,
        flow_limit_bits_per_s=10**12,
        loss_ppb=0,
        delays=Constant(kind="constant", delay_ns=1_000),
    )
    asked = replace(
        asked,
        network=network,
        crypto=Crypto(costs=costs(tmp_path)),
        validators=replace(asked.validators, workers=Workers(consensus=1)),
    )
    probe = Probe()
    world = probe.world = build(asked, 0, probe)
    world.start()
    now_ns = 0
    while len(probe.commits) < 12 and now_ns < LIMIT_NS:
        now_ns += MU_NS
        world.advance(now_ns)
    world.close(now_ns)
    f = (n - 1) // 3
    assert len(probe.commits) >= 10
    steady = [probe.quorum_ns[when] for when, _, _ in probe.commits[4:10]]
    from_proposal = published(n, f) - (n - f)
    expected_ns = (from_proposal - OWN_VOTES + f) * MU_NS
    for taken in steady:
        assert abs(taken - expected_ns) < MU_NS // 10, (taken / MU_NS, expected_ns / MU_NS)
