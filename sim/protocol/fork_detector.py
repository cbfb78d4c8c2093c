"""The block tree: branches, forks, fork choice, finality, reconciliation.

Owns the known blocks from `keep` below finality upward. Must not know votes, views in progress or
payload contents; it ranks branches and never decides what may be voted for.

What kind a fork is, is read from the tree alone; branches of different epochs are no fork (an
epoch's discarded tail beside the next epoch's first block):
- equivocation: two blocks of one (epoch, view, proposer), wherever they hang.
- view_change: two siblings of different views, at most one branch holding a certificate: the later
  leader did not build on a block that was never certified.
- partition: both branches hold a certificate: the later one's quorum timed out or voted without
  the earlier certificate, which existed.
- amnesia: as partition, but the later sibling breaks the vote rule, or its TC holds a timeout whose
  signer had already voted, on the earlier branch, upon a higher certificate than it reports.
- finality: a block that conflicts with the final one was committed too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from sim.protocol.effects import Forked
from sim.protocol.evidence import vote_rule
from sim.protocol.types import QC, Block, BlockId, PayloadRef

_LIVE, _FINAL, _DEAD = 0, 1, 2


class Finalized(NamedTuple):
    """`final`: newly final, ascending. `orphaned`: newly dead blocks of other branches. `tail`:
    newly dead blocks of a closed epoch. `fork`: set, and nothing moves, when the block conflicts
    with finality."""

    final: tuple[Block, ...]
    orphaned: tuple[Block, ...]
    tail: tuple[Block, ...]
    fork: Forked | None


class Reconciliation(NamedTuple):
    """`winner`: the final block now. `depth`: final blocks undone (0: the old finality stands).
    `orphaned`: the losing branch. `adopted`: newly final, ascending. `returned`: transactions of
    `orphaned` that the winning branch does not hold."""

    winner: BlockId
    depth: int
    orphaned: tuple[Block, ...]
    adopted: tuple[Block, ...]
    returned: tuple[PayloadRef, ...]


class _Node:
    __slots__ = ("block", "children", "marked", "parent", "qc", "state", "tail")

    def __init__(self, block: Block, state: int, parent: _Node | None) -> None:
        self.block = block
        self.state = state
        self.parent = parent  # None once it is forgotten
        self.children: tuple[_Node, ...] = ()
        self.qc: QC | None = None
        self.marked = False  # it or a descendant is certified
        self.tail = False


class BlockTree:
    """Blocks above `root`, which is final. `weigh` gives a checked certificate's weight.

    keep: final blocks held below finality, to answer sync and to see finality forks.
    capacity: most blocks held that are not final; above it `check_insert` says "full".
    """

    def __init__(
        self,
        root: Block,
        weigh: Callable[[QC], int],
        *,
        keep: int = 128,
        capacity: int = 4096,
    ) -> None:
        node = _Node(root, _FINAL, None)
        node.marked = True
        self._nodes = {root.id: node}
        self._weigh = weigh
        self._keep = keep
        self._capacity = capacity
        self._chain = deque([node])
        self._by_place = {(root.epoch, root.view, root.proposer): node}
        self._unreported: list[_Node] = []
        self.final = root
        """The last final block."""

    def __contains__(self, block_id: object) -> bool:
        return block_id in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def lowest_height(self) -> int:
        """Height of the oldest final block held; every other block is above it."""
        return self._chain[0].block.height

    def highest_height(self) -> int:
        """Return the height of the highest block held, on whichever branch (linear time)."""
        return max(node.block.height for node in self._nodes.values())

    def get(self, block_id: BlockId) -> Block | None:
        node = self._nodes.get(block_id)
        return None if node is None else node.block

    def certificate(self, block_id: BlockId) -> QC | None:
        """Return the first certificate seen for the block, if any."""
        node = self._nodes.get(block_id)
        return None if node is None else node.qc

    def children(self, block_id: BlockId) -> tuple[BlockId, ...]:
        """Return the known children's ids, in order of arrival."""
        return tuple(child.block.id for child in self._nodes[block_id].children)

    def extends(self, block_id: BlockId, ancestor: BlockId) -> bool:
        """Say whether `ancestor` is the block or above it in the tree; False when unknown."""
        node, goal = self._nodes.get(block_id), self._nodes.get(ancestor)
        if goal is None:
            return False
        while node is not None and node.block.height > goal.block.height:
            node = node.parent
        return node is goal

    def path(self, block_id: BlockId, above_height: int, limit: int) -> tuple[Block, ...]:
        """Return, ascending, the lowest `limit` blocks up to `block_id` above a height."""
        found: deque[Block] = deque(maxlen=limit)
        node = self._nodes.get(block_id)
        while node is not None and node.block.height > above_height:
            found.appendleft(node.block)
            node = node.parent
        return tuple(found)

    # Growth

    def check_insert(self, block: Block) -> str | None:
        """Return known | unknown_parent | wrong_height | full; None when `insert` takes it."""
        if block.id in self._nodes:
            return "known"
        parent = self._nodes.get(block.parent)
        if parent is None:
            return "unknown_parent"
        if block.height != parent.block.height + 1:
            return "wrong_height"
        return "full" if len(self._nodes) - len(self._chain) >= self._capacity else None

    def insert(self, block: Block) -> list[Forked]:
        """Add a block, certify its justification, and return the forks that this makes.

        A block makes at most one fork by itself: with an equivocating twin, else with its latest
        sibling of the same epoch. Errors: ValueError with the reason of `check_insert`.
        """
        reason = self.check_insert(block)
        if reason is not None:
            raise ValueError(f"block {block.id.hex()[:8]} cannot be inserted: {reason}")
        return self.add(block)

    def add(self, block: Block) -> list[Forked]:
        """Insert a block that `check_insert` takes."""
        parent = self._nodes[block.parent]
        node = _Node(block, _LIVE, parent)
        if parent.state == _DEAD or (parent.state == _FINAL and parent.block is not self.final):
            self._bury(node, parent)
        rivals = [c.block for c in parent.children if c.block.epoch == block.epoch]
        parent.children = (*parent.children, node)
        self._nodes[block.id] = node
        forks = self.certify(block.justify) if parent.qc is None else []
        twin = self._by_place.setdefault((block.epoch, block.view, block.proposer), node)
        if twin is not node:
            base = self._common(twin, node)
            if base is not None:
                pair = (twin.block.id, block.id)
                forks.append(Forked("equivocation", base.block.id, pair))
        elif rivals:
            rival = max(rivals, key=lambda b: b.view)
            forks.append(Forked("view_change", block.parent, (rival.id, block.id)))
        return forks

    def certify(self, qc: QC) -> list[Forked]:
        """Record a checked certificate and return the forks whose kind it settles.

        No effect for an unknown block, a certificate of another place than its block's, a second
        certificate, or an epoch's root certificate (view 0).
        """
        node = self._nodes.get(qc.block)
        if node is None or node.qc is not None or qc.view == 0:
            return []
        if qc.view != node.block.view or qc.epoch != node.block.epoch:
            return []
        node.qc = qc
        forks: list[Forked] = []
        while not node.marked:
            node.marked = True
            parent = node.parent
            if parent is None:
                break
            fork = self._settle(parent, node)
            if fork is not None:
                forks.append(fork)
            node = parent
        return forks

    def _settle(self, parent: _Node, node: _Node) -> Forked | None:
        """Name the fork between a newly certified branch and its latest certified rival."""
        if len(parent.children) == 1:
            return None
        block = node.block
        rivals = [
            c
            for c in parent.children
            if c.marked and c.block.epoch == block.epoch and c.block.view != block.view
        ]
        if not rivals:
            return None
        rival = max(rivals, key=lambda n: n.block.view)
        early, late = (rival, node) if rival.block.view < block.view else (node, rival)
        kind = "amnesia" if _forgot(early, late.block) else "partition"
        return Forked(kind, parent.block.id, (early.block.id, late.block.id))

    # Choice and finality

    def fork_choice(self) -> BlockId:
        """Return the best certified tip above finality, the final block when there is none.

        Latest epoch (a new epoch's root is committed; the old one's tail is discarded), then
        longest, then heaviest votes since finality, then lowest id. Only descendants of the final
        block are looked at: no length or weight can outvote finality.
        """
        return self._best(self._chain[-1], self._chain[-1]).block.id

    def advance(self, block_id: BlockId) -> Block | None:
        """Make the only child of the final block final, by far the most common case.

        None, and nothing happens, in any other case: `finalize` is for all of them.
        """
        node = self._nodes.get(block_id)
        if node is None or node.parent is None or node.parent.block is not self.final:
            return None
        if len(node.parent.children) != 1 or self._unreported:
            return None
        node.state, node.marked = _FINAL, True
        chain, block = self._chain, node.block
        chain.append(node)
        self.final = block
        if len(chain) > self._keep + 1:
            self._prune()
        return block

    def finalize(self, block_id: BlockId) -> Finalized:
        """Make a block and its ancestors final; see Finalized. Already final: nothing happens.

        Errors: ValueError when the block is unknown.
        """
        node = self._known(block_id)
        if node.state == _FINAL:
            return Finalized((), (), (), None)
        tip = self._chain[-1]
        if node.state == _DEAD:
            base = self._common(tip, node)
            assert base is not None, "a dead block's branch is pruned with its fork point"
            fork = Forked("finality", base.block.id, (tip.block.id, block_id))
            return Finalized((), (), (), fork)
        path = self._down_from(tip, node)
        above = tip
        for step in path:
            self._extend_chain(above, step)
            above = step
        dead, self._unreported = self._unreported, []
        orphaned = tuple(n.block for n in dead if not n.tail)
        tail = tuple(n.block for n in dead if n.tail)
        self._prune()
        return Finalized(tuple(n.block for n in path), orphaned, tail, None)

    def reconcile(self, conflicting: BlockId) -> Reconciliation:
        """Resolve a finality fork: the longest certified branch wins, then votes, then lowest id.

        The rule is that of `fork_choice`, with votes counted from where the branches part. The
        one place where finality moves sideways; only `on_safety_violation: reconcile` calls it.
        Errors: ValueError when the block is unknown or does not conflict with finality.
        """
        other = self._known(conflicting)
        if other.state != _DEAD:
            raise ValueError(f"block {conflicting.hex()[:8]} does not conflict with finality")
        tip = self._chain[-1]
        base = self._common(tip, other)
        assert base is not None, "a dead block's branch is pruned with its fork point"
        ours, theirs = self._best(tip, base), self._best(other, base)
        kept, lost = self._down_from(base, tip), self._down_from(base, other)
        if _rank(ours, self._votes(ours, base)) <= _rank(theirs, self._votes(theirs, base)):
            return _reconciliation(tip, 0, _subtree(lost[0]), kept, ())
        undone = _subtree(kept[0])
        for node in undone:
            node.state = _DEAD
        for node in _subtree(other):
            node.state, node.tail = _LIVE, False
        while self._chain[-1] is not base:
            self._chain.pop()
        for step in lost:
            step.state, step.marked, step.tail = _FINAL, True, False
            self._chain.append(step)
        self.final = self._chain[-1].block
        self._unreported = [n for n in self._unreported if n.state == _DEAD]
        return _reconciliation(other, len(kept), undone, lost, tuple(n.block for n in lost))

    # Inside

    def _known(self, block_id: BlockId) -> _Node:
        node = self._nodes.get(block_id)
        if node is None:
            raise ValueError(f"block {block_id.hex()[:8]} is unknown")
        return node

    def _common(self, one: _Node, other: _Node) -> _Node | None:
        a: _Node | None = one
        b: _Node | None = other
        while a is not None and b is not None and a is not b:
            if a.block.height >= b.block.height:
                a = a.parent
            else:
                b = b.parent
        return a if a is b else None

    def _down_from(self, base: _Node, node: _Node) -> list[_Node]:
        path = []
        step: _Node | None = node
        while step is not None and step is not base:
            path.append(step)
            step = step.parent
        path.reverse()
        return path

    def _best(self, start: _Node, base: _Node) -> _Node:
        """Return the best certified block of `start`'s subtree, `start` itself when none is."""
        certified = [n for n in _subtree(start) if n.qc is not None] or [start]
        longest = max((n.block.epoch, n.block.height) for n in certified)
        tied = [n for n in certified if (n.block.epoch, n.block.height) == longest]
        return min(tied, key=lambda n: _rank(n, self._votes(n, base))) if tied[1:] else tied[0]

    def _votes(self, node: _Node, base: _Node) -> int:
        certificates = (step.qc for step in self._down_from(base, node))
        return sum(self._weigh(qc) for qc in certificates if qc is not None)

    def _extend_chain(self, parent: _Node, node: _Node) -> None:
        node.state, node.marked = _FINAL, True
        self._chain.append(node)
        self.final = node.block
        for rival in parent.children:
            if rival is node:
                continue
            closed = rival.block.epoch < node.block.epoch
            for dead in _subtree(rival):
                if dead.state == _LIVE:
                    dead.state, dead.tail = _DEAD, closed
                    self._unreported.append(dead)

    def _bury(self, node: _Node, parent: _Node) -> None:
        """Mark a latecomer on a branch that finality has already passed by."""
        node.state = _DEAD
        successor = next((c for c in parent.children if c.state == _FINAL), None)
        if successor is None:
            node.tail = parent.tail
        else:
            node.tail = node.block.epoch < successor.block.epoch
        self._unreported.append(node)

    def _prune(self) -> None:
        while len(self._chain) > self._keep + 1:
            oldest = self._chain.popleft()
            for child in oldest.children:
                if child is not self._chain[0]:
                    for node in _subtree(child):
                        self._drop(node)
            self._drop(oldest)

    def _drop(self, node: _Node) -> None:
        for child in node.children:
            child.parent = None
        node.children = ()
        block = node.block
        del self._nodes[block.id]
        place = (block.epoch, block.view, block.proposer)
        if self._by_place.get(place) is node:
            del self._by_place[place]


