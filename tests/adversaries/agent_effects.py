"""What each attack and fault on agents does, as a small world that shows it, and a control.

A case runs the same world with and without it, and compares one figure: the one that the class's
docstring promises. Six gateways in three regions, 300 to 600 agents, three seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.engine.worlds import EAST, EUROPE, WEST, Ran

Settings = dict[str, Any]

MESSAGES = {"messages": {"arrivals": {"kind": "poisson", "rate": "1 /s"}}}
LOOKUPS = {"lookups": {"by_id": {"arrivals": {"kind": "poisson", "rate": "2 /s"}}}}
NEWCOMERS = {"registrations": {"arrivals": {"kind": "poisson", "rate": "1 /s"}}}
RENEWALS = {"renewals": {"arrivals": {"kind": "poisson", "rate": "0.5 /s"}}}
ONCE = {"limit": 0}


def agents(workload: Settings, count: int = 300, **sections: Any) -> Settings:
    """Return the `agents` section of a case."""
    return {"count": count, "placement": [WEST, EAST, EUROPE], "workload": workload, **sections}


def routed(style: str = "recursive", **more: Any) -> Settings:
    """Return agents who look each other up through a DHT of all of them, once each."""
    routing = {"kind": "kademlia", "nodes": {"kind": "agents"}, "k": 8, "style": style, **more}
    directory = {"cache_slots": 0, "timeout": "2 s", "routing": routing}
    return agents(LOOKUPS, 600, directory=directory, retries=ONCE)


def copied(**more: Any) -> Settings:
    """Return agents whose registrations have three copies and leases to renew."""
    directory = {"replicas": 3, "cache_slots": 0, "lease": "1 h", **more}
    return agents({**MESSAGES, **RENEWALS}, directory=directory, retries=ONCE)


@dataclass(frozen=True)
class Case:
    """One attack or fault, the world it strikes, and the figure that it moves.

    `moves(struck, control)` says whether the figures differ as promised. `section`: where a
    scenario states it. `control`: what the other run has instead, if not nothing.
    """

    strikes: list[Settings]
    agents: Settings
    measure: Callable[[Ran], Any]
    moves: Callable[[Any, Any], bool]
    section: str = "adversaries"
    control: list[Settings] = field(default_factory=list)
    expect: list[Settings] = field(default_factory=lambda: [{"safety": "held"}])

    def sections(self, strikes: list[Settings]) -> Settings:
        place = {WEST: 2, EAST: 2, EUROPE: 2}
        return {
            "duration": "3 s",
            "record": {"detail": "messages", "sample": "100 %"},
            "validators": {"count": 6, "placement": place},
            "consensus": {"timer_base": "2 s", "min_block_interval": "250 ms"},
            "agents": self.agents,
            "expect": self.expect,
            self.section: strikes,
        }


def traffic(ran: Ran, kind: str, outcome: str, reason: str = "", region: str = "") -> int:
    """Count agents' messages; `reason`, `region` of the sender: any."""
    rows = ran.rows("traffic", lane="agents", kind=kind, outcome=outcome)
    return sum(
        row["messages"]
        for row in rows
        if reason in ("", row["reason"]) and region in ("", row["source_region"])
    )


def asked(ran: Ran, outcome: str) -> int:
    """Count the lookups that ended so."""
    return sum(row["lookups"] for row in ran.rows("lookups", outcome=outcome))


def registry(ran: Ran, event: str) -> int:
    return sum(row["count"] for row in ran.rows("registry", event=event))


def about_victims(ran: Ran, first: int, last: int) -> tuple[int, int]:
    """Count lookups about agents first .. last that were answered, and those about others."""
    done = ran.rows("samples", kind="lookup_id", outcome="delivered")
    inside = sum(first <= row["destination"] <= last for row in done)
    return inside, len(done) - inside


FLOODED = {
    "registered": "60 %",
    "registration_limits": {"gateway_rate": "30 /s", "gateway_burst": 10},
}

