"""Collect partial signatures into certificates and judge certificates."""

from __future__ import annotations

from typing import NamedTuple

from sim.protocol.types import QC, TC, EpochParameters, Timeout, Vote, WeightTable


class Accepted(NamedTuple):
    """Counted. `certificate` is set exactly once a collector: when the quorum is reached."""

    certificate: QC | None


class AcceptedTimeout(NamedTuple):
    certificate: TC | None


class RejectedVote(NamedTuple):
    """reason: wrong_epoch | wrong_view | invalid_signature | stranger | duplicate | late."""

    reason: str


class Conflict(NamedTuple):
    first: Vote
    second: Vote


class VoteCollector:
    """`late`: votes for the certified block that came after its certificate (attendance)."""

    certificate: QC | None
    late: list[Vote]

    def __init__(self, parameters: EpochParameters, view: int) -> None:
        raise NotImplementedError

    def add(self, vote: Vote, verified: bool) -> Accepted | RejectedVote | Conflict:
        raise NotImplementedError

    def weight(self, block: bytes) -> int:
        raise NotImplementedError


class TimeoutCollector:
    """`weight`: of distinct signers so far (join rule: weight > parameters.join)."""

    certificate: TC | None
    weight: int

    def __init__(self, parameters: EpochParameters, view: int) -> None:
        raise NotImplementedError

    def add(self, timeout: Timeout, verified: bool) -> AcceptedTimeout | RejectedVote:
        raise NotImplementedError


def members(bitmap: int) -> tuple[int, ...]:
    raise NotImplementedError


def bitmap_weight(bitmap: int, table: WeightTable) -> int:
    raise NotImplementedError


def check_certificate(qc: QC, parameters: EpochParameters) -> str | None:
    raise NotImplementedError


def check_tc(tc: TC, parameters: EpochParameters) -> str | None:
    raise NotImplementedError
