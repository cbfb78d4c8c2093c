"""Rows of what blocks do to the ledger, and of what each epoch pinned.

Owns the tables epochs, validators, and the ledger's part of evidence and operations. Must not know
blocks in flight: that is the observer's part. Baselines have no ledger: one epoch, weights only.
"""

from __future__ import annotations

from sim.protocol.ledger import Ledger, LedgerState
from sim.protocol.types import Block, BlockId, EpochParameters, digest
from sim.protocol.weighted_voting import PPM, effective_cap_ppm
from sim.record.recorder import Sink


def held(state: LedgerState, validator: int) -> tuple[int, int]:
    """Return a validator's bonded and unbonding stake."""
    stake = state.books.stake
    leaving = sum(entry.amount for entry in stake.unbonding if entry.validator == validator)
    return stake.bonded[validator], leaving


class LedgerRows:
    """Write them. `fixed`: what a baseline's validators pin for good; then `ledger` is None."""

    def __init__(
        self,
        recorder: Sink,
        regions: tuple[str, ...],
        ledger: Ledger | None,
        fixed: EpochParameters | None = None,
    ) -> None:
        self._row = recorder.append_row
        self._regions = regions
        self._ledger = ledger
        self.fixed = fixed

    def genesis(self) -> BlockId:
        """Return the block that everything stands on."""
        if self._ledger is not None:
            return self._ledger.genesis_block.id
        assert self.fixed is not None, "either a ledger or fixed parameters"
        return self.fixed.root

    def pinned_by(self, root: Block) -> EpochParameters | None:
        """Return what the epoch above `root` pins; None where there are no epochs."""
        return None if self._ledger is None else self._ledger.next_epoch(root).parameters

    def block(self, block: Block, now_ns: int) -> None:
        """Record what a block that has just been committed did to stakes."""
        ledger = self._ledger
        if ledger is None:
            return
        before = ledger.state(block.parent)
        after = ledger.state(block.id)
        for evidence in block.evidence:
            offender = evidence.offender
            lost = sum(held(before, offender)) - sum(held(after, offender))
            self._row(
                "evidence",
                time_ns=now_ns,
                node=block.proposer,
                event="punished",
                kind=evidence.kind,
                offender=offender,
                epoch=evidence.epoch,
                view=evidence.view,
                height=block.height,
                slashed=max(0, lost),
            )
        for operation in block.operations:
            applied = (
                after.books.nonces[operation.validator] > before.books.nonces[operation.validator]
            )
            self._row(
                "operations",
                time_ns=now_ns,
                validator=operation.validator,
                kind=operation.kind,
                amount=operation.amount,
                nonce=operation.nonce,
                event="applied" if applied else "refused",
                height=block.height,
                reason="" if applied else "no_effect",
            )

    def epoch(self, parameters: EpochParameters, now_ns: int) -> None:
        """Record an epoch's pinned parameters, and every validator's account with it."""
        ledger = self._ledger
        state = None if ledger is None else ledger.state(parameters.root)
        window = () if state is None else state.books.level.window
        signals = window[-1] if window else None
        weights = parameters.weights.weights
        members = sum(w > 0 for w in weights)
        cap = PPM // members
        if ledger is not None:
            cap = effective_cap_ppm(members, ledger.parameters.weights)
        self._row(
            "epochs",
            epoch=parameters.epoch,
            root=parameters.root.hex(),
            root_height=parameters.root_height,
            started_ns=now_ns,
            members=members,
            total_weight=parameters.weights.total,
            quorum=parameters.quorum,
            level=parameters.level,
            effective_cap_ppm=cap,
            weights_digest=digest("weights", tuple(weights)).hex(),
            proven_weight=signals.proven_weight if signals else 0,
            timeouts=signals.timeouts if signals else 0,
            committed_blocks=signals.committed_blocks if signals else 0,
            missed_weight=signals.missed_weight if signals else 0,
        )
        if state is not None:
            self._accounts(state, parameters)

    def _accounts(self, state: LedgerState, parameters: EpochParameters) -> None:
        books, weights = state.books, parameters.weights.weights
        for validator in range(len(weights)):
            bonded, unbonding = held(state, validator)
            self._row(
                "validators",
                epoch=parameters.epoch,
                validator=validator,
                region=self._regions[validator],
                member=int(weights[validator] > 0),
                weight=weights[validator],
                stake=bonded,
                unbonding=unbonding,
                reputation=books.reputation.scores[validator],
                uptime=books.uptimes[validator],
                jailed=int(books.stake.jailed_until[validator] > parameters.epoch),
            )
