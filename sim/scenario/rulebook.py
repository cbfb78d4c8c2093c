"""The register of rules: each says which sections it needs and yields what it finds.

Owns: running every rule whose sections are sound, and what several rules say alike. Must not know:
any rule.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

Finding: TypeAlias = tuple[tuple[str | int, ...], str]
"""The path of the value, and what is wrong with it."""

Rule: TypeAlias = Callable[..., Iterator[Finding]]

_ABSENT: dict[str, Any] = {"agents": None, "faults": (), "adversaries": (), "operations": ()}
_RULES: list[tuple[tuple[str, ...], tuple[str, ...], Rule]] = []


def needs(*sections: str, maybe: tuple[str, ...] = ()) -> Callable[[Rule], Rule]:
    """Register a rule that runs where all `sections` are sound, and is given them in order.

    `maybe`: further sections that the rule is given as if they were absent where they are unsound.
    """

    def register(rule: Rule) -> Rule:
        _RULES.append((sections, maybe, rule))
        return rule

    return register


def expecting(expect: Any, metrics: Container[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, metric) of the expectations that are of one of `metrics`."""
    for index, check in enumerate(expect):
        metric = getattr(check, "metric", "")
        if metric in metrics:
            yield ("expect", index, "metric"), metric


def hint(
    name: str, known: Iterable[str], otherwise: str | None = None, *, cutoff: float = 0.5
) -> str:
    """Say what was meant, or `otherwise`; left out, all that is known."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"one of: {', '.join(names)}" if otherwise is None else otherwise


def broken_rules(sections: Mapping[str, Any]) -> list[Finding]:
    """Return what every rule finds whose sections are there."""
    from sim.scenario import (  # noqa: F401
        rules,
        rules_adversaries,
        rules_agent_attacks,
        rules_agents,
        rules_alerts,
        rules_clouds,
        rules_compliance,
        rules_custody,
        rules_directory,
        rules_expect,
        rules_faults,
        rules_protocol,
        rules_recovery,
        rules_rollouts,
    )

    found: list[Finding] = []
    for names, maybe, rule in _RULES:
        if all(name in sections for name in names):
            given = [sections[name] for name in names]
            given += [sections.get(name, _ABSENT[name]) for name in maybe]
            found += rule(*given)
    return found