CASES: dict[str, Case] = {
    "agent_spam": Case(
        [{"kind": "agent_spam", "agents": {"gateways": [0]}, "rate": "20 /s", "start": "500 ms"}],
        agents(MESSAGES, admission={"rate": "200 /s", "burst": 50}, retries=ONCE),
        lambda ran: (
            traffic(ran, "message", "dropped", "rate_limited", WEST),
            traffic(ran, "message", "dropped", "rate_limited", EAST),
        ),
        lambda a, c: a[0] > 1_000 and a[1] == 0 and c == (0, 0),
    ),
    "registration_flood": Case(
        [{"kind": "registration_flood", "agents": {"gateways": [0, 1]}, "rate": "10 /s"}],
        agents(NEWCOMERS, directory=FLOODED, retries=ONCE),
        lambda ran: (
            traffic(ran, "registration", "delivered", region=EAST),
            traffic(ran, "registration", "dropped", "gateway_registrations", WEST),
        ),
        # The limit a gateway spares the other regions every single registration.
        lambda a, c: a[0] == c[0] and a[1] > 1_000 > 10 * c[1],
    ),
    "lookup_drop": Case(
        [{"kind": "lookup_drop", "nodes": {"share": "20 %"}}],
        routed("iterative", rpc_timeout="100 ms"),
        lambda ran: (
            ran.metric("lookup_timeouts"),
            ran.metric("lookup_success_ppm"),
            ran.metric("directory_latency_p99_ns"),
        ),
        lambda a, c: a[0] > 1_000 > c[0] == 0 and a[1] > 990_000 and a[2] > c[2] + 5 * 10**7,
    ),
    "lookup_misroute": Case(
        [{"kind": "lookup_misroute", "nodes": {"share": "20 %"}}],
        routed(),
        lambda ran: (ran.metric("lookups_poisoned"), ran.metric("lookup_success_ppm")),
        lambda a, c: a[0] > 500 > c[0] == 0 and a[1] < 800_000 < c[1],
    ),
    "eclipse": Case(
        [{"kind": "eclipse", "nodes": {"random": 150}, "victims": {"ids": [*range(30, 45)]}}],
        routed(),
        lambda ran: about_victims(ran, 30, 44),
        lambda a, c: 3 * a[0] < c[0] and abs(a[1] - c[1]) < c[1] // 50,
        control=[
            {
                "kind": "eclipse",
                "nodes": {"random": 150},
                "victims": {"ids": [*range(30, 45)]},
                "start": "2990 ms",
            }
        ],
    ),
    "table_poisoning": Case(
        [{"kind": "table_poisoning", "nodes": {"share": "2 %"}, "contacts": "30 %"}],
        routed(),
        lambda ran: ran.metric("lookups_poisoned"),
        lambda a, c: a > 3 * c > 0,
        control=[{"kind": "lookup_misroute", "nodes": {"share": "2 %"}}],
    ),
    "lying_host": Case(
        [{"kind": "lying_host", "hosts": {"ids": [0, 1]}, "lie": "deny"}],
        copied(),
        lambda ran: traffic(ran, "message", "dropped", "unknown_target"),
        lambda a, c: a > 50 > c == 0,
    ),
    "mass_disconnect": Case(
        [
            {
                "kind": "mass_disconnect",
                "at": "1 s",
                "until": "1500 ms",
                "within": "300 ms",
                "region": WEST,
                "share": "80 %",
                "register": True,
            }
        ],
        agents({**MESSAGES, **RENEWALS}),
        lambda ran: (
            traffic(ran, "registration", "delivered", region=WEST),
            traffic(ran, "message", "stored"),
            traffic(ran, "message", "offered", region=EAST),
        ),
        lambda a, c: 70 <= a[0] <= 90 and c[0] == 0 and a[1] > 10 and c[1] == 0 and a[2] == c[2],
        section="faults",
    ),
    "overload_burst": Case(
        [
            {
                "kind": "overload_burst",
                "at": "1 s",
                "until": "2 s",
                "factor": 9,
                "kinds": ["messages"],
                "regions": [EAST],
            }
        ],
        agents({**MESSAGES, **LOOKUPS}),
        lambda ran: (
            traffic(ran, "message", "offered", region=EAST),
            traffic(ran, "message", "offered", region=WEST),
            traffic(ran, "lookup_id", "offered"),
        ),
        # 100 agents at 1 /s for three seconds, and eight times that in one of them.
        lambda a, c: 250 < c[0] < 350 and 950 < a[0] < 1_250 and a[1:] == c[1:],
        section="faults",
    ),
    "shard_loss": Case(
        [{"kind": "shard_loss", "at": "1 s", "shards": [0, 1]}],
        agents(MESSAGES, retries=ONCE),
        lambda ran: (
            ran.metric("registrations_lost"),
            traffic(ran, "message", "dropped", "not_registered"),
            [row["monitor"] for row in ran.rows("violations")],
        ),
        # Two shards of six hold a third of the 300 registrations.
        lambda a, c: (
            70 < a[0] < 130 and a[1] > 50 and a[2] == ["no_lost_registration"] and c == (0, 0, [])
        ),
        section="faults",
    ),
}


