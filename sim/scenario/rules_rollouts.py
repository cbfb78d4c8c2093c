"""Rules of rollouts: plans that fit, what can call one off, and who has a bad version.

Owns: what may be asked of rollouts, and of adversaries that own a version. Must not know: YAML,
places in files, how rollouts are carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim.scenario.adversaries import Twins
from sim.scenario.alerting import METRIC
from sim.scenario.alerts import SHIPPED, rules_in_force
from sim.scenario.breakdowns import AbortOn, Rollout, plan
from sim.scenario.checks import ROLLOUT_METRICS
from sim.scenario.model import Validators, Weights
from sim.scenario.quantities import DURATION, SHARE
from sim.scenario.rulebook import Finding, expecting, hint, needs
from sim.scenario.rules_faults import how_many
from sim.scenario.selection import RunningVersion

_OF_AGENTS = ("no_lost_message", "no_lost_registration")
"""Monitors that have nothing to watch without agents."""


def _rollouts(faults: Any) -> Iterator[tuple[int, Rollout]]:
    for index, fault in enumerate(faults):
        if isinstance(fault, Rollout):
            yield index, fault


@needs("faults", "duration", "validators", "weights")
def _rollouts_can_be(
    faults: Any, duration: int, validators: Validators, weights: Weights
) -> Iterator[Finding]:
    for index, fault in _rollouts(faults):
        path = ("faults", index)
        nodes = how_many(fault.nodes, validators, weights)
        ends_ns = plan(fault, nodes).ends_ns(nodes, fault.at_ns)
        noticed = fault.bad_version is not None and fault.bad_version.noticed_after_ns is not None
        if ends_ns > duration and not noticed and fault.abort_on is None:
            yield (
                (*path, "strategy"),
                f"lasts until {DURATION.format(ends_ns)}, beyond the end of the run, "
                f"{DURATION.format(duration)}: make waves larger, pauses or downtime shorter",
            )
        wave = getattr(fault.strategy, "wave", 1)
        if wave > nodes:
            yield (*path, "strategy", "wave"), f"{wave} of {nodes} validators"
        share = getattr(fault.strategy, "share_ppm", None)
        if share is not None and nodes < 2:
            yield (*path, "strategy", "share"), f"{SHARE.format(share)} of one is all of it"


@needs("faults", "alerts", "agents", "compliance", "clouds")
def _aborts_can_come(
    faults: Any, alerts: Any, agents: Any, compliance: Any, clouds: Any
) -> Iterator[Finding]:
    there = {"agents": agents, "compliance": compliance, "clouds": clouds}
    for index, fault in _rollouts(faults):
        if fault.abort_on is None:
            continue
        path, abort = ("faults", index, "abort_on"), fault.abort_on
        if not abort.alerts and not abort.monitors and abort.no_commit_for_ns is None:
            yield path, "nothing would call it off: state `alerts`, `monitors` or `no_commit_for`"
        yield from _alerts_fire((*path, "alerts"), abort, alerts, there)
        for rank, name in enumerate(abort.monitors):
            if name in _OF_AGENTS and agents is None:
                yield (*path, "monitors", rank), f"`{name}` needs agents, and there are none"
        for key, names in (("alerts", abort.alerts), ("monitors", abort.monitors)):
            twice = next((i for i, name in enumerate(names) if name in names[:i]), None)
            if twice is not None:
                yield (*path, key, twice), f"`{names[twice]}` is named twice"


def _alerts_fire(
    path: tuple[str | int, ...], abort: AbortOn, alerts: Any, there: Mapping[str, Any]
) -> Iterator[Finding]:
    rules = {rule.name: rule for rule in rules_in_force(alerts)}
    for rank, name in enumerate(abort.alerts):
        rule = rules.get(name)
        if rule is not None:
            part = METRIC[rule.metric].part
            if part and there[part] is None:
                yield (*path, rank), f"`{name}` needs `{part}`, which is left out"
        elif not rules:
            yield (*path, rank), f"`{name}` cannot fire: alerting is off"
        elif name in SHIPPED:
            yield (*path, rank), f"`{name}` cannot fire: it is off, see `alerts.changes`"
        else:
            yield (*path, rank), f"no rule is called `{name}`; {hint(name, rules)}"


@needs("adversaries", "faults")
def _versions_come(adversaries: Any, faults: Any) -> Iterator[Finding]:
    """Refuse an adversary that owns a version nobody rolls out, or that nobody can run."""
    named = {fault.name: fault for _, fault in _rollouts(faults) if fault.name is not None}
    for index, adversary in enumerate(adversaries):
        nodes = getattr(adversary, "nodes", None)
        if not isinstance(nodes, RunningVersion):
            continue
        path, fault = ("adversaries", index, "nodes", "rollout"), named.get(nodes.rollout)
        if fault is None:
            meant = hint(nodes.rollout, named) if named else "give one that `name`"
            yield path, f"no rollout is called `{nodes.rollout}`; {meant}"
        elif fault.bad_version is not None and fault.bad_version.factor_micro is None:
            yield path, f"`{nodes.rollout}` does not come up, so nobody runs it: state its `factor`"
        elif isinstance(adversary, Twins) and adversary.cut:
            message = "a version cuts no links: state `cut: false`, and a split as `network.rules`"
            yield ("adversaries", index, "cut"), message


@needs("expect", "faults")
def _metrics_have_a_rollout(expect: Any, faults: Any) -> Iterator[Finding]:
    if any(True for _ in _rollouts(faults)):
        return
    for path, metric in expecting(expect, ROLLOUT_METRICS):
        yield path, f"`{metric}` needs a rollout among the faults, and there is none"
