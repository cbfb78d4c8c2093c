"""The access controller: sessions, roles and Cedar policies decide; the audit log remembers.

Owns principals, their roles, sessions, lock-out, the decision cache and its bounded staleness. Must
not know: what the acts do, the event loop. Policies and schema are files, checked against each
other when they are loaded.

Source: NIST SP 800-171 rev. 2 section 3.1; policies in the language of cedarpolicy.com.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sim.world.compliance.audit_logger import AuditLogger, Outcome

POLICIES = Path(__file__).parent / "policies"
CONFLICTS = (
    ("auditor", "operator"),
    ("auditor", "deployer"),
    ("auditor", "security_officer"),
    ("records_officer", "auditor"),
    ("records_officer", "operator"),
    ("data_officer", "legal"),
    ("security_officer", "deployer"),
)
"""Roles that nobody holds together: who acts does not audit, who audits does not delete records,
who erases does not lift holds, who slashes does not deploy (separation of duties)."""


def read_policies(policies: str | None, schema: str | None) -> dict[str, str]:
    """Read policies and schema from files; those built in for what is None. OSError: no file."""
    paths = {
        "policies": POLICIES / "access.cedar" if policies is None else Path(policies),
        "schema": POLICIES / "access.cedarschema" if schema is None else Path(schema),
    }
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items()}


class PolicyError(ValueError):
    """Policies or schema that cannot be used; says what is wrong and in which policy."""


class Decision(NamedTuple):
    """`policies`: ids of those that decided, empty where nothing permitted. `cached`: from when."""

    allowed: bool
    policies: tuple[str, ...]
    decided_ns: int
    cached: bool


@dataclass(slots=True)
class Principal:
    """Who acts. `kind` is a type of the schema."""

    kind: str
    name: str
    attributes: Mapping[str, Any]
    roles: dict[str, int] = field(default_factory=dict)
    """Role -> when it was granted."""
    used: dict[tuple[str, str], int] = field(default_factory=dict)
    """(role, action) -> when it was last needed; for the least-privilege report."""
    failures: list[int] = field(default_factory=list)
    locked_until_ns: int = 0
    session_start_ns: int = -1
    last_act_ns: int = -1


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Limits of the controller."""

    cache_ns: int
    """How long a cached allow is used, and so how long a revocation can take; 0: no cache."""
    session_ns: int
    """Longest session."""
    idle_ns: int
    """Longest pause within a session."""
    failures: int
    """Failed log-ons within `failure_window_ns` that lock a principal out."""
    failure_window_ns: int
    lock_out_ns: int

    def __post_init__(self) -> None:
        for name in ("session_ns", "idle_ns", "failures", "failure_window_ns", "lock_out_ns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.cache_ns < 0:
            raise ValueError(f"cache_ns {self.cache_ns} must not be negative")


class AccessController:
    """Decide who may do what; every denial and every privileged act is in `audit`.

    `acting(...)` is the whole of a request; `decide(...)` its policy part. PolicyError: the
    policies do not parse, or do not fit the schema.
    """

    def __init__(
        self,
        rules: AccessRules,
        audit: AuditLogger,
        *,
        policies: str | None = None,
        schema: str | None = None,
    ) -> None:
        self.rules = rules
        self.audit = audit
        built_in = read_policies(None, None)
        self._engine = Engine(policies or built_in["policies"], schema or built_in["schema"])
        self.principals: dict[str, Principal] = {}
        self._cache: dict[tuple[str, str, str], Decision] = {}
        self.asked = 0
        self.hits = 0
        self.stale_allows = 0
        """Cached allows that the policies would have denied when they were used."""
        self._revoked_ns: dict[str, int] = {}

    # Principals, roles, sessions

    def enroll(self, kind: str, name: str, **attributes: Any) -> Principal:
        """Make a principal known. ValueError: its name is taken."""
        if name in self.principals:
            raise ValueError(f"principal {name!r} exists")
        principal = Principal(kind, name, attributes)
        self.principals[name] = principal
        return principal

    def grant(self, name: str, role: str, now_ns: int) -> str:
        """Give a role; return why not, where separation of duties forbids it.

        Whether the one who gives it may do so is a decision of its own (`acting`, grant_role).
        """
        principal = self.principals[name]
        for one, other in CONFLICTS:
            if role in (one, other):
                held = other if role == one else one
                if held in principal.roles:
                    return f"{name} is {held}, which excludes {role}"
        principal.roles[role] = now_ns
        return ""

    def revoke(self, name: str, role: str, now_ns: int) -> None:
        """Take a role away. Cached allows of this principal live on for up to `cache_ns`."""
        if self.principals[name].roles.pop(role, None) is not None:
            self._revoked_ns[name] = now_ns

    def suspend(self, name: str, now_ns: int) -> None:
        """Take all roles of a principal away and end its session (containment)."""
        for role in list(self.principals[name].roles):
            self.revoke(name, role, now_ns)
        self.principals[name].session_start_ns = -1

    def log_on(self, name: str, *, proven: bool, now_ns: int) -> str:
        """Open a session; return why not. Failed proofs lock out."""
        rules, principal = self.rules, self.principals.get(name)
        if principal is None:
            reason = "unknown"
        elif now_ns < principal.locked_until_ns:
            reason = "locked_out"
        elif not proven:
            reason = "not_proven"
            recent = [t for t in principal.failures if t > now_ns - rules.failure_window_ns]
            principal.failures = [*recent, now_ns]
            if len(principal.failures) >= rules.failures:
                principal.locked_until_ns = now_ns + rules.lock_out_ns
                principal.failures = []
        else:
            principal.failures = []
            principal.session_start_ns = principal.last_act_ns = now_ns
            reason = ""
        outcome = Outcome.FAILED if reason else Outcome.DONE
        self.audit.append(now_ns, name, "log_on", "session", outcome, detail=reason)
        return reason

    def revoked_ns(self, name: str) -> int:
        """Return when a right of a principal was last taken away; -1 never."""
        return self._revoked_ns.get(name, -1)

    def lapsed(self, name: str, now_ns: int) -> str:
        """Return why the session of a principal does not hold (any more); empty while it does."""
        principal = self.principals.get(name)
        return "unknown" if principal is None else self._session(principal, now_ns)

    def _session(self, principal: Principal, now_ns: int) -> str:
        if principal.session_start_ns < 0:
            return "no_session"
        if now_ns - principal.session_start_ns > self.rules.session_ns:
            return "session_expired"
        if now_ns - principal.last_act_ns > self.rules.idle_ns:
            return "session_idle"
        return ""

    # Decisions

    def acting(
        self,
        name: str,
        action: str,
        resource: tuple[str, str],
        now_ns: int,
        *,
        attributes: Mapping[str, Any] | None = None,
        mfa: bool = False,
        approver: str = "",
    ) -> Decision:
        """Decide a request of a logged-on principal and record it, before the act happens.

        `approver`: who else agreed; counts only while logged on itself.
        LogUnwritable: it could not be recorded and the log fails closed, so it must not happen.
        """
        principal, lapsed = self.principals.get(name), self.lapsed(name, now_ns)
        target = f"{resource[0]}/{resource[1]}"
        if principal is None or lapsed:
            self.audit.append(now_ns, name, action, target, Outcome.DENIED, detail=lapsed)
            return Decision(False, (), now_ns, False)
        second = self.principals.get(approver)
        if second is None or self._session(second, now_ns):
            approver = ""
        context = {"mfa": mfa, "approver": approver, "actor": name}
        decided = self._engine.ask(principal, action, resource, attributes or {}, context)
        found = Decision(*decided, now_ns, False)
        outcome = Outcome.ALLOWED if found.allowed else Outcome.DENIED
        deciding = ",".join(found.policies)
        self.audit.append(now_ns, name, action, target, outcome, policy=deciding, detail=approver)
        if found.allowed:
            principal.last_act_ns = now_ns
            self._note_use(principal, action, now_ns)
        return found

    def routine(
        self,
        name: str,
        action: str,
        gateway: tuple[str, str],
        now_ns: int,
        *,
        count: int = 1,
        acted_ns: int | None = None,
    ) -> bool:
        """Decide `count` like acts of an agents' class or a service, from the cache if fresh.

        `acted_ns`: in which second they are counted, where that is not the present one.

        Allows are added up, denials recorded one by one. A revoked right may be used for up to
        `cache_ns` after its revocation and no longer; such uses are counted in `stale_allows`.
        """
        key = (name, action, gateway[1])
        self.asked += count
        known = self._cache.get(key)
        if known is not None and now_ns - known.decided_ns < self.rules.cache_ns:
            self.hits += count
            revoked = self._revoked_ns.get(name, -1) >= known.decided_ns
            if revoked and known.allowed and not self._evaluated(name, action, gateway).allowed:
                self.stale_allows += count
        else:
            known = self._evaluated(name, action, gateway)._replace(decided_ns=now_ns)
            self._cache[key] = known
        deciding = ",".join(known.policies)
        if known.allowed:
            when_ns = now_ns if acted_ns is None else acted_ns
            self.audit.tally(when_ns, name, action, deciding, count=count)
        else:
            target = f"{gateway[0]}/{gateway[1]}"
            denied = Outcome.DENIED
            self.audit.append(now_ns, name, action, target, denied, count=count, policy=deciding)
        return known.allowed

    def _evaluated(self, name: str, action: str, gateway: tuple[str, str]) -> Decision:
        resource = ("Gateway", gateway[1])
        allowed, policies = self._engine.ask(
            self.principals[name], action, resource, {"region": gateway[0]}, None
        )
        return Decision(allowed, policies, 0, True)

    # Least privilege

    def _note_use(self, principal: Principal, action: str, now_ns: int) -> None:
        for role in self._engine.roles_for(action):
            if role in principal.roles:
                principal.used[role, action] = now_ns

    def unused(self) -> list[tuple[str, str, str]]:
        """Return what was granted and never used: (principal, role, action), in order.

        An action of "*": no action of that role was ever used, so the role could go.
        """
        found: list[tuple[str, str, str]] = []
        for name in sorted(self.principals):
            principal = self.principals[name]
            for role in sorted(principal.roles):
                actions = self._engine.actions_of(role)
                idle = [a for a in actions if (role, a) not in principal.used]
                if idle and len(idle) == len(actions):
                    idle = ["*"]
                found.extend((name, role, action) for action in idle)
        return found


class Engine:
    """Cedar, with policies and schema parsed once. The only place that knows `cedarpy`."""

    def __init__(self, policies: str, schema: str) -> None:
        try:
            import cedarpy
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "access control needs cedarpy: pip install 'creto-sim[compliance]'"
            ) from error
        self._cedar = cedarpy
        try:
            self._schema = cedarpy.Schema.from_str(schema)
        except ValueError as error:
            raise PolicyError(f"schema: {error}") from error
        try:
            self._policies = cedarpy.PolicySet.from_str(policies)
            parsed = json.loads(cedarpy.policies_to_json_str(policies))["staticPolicies"]
        except ValueError as error:
            raise PolicyError(f"policies: {error}") from error
        self._ids = {
            place: policy.get("annotations", {}).get("id", place)
            for place, policy in parsed.items()
        }
        checked = cedarpy.validate_policies(policies, schema)
        if not checked.validation_passed:
            said = "; ".join(self._named(str(error)) for error in checked.errors)
            raise PolicyError(f"policies do not fit the schema: {said}")
        self._permits = [
            (_role_of(policy), _actions_of(policy))
            for policy in parsed.values()
            if policy["effect"] == "permit"
        ]

    def _named(self, text: str) -> str:
        for place, name in self._ids.items():
            text = text.replace(f"[{place}]", f"[{name}]").replace(f"`{place}`", f"`{name}`")
        return text

    def ask(
        self,
        principal: Principal,
        action: str,
        resource: tuple[str, str],
        attributes: Mapping[str, Any],
        context: Mapping[str, Any] | None,
    ) -> tuple[bool, tuple[str, ...]]:
        """Return whether it is allowed, and the ids of the policies that decided."""
        kind, identity = resource
        entities: list[dict[str, Any]] = [
            {
                "uid": {"type": principal.kind, "id": principal.name},
                "attrs": dict(principal.attributes),
                "parents": [{"type": "Role", "id": role} for role in principal.roles],
            },
            {"uid": {"type": kind, "id": identity}, "attrs": dict(attributes), "parents": []},
        ]
        request = {
            "principal": {"type": principal.kind, "id": principal.name},
            "action": {"type": "Action", "id": action},
            "resource": {"type": kind, "id": identity},
            "context": {} if context is None else dict(context),
        }
        answer = self._cedar.is_authorized(request, self._policies, entities, self._schema)
        if answer.diagnostics.errors:
            raise PolicyError(f"{action} on {kind}: {'; '.join(answer.diagnostics.errors)}")
        reasons = sorted(self._ids[place] for place in answer.diagnostics.reasons)
        return answer.allowed, tuple(reasons)

    def actions_of(self, role: str) -> list[str]:
        """Return the actions that some policy permits to a role, sorted."""
        return sorted({a for held, actions in self._permits if held == role for a in actions})

    def roles_for(self, action: str) -> list[str]:
        """Return the roles to which some policy permits an action, sorted."""
        return sorted({role for role, actions in self._permits if action in actions})


def _role_of(policy: dict[str, Any]) -> str:
    entity = policy["principal"].get("entity") or policy["principal"].get("in", {}).get("entity")
    return str(entity["id"]) if entity else ""


def _actions_of(policy: dict[str, Any]) -> list[str]:
    scope = policy["action"]
    entities = scope.get("entities") or [scope["entity"]]
    return [str(entity["id"]) for entity in entities]
