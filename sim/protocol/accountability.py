"""Turn what the chain shows into evidence: certificates and timeouts that contradict each other.

Owns forensics over certificates. Must not know how anything was collected or sent.

Why it suffices: two conflicting commits imply two certificates of one view (their common signers
voted twice), or a certified block above the first commit's view that does not extend it. Such a
block of least view has a justification below that commit, so either its voters broke the TC rule
or its TC holds, of everyone who signed both, a timeout that hides what he had voted upon. In each
case the convicted weigh at least 2Q - W, a share 2q - 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sim.protocol.evidence import double_vote, stale_timeout, tc_rule, vote_rule
from sim.protocol.multi_signature import members
from sim.protocol.types import QC, TC, Block, Evidence, ValidatorId, Vote

Certified = tuple[Block, QC]
"""A block and a certificate of it."""


def vote_of(qc: QC, signer: ValidatorId) -> Vote:
    """Take one signer's vote out of a certificate, signature included."""
    index = (qc.signers & ((1 << signer) - 1)).bit_count()
    return Vote(qc.epoch, qc.view, qc.block, signer, qc.signatures[index])


def double_votes(one: QC, other: QC) -> list[Evidence]:
    """Convict who signed both of two certificates of one view for different blocks."""
    if (one.epoch, one.view) != (other.epoch, other.view) or one.block == other.block:
        return []
    return [
        double_vote(vote_of(one, signer), vote_of(other, signer))
        for signer in members(one.signers & other.signers)
    ]


def stale_timeouts(tc: TC, certified: Iterable[Certified]) -> list[Evidence]:
    """Convict who timed out, in `tc`, with a high QC below one that he had voted upon."""
    found: dict[ValidatorId, Evidence] = {}
    lowest = min((t.high_qc_view for t in tc.timeouts), default=0)
    for block, qc in certified:
        if qc.view > tc.view or qc.epoch != tc.epoch or lowest >= block.justify.view:
            continue
        for timeout in tc.timeouts:
            signer = timeout.signer
            if timeout.high_qc_view >= block.justify.view or not qc.signers >> signer & 1:
                continue
            evidence = stale_timeout(vote_of(qc, signer), block, timeout)
            if evidence is not None:
                found.setdefault(signer, evidence)
    return [found[signer] for signer in sorted(found)]


def rule_breakers(block: Block, qc: QC) -> list[Evidence]:
    """Convict who signed the certificate of a block that the TC rule forbids."""
    if vote_rule(block) is None:
        return []
    found = (tc_rule(vote_of(qc, signer), block) for signer in members(qc.signers))
    return [evidence for evidence in found if evidence is not None]


def convict(one: Sequence[Certified], other: Sequence[Certified]) -> list[Evidence]:
    """Convict over two certified branches that conflict; each offence once, in a fixed order."""
    found: dict[tuple[str, int, int, int], Evidence] = {}
    for mine, theirs in ((one, other), (other, one)):
        by_view = {(qc.epoch, qc.view): qc for _, qc in mine}
        for block, qc in theirs:
            twin = by_view.get((qc.epoch, qc.view))
            charges = rule_breakers(block, qc)
            if twin is not None:
                charges += double_votes(twin, qc)
            if block.tc is not None:
                charges += stale_timeouts(block.tc, mine)
            for evidence in charges:
                found.setdefault(evidence.key(), evidence)
    return [found[key] for key in sorted(found)]
