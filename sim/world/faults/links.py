"""Faults of links: which ones, and that they are link rules while they last.

Owns: what loss, delay, duplication, reordering and corruption have in common. Must not know:
validators' computers; what a rule does to a message (that is `sim.world.network.links`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.faults import Fault, Span
from sim.world.network.links import FOREVER_NS, Group, LinkRule


@dataclass(frozen=True, slots=True)
class Ends:
    """Whose links: from `sources` to `destinations`; `text` says it for the record."""

    sources: Group
    destinations: Group
    both_ways: bool
    text: str


@dataclass(frozen=True, slots=True)
class LinkFault(Fault):
    """Strike a share of the messages between two ends; the first rule that matches decides."""

    ends: Ends
    probability_ppb: int

    @property
    def nodes(self) -> tuple[int, ...]:  # type: ignore[override]
        return ()

    @property
    def target(self) -> str:
        return self.ends.text

    def verdict(self) -> tuple[str, int, int]:
        """Return what becomes of a message: the verdict, a fixed delay, and jitter, in ns."""
        raise NotImplementedError

    def rules(self, spans: tuple[Span, ...], flap_ns: int | None) -> tuple[LinkRule, ...]:
        verdict, delay_ns, jitter_ns = self.verdict()
        return tuple(
            LinkRule(
                verdict,
                self.ends.sources,
                self.ends.destinations,
                both_ways=self.ends.both_ways,
                start_ns=at_ns,
                end_ns=FOREVER_NS if until_ns is None else until_ns,
                probability_ppb=self.probability_ppb,
                delay_ns=delay_ns,
                jitter_ns=jitter_ns,
            )
            for at_ns, until_ns in spans
        )
