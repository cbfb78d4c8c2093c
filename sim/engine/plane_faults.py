"""Tell the agent plane what faults do to the validators whose roles its gateways are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.world.agents.changes import (
    Attack,
    Change,
    LinkChange,
    NodeDown,
    NodeUp,
    Throttle,
)
from sim.world.network.links import CORRUPT, DELAY, DROP, DUPLICATE, PPB, Group, LinkRule

if TYPE_CHECKING:
    from sim.engine.lending import Lending
    from sim.world.agents.plane import AgentPlane

_WHOLE = 1_000_000


class PlaneFaults:
    """Faults as changes of the agent plane; `now_ns` of each call is the loop's present."""

    def __init__(
        self, plane: AgentPlane, rules: tuple[LinkRule, ...], sites: Sequence[str]
    ) -> None:
        self._plane = plane
        self._rules = rules
        self._sites = sites
        self._service: dict[int, int] = {}
        self._links: dict[int, int] = {}
        self.lending: Lending | None = None
        """Who sets the links' rates where lanes are shared."""

    def gateway(self, validator: int, up: bool, now_ns: int) -> None:
        """A validator crashed, or is back."""
        self._plane.advance(now_ns)
        self._plane.apply(NodeUp(validator) if up else NodeDown(validator))

    def happens(self, change: Change, now_ns: int) -> None:
        """Something strikes agents or their directory."""
        self._plane.advance(now_ns)
        self._plane.apply(change)

    def attack(self, place: int, on: bool, now_ns: int) -> None:
        """An assault of the plane's parameters begins or ends."""
        self.happens(Attack(place, on), now_ns)

    def slow(self, validator: int, factor_ppm: int, now_ns: int) -> None:
        """Its services take `factor_ppm` / 10**6 as long."""
        self._service[validator] = factor_ppm
        self._throttle(validator, now_ns)

    def throttle(self, validator: int, left_ppm: int, now_ns: int) -> None:
        """Its links keep `left_ppm` / 10**6 of their rate."""
        self._links[validator] = _WHOLE * _WHOLE // left_ppm
        self._throttle(validator, now_ns)

    def _throttle(self, validator: int, now_ns: int) -> None:
        self._plane.advance(now_ns)
        self._plane.apply(
            Throttle(
                node=validator,
                service_ppm=self._service.get(validator, _WHOLE),
                links_ppm=self._links.get(validator, _WHOLE),
            )
        )
        if self.lending is not None:
            self.lending.renew(now_ns)

    def rules_changed(self, now_ns: int) -> None:
        """Set every link to what the rules in force say; the first that matches decides.

        The plane knows blocked, slower and lossier links. A rule that duplicates has no effect
        there (gateways drop the second copy); one that corrupts loses the batch.
        """
        self._plane.advance(now_ns)
        everyone = tuple(range(len(self._sites)))
        self._plane.apply(LinkChange(sources=everyone, targets=everyone))
        for rule in reversed(self._rules):
            if not rule.holds(now_ns) or rule.verdict == DUPLICATE:
                continue
            sources, targets = self._ends(rule.sources), self._ends(rule.destinations)
            self._change(rule, sources, targets)
            if rule.both_ways:
                self._change(rule, targets, sources)

    def _ends(self, group: Group) -> tuple[int, ...]:
        return tuple(i for i, inside in enumerate(group.members(self._sites)) if inside)

    def _change(self, rule: LinkRule, sources: tuple[int, ...], targets: tuple[int, ...]) -> None:
        loses = rule.verdict in (DROP, CORRUPT)
        certain = rule.probability_ppb == PPB
        self._plane.apply(
            LinkChange(
                sources=sources,
                targets=targets,
                blocked=loses and certain,
                extra_loss_ppb=rule.probability_ppb if loses and not certain else 0,
                # A delay of some messages only is charged to all in proportion: the mean is kept.
                extra_delay_ns=(rule.delay_ns + rule.jitter_ns // 2) * rule.probability_ppb // PPB
                if rule.verdict == DELAY
                else 0,
            )
        )

    def changes(self, duration_ns: int) -> list[int]:
        """Return the times within the run at which a rule comes into force or lapses."""
        times: dict[int, None] = {}
        for rule in self._rules:
            now = -1
            while (now := rule.next_change_ns(now)) <= duration_ns:
                times[now] = None
        return sorted(times)
