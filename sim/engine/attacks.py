"""Resolve a scenario's adversaries: who, when, the attack itself; and put it in its place.

Owns the register of attacks: what makes each of them from its settings. Must not know what an
attack does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from simpy.events import URGENT

from sim.engine.adversary import Engagement, Mind
from sim.engine.disturbances import (
    FOREVER,
    attack_key,
    ends,
    members_of,
    twin_sides,
    version_of,
)
from sim.engine.driver import Driver
from sim.engine.faults import attack_row
from sim.engine.genesis import Census
from sim.engine.rollouts import Release
from sim.monitor.watch import Watch
from sim.protocol.validator import Validator
from sim.record.recorder import Sink
from sim.scenario import adversaries as asked
from sim.scenario.model import Scenario
from sim.world.adversary import Attack, Scene, when
from sim.world.adversary.adaptive_corruption import AdaptiveCorruption
from sim.world.adversary.attendance_theft import AttendanceTheft
from sim.world.adversary.censor import Censor
from sim.world.adversary.delay_proposals import DelayProposals
from sim.world.adversary.double_vote import DoubleVote
from sim.world.adversary.equivocate import Equivocate
from sim.world.adversary.evidence_suppression import EvidenceSuppression
from sim.world.adversary.forking import Forking
from sim.world.adversary.hide_certificate import HideCertificate
from sim.world.adversary.invalid_signature_flood import InvalidSignatureFlood
from sim.world.adversary.invented_history import InventedHistory
from sim.world.adversary.lazy_vote import LazyVote
from sim.world.adversary.level_then_silence import LevelThenSilence
from sim.world.adversary.long_range import LongRange
from sim.world.adversary.selective_send import SelectiveSend
from sim.world.adversary.silent import Silent
from sim.world.adversary.sleeper import Sleeper
from sim.world.adversary.stake_grinding import StakeGrinding
from sim.world.adversary.timeout_spam import TimeoutSpam
from sim.world.adversary.twins import Twins
from sim.world.adversary.withhold import Withhold
from sim.world.chance import Chance


class Terms(NamedTuple):
    """What an attack is made of besides its settings."""

    key: int
    members: tuple[int, ...]
    census: Census


def _who(end: Any, terms: Terms) -> tuple[int, ...]:
    return () if end is None else ends(end, terms.census)


def _sleeper(a: asked.Sleeper, terms: Terms) -> Attack:
    inner: dict[str, Callable[[], Attack]] = {
        "silent": Silent,
        "double_vote": lambda: DoubleVote(terms.key),
        "equivocate": lambda: Equivocate(terms.key, 500_000),
    }
    return Sleeper(inner[a.then](), a.until_reputation_ppm, a.until_height)


MAKERS: dict[type[Any], Callable[[Any, Terms], Attack]] = {
    asked.Silent: lambda a, t: Silent(),
    asked.Withhold: lambda a, t: Withhold(t.key, a.what, _who(a.victims, t)),
    asked.SelectiveSend: lambda a, t: SelectiveSend(t.key, a.reach_ppm),
    asked.Equivocate: lambda a, t: Equivocate(t.key, a.twin_share_ppm),
    asked.DoubleVote: lambda a, t: DoubleVote(t.key),
    asked.Twins: lambda a, t: Twins(t.key, twin_sides(a, t.members, t.census), a.turn_ns or 0),
    asked.DelayProposals: lambda a, t: DelayProposals(a.amount_ns),
    asked.LazyVote: lambda a, t: LazyVote(a.amount_ns, a.blind),
    asked.Censor: lambda a, t: Censor(_who(a.gateways, t), _who(a.validators, t), a.refuse_votes),
    asked.InvalidSignatureFlood: lambda a, t: InvalidSignatureFlood(
        t.key, a.every_ns, a.signatures, _who(a.victims, t)
    ),
    asked.TimeoutSpam: lambda a, t: TimeoutSpam(a.repeats, a.ahead),
    asked.AttendanceTheft: lambda a, t: AttendanceTheft(_who(a.victims, t)),
    asked.EvidenceSuppression: lambda a, t: EvidenceSuppression(_who(a.protected, t)),
    asked.Sleeper: _sleeper,
    asked.LevelThenSilence: lambda a, t: LevelThenSilence(t.key, a.provokers, a.level),
    asked.StakeGrinding: lambda a, t: StakeGrinding(t.key, a.tries),
    asked.AdaptiveCorruption: lambda a, t: AdaptiveCorruption(a.budget, a.delay_ns, a.mobile),
    asked.LongRange: lambda a, t: LongRange(t.key, _who(a.victims, t)),
    asked.Forking: lambda a, t: Forking(),
    asked.HideCertificate: lambda a, t: HideCertificate(),
    asked.InventedHistory: lambda a, t: InventedHistory(),
}
"""By the settings' type: the attack."""


