"""Rules of the `protocol` section: what a baseline has not is refused where it is asked for.

Owns: which settings belong to the main protocol alone. A setting at its default asks for nothing.
Must not know: YAML, places in files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from sim.scenario.adversaries import ByProbability, ByViews, Forking, Silent
from sim.scenario.breakdowns import FailingDisk, FullDisk, SlowDisk
from sim.scenario.checks import Level
from sim.scenario.disturbances import AmnesiaCrash, Crash, Partition, SlowNode, Throttle
from sim.scenario.fields import yaml_key
from sim.scenario.model import Consensus, EqualStake, Ledger, Quorum, Validators, Weights
from sim.scenario.protocols import Creto, HotStuff, Normal, Protocol, Streamlet
from sim.scenario.quantities import DURATION
from sim.scenario.rulebook import Finding, needs

OF_DISKS = (AmnesiaCrash, SlowDisk, FailingDisk, FullDisk)
"""Faults of what a validator persists."""
_CONSENSUS: Mapping[str, str] = {
    "epoch_blocks": "no epochs",
    "late_vote_leaders": "no attendance",
    "max_block_transactions": "no transactions",
    "max_block_refs": "no transactions",
    "max_block_operations": "no validator operations",
    "max_block_evidence": "no evidence",
    "max_block_attendance": "no attendance",
    "mempool_refs": "no transactions",
    "mempool_operations": "no validator operations",
    "on_safety_violation": "no reconciliation: a validator that sees two conflicting commits halts",
}
"""Settings of the main protocol, and what the others have not."""
_BY_THE_CLOCK: Mapping[str, str] = {
    "timer_backoff_ppm": "epochs of one length",
    "timer_max_ns": "epochs of one length",
    "min_block_interval_ns": "one block an epoch: set `timer_base`",
}
"""Settings that Streamlet has no use for."""
_VALIDATORS: Mapping[str, str] = {
    "initial_reputation_ppm": "no reputation",
    "initial_uptime_ppm": "no uptime",
    "candidates": "a fixed membership",
}


_SURROUNDINGS: Mapping[str, str] = {
    "clouds": "no cloud around it",
    "alerts": "no alert rules of its own",
    "storage": "no ledger to keep",
    "start_from": "no ledger to start from",
    "compliance": "no audit log",
}
_FAULTS = (Crash, SlowNode, Throttle, Partition)


def _asked_for(section: Any, kind: type[Any], names: Mapping[str, str]) -> Iterator[str]:
    defaults = {item.name: item.default for item in fields(kind)}
    yield from (name for name in names if getattr(section, name) != defaults[name])


def _only(kind: str, has: str) -> str:
    return f"`{kind}` has {has}; leave it out, or use `protocol: {{kind: creto}}`"


@needs("protocol", "consensus")
def _consensus(protocol: Protocol, consensus: Consensus) -> Iterator[Finding]:
    if isinstance(protocol, Creto):
        return
    has = dict(_CONSENSUS)
    if isinstance(protocol, Streamlet):
        has |= _BY_THE_CLOCK
    for name in _asked_for(consensus, Consensus, has):
        yield ("consensus", yaml_key(name)), _only(protocol.kind, has[name])


@needs("protocol", "validators", "weights", "quorum", "ledger", maybe=("agents", "operations"))
def _equal_weights(
    protocol: Protocol,
    validators: Validators,
    weights: Weights,
    quorum: Quorum,
    ledger: Ledger,
    agents: Any,
    operations: Any,
) -> Iterator[Finding]:
    if isinstance(protocol, Creto):
        return
    kind = protocol.kind
    if not isinstance(validators.stake, EqualStake):
        yield ("validators", "stake"), _only(kind, "equal weights")
    for name in _asked_for(validators, Validators, _VALIDATORS):
        yield ("validators", yaml_key(name)), _only(kind, _VALIDATORS[name])
    for path, section, default, has in (
        ("weights", weights, Weights(), "equal weights"),
        ("quorum", quorum, Quorum(), "one quorum, n - f"),
        ("ledger", ledger, Ledger(), "no ledger"),
        ("operations", operations, (), "no validator operations"),
        ("agents", agents, None, "no transactions and serves no agents"),
    ):
        if section != default:
            yield (path,), _only(kind, has)


@needs("protocol", maybe=("faults", "adversaries"))
def _foes(protocol: Protocol, faults: Any, adversaries: Any) -> Iterator[Finding]:
    able: tuple[type[Any], ...] = (Silent,)
    if isinstance(protocol, HotStuff):
        able = (Silent, Forking)
    for index, adversary in enumerate(adversaries):
        path = ("adversaries", index)
        if isinstance(protocol, Creto):
            if isinstance(adversary, Forking):
                message = "overwrites what HotStuff has not locked: `protocol: {kind: hotstuff}`"
                yield (*path, "kind"), message
            continue
        if not isinstance(adversary, able):
            names = ", ".join(kind.__name__.lower() for kind in able)
            yield (*path, "kind"), f"not known for `{protocol.kind}`: {names}"
        if not isinstance(adversary.when, ByProbability | ByViews | None):
            message = f"`{protocol.kind}` has views only: use `probability` or `views`"
            yield (*path, "when"), message
    if isinstance(protocol, Creto):
        return
    for index, fault in enumerate(faults):
        if isinstance(fault, AmnesiaCrash):
            message = f"`{protocol.kind}` is modelled with all it knows on disk: use `crash`"
            yield ("faults", index, "kind"), message
        elif not isinstance(fault, _FAULTS):
            message = f"not known for `{protocol.kind}`: crash, slow_node, throttle, partition"
            yield ("faults", index, "kind"), message


@needs("protocol", "clouds", "alerts", "storage", "start_from", "compliance")
def _surroundings(protocol: Protocol, *sections: Any) -> Iterator[Finding]:
    if isinstance(protocol, Creto):
        return
    for (name, has), section in zip(_SURROUNDINGS.items(), sections, strict=True):
        if section is not None:
            yield (name,), _only(protocol.kind, has)


@needs("protocol", "expect")
def _promises(protocol: Protocol, expect: Any) -> Iterator[Finding]:
    for index, check in enumerate(expect):
        if isinstance(check, Level) and not isinstance(protocol, Creto):
            yield ("expect", index, "level"), _only(protocol.kind, "one quorum, n - f")


@needs("network")
def _delays(network: Any) -> Iterator[Finding]:
    delays = network.delays
    if isinstance(delays, Normal) and delays.deviation_ns * 5 > delays.mean_ns:
        yield (
            ("network", "delays", "deviation"),
            f"{DURATION.format(delays.deviation_ns)} is more than a fifth of the mean, "
            f"{DURATION.format(delays.mean_ns)}: delays would be cut off at zero",
        )
