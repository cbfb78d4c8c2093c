"""The tables of compliance: columns of what was audited, asked for, decided, attacked and answered.

Owns: their part of the column dictionary; `tables` holds the whole. All are optional: a run
without a `compliance` section has no row in them and no digest of them.
"""

from __future__ import annotations

from sim.record.columns import (
    Column,
    Table,
    enum_column,
    id_column,
    int_column,
    label_column,
    sum_column,
)

_TIME = int_column("time_ns", "simulated time")
_SECOND = int_column("second", "simulated second s in which it happened: (s, s + 1] x 10^9 ns")

_LAG = Column(
    "lag_ns",
    "int",
    "longest time since the right was taken away or the consent withdrawn; -1 where it was not",
    merge="max",
)

COMPLIANCE_TABLES: tuple[Table, ...] = (
    Table(
        "audit",
        "One row a record of the audit log, as it was when it was written.",
        "rounds",
        (
            int_column("sequence", "place in the log, from 0"),
            _TIME,
            label_column("actor", "who acted, or a class of principals"),
            label_column("action", "what"),
            label_column("object", "to what; data subjects by token only"),
            enum_column("outcome", "allowed denied done failed", "how the attempt ended"),
            int_column("acts", "acts that the record stands for"),
            label_column("policy", "ids of the policies that decided; empty where none did"),
            label_column("detail", "approver, reason, digest or second, by action"),
        ),
        optional=True,
    ),
    Table(
        "heads",
        "One row an epoch: the head of the audit log, and who co-signed it.",
        "rounds",
        (
            int_column("epoch", "epoch at whose beginning the head was taken"),
            _TIME,
            int_column("keeper", "validator that signs it"),
            int_column("size", "records that it covers; -1 where the keeper was down"),
            id_column("root", "root of the tree; zeros where the keeper was down"),
            int_column("witnesses", "validators that were asked to co-sign"),
            int_column("cosigned", "that did"),
            int_column("refused", "that refused, as it contradicts what they saw"),
            label_column("reason", "why the first of them refused; empty otherwise"),
            int_column("complete_ns", "when the last co-signature came back; -1 none did"),
        ),
        optional=True,
    ),
    Table(
        "access",
        "Decisions of the access controller on services and classes of agents, by second.",
        "rounds",
        (
            _SECOND,
            label_column("principal", "service, or class of agents"),
            label_column("action", "what was asked for"),
            label_column("gateway_region", "where; empty for people"),
            enum_column(
                "decision",
                "allowed stale denied refused",
                "stale: allowed from the cache although the right was revoked; refused: not "
                "decided, because it could not be recorded",
            ),
            sum_column("acts", "how many"),
            _LAG,
        ),
        optional=True,
    ),
    Table(
        "privileges",
        "Least privilege: what was granted at the end and never used in the run.",
        "rounds",
        (
            label_column("principal", "who has it"),
            label_column("role", "by which role"),
            label_column("action", "what; * where nothing of the role was ever used"),
        ),
        optional=True,
    ),
    Table(
        "processing",
        "Reads of personal data by services, by second, purpose and region.",
        "rounds",
        (
            _SECOND,
            label_column("purpose", "what for"),
            label_column("replica_region", "which replica"),
            enum_column(
                "outcome",
                "processed late no_consent stale unknown denied refused",
                "late: processed after a withdrawal that had not reached the replica; stale: the "
                "replica heard nothing for too long; unknown: erased or without such rows; denied: "
                "by the access controller; refused: it could not be recorded",
            ),
            sum_column("reads", "how many"),
            _LAG,
        ),
        optional=True,
    ),
    Table(
        "requests",
        "One row a request of a data subject.",
        "rounds",
        (
            int_column("request", "its number, in the order of asking"),
            enum_column("kind", "access export erasure withdrawal", "what was asked for"),
            label_column("subject", "token of the subject"),
            int_column("asked_ns", "when"),
            int_column("decided_ns", "when a data officer decided; -1 not within the run"),
            int_column("done_ns", "when the last replica had acted; -1 not within the run"),
            int_column(
                "complete_ns",
                "when nobody could read the data any more, backups included (may lie after the "
                "run); for others when it was answered; -1 unknown yet",
            ),
            int_column("due_ns", "article 12(3): one month after it was asked, taken as 30 days"),
            enum_column("outcome", "open done refused", "how it stood at the end"),
            label_column("reason", "why it was refused; empty otherwise"),
            int_column("rows", "rows handed out or deleted, on all replicas"),
            int_column("size_bytes", "of what was handed out"),
            int_column("tries", "messages to replicas, those that never arrived included"),
            int_column("left", "rows that still opened with some key at the end; erasures only"),
        ),
        optional=True,
    ),
    Table(
        "breaches",
        "The breach register (article 33(5)).",
        "rounds",
        (
            int_column("breach", "its number"),
            int_column("occurred_ns", "when it happened"),
            int_column("processor_ns", "when the processor was aware"),
            int_column("aware_ns", "when the controller was aware: the clock starts"),
            int_column("due_ns", "72 hours later"),
            int_column("authority_ns", "when the authority was told; -1 not within the run"),
            int_column("subjects_ns", "when the subjects were told; -1 not within the run"),
            int_column("subjects", "how many it concerns"),
            int_column("high_risk", "1 where they have to be told, else 0"),
            enum_column("notified", "in_time late open overdue", "article 33(1), at the end"),
        ),
        optional=True,
    ),
    Table(
        "insiders",
        "One row an act of an insider, with when and by whom it was found out.",
        "rounds",
        (
            int_column("insider", "its place in the scenario's list, from 0"),
            label_column("kind", "kind, as the scenario names it"),
            _TIME,
            label_column("target", "record, principal, replica or witness that it concerns"),
            enum_column(
                "outcome",
                "found stopped undetectable open nothing",
                "stopped: the act was denied; undetectable: `reason` says why nobody can find it; "
                "open: the run ended first; nothing: there was nothing to attack",
            ),
            int_column("found_ns", "when it was found out; -1 it was not"),
            int_column("delay_ns", "from the act to that; -1 it was not"),
            label_column("by", "who found it: a witness, an auditor, the access controller"),
            label_column("finding", "what was found"),
            label_column("reason", "why it cannot be found; empty otherwise"),
        ),
        optional=True,
    ),
    Table(
        "incidents",
        "One row a step of an incident's playbook, and one for its detection.",
        "rounds",
        (
            int_column("incident", "its number"),
            label_column("cause", "what set it off"),
            _TIME,
            label_column("step", "detect, contain, slash, rotate_key, notify, close, ..."),
            label_column("actor", "who took it"),
            enum_column("outcome", "done denied unstaffed", "unstaffed: nobody has the role"),
            label_column("detail", "whom or what it concerns"),
        ),
        optional=True,
    ),
)
