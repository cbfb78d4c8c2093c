"""Where each published figure that the simulator is held to has its test.

Some stand beside the part that they are about; a claim that loses its test is noticed here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CLAIMS = {
    "M/M/c: Erlang C, consensus computers": (
        "world/test_network_stations.py",
        "test_cpu_waits_as_m_m_c_says",
    ),
    "M/D/1: Pollaczek-Khinchine, links": (
        "world/test_network_stations.py",
        "test_lane_waits_as_m_d_1_says",
    ),
    "M/M/c and M/D/1, agents' stations": (
        "agents/test_agents_stations.py",
        "test_mean_wait_meets_the_closed_form",
    ),
    "Nakamoto's catch-up table": (
        "paper/test_nakamoto_catch_up.py",
        "test_a_steady_honest_chain_is_caught_as_in_the_table",
    ),
    "Rosenfeld's exact race": (
        "paper/test_nakamoto_catch_up.py",
        "test_two_poisson_processes_race_as_rosenfeld_says",
    ),
    "Bamboo: forking of chained HotStuff": (
        "paper/test_bamboo_attacks.py",
        "test_the_curve_of_forking",
    ),
    "Bamboo: silence in chained HotStuff": (
        "paper/test_bamboo_attacks.py",
        "test_the_curve_of_silence",
    ),
    "Chan, Tay, Yen: HotStuff in a clique": (
        "paper/test_hotstuff_clique.py",
        "test_a_decision_takes_what_the_formula_says",
    ),
    "2q - 1 and 1 - q: quorum limits": ("adversaries/test_phase.py", ""),
    "2f + 1 of 3f + 1: the baselines": (
        "protocol/baselines/test_baselines_safety.py",
        "test_f_twins_of_n_cannot_part_the_rest_and_f_plus_one_can",
    ),
    "Jolteon, DiemBFT: rules and delays": ("paper/test_jolteon_claims.py", ""),
    "PBFT, HotStuff, Tendermint, Streamlet": (
        "paper/test_baseline_claims.py",
        "test_a_block_is_final_after_so_many_delays",
    ),
    "Kademlia: mean hops": ("routing/test_routing_depth.py", ""),
}
"""By claim: the file, and where one test is meant its name."""


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_claim_has_its_test(claim: str) -> None:
    file, name = CLAIMS[claim]
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    tests = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert any(test.startswith("test_") for test in tests)
    assert not name or name in tests
