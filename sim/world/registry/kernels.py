"""Compiled steps of the registry's rules: registration limits, quorum waits, choice of a replica.

Owns: the array forms of `limits`, `quorum` and `placement.coordinator`; equal answers.
Must not know: where their arguments come from.
"""

from __future__ import annotations

from typing import Any

from sim.world.kernels import compiled


@compiled
def admit_registration(
    gateway_due_ns: Any, registry_due_ns: Any, steps: Any, gateway: int, now_ns: int
) -> int:
    """Decide on one request as `limits.RegistrationMeter.admit` does; takes tokens."""
    own, whole = gateway_due_ns[gateway], registry_due_ns[0]
    if steps[0] > 0 and own - now_ns > steps[1]:
        return 1
    if steps[2] > 0 and whole - now_ns > steps[3]:
        return 2
    if steps[0] > 0:
        gateway_due_ns[gateway] = max(own, now_ns) + steps[0]
    if steps[2] > 0:
        registry_due_ns[0] = max(whole, now_ns) + steps[2]
    return 0


@compiled
def admit_registrations(
    gateways: Any,
    times_ns: Any,
    gateway_due_ns: Any,
    registry_due_ns: Any,
    steps: Any,
    verdicts: Any,
) -> None:
    """Decide on requests in order; `verdicts`: uint8[n]."""
    for i in range(len(times_ns)):
        verdicts[i] = admit_registration(
            gateway_due_ns, registry_due_ns, steps, gateways[i], times_ns[i]
        )


@compiled
def quorum_wait(trips: Any, count: int, needed: int) -> int:
    """Return the `needed`-th smallest of trips[:count], those below 0 left out; -1: too few.

    Reorders `trips`. The rule is `quorum.quorum_wait_ns`.
    """
    if needed == 0:
        return 0
    size = 0
    for i in range(count):
        trip = trips[i]
        if trip < 0:
            continue
        place = size
        while place > 0 and trips[place - 1] > trip:
            trips[place] = trips[place - 1]
            place -= 1
        trips[place] = trip
        size += 1
    return int(trips[needed - 1]) if size >= needed else -1


@compiled
def quorum_waits(trips: Any, needed: int, waits: Any) -> None:
    """Answer for each row of trips[n, others]."""
    for i in range(len(waits)):
        waits[i] = quorum_wait(trips[i], trips.shape[1], needed)


@compiled
def coordinator_of(
    hosts: Any, distance_ns: Any, region: Any, own_region: int, known_down: Any, attempt: int
) -> int:
    """Return the host that a gateway asks: `placement.coordinator` over one row of hosts.

    `hosts`: int32[r], -1 at the end for missing copies. `distance_ns`: median delay by region pair.
    `region`, `known_down`: by node. No sorting: r is small, so ranks are counted.
    """
    serving = 0
    count = 0
    for i in range(len(hosts)):
        if hosts[i] >= 0:
            count += 1
            serving += known_down[hosts[i]] == 0
    wanted = attempt % (serving if serving > 0 else count)
    for i in range(count):
        if serving > 0 and known_down[hosts[i]] != 0:
            continue
        own = distance_ns[own_region, region[hosts[i]]]
        rank = 0
        for j in range(count):
            if serving > 0 and known_down[hosts[j]] != 0:
                continue
            other = distance_ns[own_region, region[hosts[j]]]
            if other < own or (other == own and j < i):
                rank += 1
        if rank == wanted:
            return int(hosts[i])
    return -1
