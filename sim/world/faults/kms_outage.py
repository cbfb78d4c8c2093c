"""KMS outage: validators whose keys lie in a key service cannot sign.

A vote, timeout or proposal that cannot be signed never leaves; the validator hears and follows all
the same. Shows in: refusals for `not_signed`; above 1 - q of the weight the chain halts, and goes
on when the service is back. Who selects by `provider` or `region` says whose service it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class KmsOutage(Fault):
    """Let `nodes` sign nothing."""

    kind: ClassVar[str] = "kms_outage"
    impairs: ClassVar[bool] = True
    nodes: tuple[int, ...]

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.stop_signing(node, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.stop_signing(node, on=False)
