"""Clock skew: a validator's clock is off by a step, and runs too fast or too slow.

The protocol compares no two validators' clocks: a step acts once, on the timers and the pacing that
it meets, and only the rate acts for good. Shows in: timeouts of that validator (a fast clock gives
up on every view), and the time between blocks that it leads. Agents have no clock of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from sim.world.faults import Fault, Target

PPM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ClockSkew(Fault):
    """Step the clocks of `nodes` by `step_ns` (negative: back) and let them gain `rate_ppm`.

    Overlapping skews add up; at the end the clock is right again, by another step.
    """

    kind: ClassVar[str] = "clock_skew"
    impairs: ClassVar[bool] = True
    nodes: tuple[int, ...]
    step_ns: int
    rate_ppm: int

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.skew(node, self.step_ns, self.rate_ppm, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.skew(node, self.step_ns, self.rate_ppm, on=False)


class LocalClock:
    """What a validator takes for the time: true time, offset, and a rate since the last change.

    All in integer ns; `rate_ppm` is what it gains in 10**6 ns. Skews are told apart by their terms.
    """

    __slots__ = ("_in_force", "_local_ns", "_since_ns", "rate_ppm")

    def __init__(self) -> None:
        self._since_ns = 0
        self._local_ns = 0
        self.rate_ppm = 0
        self._in_force: list[tuple[int, int]] = []

    @property
    def true(self) -> bool:
        """Whether it shows the true time and keeps it."""
        return not self._in_force

    def local_ns(self, now_ns: int) -> int:
        """Return what it shows at a true time not before its last change."""
        passed = now_ns - self._since_ns
        return self._local_ns + passed + passed * self.rate_ppm // PPM

    def true_ns(self, local_ns: int) -> int:
        """Return the first true time at which it shows `local_ns` or more, as it runs now."""
        ahead = local_ns - self._local_ns
        return self._since_ns + -(-ahead * PPM // (PPM + self.rate_ppm))

    def change(self, now_ns: int, step_ns: int, rate_ppm: int, *, on: bool) -> None:
        """Begin or end a skew at `now_ns`; the end of the last one sets the clock right."""
        shown = self.local_ns(now_ns)
        terms = (step_ns, rate_ppm)
        if on:
            self._in_force.append(terms)
            shown += step_ns
        else:
            self._in_force.remove(terms)
            shown -= step_ns
        self._since_ns = now_ns
        self._local_ns = shown if self._in_force else now_ns
        self.rate_ppm = max(1 - PPM, sum(rate for _, rate in self._in_force))
