"""Translate a scenario's rules into the parameter values of the protocol."""

from __future__ import annotations

from sim.protocol.adaptive_quorum import QuorumParameters
from sim.protocol.ledger import LedgerParameters
from sim.protocol.pacemaker import ConsensusParameters
from sim.protocol.reputation_tracker import ReputationParameters
from sim.protocol.stake_manager import StakeParameters
from sim.protocol.weighted_voting import WeightParameters
from sim.scenario.model import Scenario


def ledger_parameters(scenario: Scenario) -> LedgerParameters:
    """Return the rules of stake, reputation, weights, levels and epochs."""
    ledger, slash, quorum = scenario.ledger, scenario.ledger.slash, scenario.quorum
    reputation, weights = scenario.ledger.reputation, scenario.weights
    return LedgerParameters(
        stake=StakeParameters(
            min_stake=ledger.min_stake,
            unbonding_epochs=ledger.unbonding_epochs,
            double_vote_ppm=slash.double_vote_ppm,
            double_proposal_ppm=slash.double_proposal_ppm,
            stale_timeout_ppm=slash.stale_timeout_ppm,
            tc_rule_ppm=slash.tc_rule_ppm,
            downtime_ppm=slash.downtime_ppm,
            min_signed_ppm=ledger.min_signed_ppm,
            correlation_multiplier=ledger.correlation_multiplier,
            correlation_epochs=ledger.correlation_epochs,
            jail_epochs=ledger.jail_epochs,
            tombstone=ledger.tombstone,
        ),
        epoch_blocks=scenario.consensus.epoch_blocks,
        late_blocks=scenario.consensus.late_vote_leaders,
        uptime_gain_ppm=ledger.uptime_gain_ppm,
        weights=WeightParameters(
            stake_ppm=weights.stake_ppm,
            reputation_ppm=weights.reputation_ppm,
            uptime_ppm=weights.uptime_ppm,
            cap_ppm=weights.cap_ppm,
            combine=weights.combine,
        ),
        quorum=QuorumParameters(
            initial_level=quorum.initial_level,
            window_epochs=quorum.window_epochs,
            cooldown_epochs=quorum.cooldown_epochs,
            byzantine_ppm=quorum.byzantine_ppm,
            timeouts_ppm=quorum.timeouts_per_block_ppm,
            missed_ppm=quorum.missed_ppm,
            liveness_guard=quorum.liveness_guard,
            guard_margin_ppm=quorum.guard_margin_ppm,
        ),
        reputation=ReputationParameters(
            prior_ppm=reputation.prior_ppm,
            half_life_epochs=reputation.half_life_epochs,
            floor_ppm=reputation.floor_ppm,
            ceiling_ppm=reputation.ceiling_ppm,
            attendance_gain_ppm=reputation.attendance_gain_ppm,
            absence_loss_ppm=reputation.absence_loss_ppm,
            proposal_gain_ppm=reputation.proposal_gain_ppm,
            offence_loss_ppm=reputation.offence_loss_ppm,
        ),
    )


def consensus_parameters(scenario: Scenario) -> ConsensusParameters:
    """Return the settings of every validator's core."""
    consensus = scenario.consensus
    return ConsensusParameters(
        timer_base_ns=consensus.timer_base_ns,
        timer_backoff_ppm=consensus.timer_backoff_ppm,
        timer_max_ns=consensus.timer_max_ns,
        leader=consensus.leader,
        late_vote_leaders=consensus.late_vote_leaders,
        min_block_interval_ns=consensus.min_block_interval_ns,
        max_block_refs=consensus.max_block_refs,
        max_block_transactions=consensus.max_block_transactions,
        max_block_operations=consensus.max_block_operations,
        max_block_evidence=consensus.max_block_evidence,
        max_block_attendance=consensus.max_block_attendance,
        mempool_refs=consensus.mempool_refs,
        mempool_operations=consensus.mempool_operations,
        sync_blocks=consensus.sync_blocks,
        store_blocks=consensus.store_blocks,
        on_safety_violation=consensus.on_safety_violation,
    )
