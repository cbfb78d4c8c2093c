"""The ledger's digest covers every leaf of the state: ledger equality can be judged by it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

from sim.protocol.evidence import double_vote
from sim.protocol.ledger import Account, Ledger, LedgerParameters, LedgerState
from sim.protocol.stake_manager import StakeParameters
from sim.protocol.types import QC, Block, Operation, PayloadRef, Vote


def changed(value: object) -> object:
    """Another value of the same type; of a tuple, every variant that changes one item."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str | bytes):
        return value + value[:1]
    raise TypeError(type(value).__name__)


def variants(value: object) -> list[object]:
    """Every value that differs from a nested state in one leaf, or lacks one tuple's last item."""
    if is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        return [
            replace(value, **{name: other})  # type: ignore[type-var]
            for name, part in parts.items()
            for other in variants(part)
        ]
    if isinstance(value, tuple):
        make = value._make if hasattr(value, "_make") else tuple  # type: ignore[attr-defined]
        found: list[object] = [
            make((*value[:i], other, *value[i + 1 :]))
            for i, part in enumerate(value)
            for other in variants(part)
        ]
        return found if hasattr(value, "_make") or not value else [*found, value[:-1]]
    return [changed(value)]


def busy_state() -> LedgerState:
    """A state in which every tuple holds something: two blocks into the second epoch."""
    rules = LedgerParameters(stake=StakeParameters(min_stake=100), epoch_blocks=4, late_blocks=1)
    ledger = Ledger(rules, [Account(1_000)] * 4)
    tip, epoch, view = ledger.genesis_block, 1, 0
    for height in range(1, 7):
        content: dict[str, object] = {}
        if height == 6:
            content["operations"] = (Operation("unbond", 0, 100, 0),)
            content["payload"] = (PayloadRef(1, 0, 4, 9),)
            content["evidence"] = tuple(
                double_vote(Vote(1, 1, b"x" * 32, who), Vote(1, 1, b"y" * 32, who))
                for who in (2, 3)
            )
        justify = QC(epoch, view, tip.id, 0b1111 if view else 0)
        plain = Block(epoch, view + 1, height, height % 4, tip.id, justify)
        tip = replace(plain, **content)  # type: ignore[arg-type]
        state = ledger.apply(tip)
        view = tip.view if state.epoch == epoch else 0
        epoch = state.epoch
    return state


def test_digest_covers_every_part_of_the_state() -> None:
    state = busy_state()
    books = state.books
    assert books.stake.unbonding
    assert books.stake.convictions
    assert books.punished
    assert books.level.window
    assert books.reputation.past
    assert state.tally.recent
    others = [other for other in variants(state) if isinstance(other, LedgerState)]
    digests = [state.digest(), *(other.digest() for other in others)]
    assert len(digests) > 100
    assert len(set(digests)) == len(digests)
    assert replace(state).digest() == state.digest()
