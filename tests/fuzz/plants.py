"""Bugs that are planted for the search to find: ten of the protocol, five of what stands around it.

A worker of a search plants one before its first task: `planted(name)` is what the search is given
to warm its workers with, so that production code needs no way in. Plants replace attributes for
good: they belong into processes that end with the search.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sim.monitor.safety import Agreement
from sim.protocol import ledger as ledger_module
from sim.protocol import replica as replica_module
from sim.protocol.chain import Chain
from sim.protocol.effects import Committed, Effect
from sim.protocol.fork_detector import BlockTree, Reconciliation
from sim.protocol.mempool import Mempool
from sim.protocol.messages import BlocksResponse
from sim.protocol.replica import Replica
from sim.protocol.stake_manager import StakeParameters, StakeState
from sim.protocol.types import Block, Evidence
from sim.study.fuzz.campaign import get_ready
from tests.protocol.test_planted_bugs import BUGS

Patch = pytest.MonkeyPatch


def lost_evidence(patch: Patch) -> None:
    """Who accuses keeps no evidence to propose."""

    def add(self: Mempool, evidence: Evidence) -> str | None:
        return "known" if evidence.key() in self.evidence else None

    patch.setattr(Mempool, "add_evidence", add)


def dropped_transactions(patch: Patch) -> None:
    """A reconciliation returns nothing of the branch that lost."""
    sound = BlockTree.reconcile

    def reconcile(self: BlockTree, conflicting: bytes) -> Reconciliation:
        return sound(self, conflicting)._replace(returned=())

    patch.setattr(BlockTree, "reconcile", reconcile)


def blind_monitor(patch: Patch) -> None:
    """Agreement hears the lower half of the validators only: a link to it is cut in one way."""
    sound, heard = Agreement._committed, dict[int, int]()

    def committed(self: Agreement, node: int, now_ns: int, seen: Committed) -> None:
        most = heard[id(self)] = max(node, heard.get(id(self), 0))
        if 2 * node <= most:
            sound(self, node, now_ns, seen)

    patch.setattr(Agreement, "_committed", committed)


def jail_without_bars(patch: Patch) -> None:
    """Whoever holds the minimum stake is a member, jailed or not."""

    def eligible(state: StakeState, parameters: StakeParameters) -> tuple[int, ...]:
        return tuple(s if s >= parameters.min_stake else 0 for s in state.bonded)

    patch.setattr(ledger_module.stakes, "eligible", eligible)


def credulous_sync(patch: Patch) -> None:
    """Blocks that a peer sends are believed with the certificates that they carry."""
    sound = Replica._take_synced

    def connected(chain: Chain, response: BlocksResponse) -> str | None:
        return None if response.blocks[0].parent in chain.tree else "unconnected"

    def take(self: Replica, sender: int, block: Block, out: list[Effect]) -> None:
        if block.justify.view:
            self.chain.adopt(block.justify, out)
        sound(self, sender, block, out)

    patch.setattr(replica_module, "check_response", connected)
    patch.setattr(Replica, "_take_synced", take)


@dataclass(frozen=True)
class Plant:
    """A bug, the monitors of which one has to catch it, and the scenarios that this may take."""

    plant: Callable[[Patch], Any]
    caught_by: tuple[str, ...]
    runs: int = 1_000


PLANTS: dict[str, Plant] = {
    "quorum off by one": Plant(BUGS["quorum off by one"][0], ("quorum_overlap",)),
    "stale timer": Plant(BUGS["stale timer"][0], ("liveness",)),
    "unpinned weights": Plant(BUGS["unpinned weights"][0], ("quorum_overlap",)),
    "lost persistence": Plant(BUGS["lost persistence"][0], ("vote_safety",)),
    "cap by clamp-and-renormalise": Plant(BUGS["cap by clamp-and-renormalise"][0], ("weight_cap",)),
    "missing equivocation check": Plant(BUGS["missing equivocation check"][0], ("conviction",)),
    "vote after timeout": Plant(BUGS["vote after timeout"][0], ("vote_safety",)),
    "TC without the high-QC rule": Plant(BUGS["TC without the high-QC rule"][0], ("vote_safety",)),
    "fork choice across finality": Plant(BUGS["fork choice across finality"][0], ("fork_choice",)),
    "supply not conserved": Plant(BUGS["supply not conserved"][0], ("supply_conservation",)),
    "lost evidence": Plant(lost_evidence, ("evidence_proposed",)),
    "reconciliation that drops transactions": Plant(dropped_transactions, ("reconciliation",)),
    "monitor that misses a one-way fork": Plant(blind_monitor, ("conflict_noticed",)),
    "jail not applied at the epoch": Plant(jail_without_bars, ("jail",)),
    "sync that accepts an uncertified chain": Plant(
        credulous_sync, ("validity", "agreement", "certificate_uniqueness")
    ),
}


def plant(name: str) -> None:
    """Get ready for work, and plant a bug in this process, for good."""
    get_ready()
    PLANTS[name].plant(pytest.MonkeyPatch())


def planted(name: str) -> Callable[[], None]:
    """Return what plants a bug in a worker; it can be pickled."""
    return functools.partial(plant, name)
