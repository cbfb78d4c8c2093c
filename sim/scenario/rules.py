"""Rules between the fields of a scenario, in the domain's words.

Owns: what no single field can say (sums, orders, identities that exist, limits of the protocol).
Must not know: YAML, places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Finding: TypeAlias = tuple[tuple[str | int, ...], str]
Rule: TypeAlias = Callable[..., list[Finding]]

_RULES: list[tuple[tuple[str, ...], Rule]] = []


def needs(*sections: str) -> Callable[[Rule], Rule]:
    """Register a rule that is given these sections, and runs only where all of them are sound."""

    def register(rule: Rule) -> Rule:
        _RULES.append((sections, rule))
        return rule

    return register


def broken_rules(sections: Mapping[str, Any]) -> list[Finding]:
    """Return what every rule finds whose sections are there."""
    found: list[Finding] = []
    for names, rule in _RULES:
        if all(name in sections for name in names):
            found += rule(*(sections[name] for name in names))
    return found


@needs("weights")
def _weights_add_up(weights: Any) -> list[Finding]:
    total = weights.stake_ppm + weights.reputation_ppm + weights.uptime_ppm
    if total == 1_000_000:
        return []
    return [
        (("weights",), f"stake, reputation and uptime add up to {total / 10_000:g} %, not 100 %")
    ]
