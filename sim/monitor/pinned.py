"""Monitors of what an epoch pins: quorums that overlap enough, weights below the cap.

Owns the arithmetic of overlap, written down a second time. They are shown, now and then, what each
honest validator judges certificates by. Must not know how weights and levels are derived.
"""

from __future__ import annotations

from sim.monitor.base import NOBODY, Monitor
from sim.monitor.safety import Agreement
from sim.protocol.types import EpochParameters, WeightTable

_PPM = 1_000_000
_EPOCHS_KEPT = 64
_JUDGEMENTS_KEPT = 8
"""Different tables and quorums of one epoch that are held against one another."""


def drift(one: WeightTable, other: WeightTable) -> tuple[int, int]:
    """Return how much weight changes hands from one table to the other, as a fraction of W.

    Half the sum of the differences of shares: (numerator, denominator).
    """
    pairs = zip(one.weights, other.weights, strict=True)
    moved = sum(abs(a * other.total - b * one.total) for a, b in pairs)
    return moved, 2 * one.total * other.total


def overlap_exceeds_third(one: EpochParameters, other: EpochParameters) -> bool:
    """Say whether Q1 + Q2 - W > W / 3 for any two quorums, each by its own table.

    Shares of unequal tables: what changes hands from one table to the other may be in the second
    quorum only, so that it is taken off. Exact, in integers.
    """
    (q1, w1), (q2, w2) = ((p.quorum, p.weights.total) for p in (one, other))
    moved, whole = drift(one.weights, other.weights)
    # Over the common denominator w1 * w2 * whole: q1/w1 + q2/w2 - 1 - moved/whole > 1/3.
    left = (q1 * w2 + q2 * w1 - w1 * w2) * whole - moved * w1 * w2
    return 3 * left > w1 * w2 * whole


class QuorumOverlap(Monitor):
    """Any two quorums that honest validators may accept at one height share over a third of W.

    All heights of an epoch are decided by what the epoch pins: its tail can commit nothing but its
    root. So what counts is each pair of (weights, quorum) that some honest validator judges
    certificates of one epoch by, the pair of one with itself included. Different roots are
    conflicting commits: once `agreement` has said so, they are its matter.
    """

    name = "quorum_overlap"

    def __init__(self, agreement: Agreement) -> None:
        super().__init__()
        self._agreement = agreement
        self._of: dict[int, list[tuple[EpochParameters, WeightTable, int]]] = {}

    def judges_by(self, node: int, now_ns: int, parameters: EpochParameters) -> None:
        """Show what validator `node` judges certificates of its epoch by now."""
        known = self._of.setdefault(parameters.epoch, [])
        for seen, weights, _ in known:
            same = seen is parameters and weights is parameters.weights
            if same or (weights, seen.quorum) == (parameters.weights, parameters.quorum):
                return
        if len(known) >= _JUDGEMENTS_KEPT:
            return
        known.append((parameters, parameters.weights, now_ns))
        if len(self._of) > _EPOCHS_KEPT:
            del self._of[next(iter(self._of))]
        for seen, weights, since_ns in known:
            if seen.root != parameters.root and self._agreement.violation is not None:
                continue
            other = _as_seen(seen, weights)
            if not overlap_exceeds_third(parameters, other):
                moved, whole = drift(parameters.weights, weights)
                self._fire(
                    node,
                    now_ns,
                    since_ns,
                    epoch=parameters.epoch,
                    quorum=parameters.quorum,
                    total=parameters.weights.total,
                    other_quorum=other.quorum,
                    other_total=weights.total,
                    drift_ppm=moved * _PPM // whole,
                )


def _as_seen(parameters: EpochParameters, weights: WeightTable) -> EpochParameters:
    """Return parameters with the table that they had when they were shown."""
    if parameters.weights is weights:
        return parameters
    return EpochParameters(
        parameters.epoch,
        parameters.root,
        parameters.root_height,
        weights,
        parameters.level,
        parameters.quorum,
        parameters.join,
        parameters.beacon,
    )


class WeightCap(Monitor):
    """Nobody holds more voting weight than the cap, or than an equal part where that is more.

    `cap_ppm`: the scenario's. Weights are floored shares: the n units that flooring may take off
    the total are granted.
    """

    name = "weight_cap"

    def __init__(self, cap_ppm: int) -> None:
        super().__init__()
        self._cap_ppm = cap_ppm
        self._judged: dict[int, WeightTable] = {}

    def judges_by(self, node: int, now_ns: int, parameters: EpochParameters) -> None:
        """Show what validator `node` judges certificates of its epoch by now."""
        table = parameters.weights
        if self._judged.get(parameters.epoch) is table:
            return
        self._judged[parameters.epoch] = table
        if len(self._judged) > _EPOCHS_KEPT:
            del self._judged[next(iter(self._judged))]
        members = sum(1 for weight in table.weights if weight)
        cap_ppm = max(self._cap_ppm, -(-_PPM // max(1, members)))
        most = (table.total + len(table.weights)) * cap_ppm // _PPM + 1
        heaviest = max(table.weights)
        if heaviest > most:
            self._fire(
                NOBODY,
                now_ns,
                now_ns,
                epoch=parameters.epoch,
                validator=table.weights.index(heaviest),
                weight=heaviest,
                total=table.total,
                cap_ppm=cap_ppm,
                judged_by=node,
            )
