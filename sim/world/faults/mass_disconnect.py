"""Mass disconnect: a share of the agents drops at once and comes back within a window.

Shows in: messages stored for who is away, registrations in `traffic`, and `limited` in `registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class MassDisconnect(Fault):
    """Sessions end at once and begin again from `back_ns` on, spread evenly over `within_ns`.

    With `register_bytes` the registry forgets who drops, and each registers anew when it is back: a
    reconnect storm, which limits on registrations and the hosts' queues answer. `region`, `homes`
    (gateways): only their agents.
    """

    share_ppm: int
    back_ns: int
    within_ns: int = 0
    region: int | None = None
    homes: tuple[int, ...] | None = None
    register_bytes: int = 0
    nodes: tuple[int, ...] = ()
    kind: ClassVar[str] = "mass_disconnect"

    @property
    def target(self) -> str:
        return "agents"

    def begin(self, target: Target) -> None:
        target.disconnect(
            share_ppm=self.share_ppm,
            back_ns=self.back_ns,
            within_ns=self.within_ns,
            region=self.region,
            homes=self.homes,
            register_bytes=self.register_bytes,
        )
