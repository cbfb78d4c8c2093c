"""Assemble a leader's block from the pools.

Owns what a block holds and in which order. Must not know timers, votes' counting, transport.
"""

from __future__ import annotations

from itertools import islice

from sim.protocol.chain import Chain
from sim.protocol.mempool import Mempool
from sim.protocol.pacemaker import ConsensusParameters
from sim.protocol.types import TC, Block, Evidence, Operation, ValidatorId, Vote


def is_tail(chain: Chain, parent: Block) -> bool:
    """Say whether a block on `parent` only serves to commit the epoch's last block."""
    return chain.ledger.state(parent.id).epoch != chain.epoch.epoch


def assemble(
    chain: Chain,
    pool: Mempool,
    parameters: ConsensusParameters,
    *,
    me: ValidatorId,
    view: int,
    tc: TC | None,
) -> Block:
    """Build the block of `view` on the highest certificate; a tail block is empty."""
    justify = chain.high_qc
    parent = chain.tree.get(justify.block)
    assert parent is not None, "the highest certificate's block is here by definition"
    height = parent.height + 1
    epoch = chain.epoch.epoch
    if is_tail(chain, parent):
        return Block(epoch, view, height, me, parent.id, justify, tc)
    return Block(
        epoch,
        view,
        height,
        me,
        parent.id,
        justify,
        tc,
        pool.draw_refs(
            chain.ledger.state(parent.id).next_tx,
            turn=view,
            refs=parameters.max_block_refs,
            transactions=parameters.max_block_transactions,
        ),
        _operations(chain, pool, parent, parameters.max_block_operations),
        _attendance(chain, pool, parent, parameters.max_block_attendance),
        _evidence(chain, pool, parent, parameters.max_block_evidence),
    )


def refusal(block: Block, chain: Chain, parameters: ConsensusParameters) -> str | None:
    """Say what is wrong with a block's content on its parent; each object is judged once.

    Whoever shares a ledger shares the verdict: the epoch's parameters are the ledger's own.
    reason: too_large, or what the ledger's `check_content` says.
    """
    memo = chain.epoch.memo
    known = memo.get(block.id)
    if known is not None and known[0] is block and known[1] is parameters:
        return known[2]  # type: ignore[no-any-return]
    reason = chain.ledger.check_content(block)
    if reason is None and _too_large(block, chain, parameters):
        reason = "too_large"
    if len(memo) > 4096:
        memo.clear()
    memo[block.id] = (block, parameters, reason)
    return reason


def _too_large(block: Block, chain: Chain, parameters: ConsensusParameters) -> bool:
    """Say whether a block of sound content exceeds what a leader may put in."""
    ledger, transactions = chain.ledger, 0
    if block.payload:
        transactions = ledger.apply(block).transactions - ledger.state(block.parent).transactions
    return (
        transactions > parameters.max_block_transactions
        or len(block.payload) > parameters.max_block_refs
        or len(block.operations) > parameters.max_block_operations
        or len(block.evidence) > parameters.max_block_evidence
        or len(block.attendance) > parameters.max_block_attendance
    )


def _operations(chain: Chain, pool: Mempool, parent: Block, limit: int) -> tuple[Operation, ...]:
    """At most one operation a validator a block, so that each is judged on the parent alone."""
    final = chain.ledger.state(chain.tree.final.id).books.nonces
    for key in [k for k in pool.operations if k[1] < final[k[0]]]:
        del pool.operations[key]
    chosen: dict[ValidatorId, Operation] = {}
    for key in sorted(pool.operations):
        if len(chosen) >= limit:
            break
        operation = pool.operations[key]
        if key[0] in chosen or chain.ledger.check_operation(parent.id, operation) is not None:
            continue
        chosen[key[0]] = operation
    return tuple(chosen.values())


def _evidence(chain: Chain, pool: Mempool, parent: Block, limit: int) -> tuple[Evidence, ...]:
    judge = chain.ledger.check_accusation
    final = chain.tree.final.id
    for key in [k for k, e in pool.evidence.items() if judge(final, e) is not None]:
        del pool.evidence[key]
    chosen = (pool.evidence[key] for key in sorted(pool.evidence))
    return tuple(islice((e for e in chosen if judge(parent.id, e) is None), limit))


def _attendance(chain: Chain, pool: Mempool, parent: Block, limit: int) -> tuple[Vote, ...]:
    """Credit late votes for the last blocks that no certificate and no ancestor credits."""
    recent = chain.ledger.state(parent.id).tally.recent
    if not pool.votes or not recent:
        return ()
    credited = {credit.block: credit.voters for credit in recent}
    credited[parent.id] = chain.high_qc.signers
    for key in [k for k in pool.votes if k[0] < recent[0].view]:
        del pool.votes[key]
    new = [
        key
        for key, vote in pool.votes.items()
        if vote.block in credited and not credited[vote.block] >> vote.voter & 1
    ]
    return tuple(pool.votes[key] for key in sorted(new)[:limit])
