"""Stake: registration, top-up, unbonding, minimum, slashing, jail. Pure functions over tuples.

Owns every unit of stake: bonded + unbonding + free + burned is the same before and after anything
here. Must not know blocks or votes; who is guilty is decided elsewhere. Index = validator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sim.protocol.types import Operation, ValidatorId
from sim.protocol.weighted_voting import PPM

NEVER = 1 << 62
"""`jailed_until` of who may not return (a tombstone)."""

SAFETY_OFFENCES = ("double_vote", "double_proposal", "stale_timeout", "tc_rule")
OFFENCES = (*SAFETY_OFFENCES, "downtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class StakeParameters:
    """Terms of stake. Amounts in stake units, fractions in ppm, delays in epochs.

    Sources. double_vote_ppm, double_proposal_ppm 5 % and downtime_ppm 1 %: Cosmos SDK v0.45
    x/slashing defaults slash_fraction_double_sign and slash_fraction_downtime. stale_timeout_ppm,
    tc_rule_ppm: no chain publishes one; they break safety as a double signature does and default to
    its figure. tombstone: Cosmos SDK v0.53 x/slashing jails double signers for good.
    correlation_multiplier 3: Ethereum, min(3 x slashed, total) x stake / total; here it is charged
    when the epoch of the conviction closes, over convictions of the last `correlation_epochs`.
    Assumptions: unbonding_epochs, jail_epochs and correlation_epochs, sized for runs of tens of
    epochs. min_signed_ppm 0 switches downtime off (Cosmos SDK default: 500,000).
    """

    min_stake: int
    unbonding_epochs: int = 4
    double_vote_ppm: int = 50_000
    double_proposal_ppm: int = 50_000
    stale_timeout_ppm: int = 50_000
    tc_rule_ppm: int = 50_000
    downtime_ppm: int = 10_000
    min_signed_ppm: int = 0
    correlation_multiplier: int = 3
    correlation_epochs: int = 4
    jail_epochs: int = 2
    tombstone: tuple[str, ...] = ("double_vote", "double_proposal")

    def __post_init__(self) -> None:
        for name in [*(f"{offence}_ppm" for offence in OFFENCES), "min_signed_ppm"]:
            if not 0 <= getattr(self, name) <= PPM:
                raise ValueError(f"{name} {getattr(self, name)} must be within 0..{PPM}")
        for name in ("min_stake", "unbonding_epochs", "correlation_epochs", "jail_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.correlation_multiplier < 0:
            raise ValueError("correlation_multiplier must not be negative")
        unknown = [o for o in self.tombstone if o not in OFFENCES]
        if unknown:
            raise ValueError(f"tombstone names unknown offences {unknown}")

    def slash_ppm(self, offence: str) -> int:
        fraction: int = getattr(self, f"{offence}_ppm")
        return fraction


class Unbonding(NamedTuple):
    """Stake that has left but can still be slashed. One entry a (validator, release_epoch)."""

    validator: ValidatorId
    amount: int
    release_epoch: int


class Conviction(NamedTuple):
    """What the correlation penalty counts: the stake at risk when `validator` was convicted."""

    epoch: int
    validator: ValidatorId
    stake: int


class StakeState(NamedTuple):
    bonded: tuple[int, ...]
    free: tuple[int, ...]
    unbonding: tuple[Unbonding, ...]
    burned: int
    jailed_until: tuple[int, ...]
    """First epoch in which an unjail is accepted; 0: not jailed."""
    convictions: tuple[Conviction, ...]


def genesis_stake(bonded: tuple[int, ...], free: tuple[int, ...]) -> StakeState:
    """Return the first state. Errors: ValueError on a negative amount."""
    if min((*bonded, *free), default=0) < 0:
        raise ValueError("stake must not be negative")
    return StakeState(bonded, free, (), 0, (0,) * len(bonded), ())


def supply(state: StakeState) -> int:
    """Return bonded + unbonding + free + burned: what was minted, always."""
    leaving = sum(entry.amount for entry in state.unbonding)
    return sum(state.bonded) + sum(state.free) + leaving + state.burned


def eligible(state: StakeState, parameters: StakeParameters) -> tuple[int, ...]:
    """Return the stake that counts in the next epoch: 0 when below the minimum or jailed."""
    return tuple(
        stake if stake >= parameters.min_stake and not jailed else 0
        for stake, jailed in zip(state.bonded, state.jailed_until, strict=True)
    )


def check_operation(
    state: StakeState, operation: Operation, epoch: int, parameters: StakeParameters
) -> str | None:
    """Return why `operation` would have no effect, or None. Its nonce is the ledger's."""
    who, amount = operation.validator, operation.amount
    if not 0 <= who < len(state.bonded):
        return "unknown_validator"
    bonded = state.bonded[who]
    if operation.kind == "unjail":
        if not state.jailed_until[who]:
            return "not_jailed"
        return "jail_term" if epoch < state.jailed_until[who] else None
    if amount <= 0:
        return "no_amount"
    if operation.kind == "unbond":
        if amount > bonded:
            return "not_bonded"
        return "below_minimum" if 0 < bonded - amount < parameters.min_stake else None
    if operation.kind not in ("register", "top_up"):
        return "unknown_kind"
    if (operation.kind == "register") != (bonded == 0):
        return "registered" if bonded else "not_registered"
    if amount > state.free[who]:
        return "not_enough_free"
    return "below_minimum" if bonded + amount < parameters.min_stake else None


