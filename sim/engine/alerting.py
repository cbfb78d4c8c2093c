"""What alert rules are shown: the rows of a run as they are recorded, counted up second by second.

Owns: every metric of the rules' vocabulary, from the rows on their way to the tables and from the
state of the validators. It stands before the recorder, so that what rules see is what the tables
hold. Must not know: rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.engine.impairment import Impaired
from sim.engine.node import Node
from sim.engine.stations import servers_of
from sim.monitor.alerts import GRID_NS, Alerts, Sample
from sim.monitor.watch import Watch
from sim.protocol.chain import Chain
from sim.protocol.messages import Proposal
from sim.protocol.types import Block
from sim.record.histogram import bucket_edges
from sim.record.recorder import Sink
from sim.scenario.alerting import METRIC
from sim.scenario.alerts import rules_in_force
from sim.scenario.model import Scenario
from sim.world.agents.kinds import KINDS, REASONS, STATIONS

if TYPE_CHECKING:
    from sim.world.agents.plane import AgentPlane

_PPM = 1_000_000
_P50_PPM, _P99_PPM = 500_000, 990_000
_PROPOSALS_KEPT = 1_024
"""Blocks of which it is remembered when they were proposed: more than are in flight."""
_HEARD_AFTER = 3
"""Messages of a second to a region from which on it says something that none arrived."""
_NOTHING = (0, 0)
_AGENTS_OWN = (
    "not_registered",
    "unknown_target",
    "sender_offline",
    "requester_offline",
    "expired",
    "rate_limited",
    "gateway_registrations",
    "all_registrations",
)
"""Reasons of drops that are the agents' doing, or a limit's: not the network's."""
_SOURCE_LOSSES = ("link_rule", "sender_down")
_RECORDED = ("offered", "delivered", "stored", "retried", "dropped")
"""Outcomes of `traffic` by the codes that the agent plane's rows carry."""
_OFFERED, _RETRIED, _DROPPED = 0, 3, 4


@dataclass(slots=True)
class _Epoch:
    """The newest epoch: weights by validator, what a certificate needs."""

    weights: dict[int, int] = field(default_factory=dict)
    number: int = -1
    total: int = 1
    quorum: int = 0
    members: int = 0
    most_members: int = 0
    level: int = 0
    missed_ppm: int = 0