def engagements(
    scenario: Scenario, census: Census, chance: Chance, releases: Sequence[Release]
) -> dict[int, list[Engagement]]:
    """Return the attacks by the validator they own, ascending; members share one mind.

    `releases`: the rollouts, whose versions an adversary may own.
    """
    courses = {release.place: release.course for release in releases}
    found: dict[int, list[Engagement]] = {}
    for index, adversary in enumerate(scenario.adversaries):
        if not isinstance(adversary, asked.Adversary):
            continue
        members = members_of(scenario, census, index)
        place = version_of(scenario, adversary.nodes)
        terms = Terms(chance.key(attack_key(index)), members, census)
        attack = MAKERS[type(adversary)](adversary, terms)
        trigger = trigger_of(adversary.when, chance.key(f"{attack_key(index)}/when"))
        end_ns = FOREVER if adversary.end_ns is None else adversary.end_ns
        version = None if place is None else courses[place]
        engagement = Engagement(index, attack, adversary.start_ns, end_ns, trigger, version)
        for member in members:
            found.setdefault(member, []).append(engagement)
    return dict(sorted(found.items()))


def trigger_of(asked_for: asked.When | None, key: int) -> when.Trigger | None:
    """Return what a scenario's `when` asks; None where it asks nothing."""
    if asked_for is None:
        return None
    if isinstance(asked_for, asked.ByProbability):
        return when.Probability(key, asked_for.probability_ppm)
    if isinstance(asked_for, asked.ByHeights):
        return when.Heights(asked_for.heights.lowest, asked_for.heights.highest)
    if isinstance(asked_for, asked.ByViews):
        return when.Views(asked_for.views.lowest, asked_for.views.highest)
    if isinstance(asked_for, asked.ByEpochs):
        return when.Epochs(asked_for.epochs.lowest, asked_for.epochs.highest)
    if isinstance(asked_for, asked.ByPhase):
        return when.Phase(asked_for.phase)
    if isinstance(asked_for, asked.ByLevel):
        return when.Level(asked_for.level.at_least, asked_for.level.at_most)
    return when.Reputation(asked_for.reputation_ppm)


def attach(
    scenario: Scenario,
    minds: dict[int, list[Engagement]],
    driver: Driver,
    recorder: Sink,
    watch: Watch,
) -> None:
    """Give owned validators their minds; the end of an attack restarts the clock of liveness."""
    cores = {node: driver.nodes[node].validator for node in minds}
    joined: dict[int, None] = {}
    for node, engaged in minds.items():
        # A baseline's core has what a mind asks of one: an id, an epoch and a view.
        core = cast("Validator", cores[node])
        driver.nodes[node].own(Mind(core, tuple(engaged)))
        for engagement in engaged:
            if engagement.place not in joined:
                joined[engagement.place] = None
                engagement.attack.join(_scene(engagement, minds, cores, driver))
            driver.env.at(engagement.start_ns, _begin, (driver, node))
            rows = [("begin", engagement.start_ns)]
            if engagement.end_ns <= scenario.duration_ns:
                rows.append(("end", engagement.end_ns))
                driver.env.at(engagement.end_ns, watch.healed, engagement.end_ns, URGENT)
            # When a version comes and goes, its rollout says.
            for event, when_ns in rows if engagement.version is None else ():
                attack_row(
                    recorder,
                    time_ns=when_ns,
                    place=engagement.place,
                    kind=engagement.attack.kind,
                    event=event,
                    node=node,
                    target="",
                )


def _begin(due: tuple[Driver, int]) -> None:
    driver, index = due
    node = driver.nodes[index]
    driver.wake((node, node.life, None))


def _scene(
    engagement: Engagement,
    minds: dict[int, list[Engagement]],
    cores: dict[int, Any],
    driver: Driver,
) -> Scene:
    """Return what the coalition of an attack has of its own."""
    members = [node for node, engaged in minds.items() if engagement in engaged]

    def copy(me: int) -> Validator:
        core = cores[me]
        made = Validator(me, core.parameters, core.ledger)
        driver.nodes[me].copies.append(made)
        return made

    return Scene(
        {member: cores[member] for member in members},
        len(driver.nodes),
        copy=copy,
        sign=driver.edge.sign,
        sign_operation=driver.edge.signed,
        running=None if engagement.version is None else engagement.version.running,
    )
