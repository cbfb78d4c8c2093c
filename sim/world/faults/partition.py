"""Partition: validators are cut into groups that do not reach one another; one-way if asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.world.faults import Target


@dataclass(slots=True)
class Partition:
    """`groups` cover the validators that are cut; a flapping one begins and ends many times."""

    groups: tuple[tuple[int, ...], ...]
    one_way: bool = False
    _token: int | None = field(default=None, init=False)

    @property
    def kind(self) -> str:
        return "partition"

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(sorted(node for group in self.groups for node in group))

    def begin(self, target: Target) -> None:
        self._token = target.separate(self.groups, one_way=self.one_way)

    def end(self, target: Target) -> None:
        if self._token is not None:
            target.join(self._token)
            self._token = None
