"""Monitors of what must never happen: conflicting commits, certificates, parameters, states.

Owns: one class an invariant. They see observations only, and judge blocks from their content; none
asks a validator for its opinion. Each remembers the last `KEEP` heights, views or epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from sim.monitor.base import KEEP, NOBODY, Handler, Monitor
from sim.protocol.effects import Accused, Certified, Committed, EpochChanged, Reconciled
from sim.protocol.types import Block, BlockId, EpochParameters

BlockOf: TypeAlias = Callable[[BlockId], Block | None]
EpochOf: TypeAlias = Callable[[int], EpochParameters | None]


class Agreement(Monitor):
    """No two honest validators commit different blocks at one height."""

    name = "agreement"

    def __init__(self, epoch_of: EpochOf | None = None) -> None:
        super().__init__()
        self._epoch_of = epoch_of
        self._at: dict[int, tuple[BlockId, int, int]] = {}
        self.epochs: dict[int, EpochParameters | None] = {}
        """Epochs in which it broke, in order, and what they pinned; the first `KEEP`."""

    def handlers(self) -> Mapping[type, Handler]:
        return {Committed: self._committed}

    def _committed(self, node: int, now_ns: int, seen: Committed) -> None:
        known = self._at.get(seen.height)
        if known is None:
            self._at[seen.height] = (seen.block, node, now_ns)
            if len(self._at) > KEEP:
                del self._at[next(iter(self._at))]
        elif known[0] != seen.block:
            block, other, since_ns = known
            if seen.epoch not in self.epochs and len(self.epochs) < KEEP:
                known_of = self._epoch_of
                self.epochs[seen.epoch] = None if known_of is None else known_of(seen.epoch)
            self._fire(
                node,
                now_ns,
                since_ns,
                height=seen.height,
                block=seen.block.hex(),
                other_block=block.hex(),
                other_validator=other,
                other_time_ns=since_ns,
            )


class CertificateUniqueness(Monitor):
    """One view of one epoch certifies one block, whoever collects the certificate."""

    name = "certificate_uniqueness"
    honest_only = False

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[tuple[int, int], tuple[BlockId, int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {Certified: self._certified}

    def _certified(self, node: int, now_ns: int, seen: Certified) -> None:
        qc = seen.qc
        known = self._of.get((qc.epoch, qc.view))
        if known is None:
            self._of[qc.epoch, qc.view] = (qc.block, qc.signers, now_ns)
            if len(self._of) > KEEP:
                del self._of[next(iter(self._of))]
        elif known[0] != qc.block:
            self._fire(
                node,
                now_ns,
                known[2],
                epoch=qc.epoch,
                view=qc.view,
                block=qc.block.hex(),
                other_block=known[0].hex(),
                signed_both=(qc.signers & known[1]).bit_count(),
            )


class CommitMonotonicity(Monitor):
    """Each honest validator commits height after height, each block on the one before.

    Its first commit after the start, a restart or a reconciliation may be at any height.
    """

    name = "commit_monotonicity"

    def __init__(self, validators: int, block_of: BlockOf | None) -> None:
        super().__init__()
        self._last: list[Committed | None] = [None] * validators
        self._times = [0] * validators
        self._block_of = block_of
        self._parents: dict[BlockId, BlockId | None] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {Committed: self.committed, Reconciled: self._reconciled}

    def restarted(self, node: int) -> None:
        """Let the next commit of a validator be at any height."""
        self._last[node] = None

    def _reconciled(self, node: int, now_ns: int, seen: Reconciled) -> None:
        self.restarted(node)

    def committed(self, node: int, now_ns: int, seen: Committed) -> None:
        """Judge a commit by the one of this validator before it."""
        last = self._last[node]
        self._last[node] = seen
        since_ns, self._times[node] = self._times[node], now_ns
        if last is None:
            return
        if seen.height != last.height + 1:
            self._fire(node, now_ns, since_ns, height=seen.height, height_before=last.height)
        elif self._block_of is not None:
            try:
                parent = self._parents[seen.block]
            except KeyError:
                parent = self._parent(seen.block)
            if parent is not None and parent != last.block:
                self._fire(
                    node,
                    now_ns,
                    since_ns,
                    height=seen.height,
                    parent=parent.hex(),
                    block_before=last.block.hex(),
                )

    def _parent(self, block_id: BlockId) -> BlockId | None:
        block = None if self._block_of is None else self._block_of(block_id)
        self._parents[block_id] = parent = None if block is None else block.parent
        if len(self._parents) > KEEP:
            del self._parents[next(iter(self._parents))]
        return parent


class LedgerEquality(Monitor):
    """All honest validators derive one ledger from one block."""

    name = "ledger_equality"

    def __init__(self) -> None:
        super().__init__()
        self._after: dict[BlockId, tuple[bytes, int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {Committed: self._committed}

    def _committed(self, node: int, now_ns: int, seen: Committed) -> None:
        known = self._after.get(seen.block)
        if known is None:
            self._after[seen.block] = (seen.state, node, now_ns)
            if len(self._after) > KEEP:
                del self._after[next(iter(self._after))]
        elif known[0] != seen.state:
            self._fire(
                node,
                now_ns,
                known[2],
                height=seen.height,
                block=seen.block.hex(),
                state=seen.state.hex(),
                other_state=known[0].hex(),
                other_validator=known[1],
            )


class PinnedParameters(Monitor):
    """All honest validators derive the same parameters for an epoch.

    Different roots are conflicting commits: once `agreement` has said so, they are its matter.
    """

    name = "pinned_parameters"

    def __init__(self, agreement: Agreement) -> None:
        super().__init__()
        self._agreement = agreement
        self._of: dict[int, tuple[EpochChanged, int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {EpochChanged: self._changed}

    def _changed(self, node: int, now_ns: int, seen: EpochChanged) -> None:
        known = self._of.get(seen.epoch)
        if known is None:
            self._of[seen.epoch] = (seen, node, now_ns)
            if len(self._of) > KEEP:
                del self._of[next(iter(self._of))]
        elif known[0] != seen:
            if seen.root != known[0].root and self._agreement.violation is not None:
                return
            mine, theirs = seen._asdict(), known[0]._asdict()
            names = [name for name in mine if mine[name] != theirs[name]]
            self._fire(
                node,
                now_ns,
                known[2],
                epoch=seen.epoch,
                differs=names,
                values=[_plain(mine[name]) for name in names],
                other_values=[_plain(theirs[name]) for name in names],
                other_validator=known[1],
            )


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


class Validity(Monitor):
    """What honest validators commit is a proper block.

    It is the block that the observation names; it stands on its certified parent; its certificate
    has the epoch's quorum, counted here from the weight table; its view is above its parent's in
    the epoch; and each gateway's transactions follow on from those before it: none twice, none
    skipped. Each block is judged once, at its first commit; more than `KEEP` heights below the
    highest judged, nobody knows any more whether it was. `certified`: whether the protocol's blocks
    carry their parents' certificates at all.
    """

    name = "validity"

    def __init__(self, block_of: BlockOf, epoch_of: EpochOf, *, certified: bool = True) -> None:
        super().__init__()
        self._certified = certified
        self._block_of = block_of
        self._epoch_of = epoch_of
        self._seen: dict[BlockId, None] = {}
        self._next: dict[int, int] = {}
        self._latest: Block | None = None
        self._highest = 0

    def handlers(self) -> Mapping[type, Handler]:
        return {Committed: self._committed}

    def _committed(self, node: int, now_ns: int, seen: Committed) -> None:
        if seen.block in self._seen or seen.height <= self._highest - KEEP:
            return
        self._highest = max(self._highest, seen.height)
        self._seen[seen.block] = None
        if len(self._seen) > KEEP:
            del self._seen[next(iter(self._seen))]
        block = self._block_of(seen.block)
        reason = "unknown_block" if block is None else self._fault(seen, block)
        if reason is not None:
            self._fire(node, now_ns, now_ns, height=seen.height, block=seen.block.hex(), why=reason)
        if block is not None:
            self._latest = block

    def _fault(self, seen: Committed, block: Block) -> str | None:
        if (block.id, block.epoch, block.view, block.height) != (
            seen.block,
            seen.epoch,
            seen.view,
            seen.height,
        ):
            return "not_the_block_observed"
        if self._certified and block.justify.block != block.parent:
            return "certificate_not_of_its_parent"
        parent = self._block_of(block.parent)
        if parent is not None:
            if block.height != parent.height + 1:
                return "height_not_above_its_parent"
            if block.epoch == parent.epoch and block.view <= parent.view:
                return "view_not_above_its_parent"
        fault = self._certificate_fault(block) if self._certified else None
        return fault or self._payload_fault(block)

    def _certificate_fault(self, block: Block) -> str | None:
        qc = block.justify
        if qc.epoch != block.epoch:
            return "certificate_of_another_epoch"
        parameters = self._epoch_of(block.epoch)
        if parameters is None:
            return "epoch_unknown"
        if qc.view == 0:
            return None if qc.block == parameters.root else "root_certificate_of_another_block"
        weights = parameters.weights.weights
        weight, signers, validator = 0, qc.signers, 0
        while signers:
            if signers & 1:
                if validator >= len(weights) or weights[validator] == 0:
                    return "signer_without_a_vote"
                weight += weights[validator]
            signers >>= 1
            validator += 1
        return None if weight >= parameters.quorum else "certificate_below_quorum"

    def _payload_fault(self, block: Block) -> str | None:
        """Follow each gateway from 0 along the chain committed first; a rival is not judged."""
        if self._latest is not None and block.parent != self._latest.id:
            return None
        for ref in block.payload:
            expected = self._next.get(ref.gateway, 0)
            if ref.last < ref.first:
                return f"empty_range_of_gateway_{ref.gateway}"
            if ref.first != expected:
                kind = "repeated" if ref.first < expected else "skipped"
                return f"{kind}_transactions_of_gateway_{ref.gateway}"
            self._next[ref.gateway] = ref.last + 1
        return None


class Accountability(Monitor):
    """Offences convict their authors: never an honest validator, and enough after a conflict.

    Two conflicting commits of an epoch need certificates that overlap in 2q - W of its weight
    (q the quorum, W the total): by the end of the run that much must be convicted.
    """

    name = "accountability"

    def __init__(self, honest: int, agreement: Agreement) -> None:
        super().__init__()
        self.honest = honest
        """Bitmap of who has to answer for what it signs."""
        self._agreement = agreement
        self._convicted = 0

    def handlers(self) -> Mapping[type, Handler]:
        return {Accused: self._accused}

    def corrupted(self, node: int) -> None:
        """Take a validator for dishonest from now on."""
        self.honest &= ~(1 << node)

    def _accused(self, node: int, now_ns: int, seen: Accused) -> None:
        offender = seen.evidence.offender
        if self.honest >> offender & 1 and not self._convicted >> offender & 1:
            evidence = seen.evidence
            self._fire(
                node,
                now_ns,
                now_ns,
                offender=offender,
                offence=evidence.kind,
                epoch=evidence.epoch,
                view=evidence.view,
                why="an honest validator is convicted",
            )
        self._convicted |= 1 << offender

    def finish(self, now_ns: int) -> None:
        broken = self._agreement.violation
        if broken is None:
            return
        for epoch, parameters in self._agreement.epochs.items():
            if parameters is None:
                continue
            weights = parameters.weights.weights
            found = sum(w for i, w in enumerate(weights) if self._convicted >> i & 1)
            needed = 2 * parameters.quorum - parameters.weights.total
            if found < needed:
                self._fire(
                    NOBODY,
                    now_ns,
                    broken.window_from_ns,
                    epoch=epoch,
                    convicted_weight=found,
                    needed_weight=needed,
                    why="conflicting commits without enough evidence",
                )
