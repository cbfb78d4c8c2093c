"""Carry out rollouts: waves of restarts, what calls one off, and the way back.

Owns the time of a rollout's steps, and what is on the record of it. Observations are looked at once
a simulated second, after the alert rules: an abort depends on nothing but the run. Must not know
what a version does: slow ones are faults, others are adversaries'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simpy.events import URGENT

from sim.engine.adversary import Engagement
from sim.engine.alerting import Board
from sim.engine.disturbances import fault_key
from sim.engine.driver import Driver
from sim.engine.faults import Timetable, attack_row
from sim.engine.genesis import Census
from sim.engine.observer import Observer
from sim.monitor.alerts import GRID_NS
from sim.monitor.watch import Watch
from sim.record.recorder import Sink
from sim.scenario.breakdowns import Rollout, plan
from sim.scenario.model import Scenario
from sim.world.faults import Fault
from sim.world.faults.rollout import Course, Wave

if TYPE_CHECKING:
    from sim.engine.build import Setting

_NEVER = -1
_WHOLE = 1_000_000


@dataclass(slots=True, eq=False)
class Release:
    """One rollout of the scenario's list of faults, and when it came how far."""

    place: int
    asked: Rollout
    course: Course
    weights: Sequence[int]
    """Of all validators at genesis."""
    cause: str = "none"
    what: str = ""
    new_ns: int = _NEVER
    seen_ns: int = _NEVER
    aborted_ns: int = _NEVER
    back_ns: int = _NEVER
    broken: Mapping[str, int] = field(default_factory=dict)
    """How often the invariants that it is watched by had broken when it began."""

    def watched(self, now_ns: int) -> bool:
        """Say whether what is observed now may call it off."""
        abort, waves = self.asked.abort_on, self.course.waves
        if abort is None or self.cause != "none" or not waves[0].at_ns < now_ns:
            return False
        return abort.watch_for_ns is None or now_ns <= waves[-1].up_ns + abort.watch_for_ns


def releases(scenario: Scenario, census: Census) -> tuple[Release, ...]:
    """Return the rollouts of a scenario, none of which has begun."""
    found = []
    for place, fault in enumerate(scenario.faults):
        if isinstance(fault, Rollout):
            nodes = census.select(fault.nodes, fault_key(scenario, place))
            course = Course(nodes, fault.at_ns, plan(fault, len(nodes)))
            found.append(Release(place, fault, course, census.weights))
    return tuple(release for release in found if release.course.waves)


