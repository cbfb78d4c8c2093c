"""Who takes part in a baseline: n validators of equal weight, who leads, and the first block.

Owns the fault bound, the quorum and what all validators derive alike. Must not know any protocol's
course.
"""

from __future__ import annotations

from dataclasses import replace

from sim.protocol.effects import Committed
from sim.protocol.epochs import root_certificate
from sim.protocol.pacemaker import leader
from sim.protocol.types import QC, Block, BlockId, EpochParameters, ValidatorId, WeightTable, digest

_NO_PARENT = bytes(32)
_KEPT = 4096


def tolerated(validators: int) -> int:
    """Return f, the most Byzantine validators of n that n >= 3f + 1 allows."""
    return (validators - 1) // 3


class Electorate:
    """What the validators of one run share; every value is a pure function of the arguments.

    `beacon`: seeds the leaders that are drawn. quorum: n - f, which is 2f + 1 where n = 3f + 1; two
    quorums share more than f of the n.
    """

    def __init__(self, validators: int, beacon: int, leaders: str) -> None:
        self.size = validators
        self.faults = tolerated(validators)
        self.quorum = validators - self.faults
        zero = digest("equal", validators, beacon)
        self.genesis = Block(0, 0, 0, 0, _NO_PARENT, QC(0, 0, zero, 0))
        self._leaders = leaders
        self._turns: dict[int, ValidatorId] = {}
        self._tables: dict[tuple[int, int], EpochParameters] = {}
        self._committed: dict[BlockId, Committed] = {}
        self.pinned = EpochParameters(
            epoch=0,
            root=self.genesis.id,
            root_height=0,
            weights=WeightTable((1,) * validators, validators),
            level=0,
            quorum=self.quorum,
            join=self.faults,
            beacon=self.genesis.id,
        )
        self.root = root_certificate(self.pinned)

    def leader(self, turn: int) -> ValidatorId:
        """Name the leader of a turn, by the scenario's rule: drawn, or round robin."""
        known = self._turns.get(turn)
        if known is None:
            if len(self._turns) >= _KEPT:
                self._turns.clear()
            known = self._turns[turn] = leader(self.pinned, turn, self._leaders)
        return known

    def table(self, epoch: int, without: ValidatorId = -1) -> EpochParameters:
        """Return by what votes of `epoch` are judged; `without`: one whose vote is not needed.

        Then one vote less makes the quorum.
        """
        key = (epoch, without)
        known = self._tables.get(key)
        if known is None:
            if len(self._tables) >= _KEPT:
                self._tables.clear()
            known = replace(self.pinned, epoch=epoch, memo={})
            if without >= 0:
                weights = tuple(int(i != without) for i in range(self.size))
                table = WeightTable(weights, self.size - 1)
                known = replace(known, weights=table, quorum=self.quorum - 1)
            self._tables[key] = known
        return known

    def committed(self, block: Block) -> Committed:
        """Return what every validator shows when it commits `block`; the block is its state."""
        known = self._committed.get(block.id)
        if known is None:
            if len(self._committed) >= _KEPT:
                self._committed.clear()
            known = Committed(block.id, block.epoch, block.view, block.height, block.id)
            self._committed[block.id] = known
        return known
