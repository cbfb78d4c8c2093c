"""Views: who leads them, how long they last, when a validator gives up on one.

Owns the consensus parameters, the leader schedule, the timer rule and the timeouts of coming
views. Must not know blocks' contents, the ledger, transport.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from sim.protocol.effects import SetTimer, ViewChanged
from sim.protocol.multi_signature import AcceptedTimeout, RejectedVote, TimeoutCollector
from sim.protocol.types import EpochParameters, Timeout, ValidatorId, digest

PPM = 1_000_000
VIEWS_AHEAD: Final = 64
"""Votes and timeouts of views further ahead than this are refused: collectors stay bounded."""
VIEWS_BEHIND: Final = 8
"""A collector is kept this many views after its own, for late votes."""
_VIEWS_KEPT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusParameters:
    """Settings of the consensus core. Times in ns of the local clock; limits are counts."""

    timer_base_ns: int = 2_000_000_000
    timer_backoff_ppm: int = 1_500_000
    """Factor on the timer for each view in a row that ended in a timeout."""
    timer_max_ns: int = 60_000_000_000
    leader: str = "weighted"
    """weighted | round_robin."""
    late_vote_leaders: int = 2
    """Late votes are forwarded to this many coming leaders."""
    min_block_interval_ns: int = 0
    """A leader proposes no sooner than this after it first saw the parent, on its own clock."""
    max_block_refs: int = 512
    max_block_transactions: int = 20_000
    max_block_operations: int = 64
    max_block_evidence: int = 16
    max_block_attendance: int = 128
    mempool_refs: int = 16_384
    mempool_operations: int = 1_024
    sync_blocks: int = 16
    """Blocks in one sync response."""
    store_blocks: int = 1_024
    """Final blocks kept to answer who syncs."""
    on_safety_violation: str = "halt"
    """halt | reconcile."""

    def __post_init__(self) -> None:
        if self.leader not in ("weighted", "round_robin"):
            raise ValueError(f"leader is weighted or round_robin, not {self.leader!r}")
        if self.on_safety_violation not in ("halt", "reconcile"):
            raise ValueError(
                f"on_safety_violation is halt or reconcile, not {self.on_safety_violation!r}"
            )
        if self.timer_base_ns <= 0 or self.timer_max_ns < self.timer_base_ns:
            raise ValueError("timers need 0 < timer_base_ns <= timer_max_ns")
        if self.timer_backoff_ppm < PPM:
            raise ValueError(f"timer_backoff_ppm is at least {PPM}: a timer never shrinks")


def members(parameters: EpochParameters) -> tuple[ValidatorId, ...]:
    """List who has a vote in the epoch, ascending."""
    known: tuple[ValidatorId, ...] | None = parameters.memo.get("members")
    if known is None:
        weights = parameters.weights.weights
        known = parameters.memo["members"] = tuple(i for i, w in enumerate(weights) if w > 0)
    return known


def leader(parameters: EpochParameters, view: int, kind: str) -> ValidatorId:
    """Name the leader of `view`: a pure function of the epoch's beacon, weights and the view.

    weighted: a member is drawn with probability weight / W, by SHA-256 of (beacon, epoch, view).
    round_robin: members in turn, from an offset that the beacon draws.
    """
    if kind == "round_robin":
        everyone = members(parameters)
        offset = int.from_bytes(digest("turn", parameters.beacon)[:8], "big")
        return everyone[(offset + view) % len(everyone)]
    sums: tuple[int, ...] | None = parameters.memo.get("cumulative")
    if sums is None:
        sums = parameters.memo["cumulative"] = tuple(accumulate(parameters.weights.weights))
    draw = digest("leader", parameters.beacon, parameters.epoch, view)
    point = (int.from_bytes(draw[:16], "big") * parameters.weights.total) >> 128
    return bisect_right(sums, point)


class View(NamedTuple):
    """What everyone knows of a view beforehand."""

    leader: ValidatorId
    entered: ViewChanged
    """What whoever a certificate brings here shows."""
    timer: SetTimer
    """For who has made progress: without backoff."""


Views: TypeAlias = dict[int, View]
"""Of one epoch, by number: all validators share them."""


def look_at(
    known: Views, number: int, epoch: EpochParameters, parameters: ConsensusParameters
) -> View:
    """Add a view to the `known` ones of its epoch."""
    if len(known) >= _VIEWS_KEPT:
        known.clear()
    timer = SetTimer((epoch.epoch, number, "view"), delay_ns(parameters, 0))
    entered = ViewChanged(epoch.epoch, number, "certificate")
    known[number] = View(leader(epoch, number, parameters.leader), entered, timer)
    return known[number]


def delay_ns(parameters: ConsensusParameters, failures: int) -> int:
    """Time to give a view after `failures`: min(base x backoff^k, max) and a leader's pacing."""
    delay = parameters.timer_base_ns
    for _ in range(failures):
        if delay >= parameters.timer_max_ns:
            break
        delay = delay * parameters.timer_backoff_ppm // PPM
    return min(delay, parameters.timer_max_ns) + parameters.min_block_interval_ns