def turning_points(found: Sequence[Release], duration_ns: int) -> Iterator[int]:
    """Yield every time at which a rollout may change something."""
    for release in found:
        abort, course = release.asked.abort_on, release.course
        offs = [] if course.noticed_ns is None else [course.noticed_ns]
        for wave in course.waves:
            yield wave.at_ns
            yield wave.up_ns
        if abort is not None:
            first = release.asked.at_ns // GRID_NS + 1
            offs += [
                second * GRID_NS + abort.reaction_ns
                for second in range(first, duration_ns // GRID_NS + 1)
            ]
        for off_ns in offs:
            yield off_ns
            yield off_ns + course.plan.downtime_ns


def open_rollouts(
    setting: Setting,
    timetable: Timetable,
    driver: Driver,
    watch: Watch,
    observer: Observer,
    alerts: Board | None,
    recorder: Sink,
) -> Releases:
    """Put all rollouts of a scenario into the loop."""
    found = Releases(
        setting.releases, setting.minds, timetable, driver, watch, observer, alerts, recorder
    )
    found.schedule()
    return found


class Releases:
    """The rollouts of a run under way. `minds`: attacks by validator; a version may bring some."""

    def __init__(
        self,
        found: Sequence[Release],
        minds: Mapping[int, Sequence[Engagement]],
        timetable: Timetable,
        driver: Driver,
        watch: Watch,
        observer: Observer,
        alerts: Board | None,
        recorder: Sink,
    ) -> None:
        self.releases = tuple(found)
        self._minds = minds
        self._timetable = timetable
        self._driver = driver
        self._env = driver.env
        self._watch = watch
        self._observer = observer
        self._alerts = alerts
        self._recorder = recorder

    def schedule(self) -> None:
        """Put every step that is known beforehand into the loop."""
        for release in self.releases:
            at = self._env.at
            if release.course.noticed_ns is not None:
                at(release.course.noticed_ns, self._noticed, release, URGENT)
            for wave in release.course.waves:
                at(wave.at_ns, self._stop, (release, wave), URGENT)
                at(wave.up_ns, self._start, (release, wave), URGENT)

    def look(self, now_ns: int) -> None:
        """Call off what the observations of the second that ends now call off."""
        if now_ns % GRID_NS:
            return
        for release in self.releases:
            if not release.watched(now_ns):
                continue
            abort = release.asked.abort_on
            assert abort is not None, "who is not watched has been left out"
            seen = list(self._reasons(release, now_ns))
            if seen:
                release.cause, release.what = seen[0]
                release.seen_ns = now_ns
                self._env.at(now_ns + abort.reaction_ns, self._call_off, release, URGENT)

    def finish(self) -> None:
        """Write how each rollout that began ended."""
        for release in self.releases:
            if release.asked.at_ns <= self._env.now:
                self._row(release, self._env.now)

    # -- steps --------------------------------------------------------------------------------

    def _carry_out(self, release: Release, steps: Sequence[tuple[Fault, bool]]) -> None:
        for fault, begins in steps:
            self._timetable.carry_out(release.place, fault, begins=begins)

    def _stop(self, due: tuple[Release, Wave]) -> None:
        release, wave = due
        if wave is release.course.waves[0]:
            release.broken = self._broken(release)
        self._carry_out(release, release.course.stop(wave))

    def _start(self, due: tuple[Release, Wave]) -> None:
        release, wave = due
        steps = release.course.start(wave)
        if not release.course.called_off:
            release.new_ns = self._env.now if release.new_ns == _NEVER else release.new_ns
            self._strike(release, wave.nodes, begins=True)
        self._carry_out(release, steps)

    def _noticed(self, release: Release) -> None:
        if release.cause == "none":
            release.cause, release.seen_ns = "stated", self._env.now
            self._call_off(release)

    def _call_off(self, release: Release) -> None:
        course = release.course
        release.aborted_ns = self._env.now
        self._strike(release, tuple(course.running), begins=False)
        self._carry_out(release, course.call_off())
        back_ns = self._env.now + course.plan.downtime_ns
        self._env.at(back_ns, self._back, release, URGENT)

    def _back(self, release: Release) -> None:
        release.back_ns = self._env.now
        for node in self._struck(release):
            if node in release.course.reached:
                self._watch.redeemed(node)
                self._observer.redeemed(node)
        self._carry_out(release, release.course.back())

    # -- versions that an adversary has -------------------------------------------------------

    def _struck(self, release: Release) -> list[int]:
        """List whom an adversary owns by this version."""
        return [
            node
            for node, engaged in self._minds.items()
            if any(each.version is release.course for each in engaged)
        ]

    def _strike(self, release: Release, nodes: Sequence[int], *, begins: bool) -> None:
        """Put on the record who falls into an adversary's hands, or out of them."""
        for node in nodes:
            for engaged in self._minds.get(node, ()):
                if engaged.version is not release.course:
                    continue
                if begins and not engaged.attack.corrupts:
                    self._driver.corrupted(node)
                attack_row(
                    self._recorder,
                    time_ns=self._env.now,
                    place=engaged.place,
                    kind=engaged.attack.kind,
                    event="begin" if begins else "end",
                    node=node,
                    target=release.asked.name or "",
                )

    # -- what calls a rollout off -------------------------------------------------------------

    def _reasons(self, release: Release, now_ns: int) -> Iterator[tuple[str, str]]:
        abort = release.asked.abort_on
        assert abort is not None, "who is not watched has been left out"
        firing = () if self._alerts is None else self._alerts.firing()
        yield from (("alert", rule) for rule in abort.alerts if rule in firing)
        for name, count in self._broken(release).items():
            if count > release.broken[name]:
                yield "monitor", name
        limit_ns = abort.no_commit_for_ns
        if limit_ns is not None and now_ns - self._observer.last_commit_ns >= limit_ns:
            yield "no_commit", ""

    def _broken(self, release: Release) -> dict[str, int]:
        """Return how often each invariant that a rollout is watched by has broken so far."""
        abort = release.asked.abort_on
        names = () if abort is None else abort.monitors
        found = dict.fromkeys(names, 0)
        for monitor in self._watch.monitors:
            if monitor.name in found and monitor.violation is not None:
                found[monitor.name] = monitor.violation.count
        return found

    def _row(self, release: Release, now_ns: int) -> None:
        course = release.course
        outcome = "complete" if course.waves[-1].up_ns <= now_ns else "unfinished"
        weights = release.weights
        reached = sum(weights[node] for node in course.reached if node < len(weights))
        self._recorder.append_row(
            "rollouts",
            index=release.place,
            name=release.asked.name or "",
            strategy=release.asked.strategy.kind,
            outcome="aborted" if course.called_off else outcome,
            validators=sum(len(wave.nodes) for wave in course.waves),
            reached=len(course.reached),
            reached_weight_ppm=reached * _WHOLE // sum(weights),
            began_ns=release.asked.at_ns,
            new_ns=release.new_ns,
            cause=release.cause,
            what=release.what,
            seen_ns=release.seen_ns,
            aborted_ns=release.aborted_ns,
            back_ns=release.back_ns,
        )
