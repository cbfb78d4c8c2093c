"""When an attack is on: by chance, height, view, epoch, phase, level or reputation.

Owns the triggers. Each is a pure function of the member's own core and of the (epoch, view) that
the effect in hand speaks of, so that all members of a coalition decide alike about one view.
Must not know: what the attack does.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sim.protocol.validator import Validator
from sim.world.chance import mix

PHASE_BLOCKS = 3
"""Blocks that count as the start of an epoch, and as its end (tail blocks included)."""


class Trigger(Protocol):
    """Say whether the attack is on."""

    def __call__(self, core: Validator, epoch: int, view: int) -> bool: ...


class Probability(NamedTuple):
    """A share of the views, drawn by (key, epoch, view): the same for all members."""

    key: int
    share_ppm: int

    def __call__(self, core: Validator, epoch: int, view: int) -> bool:
        return mix(self.key, epoch, view) % 1_000_000 < self.share_ppm


class Heights(NamedTuple):
    """While the next block to certify has a height within both bounds."""

    first: int
    last: int | None

    def __call__(self, core: Validator, epoch: int, view: int) -> bool:
        return _within(next_height(core), self.first, self.last)


class Views(NamedTuple):
    """In views of these numbers, in each epoch."""

    first: int
    last: int | None

    def __call__(self, core: Validator, epoch: int, view: int) -> bool:
        return _within(view, self.first, self.last)


class Epochs(NamedTuple):
    """In epochs of these numbers."""

    first: int
    last: int | None

    def __call__(self, core: Validator, epoch: int, view: int) -> bool:
        return _within(epoch, self.first, self.last)


class Phase(NamedTuple):
    """In one phase: epoch_start, epoch_end, or view_change (a view that no certificate opened)."""

    name: str

    def __call__(self, core: Validator, epoch: int, view: int) -> bool:
        if self.name == "view_change":
            return core.chain.high_qc.view + 1 < view
        done = next_height(core) - core.chain.epoch.root_height - 1
        if self.name == "epoch_start":
            return done < PHASE_BLOCKS
        return done >= core.ledger.parameters.epoch_blocks - PHASE_BLOCKS


class Level(NamedTuple):
    """While the epoch's quorum level is within both bounds."""

    at_least: int
    at_most: int

    def __call__(self, core: Validator, epoch: int, view: int) -> bool:
        return self.at_least <= core.chain.epoch.level <= self.at_most


class Reputation(NamedTuple):
    """While the member's own reputation in force is at least so high."""

    at_least_ppm: int

    def __call__(self, core: Validator, epoch: int, view: int) -> bool:
        return reputation_ppm(core) >= self.at_least_ppm


def next_height(core: Validator) -> int:
    """Return the height of the block that would stand on the core's highest certificate."""
    block = core.chain.tree.get(core.chain.high_qc.block)
    return core.chain.tree.final.height + 1 if block is None else block.height + 1


def reputation_ppm(core: Validator) -> int:
    """Return a core's own reputation on its final chain."""
    books = core.ledger.state(core.chain.tree.final.id).books
    return books.reputation.scores[core.me]


def _within(value: int, first: int, last: int | None) -> bool:
    return first <= value and (last is None or value <= last)