def _rank(node: _Node, votes: int) -> tuple[int, int, int, BlockId]:
    """Best first: latest epoch, longest, heaviest, lowest id."""
    return (-node.block.epoch, -node.block.height, -votes, node.block.id)


def _subtree(node: _Node) -> list[_Node]:
    """Return `node` and its descendants, every parent before its children."""
    found = [node]
    for each in found:
        found.extend(each.children)
    return found


def _forgot(early: _Node, late: Block) -> bool:
    """Say whether the later sibling stands on statements that contradict earlier votes."""
    if vote_rule(late) is not None or late.tc is None:
        return True
    for node in _subtree(early):
        known = node.block.justify.view
        if node.qc is None or node.block.view > late.tc.view or known <= late.justify.view:
            continue
        for timeout in late.tc.timeouts:
            if timeout.high_qc_view < known and node.qc.signers >> timeout.signer & 1:
                return True
    return False


def _reconciliation(
    winner: _Node,
    depth: int,
    lost: list[_Node],
    held: list[_Node],
    adopted: tuple[Block, ...],
) -> Reconciliation:
    last: dict[int, int] = {}
    for node in held:
        for ref in node.block.payload:
            last[ref.gateway] = max(ref.last, last.get(ref.gateway, -1))
    returned: dict[PayloadRef, None] = {}
    for node in lost:
        for ref in node.block.payload:
            if ref.last > last.get(ref.gateway, -1):
                returned[ref] = None
    orphaned = tuple(node.block for node in lost)
    return Reconciliation(winner.block.id, depth, orphaned, adopted, tuple(returned))
