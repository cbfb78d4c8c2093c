"""Key services that hold consensus keys: who signs at which, and what they did each second.

Owns: one account a region, shared by its validators, and the rows of the table `signatures`. Must
not know: faults, the validators' cores, what is signed.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.record.recorder import Sink
from sim.scenario.clouds import Clouds, ServiceKeys, entry_at
from sim.world.chance import Chance
from sim.world.cloud.custody import Custody, custody_in

_SECOND_NS = 1_000_000_000


def custody_of(clouds: Clouds | None, region: str) -> Custody | None:
    """Return the key service of a region; None where validators hold their keys themselves."""
    if clouds is None:
        return None
    asked = entry_at(clouds.custody, region)
    if not isinstance(asked, ServiceKeys):
        return None
    return custody_in(
        region,
        quota_nhz=asked.quota_nhz,
        burst=asked.burst,
        latency_ns=asked.latency_ns,
        latency_p99_ns=asked.latency_p99_ns,
    )


class Account:
    """One region's service, as its validators use it. Sums are of the running second."""

    __slots__ = ("asked", "longest_ns", "nodes", "region", "service", "took_ns")

    def __init__(self, custody: Custody, nodes: tuple[int, ...], chance: Chance) -> None:
        self.region = custody.region
        self.nodes = nodes
        self.service = custody.service(chance.key(f"clouds/key_service/{custody.region}"))
        self.asked = self.took_ns = self.longest_ns = 0

    def signed(self, took_ns: int) -> None:
        """Count a signature that was there `took_ns` after it was asked for."""
        self.asked += 1
        self.took_ns += took_ns
        self.longest_ns = max(self.longest_ns, took_ns)


class KeyServices:
    """All accounts of a run, regions in the order of their first validators."""

    def __init__(self, clouds: Clouds | None, regions: Sequence[str], chance: Chance) -> None:
        found = [(region, custody_of(clouds, region)) for region in dict.fromkeys(regions)]
        self.accounts = tuple(
            Account(custody, tuple(i for i, at in enumerate(regions) if at == region), chance)
            for region, custody in found
            if custody is not None
        )

    def close_second(self, now_ns: int, recorder: Sink) -> None:
        """Write what each service did in the second that ends now; idle ones have no row."""
        for account in self.accounts:
            if not account.asked:
                continue
            recorder.append_row(
                "signatures",
                second=(now_ns - 1) // _SECOND_NS,
                region=account.region,
                asked=account.asked,
                took_ns=account.took_ns,
                longest_ns=account.longest_ns,
            )
            account.asked = account.took_ns = account.longest_ns = 0
