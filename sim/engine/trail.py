"""The clouds' own trails in a run: what they record of it, and when somebody outside can read it.

Owns: records on their way out of their region, regions that are lost with what had not left, and
the rows of both tables. Must not know: what acts are, faults, the validators.

A record leaves its region after a delay of its own. While its region is lost, nothing leaves: what
was on its way comes out when the region is back, or never.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sim.record.recorder import Sink
from sim.world.chance import Chance
from sim.world.faults.occurrence import Lifetimes
from sim.world.network.regions import provider_of

NEVER = -1


class _Record(NamedTuple):
    due_ns: int
    number: int
    time_ns: int
    source: str
    action: str
    acts: int


class _Loss(NamedTuple):
    """How a region's trail stood when the region was lost."""

    time_ns: int
    newest_ns: int
    complete_ns: int
    unseen: int


class RegionTrail:
    """One region's trail. Calls come in non-decreasing time, records up to a second late."""

    def __init__(self, region: str, delay: Lifetimes, chance: Chance, recorder: Sink) -> None:
        self._region = region
        self._delay = delay
        self._stream = chance.stream(f"clouds/trail/{region}")
        self._recorder = recorder
        self._under_way: list[_Record] = []
        self._ages: list[tuple[int, int]] = []
        """(time, number) of the same, oldest first, and of some that have left since."""
        self._left: dict[int, None] = {}
        self._number = 0
        self._newest_ns = NEVER
        self._outages = 0
        self._loss: _Loss | None = None

    def note(self, time_ns: int, source: str, action: str, acts: int) -> None:
        """Record acts; they are read outside once the record has left."""
        due_ns = time_ns + self._delay.draw_ns(self._stream)
        self._number += 1
        record = _Record(due_ns, self._number, time_ns, source, action, acts)
        heapq.heappush(self._under_way, record)
        heapq.heappush(self._ages, (time_ns, self._number))

    def deliver(self, now_ns: int) -> None:
        """Write what has left by now."""
        until_ns = now_ns if self._loss is None else self._loss.time_ns
        while self._under_way and self._under_way[0].due_ns <= until_ns:
            record = heapq.heappop(self._under_way)
            self._write(record, record.due_ns)

    def lost(self, now_ns: int) -> None:
        """Keep inside what has not left yet."""
        self._outages += 1
        if self._outages > 1:
            return
        self.deliver(now_ns)
        self._loss = _Loss(
            now_ns,
            self._newest_ns,
            self._oldest_ns(now_ns),
            sum(record.acts for record in self._under_way),
        )

    def back(self, now_ns: int) -> None:
        """Let out what should have left meanwhile."""
        self._outages -= 1
        if self._outages or self._loss is None:
            return
        self.deliver(now_ns)
        self._end_loss(self._loss, now_ns)
        self._loss = None
        while self._under_way and self._under_way[0].due_ns <= now_ns:
            self._write(heapq.heappop(self._under_way), now_ns)

    def lag_ns(self, now_ns: int) -> int:
        """Return the age of the oldest record that nobody outside can read yet."""
        return now_ns - self._oldest_ns(now_ns)

    def _oldest_ns(self, now_ns: int) -> int:
        while self._ages and self._ages[0][1] in self._left:
            del self._left[heapq.heappop(self._ages)[1]]
        return self._ages[0][0] if self._ages else now_ns

    def finish(self, now_ns: int) -> None:
        """Write what nobody outside has seen by the end."""
        self.deliver(now_ns)
        for record in sorted(self._under_way):
            self._write(record, NEVER)
        if self._loss is not None:
            self._end_loss(self._loss, NEVER)

    def _write(self, record: _Record, visible_ns: int) -> None:
        self._left[record.number] = None
        if visible_ns != NEVER:
            self._newest_ns = max(self._newest_ns, record.time_ns)
        self._recorder.append_row(
            "trail",
            time_ns=record.time_ns,
            region=self._region,
            source=record.source,
            action=record.action,
            acts=record.acts,
            visible_ns=visible_ns,
        )

    def _end_loss(self, loss: _Loss, back_ns: int) -> None:
        self._recorder.append_row(
            "trail_losses",
            time_ns=loss.time_ns,
            region=self._region,
            newest_ns=loss.newest_ns,
            complete_ns=loss.complete_ns,
            unseen=loss.unseen,
            back_ns=back_ns,
        )


class Trails:
    """The trails of all regions that are followed. `delays`: by region."""

    def __init__(self, delays: Mapping[str, Lifetimes], chance: Chance, recorder: Sink) -> None:
        self._of = {
            region: RegionTrail(region, delay, chance, recorder) for region, delay in delays.items()
        }

    def follow(self, region: str) -> bool:
        """Say whether a region's trail is followed."""
        return region in self._of

    def note(self, region: str, time_ns: int, source: str, action: str, acts: int) -> None:
        """Record acts in a region; nothing where its trail is not followed."""
        trail = self._of.get(region)
        if trail is not None:
            trail.note(time_ns, source, action, acts)

    def turn(self, place: str, now_ns: int, *, lost: bool) -> None:
        """Lose a region, or all of a provider, or have it back."""
        for region, trail in self._of.items():
            if place in (region, provider_of(region)):
                (trail.lost if lost else trail.back)(now_ns)

    def close_second(self, now_ns: int) -> None:
        """Write what has left in the second that ends now."""
        for trail in self._of.values():
            trail.deliver(now_ns)

    def lags(self, now_ns: int) -> Iterator[tuple[str, int]]:
        """Yield (region, age of its oldest record that nobody outside can read yet)."""
        for region, trail in self._of.items():
            yield region, trail.lag_ns(now_ns)

    def finish(self, now_ns: int) -> None:
        """Write what nobody outside has seen by the end."""
        for trail in self._of.values():
            trail.finish(now_ns)
