"""The clouds' services in a run: who holds keys, and what trails record of it all.

Owns: what key services and trails are told of the run. Must not know: plans, templates, links.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sim.engine.custody import KeyServices
from sim.engine.trail import Trails
from sim.record.recorder import Sink
from sim.scenario.clouds import Clouds, entry_at
from sim.scenario.occurrence import lifetimes
from sim.world.chance import Chance
from sim.world.faults import Fault
from sim.world.faults.occurrence import Lifetimes

_LOSING = ("region_outage", "provider_outage")
"""Faults with which a cloud's own services in a place are gone too; a zone is one of several."""


def delivery_times(clouds: Clouds | None, regions: Sequence[str]) -> dict[str, Lifetimes]:
    """Return how long records take out of each region whose trail is followed."""
    if clouds is None:
        return {}
    found = {
        region: lifetimes(entry_at(clouds.audit.delivery, region))
        for region in dict.fromkeys(regions)
    }
    return {region: delay for region, delay in found.items() if delay is not None}


class CloudServices:
    """Key services and trails of a run. `regions`: of each identity."""

    def __init__(
        self, clouds: Clouds | None, regions: Sequence[str], chance: Chance, recorder: Sink
    ) -> None:
        self._regions = regions
        self._recorder = recorder
        self.keys = KeyServices(clouds, regions, chance)
        self._trails = Trails(delivery_times(clouds, regions), chance, recorder)

    def struck(self, fault: Fault, now_ns: int, *, begins: bool) -> None:
        """Record what happens to machines where they run; a lost region's trail stops first."""
        if fault.kind in _LOSING:
            self._trails.turn(fault.target, now_ns, lost=begins)
        machines: dict[str, int] = {}
        for node in fault.nodes:
            machines[self._regions[node]] = machines.get(self._regions[node], 0) + 1
        action = f"{fault.kind}_{'begin' if begins else 'end'}"
        for region, acts in machines.items():
            self._trails.note(region, now_ns, "machines", action, acts)

    def audited(self, keeper: int, columns: Mapping[str, Any]) -> None:
        """Take over the audit log's new records, which its keeper ships."""
        region = self._regions[keeper]
        if not self._trails.follow(region):
            return
        rows = zip(columns["time_ns"], columns["action"], columns["acts"], strict=True)
        for time_ns, action, acts in rows:
            self._trails.note(region, time_ns, "audit", action, acts)

    def close_second(self, now_ns: int) -> None:
        """Write what services did in the second that ends now; each use of a key is recorded."""
        for account in self.keys.accounts:
            if account.asked:
                self._trails.note(account.region, now_ns, "keys", "sign", account.asked)
        self.keys.close_second(now_ns, self._recorder)
        self._trails.close_second(now_ns)

    def figures(self, now_ns: int) -> Iterator[tuple[str, str, int]]:
        """Yield (metric, series, value) of what alert rules are told."""
        for region, lag_ns in self._trails.lags(now_ns):
            yield "trail_lag", region, lag_ns

    def finish(self, now_ns: int) -> None:
        """Write what nobody outside has seen by the end."""
        self._trails.finish(now_ns)
