"""The one column dictionary: every table of a run, its columns, units and meanings.

Owns: names, dtypes, vocabularies, how rows of one key merge, from which level of detail a table is
kept. dtype checks, digests and results/README.md come from here; a table is one `Table` more in
`TABLES`. Must not know: who writes the rows, or where they are stored.

Columns hold integers, 32-byte ids, words; no floats, no nulls: -1, unless stated, is "absent".
"""

from __future__ import annotations

from sim.record.cloud_tables import CLOUD_TABLES
from sim.record.columns import (
    DETAILS,
    NO_ID,
    Column,
    Table,
)
from sim.record.columns import enum_column as _enum
from sim.record.columns import id_column as _id
from sim.record.columns import int_column as _int
from sim.record.columns import label_column as _label
from sim.record.columns import sum_column as _sum
from sim.record.columns import wall_column as _wall
from sim.record.compliance_tables import COMPLIANCE_TABLES
from sim.record.recovery_tables import RECOVERY_TABLES
from sim.record.rollouts import ROLLOUT_TABLES

__all__ = ["BY_NAME", "DETAILS", "KINDS", "NO_ID", "TABLES", "Column", "Table", "kept", "table_of"]

_TIME = _int("time_ns", "simulated time")
_SECOND = _int("second", "simulated second s in which it happened: (s, s + 1] x 10^9 ns")
_NODE = _int("node", "validator that saw it")
_EPOCH = _int("epoch", "epoch, from 0")
_VIEW = _int("view", "view within the epoch, from 1")
_HEIGHT = _int("height", "height of the block; genesis is 0")
_BLOCK = _id("block", "block id")
_REASON = _label("reason", "reason code")
_KIND = _label("kind", "kind of message: see the vocabulary below", "kind")
_QUESTION = _label("kind", "question: a kind of message, or re_home", "question")
_ASKER = _label("source_region", "region of the gateway that asked", "region")
_ENTERED = _enum("reason", "certificate timeout epoch sync join", "what took it there")
_FROM = _label("source_region", "region of the sender", "region")
_TO = _label("destination_region", "region of the receiver", "region")

