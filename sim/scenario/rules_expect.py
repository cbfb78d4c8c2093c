"""Rules of the `expect` section: bounds that can be met, and promises that the protocol can keep.

Owns: what may be expected of a scenario. Must not know: YAML, places in files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.scenario.checks import (
    AGENT_METRICS,
    BATCH_METRICS,
    COMPLIANCE_COUNTS,
    COMPLIANCE_DURATIONS,
    COUNTED_BY,
    RECOVERY_COUNTS,
    RECOVERY_DURATIONS,
    Level,
    Liveness,
    Safety,
    bounds,
)
from sim.scenario.exposure import byzantine_ppm, safety_limit_ppm
from sim.scenario.quantities import DURATION, SHARE
from sim.scenario.rulebook import Finding, expecting, needs


@needs("expect", "compliance")
def _compliance_is_there(expect: Any, compliance: Any) -> Iterator[Finding]:
    if compliance is None:
        for path, metric in expecting(expect, COMPLIANCE_COUNTS + COMPLIANCE_DURATIONS):
            yield path, f"`{metric}` needs a `compliance` section, and there is none"


@needs("expect", "clouds")
def _sites_are_there(expect: Any, clouds: Any) -> Iterator[Finding]:
    if clouds is None or not clouds.recovery.sites:
        for path, metric in expecting(expect, RECOVERY_COUNTS + RECOVERY_DURATIONS):
            yield path, f"`{metric}` needs `sites` in `clouds.recovery`, and there are none"


@needs("expect", "duration", "agents", "record")
def _can_be_met(expect: Any, duration: int, agents: Any, record: Any) -> Iterator[Finding]:
    for index, check in enumerate(expect):
        path = ("expect", index)
        if isinstance(check, Level):
            if check.level.reached is None and check.level.returned is None:
                yield (*path, "level"), "states neither `reached` nor `returned`"
        elif isinstance(check, Liveness):
            yield from _liveness((*path, "liveness"), check, duration)
        elif not isinstance(check, Safety):
            yield from _bounds(path, check, agents)
            if agents is not None and check.metric in BATCH_METRICS and not record.batches:
                yield (*path, "metric"), f"`{check.metric}` is not counted: {COUNTED_BY}"


def _liveness(path: tuple[str | int, ...], check: Liveness, duration: int) -> Iterator[Finding]:
    within, after = check.liveness.commit_within_ns, check.liveness.after_ns or 0
    if after >= duration:
        message = f"is not before the end of the run, {DURATION.format(duration)}: asks for nothing"
        yield (*path, "after"), message
    elif within > duration - after:
        left = "" if not after else f" of which {DURATION.format(duration - after)} are left"
        message = f"is longer than the run, {DURATION.format(duration)}{left}"
        yield (*path, "commit_within"), message


def _bounds(path: tuple[str | int, ...], check: Any, agents: Any) -> Iterator[Finding]:
    low, high = bounds(check)
    if low is None and high is None:
        yield path, f"states neither `at_least` nor `at_most` for {check.metric}"
    elif low is not None and high is not None and low > high:
        yield (*path, "at_most"), "is below `at_least`"
    if agents is None and check.metric in AGENT_METRICS:
        yield (*path, "metric"), f"`{check.metric}` needs agents, and there are none"


@needs("expect")
def _says_something_once(expect: Any) -> Iterator[Finding]:
    if not expect:
        yield ("expect",), "expects nothing, so nothing could be met"
    stated = [check.safety for check in expect if isinstance(check, Safety)]
    if len(stated) > 1:
        yield ("expect",), "states `safety` more than once"


@needs("expect", "adversaries", "faults", "validators", "weights", "quorum")
def _safety_can_hold(
    expect: Any, adversaries: Any, faults: Any, validators: Any, weights: Any, quorum: Any
) -> Iterator[Finding]:
    """Refuse `safety: held` where two quorums may share Byzantine weight only."""
    if not any(isinstance(check, Safety) and check.safety == "held" for check in expect):
        return
    if (
        validators.placement.amounts is None
        or sum(validators.placement.amounts) == validators.count
    ):
        share = byzantine_ppm(validators, weights, adversaries, faults)
        limit = safety_limit_ppm(quorum.initial_level)
        if share >= limit:
            index = next(i for i, c in enumerate(expect) if isinstance(c, Safety))
            yield (
                ("expect", index, "safety"),
                f"validators that may sign twice own {SHARE.format(share)} of the voting weight "
                f"at genesis; two quorums overlap in {SHARE.format(limit)} (2q - 1), and safety "
                "holds only below that: expect `violated`, or own less",
            )
