"""Monitors of forks and their ends: what is followed, what comes back, whether it was noticed.

Owns the checks on branches that are not about a single commit. They are shown figures of block
trees by the engine. Must not know how branches are ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sim.monitor.base import NOBODY, Handler, Monitor
from sim.monitor.safety import Agreement, BlockOf
from sim.protocol.effects import Reconciled
from sim.protocol.fork_detector import BlockTree
from sim.protocol.types import PayloadRef

NEAR = 256
"""Heights between two final blocks up to which chains are compared: the way is walked each time."""


class ForkChoice(Monitor):
    """What a validator's fork choice follows extends what it holds for final."""

    name = "fork_choice"

    def __init__(self) -> None:
        super().__init__()
        self._since_ns = 0

    def follows(self, node: int, now_ns: int, tree: BlockTree) -> None:
        """Show the block tree of validator `node`."""
        chosen = tree.fork_choice()
        if chosen != tree.final.id and not tree.extends(chosen, tree.final.id):
            self._fire(
                node,
                now_ns,
                self._since_ns,
                chosen=chosen.hex(),
                final=tree.final.id.hex(),
                final_height=tree.final.height,
            )
        self._since_ns = now_ns


class Reconciliation(Monitor):
    """What a branch held that lost comes back: it is returned, or the winning branch holds it.

    Judged at the end, validator by validator, by the final chain that it ends on: what that one
    holds was not lost, however often branches changed places. Blocks that nobody knows any more are
    not judged.
    """

    name = "reconciliation"

    def __init__(self, block_of: BlockOf) -> None:
        super().__init__()
        self._block_of = block_of
        self._owed: dict[int, dict[PayloadRef, tuple[int, int]]] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {Reconciled: self._reconciled}

    def _reconciled(self, node: int, now_ns: int, seen: Reconciled) -> None:
        owed = self._owed.setdefault(node, {})
        for block_id in seen.orphaned:
            block = self._block_of(block_id)
            for ref in () if block is None else block.payload:
                owed.setdefault(ref, (now_ns, seen.depth))
        for ref in seen.returned:
            owed.pop(ref, None)

    def ended_on(self, now_ns: int, node: int, tree: BlockTree) -> None:
        """Show the block tree of an honest validator at the end."""
        owed = self._owed.get(node)
        if not owed:
            return
        held = {ref for block in tree.path(tree.final.id, 0, 1 << 30) for ref in block.payload}
        lost = [ref for ref in owed if ref not in held]
        if lost and tree.lowest_height == 0:
            since_ns, depth = owed[lost[0]]
            self._fire(
                node,
                now_ns,
                since_ns,
                gateway=lost[0].gateway,
                first=lost[0].first,
                last=lost[0].last,
                depth=depth,
                batches_lost=len(lost),
                why="neither returned nor on the branch that won",
            )


class ConflictNoticed(Monitor):
    """Where the chains of honest validators conflict, the monitor of agreement has said so.

    A monitor that is blind in one eye makes every run pass: this one reads the final chains off the
    block trees, and shares neither data nor code with the one that it watches.
    """

    name = "conflict_noticed"

    def __init__(self, agreement: Agreement) -> None:
        super().__init__()
        self._agreement = agreement

    def compare(self, now_ns: int, trees: Iterable[tuple[int, BlockTree]]) -> None:
        """Show the block trees of the honest validators, by identity.

        Who is more than `NEAR` heights behind the first is left for when it has caught up.
        """
        ranked = sorted(trees, key=lambda each: (-each[1].final.height, each[0]))
        if not ranked or self._agreement.violation is not None:
            return
        best, longest = ranked[0]
        for node, tree in ranked[1:]:
            height = tree.final.height
            if height < max(1, longest.lowest_height, longest.final.height - NEAR):
                continue
            above = longest.path(longest.final.id, height - 1, 1)
            if above and above[0].id != tree.final.id:
                self._fire(
                    NOBODY,
                    now_ns,
                    0,
                    height=height,
                    validator=node,
                    block=tree.final.id.hex(),
                    other_validator=best,
                    other_block=above[0].id.hex(),
                )