def apply_operation(
    state: StakeState, operation: Operation, epoch: int, parameters: StakeParameters
) -> StakeState:
    """Return the state after an operation that `check_operation` lets pass."""
    who, amount = operation.validator, operation.amount
    if operation.kind == "unjail":
        return state._replace(jailed_until=_set(state.jailed_until, who, 0))
    if operation.kind == "unbond":
        entry = Unbonding(who, amount, epoch + parameters.unbonding_epochs)
        return state._replace(
            bonded=_set(state.bonded, who, state.bonded[who] - amount),
            unbonding=_merge((*state.unbonding, entry)),
        )
    return state._replace(
        bonded=_set(state.bonded, who, state.bonded[who] + amount),
        free=_set(state.free, who, state.free[who] - amount),
    )


def slash(
    state: StakeState,
    validator: ValidatorId,
    offence: str,
    offence_epoch: int,
    epoch: int,
    parameters: StakeParameters,
) -> StakeState:
    """Burn the offence's fraction of what was bonded at the offence, and jail the offender.

    Unbonding entries pay too when they left in or after `offence_epoch`. A jail term only grows.
    """
    ppm = parameters.slash_ppm(offence)
    at_risk, state = _burn(state, validator, ppm, PPM, offence_epoch, parameters)
    until = NEVER if offence in parameters.tombstone else epoch + parameters.jail_epochs
    until = max(until, state.jailed_until[validator])
    jailed = _set(state.jailed_until, validator, until)
    if offence not in SAFETY_OFFENCES:
        return state._replace(jailed_until=jailed)
    conviction = Conviction(epoch, validator, at_risk)
    return state._replace(jailed_until=jailed, convictions=(*state.convictions, conviction))


def end_epoch(state: StakeState, epoch: int, parameters: StakeParameters) -> StakeState:
    """Close `epoch`: charge correlation penalties, then release what has waited long enough."""
    oldest = epoch - parameters.correlation_epochs + 1
    recent = tuple(c for c in state.convictions if c.epoch >= oldest)
    worst: dict[ValidatorId, int] = {}
    for conviction in recent:
        worst[conviction.validator] = max(conviction.stake, worst.get(conviction.validator, 0))
    total = sum(state.bonded) + sum(entry.amount for entry in state.unbonding)
    share = min(parameters.correlation_multiplier * sum(worst.values()), total)
    if share:
        for who in sorted({c.validator for c in recent if c.epoch == epoch}):
            _, state = _burn(state, who, share, total, epoch, parameters)
    free = list(state.free)
    waiting = []
    for entry in state.unbonding:
        if entry.release_epoch <= epoch + 1:
            free[entry.validator] += entry.amount
        else:
            waiting.append(entry)
    return state._replace(free=tuple(free), unbonding=tuple(waiting), convictions=recent)


def _burn(
    state: StakeState,
    validator: ValidatorId,
    numerator: int,
    denominator: int,
    since_epoch: int,
    parameters: StakeParameters,
) -> tuple[int, StakeState]:
    """Return what was at risk, and the state without the fraction of it that burns."""
    at_risk = state.bonded[validator]
    loss = at_risk * numerator // denominator
    bonded = _set(state.bonded, validator, state.bonded[validator] - loss)
    entries = []
    for entry in state.unbonding:
        left_in = entry.release_epoch - parameters.unbonding_epochs
        if entry.validator == validator and left_in >= since_epoch:
            part = entry.amount * numerator // denominator
            at_risk += entry.amount
            loss += part
            entry = entry._replace(amount=entry.amount - part)
        entries.append(entry)
    burned = state.burned + loss
    return at_risk, state._replace(bonded=bonded, unbonding=tuple(entries), burned=burned)


def _merge(entries: tuple[Unbonding, ...]) -> tuple[Unbonding, ...]:
    """At most one entry a (validator, release epoch): the list is bounded by n x delay."""
    amounts: dict[tuple[int, int], int] = {}
    for who, amount, release in entries:
        amounts[who, release] = amounts.get((who, release), 0) + amount
    return tuple(Unbonding(who, amount, release) for (who, release), amount in amounts.items())


def _set(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])
