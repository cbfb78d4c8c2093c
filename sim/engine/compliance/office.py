"""Compliance wired into a run: the log, the controller, the data, and all who use them.

Owns: the making of every part from the scenario, what is heard of the validators and the agents,
the seconds (counts, rotation, retention, rows of the log), and the end. Must not know: what any
part does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sim.engine.compliance.events import Events
from sim.engine.compliance.figures import Figure, figures
from sim.engine.compliance.heads import Heads
from sim.engine.compliance.insiders import Insiders
from sim.engine.compliance.places import Places
from sim.engine.compliance.processing import Processing
from sim.engine.compliance.response import Incidents
from sim.engine.compliance.staff import ALLOWED, LOG, Staff
from sim.engine.compliance.subjects import Subjects
from sim.engine.loop import Loop
from sim.engine.persistence import Past
from sim.monitor.compliance import AuditLogIntact, ErasureComplete
from sim.monitor.watch import Watch
from sim.record.recorder import Sink
from sim.record.rocks import RocksStore
from sim.scenario.compliance import Access, Compliance, Data
from sim.world.agents.kinds import (
    ALL_REGISTRATIONS,
    GATEWAY_REGISTRATIONS,
    KINDS,
    NOT_REGISTERED,
    RATE_LIMITED,
    REASONS,
)
from sim.world.agents.tables import DROPPED, OFFERED, RETRIED
from sim.world.chance import I64, Chance
from sim.world.compliance.access_controller import AccessController, AccessRules, read_policies
from sim.world.compliance.audit_logger import AuditLogger, LogUnwritable, Outcome
from sim.world.compliance.data_manager import DataManager, DataRules
from sim.world.compliance.head_keys import HeadKeys
from sim.world.crypto.costs import CostModel
from sim.world.crypto.signer import RealSigner

_PPM = 1_000_000
ACTIONS: Mapping[str, str] = {
    "message": "send_message",
    "lookup_id": "look_up",
    "lookup_capability": "look_up",
    "transaction": "submit_transaction",
    "registration": "register_agent",
    "renewal": "register_agent",
}
"""By kind of traffic: the action that its class of agents asks for."""
REFUSING = (NOT_REGISTERED, RATE_LIMITED, GATEWAY_REGISTRATIONS, ALL_REGISTRATIONS)
"""Reasons of the agent plane by which a gateway refuses whom it does not admit."""


class Ear:
    """Stand between who writes rows and the recorder; `heard(table, values)` is told of some,
    `audited(columns)` of the audit log's."""

    TABLES = ("evidence", "epochs", "operations", "levels")

    def __init__(self, recorder: Sink) -> None:
        self._recorder = recorder
        self.heard: Callable[[str, Mapping[str, Any]], None] = lambda table, values: None
        self.audited: Callable[[Mapping[str, Any]], None] = lambda columns: None
        self.keeps = recorder.keeps
        self.append_rows = recorder.append_rows
        self.latency = recorder.latency

    def append(self, table: str, columns: Mapping[str, Any]) -> None:
        """Pass columns on, and tell of the audit log's."""
        self._recorder.append(table, columns)
        if table == "audit":
            self.audited(columns)

    def append_row(self, table: str, **values: Any) -> None:
        """Pass a row on, and tell of it."""
        self._recorder.append_row(table, **values)
        if table in self.TABLES:
            self.heard(table, values)


