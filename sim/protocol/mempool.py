"""What waits to be proposed: payload references, operations, evidence, late votes.

Owns four bounded pools and the order in which a leader draws on them. Must not know views, votes'
counting, transport. Whether an item is still of use is the ledger's word, which the caller gives.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice

from sim.protocol.effects import Dropped, Effect
from sim.protocol.types import Evidence, Operation, PayloadRef, Vote

OPERATIONS_PER_VALIDATOR = 8
"""Pending operations kept of one validator, so that no identity can fill the pool."""

EvidenceKey = tuple[str, int, int, int]


class Mempool:
    """The pools of one validator.

    References wait by gateway, ascending and disjoint: a gateway's ranges commit in order and
    without gap, so only the run that starts at the ledger's `next_tx` can be drawn.
    """

    __slots__ = ("_limits", "_queues", "evidence", "operations", "votes")

    def __init__(self, *, refs: int, operations: int, evidence: int, votes: int) -> None:
        self._limits = (refs, operations, evidence, votes)
        self._queues: dict[int, list[PayloadRef]] = {}
        self.operations: dict[tuple[int, int], Operation] = {}
        self.evidence: dict[EvidenceKey, Evidence] = {}
        self.votes: dict[tuple[int, int], Vote] = {}

    def __len__(self) -> int:
        """Count the references that wait."""
        return sum(map(len, self._queues.values()))

    def add_refs(
        self, refs: Iterable[PayloadRef], next_tx: Sequence[int], out: list[Effect]
    ) -> None:
        """Take up references; skip what is committed, held or malformed, drop what has no room.

        `next_tx`: first uncommitted transaction by gateway, on the final chain. Each gateway has
        an equal share of the room, which its earliest references keep: what comes next in order
        is never shut out by what comes later.
        """
        self._prune_refs(next_tx)
        share = max(1, self._limits[0] // max(1, len(next_tx)))
        overflow: list[PayloadRef] = []
        for ref in refs:
            gateway, first, last, size_bytes = ref
            if not 0 <= gateway < len(next_tx) or not next_tx[gateway] <= first <= last:
                continue
            if size_bytes < 0:
                continue
            queue = self._queues.setdefault(gateway, [])
            if not queue or queue[-1].last < first:
                at = len(queue)
            else:
                at = bisect_left(queue, first, key=_first)
                if at < len(queue) and queue[at].first <= last:
                    continue
                if at and queue[at - 1].last >= first:
                    continue
            queue.insert(at, ref)
            if len(queue) > share:
                overflow.append(queue.pop())
        if overflow:
            out.append(Dropped("mempool", len(overflow), "full", tuple(overflow)))

    def _prune_refs(self, next_tx: Sequence[int]) -> None:
        """Forget what the final chain has committed."""
        for gateway, queue in self._queues.items():
            if queue and queue[0].first < next_tx[gateway]:
                del queue[: bisect_left(queue, next_tx[gateway], key=_first)]

    def draw_refs(
        self, next_tx: Sequence[int], *, turn: int, refs: int, transactions: int
    ) -> tuple[PayloadRef, ...]:
        """Choose a block's references: gateways in turn, one reference each a round.

        `next_tx`: by gateway, on the block's parent. `turn` says who comes first, so that a full
        block does not always leave the same gateways out. Bounds: both limits, counts. A reference
        larger than a whole block waits for ever, and with it its gateway.
        """
        gateways = sorted(gateway for gateway, queue in self._queues.items() if queue)
        if not gateways:
            return ()
        shift = turn % len(gateways)
        runs = []
        for gateway in gateways[shift:] + gateways[:shift]:
            queue = self._queues[gateway]
            at = bisect_left(queue, next_tx[gateway], key=_first)
            if at < len(queue) and queue[at].first == next_tx[gateway]:
                runs.append((queue, at))
        chosen: list[PayloadRef] = []
        room = transactions
        while runs and len(chosen) < refs:
            further = []
            for queue, at in runs:
                ref = queue[at]
                count = ref.last - ref.first + 1
                if count > room or len(chosen) >= refs:
                    continue
                chosen.append(ref)
                room -= count
                if at + 1 < len(queue) and queue[at + 1].first == ref.last + 1:
                    further.append((queue, at + 1))
            runs = further
        return tuple(sorted(chosen))

    def add_operation(self, operation: Operation, next_nonce: int) -> str | None:
        """Take up an operation; the reason it is refused: known | stale_nonce | far_nonce | full.

        `next_nonce`: the validator's next on the final chain.
        """
        key = (operation.validator, operation.nonce)
        if key in self.operations:
            return "known"
        if operation.nonce < next_nonce:
            return "stale_nonce"
        if operation.nonce >= next_nonce + OPERATIONS_PER_VALIDATOR:
            return "far_nonce"
        if len(self.operations) >= self._limits[1]:
            return "full"
        self.operations[key] = operation
        return None

    def add_evidence(self, evidence: Evidence) -> str | None:
        """Take up evidence once a key; the reason it is refused: known | full."""
        key = evidence.key()
        if key in self.evidence:
            return "known"
        if len(self.evidence) >= self._limits[2]:
            return "full"
        self.evidence[key] = evidence
        return None

    def add_vote(self, vote: Vote) -> Vote | str | None:
        """Take up a late vote; a vote returned conflicts with this one, "known" refuses it.

        "full": taken up, and the oldest gave way, which is the first to lose its use.
        """
        key = (vote.view, vote.voter)
        known = self.votes.get(key)
        if known is not None:
            return known if known.block != vote.block else "known"
        self.votes[key] = vote
        if len(self.votes) <= self._limits[3]:
            return None
        del self.votes[next(islice(self.votes, 1))]
        return "full"


def _first(ref: PayloadRef) -> int:
    return ref.first
