"""Epoch proofs: why a block is the last of its epoch for everyone.

Owns how a proof is built and judged. Must not know views in progress, timers, transport.
"""

from __future__ import annotations

from sim.protocol.multi_signature import check_certificate
from sim.protocol.types import QC, Block, EpochParameters, EpochProof


def root_certificate(parameters: EpochParameters) -> QC:
    """Stand for the epoch proof: valid only for who holds it (genesis needs none)."""
    return QC(parameters.epoch, 0, parameters.root, 0)


def check_proof(proof: EpochProof, parameters: EpochParameters) -> str | None:
    """Say why `proof` does not commit its root in the epoch of `parameters`, None when it does.

    Signatures are the edge's, and whether the root is the epoch's last block is the ledger's.
    reason: wrong_epoch | empty_path | broken_path | not_consecutive | what a certificate lacks.
    """
    root, path, qc = proof
    if root.epoch != parameters.epoch:
        return "wrong_epoch"
    if not path:
        return "empty_path"
    parent, last = _link(root, path), path[-1]
    if parent is None:
        return "broken_path"
    justify = last.justify
    if (justify.view, justify.block) != (parent.view, parent.id):
        return "broken_path"
    if (qc.view, qc.block) != (last.view, last.id):
        return "broken_path"
    if last.view != parent.view + 1:
        return "not_consecutive"
    return check_certificate(justify, parameters) or check_certificate(qc, parameters)


def _link(root: Block, path: tuple[Block, ...]) -> Block | None:
    """Follow the hash links; return the last block's parent, None where a link is broken."""
    parent, before = root, root
    for block in path:
        if block.parent != parent.id or block.epoch != root.epoch:
            return None
        if block.height != parent.height + 1 or block.view <= parent.view:
            return None
        before, parent = parent, block
    return before