class Office:
    """The compliance of one replicate. `keepers`: (keeper, witnesses) of the audit log."""

    def __init__(
        self,
        asked: Compliance,
        *,
        env: Loop,
        places: Places,
        costs: CostModel,
        signer: RealSigner | None,
        seed: int,
        chance: Chance,
        recorder: Sink,
        watch: Watch,
        keepers: tuple[int, tuple[int, ...]],
        agent_regions: Sequence[str],
        store: RocksStore | None,
        past: Past | None,
    ) -> None:
        self.asked = asked
        self._store = store
        self._past = past
        self._env = env
        self._recorder = recorder
        self._intact, self._erased = AuditLogIntact(), ErasureComplete()
        watch.monitors += [self._intact, self._erased]
        self._places = places
        self._costs = costs
        self._keys = HeadKeys(signer, seed)
        self.log = AuditLogger(
            capacity_bytes=asked.audit.capacity_bytes or 0,
            fail_closed=asked.audit.on_failure == "stop",
        )
        self.access = AccessController(
            _rules(asked.access), self.log, **read_policies(*_files(asked.access))
        )
        self.staff = Staff(
            env=env,
            asked=asked,
            access=self.access,
            places=places,
            recorder=recorder,
            chance=chance,
            denied=lambda *told: self.incidents.denied(*told),
            locked=lambda *told: self.incidents.locked(*told),
        )
        self.staff.rotated = self._rotate
        self._agent_regions = agent_regions
        self._enroll_agents(agent_regions)
        manager = self._manager(chance)
        self.insiders = self._insiders(manager)
        self.heads = self.insiders.heads = self._heads(costs, chance, keepers)
        self.incidents = self._incidents(keepers[0])
        self.subjects: Subjects | None = None
        self.processing: Processing | None = None
        if asked.data is not None and manager is not None:
            self._take_data(asked.data, manager, chance)
        self.events = Events(
            env=env,
            events=asked.events,
            log=self.log,
            staff=self.staff,
            access=self.access,
            places=places,
            subjects=self.subjects,
            incidents=self.incidents,
            recorder=recorder,
        )
        self._saved = 0
        self._refused = 0
        self._alerts: dict[tuple[str, str], None] = {}

    # Making

    def _manager(self, chance: Chance) -> DataManager | None:
        data = self.asked.data
        if data is None:
            return None
        key = chance.key("compliance/keys").to_bytes(8, "big")
        return DataManager(_data_rules(data), data.regions, self.log, key)

    def _insiders(self, manager: DataManager | None) -> Insiders:
        return Insiders(
            env=self._env,
            asked=self.asked.insiders,
            log=self.log,
            staff=self.staff,
            access=self.access,
            manager=manager,
            recorder=self._recorder,
            save=self.save,
        )

    def _heads(
        self, costs: CostModel, chance: Chance, keepers: tuple[int, tuple[int, ...]]
    ) -> Heads:
        return Heads(
            env=self._env,
            log=self.log,
            keys=self._keys,
            places=self._places,
            staff=self.staff,
            costs=costs,
            recorder=self._recorder,
            chance=chance,
            keeper=keepers[0],
            witnesses=keepers[1],
            gossips=self.asked.audit.gossip,
            inspect_every_ns=self.asked.audit.inspect_every_ns,
            found=self._found,
            view=self.insiders.view,
            signs_with=self.insiders.signs_with,
            inspected=self._inspected,
        )

    def _incidents(self, keeper: int) -> Incidents:
        return Incidents(
            env=self._env,
            asked=self.asked.response,
            staff=self.staff,
            recorder=self._recorder,
            effects={
                "contain": self._contain,
                "rotate_key": lambda cause, who: self._rotate(keeper),
                "make_room": lambda cause, who: self._make_room(),
            },
            validator=keeper,
        )

    def _take_data(self, data: Data, manager: DataManager, chance: Chance) -> None:
        shared: dict[str, Any] = {
            "env": self._env,
            "asked": data,
            "manager": manager,
            "staff": self.staff,
            "places": self._places,
            "recorder": self._recorder,
            "chance": chance,
        }
        self.subjects = Subjects(**shared, lies=self.insiders.lies, push=self._push)
        self.processing = Processing(
            **shared, services=self.asked.services, row_of=self.subjects.row_of
        )

    def _push(self, heard: Callable[[], None]) -> None:
        assert self.processing is not None
        self.processing.push(heard)

    def _enroll_agents(self, regions: Sequence[str]) -> None:
        for region in regions:
            self.access.enroll("AgentClass", f"agents/{region}")
            self.access.grant(f"agents/{region}", "agent", 0)

    def start(self) -> None:
        """Let everything begin; a log that goes on says of which one it does."""
        if self._past is not None and self._past.size:
            about = f"segment/{self._past.root.hex()}"
            size = self._past.size
            self.log.append(self._env.now, "audit_log", "continue", about, Outcome.DONE, count=size)
        self.heads.start()
        self.staff.start()
        self.insiders.start()
        if self.subjects is not None and self.processing is not None:
            self.subjects.start()
            self.processing.start()
            assert self.asked.data is not None
            self._env.at(self.asked.data.inspect_every_ns, self._inspect_replicas)
        self.events.start()

    # What is heard

    def heard(self, table: str, values: Mapping[str, Any]) -> None:
        """Hear of a row of the validators' tables, as it is recorded."""
        if table == "epochs":
            if self._env.now:
                self.heads.epoch(values["epoch"])
        elif table == "levels":
            self._say("protocol", "change_level", f"epoch/{values['epoch']}", values["reason"])
        elif table == "operations" and values["event"] != "submitted":
            about = f"validator/{values['validator']}"
            self._say("protocol", f"{values['kind']}_{values['event']}", about)
        elif table == "evidence":
            about, kind = f"validator/{values['offender']}", str(values["kind"])
            if values["event"] == "accused":
                self._say("protocol", "accuse", about, kind)
                self.incidents.alarm("offence", str(values["offender"]))
            else:
                self._say("protocol", "slash", about, f"{values['slashed']} for {kind}")

    def _say(self, actor: str, action: str, about: str, detail: str = "") -> None:
        try:
            self.log.append(self._env.now, actor, action, about, Outcome.DONE, detail=detail)
        except LogUnwritable:
            self.staff.unrecorded(actor, action)

    def admitted(self, traffic: Mapping[str, I64]) -> None:
        """Take over what the agent plane counted in the second just over.

        Every message offered was decided for its class at its gateway, from the cache; what the
        gateway then refused is recorded as denied, with the plane's reason. Counts, not messages.
        """
        columns = [traffic[name].tolist() for name in ("kind", "source", "outcome", "reason")]
        acts: dict[tuple[str, str, str], int] = {}
        rows = zip(*columns, traffic["messages"].tolist(), strict=True)
        for kind, source, outcome, reason, messages in rows:
            action, region = ACTIONS[KINDS[kind]], self._agent_regions[source]
            if outcome == OFFERED:
                acts[action, region, ""] = acts.get((action, region, ""), 0) + messages
            elif outcome in (DROPPED, RETRIED) and reason in REFUSING:
                key = action, region, REASONS[reason]
                acts[key] = acts.get(key, 0) + messages
        for (action, region, reason), count in sorted(acts.items()):
            if reason:
                self._refuse(f"agents/{region}", action, reason, count)
            else:
                self.staff.admit(f"agents/{region}", action, region, count)

    def _refuse(self, name: str, action: str, reason: str, count: int) -> None:
        now = self._env.now
        try:
            self.log.append(now, name, action, "*", Outcome.DENIED, count=count, detail=reason)
        except LogUnwritable:
            self.staff.unrecorded(name, action, count)

    # Findings

    def _found(self, by: str, kind: str, what: str) -> None:
        news = self.insiders.found(by, kind, what)
        if news:
            cause = "erasure_evasion" if kind == "orphan_rows" else "tampering"
            self.incidents.alarm(cause, what if kind == "orphan_rows" else "audit_log")

    def alerted(self, firing: Sequence[tuple[str, str]]) -> None:
        """Hear which critical alerts fire at the end of a second; each new one is an incident."""
        for rule, series in firing:
            if (rule, series) not in self._alerts:
                self.incidents.alarm("alert", f"{rule}/{series}" if series else rule)
        self._alerts = dict.fromkeys(firing)

    def _inspected(self) -> None:
        self.insiders.looks["log"] += 1

    def _inspect_replicas(self, _: None) -> None:
        """Let an auditor look on every replica for rows of those who were erased."""
        assert self.subjects is not None
        assert self.asked.data is not None
        self._env.at(self._env.now + self.asked.data.inspect_every_ns, self._inspect_replicas)
        manager, auditor = self.subjects.manager, self.staff.on_duty("auditor")
        reached = [r for r in self.asked.data.regions if self._places.host(r) is not None]
        for replica in reached:
            try:
                manager.expire(replica, self._env.now)
            except LogUnwritable:
                self.staff.unrecorded(replica, "expire_rows")
        if not auditor or self.staff.act(auditor, "read_audit", LOG) != ALLOWED:
            return
        if len(reached) == len(self.asked.data.regions):
            self.insiders.looks["erasure"] += 1
        for replica in reached:
            for token in manager.orphans(replica):
                self._found(auditor, "orphan_rows", f"{replica}/{token}")

    # What steps of a playbook do

    def _contain(self, cause: str, who: str) -> None:
        if cause == "tampering":
            self.insiders.shut_out()
        elif cause == "denials" and who in self.access.principals:
            self.access.suspend(who, self._env.now)
        elif cause == "erasure_evasion" and self.subjects is not None:
            replica = who.rpartition("/")[0]
            self.insiders.replace_keeper(replica)
            self.subjects.manager.purge(replica)

    def _rotate(self, validator: int) -> None:
        self._keys.rotate(validator)
        node = self._places.nodes[validator]
        if node.up:
            node.cpu.serve(self._env.now, self._costs.keygen_ns)

    def _make_room(self) -> None:
        """Archive what is under a co-signed head: its hashes stay, its space is free again."""
        self.save()
        self.log.archive(self.heads.covered)

    # Seconds and the end

    def figures(self, now_ns: int) -> Iterator[Figure]:
        """Yield what alert rules are told: (metric, series, value)."""
        return figures(self, now_ns)

    def close_second(self, now_ns: int) -> None:
        """Write the counts of the seconds that are over, rotate, forget, save the log's rows."""
        audit = self.asked.audit
        self._flush(now_ns)
        if audit.retention_ns is not None and now_ns > audit.retention_ns:
            self.log.forget(now_ns - audit.retention_ns)
        capacity = audit.capacity_bytes
        if capacity is not None and audit.rotate_at_ppm is not None:
            full = self.log.used_bytes * _PPM >= capacity * audit.rotate_at_ppm
            if full and self.log.first < self.heads.covered:
                self._rotate_log()
        if self.staff.refused > self._refused or self.log.missing:
            self._refused = self.staff.refused
            self.incidents.alarm("log_failure", "audit_log")

    def _flush(self, now_ns: int, *, everything: bool = False) -> None:
        try:
            self.log.flush(now_ns, everything=everything)
        except LogUnwritable:
            # The counts stay and are written when there is room again.
            self.staff.unrecorded("audit_log", "flush")
        self.save()

    def _rotate_log(self) -> None:
        officer = self.staff.on_duty("records_officer")
        if officer and self.staff.act(officer, "set_retention", LOG) == ALLOWED:
            self._make_room()

    def save(self) -> None:
        """Write the log's new records to its table."""
        if len(self.log) > self._saved:
            if self._store is not None:
                new = [leaf for _, leaf in self.log.leaves(self._saved)]
                self._store.write_records(self._saved, new)
                self._store.write_head(len(self.log), self.log.tree.root())
            rows = self.log.to_frame(self._saved)
            self._recorder.append(
                "audit",
                {name: rows.get_column(name).to_list() for name in rows.columns},
            )
        self._saved = len(self.log)

    def finish(self, now_ns: int) -> None:
        """Judge what only the end can show, and write what is still open."""
        self._flush(now_ns, everything=True)
        for by, kind, what in self.insiders.stray:
            self._intact.changed(now_ns, by=by, finding=kind, what=what)
        for act in self.insiders.passed_silently():
            if act.family == "log":
                self._intact.changed(act.time_ns, by="nobody", finding=act.kind, what=act.target)
        if self.subjects is not None:
            for request in self.subjects.unexplained(self.insiders.explains):
                self._erased.left(
                    now_ns, token=request.token, left=request.left, since_ns=request.complete_ns
                )
            self.subjects.write()
        self.heads.write()
        self.insiders.write()
        self.events.write()
        for principal, role, action in self.access.unused():
            if not principal.startswith("agents/"):
                self._recorder.append_row(
                    "privileges", principal=principal, role=role, action=action
                )


def _files(asked: Access) -> tuple[str | None, str | None]:
    return asked.policies, asked.schema_file


def _rules(asked: Access) -> AccessRules:
    return AccessRules(
        cache_ns=asked.cache_ns,
        session_ns=asked.session_ns,
        idle_ns=asked.idle_ns,
        failures=asked.failures,
        failure_window_ns=asked.failure_window_ns,
        lock_out_ns=asked.lock_out_ns,
    )


def _data_rules(asked: Data) -> DataRules:
    backups = asked.backups
    return DataRules(
        purposes=asked.purposes,
        propagation_ns=asked.propagation_ns,
        backup_every_ns=0 if backups is None else backups.every_ns,
        backup_kept_ns=0 if backups is None else backups.kept_ns,
        retention_ns=asked.retention_ns or 0,
    )