ON_NODES: list[Settings] = [
    {"kind": "lookup_drop", "nodes": {"gateways": [0]}, "end": "200 ms"},
    {"kind": "lookup_misroute", "nodes": {"region": EAST}, "start": "200 ms", "end": "400 ms"},
    {
        "kind": "eclipse",
        "nodes": {"near": 7, "nodes": 3},
        "victims": {"region": WEST},
        "then": "drop",
        "start": "400 ms",
        "end": "600 ms",
    },
    {
        "kind": "table_poisoning",
        "nodes": {"share": "10 %"},
        "contacts": "20 %",
        "then": "drop",
        "start": "600 ms",
    },
]


def one_of_each() -> list[Settings]:
    """Return short worlds in which every kind, field and selection of these is used."""
    some = {"ids": [1, 2]}
    whens: list[Settings] = [
        {"probability": "50 %"},
        {"heights": {"from": 2, "to": 6}},
        {"views": {"from": 2}},
        {"epochs": {"to": 3}},
        {"phase": "view_change"},
        {"level": {"at_least": 0, "at_most": 1}},
    ]
    spam = [
        {
            "kind": "agent_spam",
            "agents": {"random": 2},
            "what": what,
            "rate": "5 /s",
            "size": "6 KiB",
            "when": when,
        }
        for what, when in zip(("messages", "lookups", "transactions") * 2, whens, strict=True)
    ]
    bursts = {"kind": "overload_burst", "at": "300 ms", "factor": 2}
    base = CASES["overload_burst"].sections([])
    direct = {
        **base,
        "duration": "1 s",
        "agents": agents(
            {**MESSAGES, **NEWCOMERS}, 60, directory={"shards": 2, "replicas": 2, "cache_slots": 0}
        ),
        "adversaries": [
            *spam,
            {"kind": "agent_spam", "agents": {"share": "10 %"}, "rate": "5 /s", "to": some},
            {
                "kind": "registration_flood",
                "agents": {"region": WEST},
                "rate": "2 /s",
                "size": "8 KiB",
                "shard": 1,
            },
            {"kind": "lying_host", "hosts": {"random": 2}, "lie": "stale", "end": "500 ms"},
        ],
        "faults": [
            {
                "kind": "mass_disconnect",
                "at": "300 ms",
                "until": "400 ms",
                "share": "50 %",
                "gateways": {"ids": [0]},
            },
            {"kind": "mass_disconnect", "at": "600 ms", "until": "700 ms", "region": WEST},
            bursts,
            {**bursts, "kinds": ["registrations"], "regions": [WEST], "until": "700 ms"},
            {"kind": "shard_loss", "at": "800 ms", "hosts": {"ids": [0]}, "shards": [0]},
        ],
    }
    return [direct, {**base, "duration": "1 s", "agents": routed(), "adversaries": ON_NODES}]
