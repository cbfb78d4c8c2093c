"""PBFT's view changes as pure functions: which hold, when to join, what a new view starts from.

Source: Castro and Liskov, OSDI 1999 and TOCS 20(4), 2002 (see `pbft`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.messages import Prepared, ViewChangeMessage, phase
from sim.protocol.multi_signature import check_certificate
from sim.protocol.types import ValidatorId


def unproved(message: ViewChangeMessage, electorate: Electorate) -> str | None:
    """Say why a view change does not hold, None when it does; signatures are the edge's.

    reason: invalid_signature (of another content) | unproved_checkpoint | gap | wrong_view |
    what a certificate lacks.
    """
    if message.declaration.said != message.content():
        return "invalid_signature"
    proof = message.proof
    if message.stable > 0:
        if proof is None or proof.view != message.stable:
            return "unproved_checkpoint"
        if proof.block not in (phase("checkpoint", message.block), phase("commit", message.block)):
            return "unproved_checkpoint"
        reason = check_certificate(proof, electorate.table(proof.epoch))
        if reason is not None:
            return reason
    for place, (block, qc) in enumerate(message.prepared):
        if block.height != message.stable + 1 + place or qc.view != block.height:
            return "gap"
        if qc.block != block.id or qc.epoch >= message.view:
            return "wrong_view"
        table = electorate.table(qc.epoch, electorate.leader(qc.epoch))
        reason = check_certificate(qc, table)
        if reason is not None:
            return reason
    return None


def view_to_join(
    changes: Mapping[int, Mapping[ValidatorId, ViewChangeMessage]], epoch: int, faults: int
) -> int | None:
    """Return the least later view that somebody asks for once f + 1 replicas ask for one."""
    later = sorted(view for view, known in changes.items() if view > epoch and known)
    signers = dict.fromkeys(signer for view in later for signer in changes[view])
    return later[0] if len(signers) > faults else None


def chosen(changes: Iterable[ViewChangeMessage]) -> tuple[int, list[Prepared]]:
    """Return the last stable checkpoint and what a new view proposes again above it, ascending.

    Of each sequence number what was prepared in the latest view; there is no gap, because who
    prepared a block had prepared the one below it.
    """
    held = list(changes)
    stable = max(change.stable for change in held)
    best: dict[int, Prepared] = {}
    for change in held:
        for entry in change.prepared:
            number = entry.block.height
            known = best.get(number)
            if known is None or entry.qc.epoch > known.qc.epoch:
                best[number] = entry
    entries: list[Prepared] = []
    while stable + 1 + len(entries) in best:
        entries.append(best[stable + 1 + len(entries)])
    return stable, entries