class Board:
    """Count rows on their way to `sink`, and show the rules each whole second.

    It has the recorder's methods. `count` and `gauge` are open to parts that have more to say.
    """

    def __init__(self, sink: Sink, scenario: Scenario) -> None:
        self._sink = sink
        self._sums: dict[str, dict[str, int]] = {}
        self._gauges: dict[str, dict[str, int]] = {}
        self._rules = Alerts(rules_in_force(scenario.alerts), self._fired)
        self.shown: Callable[[int, Sample], None] = lambda now_ns, sample: None
        """Told of all that rules were shown; what it is handed lives on."""
        self._epoch = _Epoch()
        self._first_level = scenario.quorum.initial_level
        self._accused: dict[int, None] = {}
        self._proposed: dict[str, int] = {}
        self._block_ns: list[int] = []
        self._certified_ns: list[int] = []
        self._heard: dict[tuple[str, str], list[int]] = {}
        self._heard_before: dict[tuple[str, str], list[int]] = {}
        """By pair of regions: messages sent and arrived, in this second and the one before."""
        self._signed = _NOTHING
        """Signatures that key services granted so far, and how long they took."""
        self._last_commit_ns = 0
        self._seen_ns = 0
        self._servers = servers_of(scenario)
        self._behind = scenario.consensus.epoch_blocks
        self._on_row: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "certificates": self._certificate,
            "forks": self._fork,
            "evidence": self._evidence,
            "epochs": self._epoch_began,
            "validators": self._validator,
            "operations": self._operation,
            "rejections": self._rejection,
            "replication": self._replication,
            "signatures": self._signatures,
            "access": self._access,
            "processing": self._processing,
        }
        self._on_columns: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "traffic": self._agent_traffic,
            "latency": self._agent_latency,
            "stations": self._agent_stations,
            "lookups": self._lookups,
            "registry": self._registry,
            "audit": self._audit,
        }
        for name in ("blocks_committed", "transactions_committed", "view_timeouts"):
            self.count(name, 0)

    # -- rows on their way -------------------------------------------------------------------

    def keeps(self, table: str) -> bool:
        """Whether the sink keeps rows of a table."""
        return self._sink.keeps(table)

    def append(self, table: str, columns: Mapping[str, Any]) -> None:
        """Count and pass on columns; of the agent plane's tables these are arrays of codes."""
        reader = self._on_columns.get(table)
        if reader is not None:
            reader(columns)
        self._sink.append(table, columns)

    def append_row(self, table: str, **values: Any) -> None:
        """Count and pass on one row."""
        reader = self._on_row.get(table)
        if reader is not None:
            reader(values)
        self._sink.append_row(table, **values)

    def append_rows(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Count and pass on the validators' rows of traffic and stations."""
        if table == "traffic":
            self._consensus_traffic(rows)
        elif table == "stations":
            self._consensus_stations(rows)
        self._sink.append_rows(table, names, rows)

    def latency(
        self,
        kind: str,
        source_region: str,
        destination_region: str,
        finished_ns: int,
        latency_ns: int,
    ) -> None:
        """Note and pass on one latency: of a block, at its first commit."""
        if kind == "block":
            self._block_ns.append(latency_ns)
            self._last_commit_ns = finished_ns
            self.count("blocks_committed")
        self._sink.latency(kind, source_region, destination_region, finished_ns, latency_ns)

    def proposed(self, proposal: Proposal, now_ns: int, size_bytes: int) -> None:
        """Note when a block first leaves its proposer."""
        self._proposed.setdefault(proposal.block.id.hex(), now_ns)
        if len(self._proposed) > _PROPOSALS_KEPT:
            del self._proposed[next(iter(self._proposed))]

    def committed(self, block: Block, now_ns: int) -> None:
        """Note the transactions of a block at its first commit."""
        self.count("transactions_committed", sum(ref.tx_count for ref in block.payload))

    # -- sums and gauges ---------------------------------------------------------------------

    def count(self, metric: str, by: int = 1, series: str = "") -> None:
        """Add to a counter."""
        sums = self._sums.setdefault(metric, {})
        sums[series] = sums.get(series, 0) + by

    def gauge(self, metric: str, value: int, series: str = "") -> None:
        """State a gauge of the running second; it is forgotten with the second."""
        self._gauges.setdefault(metric, {})[series] = value

    def state(self, figures: Iterable[tuple[str, str, int]]) -> None:
        """State what other parts know: (metric, series, value); counters since the start."""
        for metric, series, value in figures:
            if METRIC[metric].counter:
                self._sums.setdefault(metric, {})[series] = value
            else:
                self.gauge(metric, value, series)

    def _most(self, metric: str, value: int, series: str = "") -> None:
        before = self._gauges.setdefault(metric, {}).get(series, value)
        self._gauges[metric][series] = max(before, value)

    def close_second(
        self,
        now_ns: int,
        nodes: Sequence[Node],
        chains: Sequence[Chain],
        watch: Watch,
        plane: AgentPlane | None,
    ) -> None:
        """Show the rules the second that ends now; what ends between two seconds is not shown.

        `chains` by identity; none where validators run a baseline.
        """
        if now_ns % GRID_NS or now_ns <= self._seen_ns:
            return
        self._seen_ns = now_ns
        self.gauge("commit_age", now_ns - self._last_commit_ns)
        for name, took in (
            ("block_latency_p99", self._block_ns),
            ("certificate_latency_p99", self._certified_ns),
        ):
            if took:
                self.gauge(name, sorted(took)[-(-len(took) * _P99_PPM // _PPM) - 1])
                took.clear()
        self._weights()
        self._validators(nodes, chains)
        self._struck(nodes)
        self.gauge("silent_region_pairs", self._silent_pairs())
        for monitor in watch.monitors:
            broken = monitor.violation
            if broken is not None:
                self._sums.setdefault("violations", {})[monitor.name] = broken.count
        if plane is not None:
            down = sum(not nodes[gateway].up for gateway in plane.parameters.gateways)
            self.gauge("gateways_down", down)
            self.gauge("unaccounted_messages", abs(watch.lost_messages or 0))
        sample = {**self._sums, **self._gauges}
        self._rules.observe(now_ns, sample)
        self.shown(now_ns, sample)
        self._gauges.clear()

    def critical(self) -> list[tuple[str, str]]:
        """Return (rule, series) of the critical alerts that fire now."""
        return self._rules.firing("critical")

    def firing(self) -> list[str]:
        """Return the names of the rules that fire now."""
        return [rule for rule, _ in self._rules.firing()]

    def finish(self) -> None:
        """Write the alerts that still fire."""
        self._rules.finish()

    def _fired(self, **row: Any) -> None:
        self._sink.append_row("alerts", **row)

    def _silent_pairs(self) -> int:
        """Count pairs where enough was sent a second ago, and nothing has arrived since then."""
        now, before = self._heard, self._heard_before
        self._heard, self._heard_before = {}, now
        return sum(
            sent >= _HEARD_AFTER and not got and not now.get(pair, _NOTHING)[1]
            for pair, (sent, got) in before.items()
        )

    def _weights(self) -> None:
        epoch = self._epoch
        if not epoch.weights:  # a baseline without epochs
            return
        guilty = sum(epoch.weights.get(who, 0) for who in self._accused)
        self.gauge("proven_weight", guilty * _PPM // epoch.total)
        self.gauge("missed_weight", epoch.missed_ppm)
        self.gauge("quorum_level", epoch.level)
        self.gauge("quorum_rise", max(0, epoch.level - self._first_level))
        self.gauge("members_lost", epoch.most_members - epoch.members)
        left, silent = epoch.total, 0
        for weight in sorted(epoch.weights.values(), reverse=True):
            if left < epoch.quorum:
                break
            left, silent = left - weight, silent + 1
        self.gauge("halting_coalition", silent)

    def _validators(self, nodes: Sequence[Node], chains: Sequence[Chain]) -> None:
        # Candidates without a vote are there or not as they like.
        members = [node for node in nodes if self._epoch.weights.get(node.id, 0)]
        down = [node.id for node in members if not node.up]
        weight = sum(self._epoch.weights[node] for node in down)
        self.gauge("validators_down", len(down))
        self.gauge("weight_down", weight * _PPM // self._epoch.total)
        there = [node.id for node in members if node.up] if chains else []
        heights = [chains[node].tree.final.height for node in there]
        front = max(heights, default=0)
        self.gauge("validators_behind", sum(h + self._behind < front for h in heights))

    def _struck(self, nodes: Sequence[Node]) -> None:
        """State what faults of disks and key services do."""
        struck = [node.validator for node in nodes if isinstance(node.validator, Impaired)]
        self.gauge("disks_struck", sum(not core.disk.sound for core in struck))
        self.gauge("keys_out_of_reach", sum(core.unsigned > 0 for core in struck))
        before, took_ns = self._signed, sum(core.signing_ns for core in struck)
        self._signed = (sum(core.signed for core in struck), took_ns)
        fresh = self._signed[0] - before[0]
        self.gauge("signature_wait", (took_ns - before[1]) // max(1, fresh))

    # -- validators' rows --------------------------------------------------------------------

    def _certificate(self, row: Mapping[str, Any]) -> None:
        if row["kind"] == "timeout":
            self.count("view_timeouts")
            return
        self.count("certificates")
        proposed_ns = self._proposed.pop(row["block"], None)
        if proposed_ns is not None:
            self._certified_ns.append(row["time_ns"] - proposed_ns)

    def _fork(self, row: Mapping[str, Any]) -> None:
        if row["event"] == "forked":
            self.count("forks", series=row["kind"])
        else:
            self.count("reconciliations")

    def _evidence(self, row: Mapping[str, Any]) -> None:
        if row["event"] == "accused":
            self._accused[row["offender"]] = None
            self.count("offences_proved", series=row["kind"])
        else:
            self.count("offences_punished", series=row["kind"])
            self.count("stake_slashed", row["slashed"])

    def _epoch_began(self, row: Mapping[str, Any]) -> None:
        before = self._epoch
        missed = row["missed_weight"] * _PPM // max(1, before.total)
        self._epoch = _Epoch(
            number=row["epoch"],
            total=max(1, row["total_weight"]),
            quorum=row["quorum"],
            members=row["members"],
            most_members=max(before.most_members, row["members"]),
            level=row["level"],
            missed_ppm=missed,
        )

    def _validator(self, row: Mapping[str, Any]) -> None:
        if row["epoch"] == self._epoch.number:
            self._epoch.weights[row["validator"]] = row["weight"]

    def _operation(self, row: Mapping[str, Any]) -> None:
        if row["event"] == "refused":
            self.count("operations_refused")

    def _rejection(self, row: Mapping[str, Any]) -> None:
        event, what, reason, count = row["event"], row["what"], row["reason"], row["count"]
        if event == "no_vote":
            self.count("votes_withheld", count, reason)
        elif event == "dropped" and what != "late_votes":
            self.count("queue_overflows", count, what)
        elif event == "rejected" and reason == "invalid_signature":
            self.count("invalid_messages", count)
        elif event == "rejected" and what == "proposal" and reason != "disk_full":
            self.count("proposals_refused", count, reason)

    def _signatures(self, row: Mapping[str, Any]) -> None:
        self.count("signatures", row["asked"], row["region"])

    def _consensus_traffic(self, rows: Sequence[Sequence[Any]]) -> None:
        sent = sent_bytes = lost = 0
        heard = self._heard
        for _, _, _, source, target, outcome, reason, messages, size in rows:
            if outcome == "dropped":
                lost += messages * (reason in _SOURCE_LOSSES)
                continue
            offered = outcome == "offered"
            if offered:
                sent += messages
                sent_bytes += size
            if source != target:
                pair = heard.get((source, target))
                if pair is None:
                    pair = heard[source, target] = [0, 0]
                pair[not offered] += messages
        self.count("consensus_messages", sent)
        self.count("consensus_bytes", sent_bytes)
        if lost:
            self.count("consensus_lost", lost)

    def _consensus_stations(self, rows: Sequence[Sequence[Any]]) -> None:
        busiest: dict[tuple[str, str], int] = {}
        longest_ns = 0
        for _, kind, lane, _, served, busy_ns, waited_ns, _, _ in rows:
            if busy_ns > busiest.get((kind, lane), -1):
                busiest[kind, lane] = busy_ns
            if kind == "cpu" and served:
                longest_ns = max(longest_ns, waited_ns // served)
        for (kind, lane), busy_ns in busiest.items():
            whole_ns = self._servers[kind, lane] * GRID_NS
            self._most(f"{kind}_utilisation", busy_ns * _PPM // whole_ns)
        self._most("verification_wait", longest_ns)

    # -- agents' rows ------------------------------------------------------------------------

    def _agent_traffic(self, columns: Mapping[str, Any]) -> None:
        outcome, messages = columns["outcome"], columns["messages"]
        kinds = columns["kind"]
        offered = outcome == _OFFERED
        self.count("agent_messages", int(messages[offered].sum()))
        registered = messages[offered & (kinds == KINDS.index("registration"))]
        self.count("registrations", int(registered.sum()))
        self.count("agent_retries", int(messages[outcome == _RETRIED].sum()))
        dropped = outcome == _DROPPED
        lost = dropped | (outcome == _RETRIED)
        tries = _sums(columns["reason"][lost] - 1, messages[lost], REASONS)
        for reason, count in tries.items():
            self.count("agent_tries_lost", count, reason)
        by_reason = _sums(columns["reason"][dropped] - 1, messages[dropped], REASONS)
        for reason, count in by_reason.items():
            self.count("agent_drops", count, reason)
            if reason not in _AGENTS_OWN:
                self.count("agent_dropped", count)

    def _agent_latency(self, columns: Mapping[str, Any]) -> None:
        kinds, buckets, counts = columns["kind"], columns["bucket"], columns["count"]
        for code in np.unique(kinds):
            mine = kinds == code
            order = np.argsort(buckets[mine], kind="stable")
            below = np.cumsum(counts[mine][order])
            for name, ppm in (("p50", _P50_PPM), ("p99", _P99_PPM)):
                rank = -(-int(below[-1]) * ppm // _PPM)
                bucket = buckets[mine][order][int(np.searchsorted(below, rank))]
                latency_ns = bucket_edges(int(bucket))[1]
                self.gauge(f"request_latency_{name}", latency_ns, KINDS[int(code)])

    def _agent_stations(self, columns: Mapping[str, Any]) -> None:
        classes = columns["class"]
        for code in np.unique(classes):
            name, mine = STATIONS[int(code)], classes == code
            busy_ns = int(columns["busy_ns"][mine].max())
            share = busy_ns * _PPM // (self._servers[name, "agents"] * GRID_NS)
            self._most("station_utilisation", share, name)
            self._most("station_queue", int(columns["queue_max"][mine].max()), name)

    def _lookups(self, columns: Mapping[str, Any]) -> None:
        from sim.world.agents.tables import LOOKUP_OUTCOMES

        self.count("lookups", int(columns["lookups"].sum()))
        self.count("lookup_rpcs", int(columns["rpcs"].sum()))
        self.count("lookup_timeouts", int(columns["timeouts"].sum()))
        found = _sums(columns["outcome"], columns["lookups"], LOOKUP_OUTCOMES)
        for outcome, count in found.items():
            if outcome != "found":
                self.count("lookups_failed", count, outcome)

    def _registry(self, columns: Mapping[str, Any]) -> None:
        from sim.world.agents.tables import REGISTRY_EVENTS

        found = _sums(columns["event"], columns["count"], REGISTRY_EVENTS)
        for event, count in found.items():
            metric = _OF_REGISTRY.get(event)
            if metric is not None:
                self.count(metric, count)

    # -- the audit log -----------------------------------------------------------------------

    def _replication(self, row: Mapping[str, Any]) -> None:
        self.gauge("replication_age", row["age_ns"], row["source_region"])

    def _access(self, row: Mapping[str, Any]) -> None:
        self.count("access_decisions", row["acts"], row["decision"] or "allowed")

    def _processing(self, row: Mapping[str, Any]) -> None:
        self.count("personal_reads", row["reads"], row["outcome"])

    def _audit(self, columns: Mapping[str, Any]) -> None:
        for outcome in columns["outcome"]:
            self.count("audit_records", series=outcome)


_OF_REGISTRY = {
    "read": "registry_reads",
    "stale": "registry_stale",
    "no_quorum": "registry_no_quorum",
    "limited": "registrations_limited",
    "lost_write": "registrations_lost",
    "taken_over": "shards_taken_over",
    "re_homed": "agents_re_homed",
}


def _sums(codes: Any, counts: Any, words: Sequence[str]) -> dict[str, int]:
    """Add up counts by the word of their code, words in the order of codes."""
    totals = np.zeros(len(words), dtype=np.int64)
    np.add.at(totals, codes, counts)
    found = [int(code) for code in np.flatnonzero(totals)]
    return {words[code]: int(totals[code]) for code in found}
