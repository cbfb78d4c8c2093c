"""HotStuff as a queue: a decision keeps the leader's computer busy for 4n - f + 4 messages.

Chan, Tay, Yen: "A Performance Analysis of BFT Consensus for Blockchains", arXiv:2411.07622: in a
clique, where a computer takes 1/mu for any message and links take no time, T = (4n - f + 4) / mu.
The paper gives T for basic HotStuff; which messages make it up, and what becomes of it in the
chained protocol, is derived here, in `sim.study.theory.chained_clique_units`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.load import Load
from sim.study.theory import chained_clique_units, clique_units
from sim.study.validation.worlds import MESSAGE_NS, clique_scenario, decisions_ns, message_costs


@pytest.mark.parametrize("n", [4, 7, 16, 31])
def test_a_decision_takes_what_the_formula_says(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any message costs the same, as in the paper: there a certificate is one signature.
    monkeypatch.setattr("sim.engine.transport.load_of", lambda message: Load(1))
    f = (n - 1) // 3
    # Without the new-views and the three own votes, with the f votes before the last proposal.
    check(n, clique_units(n, f) - (n - f) - 3 + f, tmp_path)


@pytest.mark.parametrize("n", [4, 7, 16, 31, 61])
def test_a_certificate_that_does_not_aggregate_costs_its_signatures_in_four_views(
    n: int, tmp_path: Path
) -> None:
    check(n, chained_clique_units(n, (n - 1) // 3), tmp_path)


def check(n: int, units: int, folder: Path) -> None:
    steady = decisions_ns(clique_scenario(n, message_costs(folder)))
    assert len(steady) == 6
    for taken in steady:
        assert abs(taken - units * MESSAGE_NS) < MESSAGE_NS // 10, (taken / MESSAGE_NS, units)
