"""Disaster recovery by stages: from the loss of a place to the next commit, and what is gone.

Owns: the stages, which of them a loss leads to, how long they take. Must not know: scenarios, the
event loop; weights are integers as certificates count them.

While the weight that is left makes a quorum, consensus recovers by itself: views of dead leaders
time out until two blocks are certified in consecutive views. Else the chain stands until people or
automation have put validators elsewhere, or the incident is over, whichever comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.world.faults.occurrence import Lifetimes

if TYPE_CHECKING:
    import numpy as np

PPM = 1_000_000
BY_ITSELF, BY_STANDBY, BY_ITS_END = "consensus", "standby", "end of the incident"
"""How the chain came back."""


@dataclass(frozen=True, slots=True)
class Stages:
    """How a network recovers. `standby`: none, warm or backup."""

    check_every_ns: int
    checks_failed: int
    decision: Lifetimes
    standby: str
    promotion: Lifetimes
    restore_ns: int
    """Time to copy a backup; 0 where state is there already."""
    backup_every_ns: int
    routing_ttl_ns: int
    lag: Lifetimes
    restart: Lifetimes
    """Of machines whose place is back."""
    timer_base_ns: int
    timer_backoff_ppm: int
    timer_max_ns: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One loss and its recovery. Stages that did not happen took 0 ns.

    `chain_lost_ns`: age of the newest commit of which no copy need be left; 0 where every quorum
    that ever was has a member that is left. `records_lost_ns`: age of the newest record outside the
    chain (audit, personal data) that the standby had; -1 without one.
    """

    how: str
    detection_ns: int
    decision_ns: int
    promotion_ns: int
    routing_ns: int
    consensus_ns: int
    rto_ns: int
    chain_lost_ns: int
    records_lost_ns: int


def episode(
    stages: Stages,
    weights: Sequence[int],
    lost: frozenset[int],
    quorum: int,
    incident_ns: int,
    stream: np.random.Generator,
) -> Episode:
    """Draw one recovery from the loss of the validators in `lost`.

    `quorum`: least weight of a certificate. `incident_ns`: how long the place is gone.
    """
    left = sum(weight for i, weight in enumerate(weights) if i not in lost)
    whole = sum(weights)
    records = _records_lost_ns(stages, stream)
    if left >= quorum:
        share = (whole - left) / whole
        waited = views_ns(stages, share, stream)
        if waited <= incident_ns:
            return Episode(BY_ITSELF, 0, 0, 0, 0, waited, waited, 0, records)
    # Two certificates overlap in 2 Q - W; one certificate and the rest in Q + left - W.
    safe = quorum + left > whole
    back_ns = incident_ns + stages.restart.draw_ns(stream)
    # The first check that fails comes within one interval of the loss.
    detection = (stages.checks_failed - 1) * stages.check_every_ns
    detection += int(stream.integers(stages.check_every_ns))
    decision = stages.decision.draw_ns(stream)
    promotion = stages.promotion.draw_ns(stream) + stages.restore_ns
    routing = int(stream.integers(stages.routing_ttl_ns + 1))
    # Timers of those who are left have backed off: the first common view may be that far away.
    consensus = int(stream.integers(stages.timer_max_ns)) + 2 * stages.timer_base_ns
    total = detection + decision + promotion + routing
    if stages.standby == "none" or back_ns <= total:
        return Episode(BY_ITS_END, 0, 0, 0, 0, consensus, back_ns + consensus, 0, 0)
    chain = 0 if safe else records
    return Episode(
        BY_STANDBY,
        detection,
        decision,
        promotion,
        routing,
        consensus,
        total + consensus,
        chain,
        records,
    )


def _records_lost_ns(stages: Stages, stream: np.random.Generator) -> int:
    """Draw the age of the newest record that is kept elsewhere."""
    lag = stages.lag.draw_ns(stream)
    since_backup = int(stream.integers(stages.backup_every_ns))
    if stages.standby == "warm":
        return lag
    # A backup is of use once it has been copied.
    return since_backup + lag if stages.standby == "backup" else -1


def views_ns(stages: Stages, lost_share: float, stream: np.random.Generator) -> int:
    """Draw how long views time out until a block commits, a share of the weight being gone.

    Leaders are drawn by weight. A view passes if its leader and the next, who collects its votes,
    are there; a commit takes two views that pass in a row. Each other view costs its timer, which
    grows until a view passes. Views that pass are counted as taking no time.
    """
    waited, timer, passed = 0, stages.timer_base_ns, 0
    leader_there = bool(stream.random() >= lost_share)
    while passed < 2:
        next_there = bool(stream.random() >= lost_share)
        if leader_there and next_there:
            passed += 1
            timer = stages.timer_base_ns
        else:
            passed = 0
            waited += timer
            timer = min(timer * stages.timer_backoff_ppm // PPM, stages.timer_max_ns)
        leader_there = next_there
    return waited
