"""Run a case's script on either program of the plane, and compare what it hands out."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, Protocol

from sim.protocol.types import PayloadRef
from sim.world.agents import changes
from sim.world.agents.kinds import GRID_NS, PPM
from sim.world.agents.tables import Counters, Drained
from sim.world.chance import mix
from tests.agents.cases import Case


class Held(NamedTuple):
    """When a validator holds a batch, None: nobody can serve it; as it was said at `now_ns`."""

    now_ns: int
    held_ns: int | None


def settled(answers: list[Any]) -> list[Any]:
    """Forget since when batches were held that were held already: columns do, after a while."""
    return [
        a._replace(held_ns=max(a.now_ns, a.held_ns))
        if isinstance(a, Held) and a.held_ns is not None
        else a
        for a in answers
    ]


class Plane(Protocol):
    """What the reference and the columns both answer."""

    def advance(self, now_ns: int, horizon_ns: int | None = None) -> None: ...
    def apply(self, change: changes.Change) -> None: ...
    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]: ...
    def held_ns(self, validator: int, refs: tuple[PayloadRef, ...]) -> int | None: ...
    def pull(self, validator: int, ref: PayloadRef, now_ns: int) -> int | None: ...
    def commit(self, refs: tuple[PayloadRef, ...], now_ns: int) -> None: ...
    def take_use(self) -> Any: ...
    def drain(self, final: bool = False) -> Drained: ...
    def counters(self) -> Counters: ...


def run_script(plane: Plane, case: Case, slices_ns: int = 0, ahead: bool = False) -> list[Any]:
    """Run a case; return all that the plane answered.

    `slices_ns`: advance in steps of this length; 0: from one entry of the script to the next.
    `ahead`: promise that no fault comes before the next one in the script.
    """
    answers: list[Any] = []
    now = 0
    committed: set[PayloadRef] = set()
    fault_times = [t for t, what in case.script if not isinstance(what, int)]

    def to(target_ns: int) -> None:
        nonlocal now
        later = min((t for t in fault_times if t >= target_ns), default=case.until_ns)
        horizon = later if ahead else None
        while now < target_ns:
            step_ns = min(target_ns, now + slices_ns) if slices_ns else target_ns
            if case.parameters.metered:
                step_ns = min(step_ns, (now // GRID_NS + 1) * GRID_NS)
            now = step_ns
            plane.advance(now, horizon)
            if case.parameters.metered and now % GRID_NS == 0:
                answers.append(lend(plane, case, now))

    for time_ns, what in case.script:
        to(time_ns)
        if isinstance(what, int):
            refs = plane.new_refs(what, now)
            answers.append((now, what, refs))
            other = (what + 1) % len(case.parameters.node_region)
            for ref in refs:
                held = plane.held_ns(other, (ref,))
                held = held if held is not None else plane.pull(other, ref, now)
                answers.append(Held(now, held))
            fresh = tuple(r for r in refs if r not in committed)
            plane.commit(fresh, now)
            committed.update(fresh)
        else:
            plane.apply(what)
    to(case.until_ns)
    counters = plane.counters()
    assert counters.conserved(), counters
    answers.append(counters)
    return answers


def lend(plane: Plane, case: Case, now_ns: int) -> list[list[int]]:
    """Take the use of links in a cell, and lend by it: less is lent to who used more."""
    used = [[int(bits) for bits in way] for way in plane.take_use()]
    least_ppm = 200_000
    rates = [
        tuple(
            max(least_ppm, PPM - mix(case.seed, now_ns, node) % 700_000) if bits % 3 else 3 * PPM
            for node, bits in enumerate(way)
        )
        for way in used
    ]
    plane.apply(changes.LinkRates(uplink_ppm=rates[0], downlink_ppm=rates[1]))
    return used


def rows(drained: Drained) -> dict[str, Counter[tuple[int, ...]]]:
    """Turn drained columns into multisets of rows, so that order does not matter."""
    return {
        name: Counter(zip(*(column.tolist() for column in table.values()), strict=True))
        for name, table in drained._asdict().items()
    }