TELLING_NEIGHBOURS = 3
"""Validators that tell a peer that is one view behind: with a third down, one is up in 96 %."""


class Pacemaker:
    """The view that a validator is in, its timer, and the timeouts it has collected."""

    __slots__ = ("_collectors", "_epoch", "_late", "_parameters", "consecutive", "expired", "view")

    def __init__(self, parameters: ConsensusParameters, epoch: EpochParameters) -> None:
        self._parameters = parameters
        self.open(epoch)

    def open(self, epoch: EpochParameters) -> None:
        """Start over in a new epoch: views restart, nothing of the old one counts."""
        self._epoch = epoch
        self._collectors: dict[int, TimeoutCollector] = {}
        self._late: dict[ValidatorId, int] = {}
        self.view = 0
        self.consecutive = 0
        """Views in a row that ended in a timeout."""
        self.expired = 0
        """How often the timer of the present view ran out: its repetition backs off as well."""

    def enter(self, view: int, *, progress: bool) -> None:
        """Move to `view`; a certificate is progress and resets the backoff, a timeout is not."""
        self.view = view
        self.consecutive = 0 if progress else self.consecutive + 1
        self.expired = 0
        if self._collectors:
            for old in [v for v in self._collectors if v < view]:
                del self._collectors[old]

    def delay_ns(self) -> int:
        """Time to give the present view; see the function of this name."""
        return delay_ns(self._parameters, self.consecutive + self.expired)

    def add(self, timeout: Timeout) -> AcceptedTimeout | RejectedVote:
        """Count a verified timeout of this epoch, of the present view or one not far ahead."""
        if timeout.view < self.view:
            return RejectedVote("late")
        if timeout.view > self.view + VIEWS_AHEAD:
            return RejectedVote("wrong_view")
        collector = self._collectors.get(timeout.view)
        if collector is None:
            collector = self._collectors[timeout.view] = TimeoutCollector(self._epoch, timeout.view)
        return collector.add(timeout, verified=True)

    def tells(self, me: ValidatorId, late: Timeout) -> bool:
        """Say whether validator `me` shows the signer of a late timeout how views went on.

        Who is one view behind hears what all hear and is told by its next neighbours only: 150
        certificates to each of 150 would be 6 GB a view change. Who repeats itself is told by all.
        """
        near = (me - late.signer) % len(self._epoch.weights.weights) <= TELLING_NEIGHBOURS
        again = self._late.get(late.signer) == late.view
        self._late[late.signer] = late.view
        return near or again or late.view + 1 < self.view

    def weight(self, view: int) -> int:
        """Return the weight that has timed out in `view`."""
        collector = self._collectors.get(view)
        return 0 if collector is None else collector.weight

    def joins(self, view: int) -> bool:
        """Say whether so much weight timed out in `view` that an honest validator is among it."""
        return self.weight(view) > self._epoch.join
