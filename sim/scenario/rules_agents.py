"""Rules of the `agents` section: shares that add up, loads that can be, stages that fit.

Owns: what no single field of the agents can say. Must not know: YAML, places in files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.scenario.agents import Bursts, Diurnal, EntryGateway
from sim.scenario.quantities import DURATION, RATE, SHARE
from sim.scenario.rulebook import Finding, needs
from sim.scenario.rules_directory import gateways_and_regions

_WHOLE = 1_000_000


@needs("agents")
def _shares_add_up(agents: Any) -> Iterator[Finding]:
    if agents is None:
        return
    amounts = agents.placement.amounts
    if amounts is not None and sum(amounts) != _WHOLE:
        message = f"the shares add up to {SHARE.format(sum(amounts))}, not 100 %"
        yield ("agents", "placement"), message
    total = sum(each.share_ppm for each in agents.access)
    if total != _WHOLE:
        message = f"the shares of the classes add up to {SHARE.format(total)}, not 100 %"
        yield ("agents", "access"), message
    if len(agents.access) > 255:
        yield ("agents", "access"), f"{len(agents.access)} classes; at most 255"


@needs("agents", "validators")
def _shards(agents: Any, validators: Any) -> Iterator[Finding]:
    if agents is None:
        return
    shards = agents.directory.shards
    if shards is not None and shards > validators.count:
        message = f"{shards} shards on {validators.count} validators"
        yield ("agents", "directory", "shards"), message
    fanout = agents.transaction_fanout
    if fanout is not None and fanout >= validators.count:
        message = f"{fanout} is not below the number of validators, {validators.count}"
        yield ("agents", "transaction_fanout"), message


@needs("agents", "validators")
def _next_hop(agents: Any, validators: Any) -> Iterator[Finding]:
    if agents is None or not isinstance(agents.next_hop, EntryGateway):
        return
    where = ("agents", "next_hop")
    gateways, regions = gateways_and_regions(agents, validators)
    if regions < 2:
        yield where, "all gateways are in one region, so nothing enters another: use `direct`"
    elif gateways <= regions:
        yield (
            where,
            f"{gateways} gateways in {regions} regions: a message enters a region at the only "
            "gateway there, and is not sent on: use `direct`, or more gateways",
        )
    if agents.workload.messages is None:
        yield where, "there are no messages: state `workload.messages`, or leave it out"


@needs("agents", "record")
def _batches(agents: Any, record: Any) -> Iterator[Finding]:
    if record.batches and (agents is None or agents.workload.messages is None):
        yield ("record", "batches"), "there are no messages between gateways: leave it out"


@needs("agents")
def _arrivals(agents: Any) -> Iterator[Finding]:
    if agents is None:
        return
    load = agents.workload
    flows = (
        (("messages",), load.messages),
        (("transactions",), load.transactions),
        (("lookups", "by_id"), load.lookups.by_id),
        (("lookups", "by_capability"), load.lookups.by_capability),
        (("registrations",), load.registrations),
        (("renewals",), load.renewals),
    )
    if all(flow is None for _, flow in flows):
        yield ("agents", "workload"), "the agents do nothing; state a workload or leave them out"
    for path, flow in flows:
        where = ("agents", "workload", *path)
        arrivals = getattr(flow, "arrivals", None)
        if isinstance(arrivals, Bursts) and arrivals.burst_rate_nhz <= arrivals.rate_nhz:
            message = f"a burst must be above the calm, {RATE.format(arrivals.rate_nhz)}"
            yield (*where, "arrivals", "burst_rate"), message
        if isinstance(arrivals, Diurnal) and arrivals.peak_ns >= arrivals.period_ns:
            message = f"must be below the period, {DURATION.format(arrivals.period_ns)}"
            yield (*where, "arrivals", "peak"), message
        if getattr(flow, "signature_bytes", 0) > getattr(flow, "size_bytes", 0):
            yield (*where, "signature"), "is longer than the message"


@needs("agents")
def _waits(agents: Any) -> Iterator[Finding]:
    if agents is None:
        return
    if agents.retries.max_ns < agents.retries.timeout_ns:
        yield ("agents", "retries", "max"), "is below `timeout`"
    renewals = agents.workload.renewals is not None
    returns = getattr(agents.sessions, "renew_within_ns", 0) > 0
    if agents.directory.lease_ns and not renewals and not returns:
        yield (
            ("agents", "directory", "lease"),
            "leases run out and nobody renews them: state `workload.renewals`, or "
            "`sessions.renew_within`",
        )
    if agents.directory.registered_ppm < _WHOLE and agents.workload.registrations is None:
        yield (
            ("agents", "directory", "registered"),
            "some agents are not registered and never will be: state `workload.registrations`",
        )
