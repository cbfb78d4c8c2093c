"""Link loss: a share of the messages between two ends vanishes, whole.

Packet loss that the transport repairs is a property of the network (`network.loss`); this is what
it cannot repair: connections that break. Shows in: messages lost as `link_rule`, timeouts where a
leader lacks votes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults.links import LinkFault
from sim.world.network.links import DROP


@dataclass(frozen=True, slots=True)
class LinkLoss(LinkFault):
    """Lose messages, each by its own draw."""

    kind: ClassVar[str] = "link_loss"

    def verdict(self) -> tuple[str, int, int]:
        return DROP, 0, 0