TABLES: tuple[Table, ...] = (
    Table(
        "runs",
        "One row a replicate of a point of the sweep; in `runs.parquet` beside the manifest.",
        "rounds",
        (
            _int("point", "point of the sweep, from 0"),
            _int("replicate", "replicate, from 0"),
            Column("seed", "uint", "root seed; the replicate's own follows from both"),
            _enum("state", "complete interrupted failed", "how the replicate ended"),
            _enum("verdict", "met violated missed inconclusive", "verdict of the replicate"),
            _int("simulated_ns", "simulated time reached"),
            _id("digest", "digest of the replicate's tables"),
            _wall("wall_ns", "wall time taken"),
            _wall("cpu_ns", "CPU time taken, all threads"),
            _wall("peak_memory_bytes", "largest resident set of the process so far"),
        ),
    ),
    Table(
        "blocks",
        "One row a block, when its fate is known (committed, discarded) or the run ends (pending).",
        "rounds",
        (
            _HEIGHT,
            _BLOCK,
            _id("parent", "parent's id"),
            _EPOCH,
            _VIEW,
            _int("proposer", "validator that proposed it"),
            _int("justify_view", "view of the certificate it extends"),
            _enum("status", "committed orphaned tail pending", "fate; tail: discarded epoch tail"),
            _int("proposed_ns", "when its proposer sent it"),
            _int("certified_ns", "when its certificate was first formed; -1 never"),
            _int("committed_ns", "first commit by an honest validator; -1 never"),
            _int("quorum_committed_ns", "when validators of quorum weight had it; -1 never"),
            _int("transactions", "agent transactions referenced"),
            _int("batches", "payload references"),
            _int("payload_bytes", "bytes of the referenced batches"),
            _int("size_bytes", "bytes of the proposal on the wire, certificates included"),
            _int("operations", "validator operations"),
            _int("late_votes", "late votes credited"),
            _int("evidence", "offences proved"),
        ),
    ),
    Table(
        "commits",
        "One row a block and validator that committed it.",
        "blocks",
        (_TIME, _NODE, _EPOCH, _VIEW, _HEIGHT, _BLOCK, _id("state", "ledger digest after it")),
    ),
    Table(
        "certificates",
        "One row a certificate when a collector first forms it.",
        "rounds",
        (
            _TIME,
            _enum("kind", "quorum timeout", "quorum certificate or timeout certificate"),
            _int("collector", "validator that formed it"),
            _EPOCH,
            _VIEW,
            _id("block", "certified block; zeros for a timeout certificate"),
            _int("signers", "signatures it carries"),
            _int("weight", "weight of the signers, in the epoch's units"),
            _int("quorum", "weight it needed"),
            _int("size_bytes", "bytes on the wire"),
        ),
    ),
    Table(
        "rounds",
        "One row a view and reason for which validators entered it.",
        "rounds",
        (
            _EPOCH,
            _VIEW,
            _ENTERED,
            _sum("validators", "how many entered it for this reason"),
            Column("first_ns", "int", "when the first of them did", merge="min"),
            Column("last_ns", "int", "when the last of them did", merge="max"),
        ),
    ),
    Table(
        "views",
        "One row a validator and view that it entered.",
        "blocks",
        (
            _TIME,
            _NODE,
            _EPOCH,
            _VIEW,
            _ENTERED,
        ),
    ),
    Table(
        "forks",
        "One row a fork that a validator saw, and one a reconciliation.",
        "rounds",
        (
            _TIME,
            _NODE,
            _enum("event", "forked reconciled", "what happened"),
            _enum(
                "kind",
                "equivocation view_change partition amnesia finality none",
                "kind of the fork; none for a reconciliation",
            ),
            _id("parent", "last common block; zeros for a reconciliation"),
            _id("first", "lowest branch id"),
            _id("second", "next branch id; zeros where there is one"),
            _int("branches", "live branches, or orphaned blocks of a reconciliation"),
            _int("depth", "blocks undone by a reconciliation; 0 for a fork"),
            _int("returned", "transactions returned to the mempool; 0 for a fork"),
        ),
    ),
    Table(
        "evidence",
        "One row an accusation (first accuser) and one a punishment on the committed chain.",
        "rounds",
        (
            _TIME,
            _NODE,
            _enum("event", "accused punished", "what happened"),
            _enum("kind", "double_vote double_proposal stale_timeout tc_rule", "offence"),
            _int("offender", "validator that signed both statements"),
            _int("epoch", "epoch of the offence"),
            _int("view", "view of the offence"),
            _int("height", "height of the punishing block; -1 for an accusation"),
            _int("slashed", "stake burned; 0 for an accusation"),
        ),
    ),
    Table(
        "levels",
        "One row a change of the quorum level.",
        "rounds",
        (
            _TIME,
            _int("epoch", "first epoch at the new level"),
            _int("old_level", "level before: 0, 1, 2 for 67 %, 75 %, 82 %"),
            _int("new_level", "level after"),
            _REASON,
        ),
    ),
    Table(
        "epochs",
        "One row an epoch, with what it pins and the signals that its blocks gave.",
        "rounds",
        (
            _EPOCH,
            _id("root", "id of its root block"),
            _int("root_height", "height of its root block"),
            _int("started_ns", "when the first validator entered it"),
            _int("members", "validators with a vote"),
            _int("total_weight", "sum of the weights, W"),
            _int("quorum", "least weight of a certificate, ceil(q W)"),
            _int("level", "quorum level: 0, 1, 2 for 67 %, 75 %, 82 %"),
            _int("effective_cap_ppm", "largest share that the cap allows one validator"),
            _id("weights_digest", "digest of the weight table"),
            _int("proven_weight", "weight of validators convicted in the epoch before"),
            _int("timeouts", "views that timed out in the epoch before"),
            _int("committed_blocks", "blocks committed in the epoch before"),
            _int("missed_weight", "weight that missed its votes in the epoch before"),
        ),
    ),
    Table(
        "validators",
        "One row a validator and epoch, as the ledger stood when the epoch was fixed.",
        "rounds",
        (
            _EPOCH,
            _int("validator", "index of the identity"),
            _label("region", "its region", "region"),
            _int("member", "1 with a vote in this epoch, else 0"),
            _int("weight", "its weight, in units of the epoch's total"),
            _int("stake", "bonded stake"),
            _int("unbonding", "stake that waits out the unbonding delay"),
            _int("reputation", "reputation, fixed point of the ledger"),
            _int("uptime", "uptime, fixed point of the ledger"),
            _int("jailed", "1 while jailed, else 0"),
        ),
    ),
    Table(
        "operations",
        "One row a step of a validator operation: handed in, applied or refused.",
        "rounds",
        (
            _TIME,
            _int("validator", "validator it concerns"),
            _enum("kind", "register top_up unbond unjail", "operation"),
            _int("amount", "stake units; 0 where it has none"),
            _int("nonce", "makes each operation apply once"),
            _enum("event", "submitted applied refused", "what happened"),
            _int("height", "height of the block that decided; -1 when handed in"),
            _label("reason", "why it was refused; empty otherwise"),
        ),
    ),
    Table(
        "rejections",
        "Votes not given, messages refused and queue overflows, counted.",
        "rounds",
        (
            _SECOND,
            _NODE,
            _enum("event", "rejected no_vote dropped", "what happened"),
            _label("what", "kind of message, or the queue"),
            _REASON,
            _sum("count", "how often"),
        ),
    ),
    Table(
        "stations",
        "Load of each station by second.",
        "rounds",
        (
            _SECOND,
            _label("class", "uplink, downlink, cpu, ingress, egress, shard, ...", "station"),
            _enum("lane", "consensus agents", "which lane of it"),
            _int("station", "validator that owns it"),
            _sum("served", "jobs whose service began"),
            _sum("busy_ns", "service time given, all servers"),
            _sum("waited_ns", "waiting time of the served"),
            Column(
                "queue_max", "int", "longest queue met by an arrival; -1 not measured", merge="max"
            ),
            _sum("dropped", "jobs refused by a full queue or lost in a crash"),
        ),
    ),
    Table(
        "traffic",
        "Messages by second, kind, region pair and outcome; by the time of the outcome.",
        "rounds",
        (
            _SECOND,
            _enum("lane", "consensus agents", "validators' messages or agents'"),
            _KIND,
            _FROM,
            _TO,
            _enum("outcome", "offered delivered stored retried dropped", "what happened"),
            _label("reason", "why it was dropped or retried; empty otherwise", "reason"),
            _sum("messages", "how many"),
            _sum("bytes", "their bytes on the wire"),
        ),
    ),
    Table(
        "latency",
        "Latency histograms by the second in which the message finished.",
        "rounds",
        (
            _SECOND,
            _KIND,
            _FROM,
            _TO,
            _int("bucket", "logarithmic bucket, 32 an octave: see below"),
            _sum("count", "messages in the bucket"),
        ),
    ),
    Table(
        "samples",
        "Exact times of single messages, chosen by a keyed hash of the message id.",
        "messages",
        (
            Column("message", "uint", "message id"),
            _KIND,
            Column("source", "uint", "sending agent"),
            Column("destination", "uint", "receiving agent; 0 where there is none"),
            _FROM,
            _TO,
            _int("created_ns", "when it was offered"),
            _int("finished_ns", "when it was delivered, committed, stored or dropped"),
            _enum("outcome", "delivered stored dropped", "how it ended"),
            _label("reason", "why it was dropped; empty otherwise", "reason"),
            _int("attempts", "tries it took"),
            _int("size_bytes", "bytes on the wire"),
        ),
        span=("created_ns", "finished_ns"),
    ),
    Table(
        "messages",
        "One row a copy of a message on its way from one validator to another.",
        "messages",
        (
            _int("sent_ns", "when its sender handed it to its uplink"),
            _int("departed_ns", "when its last bit left the sender"),
            _int("ended_ns", "when the receiver's core had it, when it was lost, or the run ended"),
            _int("source", "validator that sent this copy"),
            _int("destination", "validator that it was sent to"),
            _int("origin", "validator whose message it is: not the source where it is relayed"),
            _label("kind", "kind of message: its class in snake case"),
            _int("epoch", "epoch that it is about; -1 where it is about none"),
            _int("view", "view that it is about; -1 where it is about none"),
            _int("size_bytes", "bytes on the wire"),
            _enum(
                "outcome",
                "delivered corrupted dropped in_flight",
                "what became of it; corrupted: delivered with signatures that do not verify",
            ),
            _label("reason", "why it was dropped; empty otherwise"),
        ),
        span=("sent_ns", "ended_ns"),
    ),
    Table(
        "batches",
        "Batches of messages between gateways by second and region pair; with `record.batches`.",
        "rounds",
        (
            _SECOND,
            _int("leg", "0, or 1: sent on inside the region from where the messages entered it"),
            _label("source_region", "region of the gateway that sent it", "region"),
            _label("destination_region", "region of the gateway that it was sent to", "region"),
            _sum("batches", "how many"),
            _sum("messages", "messages in them"),
            _sum("bytes", "their bytes on the wire, signatures whole, the rest compressed"),
        ),
        optional=True,
    ),
    Table(
        "lookups",
        "Questions to the agents' directory by second, question, region pair and outcome.",
        "rounds",
        (
            _SECOND,
            _QUESTION,
            _ASKER,
            _label("destination_region", "region of the host found, else the asker's", "region"),
            _enum("outcome", "found not_found timed_out poisoned", "what the routing came to"),
            _sum("lookups", "how many"),
            _sum("depth", "length of the chain of learning that led to the host"),
            _sum("rounds", "waves of questions (iterative); chains of forwarding (recursive)"),
            _sum("rpcs", "questions sent, those to nodes that were gone included"),
            _sum("messages", "messages of the routing"),
            _sum("bytes", "their bytes"),
            _sum("crossings", "messages between regions"),
            _sum("timeouts", "questions that nobody answered"),
        ),
    ),
    Table(
        "lookup_latency",
        "Question asked to answered at the gateway, by the second in which the answer left.",
        "rounds",
        (
            _SECOND,
            _QUESTION,
            _ASKER,
            _label("destination_region", "region of the host that answered", "region"),
            _int("bucket", "logarithmic bucket, 32 an octave: see below"),
            _sum("count", "answers in the bucket"),
        ),
    ),
    Table(
        "registry",
        "What happened at the registry's hosts, by second, host and event.",
        "rounds",
        (
            _SECOND,
            _int("node", "validator whose gateway it is"),
            _enum(
                "event",
                "read write stale no_quorum limited lost_write re_homed taken_over moved_in",
                "served here; stale: reads answered without the newest version; no_quorum: too few "
                "replicas confirm; limited: registrations not passed on; lost_write: acknowledged "
                "ones that went down with it; re_homed: agents that moved here; taken_over: shards "
                "it took over or got back; moved_in: records that it was sent for that",
            ),
            _sum("count", "how many"),
            _sum("bytes", "bytes of the records moved; 0 otherwise"),
        ),
    ),
    Table(
        "faults",
        "One row when a fault or an attack begins, and one when it ends.",
        "rounds",
        (
            _TIME,
            _enum("source", "fault adversary", "injected fault or attacker"),
            _int("index", "its place in the scenario's list, from 0"),
            _label("kind", "kind, as the scenario names it"),
            _enum("event", "begin end", "which end of it"),
            _int("node", "validator that it strikes; -1 where it is not one"),
            _label("target", "region, zone, link or lane that it strikes; empty otherwise"),
        ),
    ),
    Table(
        "alerts",
        "One row an alert that fired, series by series.",
        "rounds",
        (
            _label("rule", "rule that fired"),
            _enum("severity", "info warning critical", "how bad it is"),
            _label("metric", "metric that the rule looks at"),
            _label("series", "value of the metric's label; empty where it has none"),
            _enum("dimension", "count duration share", "of value and threshold: count, ns, ppm"),
            _int("since_ns", "when its condition began to hold"),
            _int("fired_ns", "when it had held for long enough"),
            _int("resolved_ns", "when it held no longer; -1: it did when the run ended"),
            _int("value", "what was compared as it fired"),
            _int("worst", "what was compared, at its worst while it fired"),
            _int("threshold", "what it was compared with"),
        ),
        optional=True,
    ),
    Table(
        "violations",
        "One row a kind of broken invariant, at its first occurrence.",
        "rounds",
        (
            _label("monitor", "monitor that fired"),
            _TIME,
            _int("node", "validator concerned; -1 where it is not one"),
            _int("count", "occurrences in the whole run"),
            _int("window_from_ns", "start of the window that replays it"),
            _int("window_to_ns", "end of that window"),
            _label("proof", "what was seen, as JSON with sorted keys"),
        ),
    ),
    *CLOUD_TABLES,
    *ROLLOUT_TABLES,
    *COMPLIANCE_TABLES,
    *RECOVERY_TABLES,
)

BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}

KINDS: dict[str, str] = {
    "message": "direct message between agents; latency: offered to delivered",
    "transaction": "agent transaction; latency: offered to committed",
    "lookup_id": "lookup of an agent by id; latency: asked to answered",
    "lookup_capability": "lookup by capability; latency: asked to answered",
    "registration": "registration of an agent; latency: asked to confirmed",
    "renewal": "renewal of a lease; latency: asked to confirmed",
    "block": "block; latency: proposed to first committed (source and destination: its proposer's)",
}
"""Kinds that summaries know by name. Consensus messages go by the snake case of their class."""


def table_of(name: str) -> Table:
    """Look a table up; raises KeyError with the names there are."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise KeyError(f"no table {name!r}; there are {sorted(BY_NAME)}") from None


def kept(table: Table, detail: str, window_detail: str | None) -> bool:
    """Whether a run keeps rows of a table: all of them, or those of its window."""
    return table.kept_at(detail) or (window_detail is not None and table.kept_at(window_detail))
