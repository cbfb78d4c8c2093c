"""One validator's chain: blocks, certificates, commits, epochs.

Owns the block tree, the highest certificate, the epoch's pinned parameters and the epoch proofs.
Must not know votes in progress, timers, who sent what.
"""

from __future__ import annotations

from sim.protocol.accountability import Certified
from sim.protocol.effects import Dropped, Effect, EpochChanged, Forked, Reconciled
from sim.protocol.epochs import check_proof, root_certificate
from sim.protocol.fork_detector import BlockTree
from sim.protocol.ledger import Ledger
from sim.protocol.multi_signature import bitmap_weight, check_certificate, check_tc
from sim.protocol.types import (
    QC,
    TC,
    Block,
    BlockId,
    EpochParameters,
    EpochProof,
    PayloadRef,
    digest,
)

PENDING_CERTIFICATES = 16
"""Certificates kept whose block is not here yet."""
_MEMO_LIMIT = 8192
_TCS_REMEMBERED = 16
_EPOCHS_JUDGED = 4
"""Epochs whose certificates can be weighed and whose proofs are kept in any case."""


class Chain:
    """The blocks a validator holds and what it has concluded from their certificates."""

    def __init__(self, ledger: Ledger, *, keep: int, on_safety_violation: str) -> None:
        self.ledger = ledger
        self._on_violation = on_safety_violation
        self._tables: dict[int, EpochParameters] = {}
        genesis = ledger.genesis_block
        self.tree = BlockTree(genesis, self._weigh, keep=keep)
        self.proofs: dict[int, EpochProof] = {}
        self.pending: dict[BlockId, QC] = {}
        """Certificates that hold, of blocks that are not here."""
        self.returned: list[PayloadRef] = []
        """Payload of branches that died, for the mempool."""
        self.halted = False
        self.conflict: tuple[list[Certified], list[Certified]] | None = None
        """After a finality fork: what is certified on our branch and on the other one."""
        self._open(genesis)

    def _open(self, root: Block) -> None:
        opened = self.ledger.next_epoch(root)
        self.epoch = opened.parameters
        self.change = opened.change
        self._tables[self.epoch.epoch] = self.epoch
        self._tables.pop(self.epoch.epoch - _EPOCHS_JUDGED, None)
        self.high_qc = root_certificate(self.epoch)
        self._checked: dict[BlockId, tuple[QC, str | None]]
        self._checked = self.epoch.memo.setdefault("checked", {})
        self.pending.clear()

    def _weigh(self, qc: QC) -> int:
        pinned = self._tables.get(qc.epoch)
        return 0 if pinned is None else max(0, bitmap_weight(qc.signers, pinned.weights))

    def check(self, qc: QC) -> str | None:
        """Judge a certificate by the present epoch, each object once."""
        known = self._checked.get(qc.block)
        if known is not None and known[0] is qc:
            return known[1]
        reason = check_certificate(qc, self.epoch)
        if len(self._checked) >= _MEMO_LIMIT:
            self._checked.clear()
        self._checked[qc.block] = (qc, reason)
        return reason

    def check_tc(self, tc: TC) -> str | None:
        """Judge a timeout certificate by the present epoch, each object once."""
        memo: dict[int, tuple[TC, str | None]] = self.epoch.memo.setdefault("tcs", {})
        known = memo.get(tc.view)
        if known is not None and known[0] is tc:
            return known[1]
        reason = check_tc(tc, self.epoch)
        memo[tc.view] = (tc, reason)
        if len(memo) > _TCS_REMEMBERED:
            del memo[next(iter(memo))]
        return reason

    @property
    def known_view(self) -> int:
        """Highest view of which a certificate is at hand, its block here or not."""
        if not self.pending:
            return self.high_qc.view
        return max([self.high_qc.view, *(qc.view for qc in self.pending.values())])

    def certificate(self, block_id: BlockId) -> QC | None:
        """Return the certificate of a block, also of one that is not here yet."""
        if block_id == self.high_qc.block:
            return self.high_qc
        return self.tree.certificate(block_id) or self.pending.get(block_id)

    def adopt(self, qc: QC, out: list[Effect]) -> str | None:
        """Take up a certificate whose weights hold: adopt, certify, commit, change epochs.

        Returns unknown_block when its block has to be fetched first (then it waits in `pending`),
        else None. The 2-chain rule: a certified block commits its parent if the parent was
        certified one view before.
        """
        view = qc.view
        if view == 0:
            return None
        tree = self.tree
        block = tree.get(qc.block)
        if block is None:
            self.pending.pop(qc.block, None)
            while len(self.pending) >= PENDING_CERTIFICATES:
                del self.pending[min(self.pending, key=lambda b: self.pending[b].view)]
                out.append(Dropped("certificates", 1, "full"))
            self.pending[qc.block] = qc
            return "unknown_block"
        if self.pending:
            self.pending.pop(qc.block, None)
        out.extend(tree.certify(qc))
        if view > self.high_qc.view:
            self.high_qc = qc
        justify = block.justify
        before = justify.view
        if before and before + 1 == block.view and justify.block != tree.final.id:
            self._commit(justify.block, qc, out)
        return None

    def latest(self, count: int) -> list[Certified]:
        """List the last certified blocks of the epoch, highest first."""
        found: list[Certified] = []
        qc = self.high_qc
        while qc.view and len(found) < count:
            block = self.tree.get(qc.block)
            if block is None:
                break
            found.append((block, qc))
            qc = block.justify
        return found

    def insert(self, block: Block, out: list[Effect]) -> str | None:
        """Store a block whose certificates hold; its parent must be here. Returns why not."""
        reason = self.tree.check_insert(block)
        if reason is None:
            self.ledger.apply(block)
            out.extend(self.tree.add(block))
        return reason

    def _commit(self, block_id: BlockId, qc: QC, out: list[Effect]) -> None:
        final, block = self.tree.final, self.tree.get(block_id)
        if block is not None and block.parent == final.id:
            if not self.ledger.is_root(block_id):
                self._finalize(block_id, out)
                return
            root: Block | None = block
        else:
            path = self.tree.path(block_id, final.height, 1 << 30)
            if not path and self.tree.extends(final.id, block_id):
                return
            root = next((b for b in path if self.ledger.is_root(b.id)), None)
        if root is None:
            self._finalize(block_id, out)
            return
        above = self.tree.path(qc.block, root.height, 1 << 30)
        if self._finalize(root.id, out):
            self._close(EpochProof(root, above, qc))

    def _finalize(self, block_id: BlockId, out: list[Effect]) -> bool:
        block = self.tree.advance(block_id)
        if block is not None:
            self._report((block,), out)
            return True
        finalized = self.tree.finalize(block_id)
        if finalized.fork is not None:
            out.append(finalized.fork)
            self.conflict = self._branches(finalized.fork)
            if self._on_violation == "halt":
                self.halted = True
                return False
            self._reconcile(block_id, out)
            return self.tree.final.id == block_id
        self._report(finalized.final, out)
        if finalized.orphaned:
            self.returned.extend(ref for b in finalized.orphaned for ref in b.payload)
        return True

    def contradict(self, proof: EpochProof, out: list[Effect]) -> str | None:
        """Hold a proof of a closed epoch against ours; returns what is wrong with the proof.

        Another root is a finality fork that no branch of this epoch can heal: the chain halts.
        """
        known, table = self.proofs.get(proof.root.epoch), self._tables.get(proof.root.epoch)
        if known is None or table is None or known.root.id == proof.root.id:
            return None
        reason = check_proof(proof, table)
        if reason is not None:
            return reason
        base = self.tree.get(proof.root.parent)
        parent = known.root.parent if base is None else base.id
        out.append(Forked("finality", parent, (known.root.id, proof.root.id)))
        ours = (*self.tree.path(known.root.id, table.root_height, 1 << 30), *known.path)
        self.conflict = (
            _certified(ours, known.qc),
            _certified((proof.root, *proof.path), proof.qc),
        )
        self.halted = True
        return None

    def _reconcile(self, block_id: BlockId, out: list[Effect]) -> None:
        verdict = self.tree.reconcile(block_id)
        orphaned = tuple(block.id for block in verdict.orphaned)
        out.append(Reconciled(verdict.depth, orphaned, verdict.returned))
        self.returned.extend(verdict.returned)
        self._report(verdict.adopted, out)

    def _branches(self, fork: Forked) -> tuple[list[Certified], list[Certified]]:
        """List the certified blocks above each of the two blocks that part at `fork.parent`."""
        tree = self.tree
        ours: list[Certified] = []
        theirs: list[Certified] = []
        for tip, found in zip(fork.branches, (ours, theirs), strict=True):
            base = next(c for c in tree.children(fork.parent) if tree.extends(tip, c))
            queue = [base]
            for block_id in queue:
                queue.extend(tree.children(block_id))
                block, qc = tree.get(block_id), tree.certificate(block_id)
                if block is not None and qc is not None:
                    found.append((block, qc))
        return ours, theirs

    def _report(self, blocks: tuple[Block, ...], out: list[Effect]) -> None:
        out.extend([self.ledger.committed(block) for block in blocks])

    def _close(self, proof: EpochProof) -> None:
        self.proofs[self.epoch.epoch] = proof
        self._forget_proofs()
        self._open(proof.root)

    def _forget_proofs(self) -> None:
        """Drop the proofs that help nobody: the blocks that follow their roots are gone here."""
        lowest, judged = self.tree.lowest_height, self.epoch.epoch - _EPOCHS_JUDGED + 1
        while True:
            oldest = next(iter(self.proofs))
            if oldest >= judged or self.proofs[oldest].root.height + 1 >= lowest:
                return
            del self.proofs[oldest]

    def announce(self, out: list[Effect]) -> None:
        """Say which parameters are pinned now."""
        epoch, memo = self.epoch, self.epoch.memo
        if "digest" not in memo:
            memo["digest"] = digest(epoch.weights.weights)
        if self.change is not None:
            out.append(self.change)
        out.append(
            EpochChanged(
                epoch.epoch,
                epoch.root,
                epoch.quorum,
                epoch.weights.total,
                memo["digest"],
                epoch.level,
            )
        )

    def close(self, proof: EpochProof, out: list[Effect]) -> str | None:
        """Take up a proof of the present epoch: commit its root, open the next epoch.

        Returns unknown_root when the root has to be fetched first, or why the proof is bad.
        """
        reason = check_proof(proof, self.epoch)
        if reason is not None:
            return reason
        if proof.root.id not in self.tree and self.insert(proof.root, out) is not None:
            return "unknown_root"
        if not self.ledger.is_root(proof.root.id):
            return "not_the_last_block"
        if self._finalize(proof.root.id, out):
            self._close(proof)
        return None


def _certified(chain: tuple[Block, ...], qc: QC) -> list[Certified]:
    """Pair each block of an unbroken chain with its certificate; `qc` is the last one's."""
    return list(zip(chain, (*(block.justify for block in chain[1:]), qc), strict=True))
