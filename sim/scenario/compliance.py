"""Compliance in a run: who audits, who may act, whose data is kept, and what goes wrong.

Owns: the `compliance` section, in integers. Mechanisms are those of `sim.world.compliance`; what
happens to them is in `compliance_events`. Must not know: how any of it is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.compliance_events import Event, Insider
from sim.scenario.fields import Count, Flag, Text, duration, rate, share, size
from sim.scenario.selection import REGION_NAME, Random, Selection, ValidatorIndex

Name: TypeAlias = Annotated[
    str, Text(40, r"[a-z][a-z0-9_-]*", "a name of small letters and digits")
]
Purpose: TypeAlias = Name
Role: TypeAlias = Literal[
    "operator",
    "auditor",
    "deployer",
    "security_officer",
    "records_officer",
    "data_officer",
    "legal",
]
Pause: TypeAlias = Annotated[int, duration("1 ms", "365 d")]
Rate: TypeAlias = Annotated[int, rate("0 /s", "10000 /s")]


THREE: Selection = Random(random=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The audit log: who keeps it, who watches it, what happens when it cannot be written."""

    __pydantic_config__ = STRICT
    keeper: ValidatorIndex = 0
    """The validator that signs the log's head at each epoch."""
    witnesses: Selection = THREE
    """Validators that co-sign heads that extend what they saw; the keeper is none of them."""
    gossip: Annotated[bool, Flag()] = True
    """Witnesses show one another the heads that they co-signed, which convicts a split view."""
    inspect_every_ns: Pause = 10_000_000_000
    """How often an auditor holds the log against the heads that witnesses keep (assumption)."""
    capacity_bytes: Annotated[int, size("1 KiB", "1000 GB")] | None = None
    """What the store holds; left out, no limit."""
    on_failure: Literal["stop", "degrade"] = "stop"
    """An act that cannot be recorded does not happen, or happens and is counted as missing
    (NIST SP 800-53 AU-5 asks for the choice)."""
    rotate_at_ppm: Annotated[int, share("1 %", "100 %")] | None = None
    """Fill level at which the records officer archives what is under a co-signed head."""
    retention_ns: Pause | None = None
    """Contents older than this are forgotten, their hashes stay; left out, never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Limits of the access controller (assumptions, within the bounds of common baselines)."""

    __pydantic_config__ = STRICT
    policies: Annotated[str, Text(200, what="a path of a Cedar file")] | None = None
    """Policies of the scenario's own, by path from the working folder; left out, those built in."""
    schema_file: Annotated[str, Text(200, what="a path of a Cedar schema")] | None = None
    """The schema that they fit; left out, that built in."""
    cache_ns: Annotated[int, duration("0 s", "1 h")] = 2_000_000_000
    """How long a cached allow is used, and so how long a revocation can take."""
    session_ns: Pause = 28_800_000_000_000
    """Longest session."""
    idle_ns: Pause = 900_000_000_000
    """Longest pause within a session."""
    failures: Annotated[int, Count(1, 100)] = 3
    """Failed log-ons within `failure_window` that lock a principal out."""
    failure_window_ns: Pause = 300_000_000_000
    """How long a failed log-on counts."""
    lock_out_ns: Pause = 1_800_000_000_000
    """How long a lock-out lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who acts through the access controller."""

    __pydantic_config__ = STRICT
    name: Name
    """Unique; stands in the audit log."""
    roles: tuple[Role, ...]
    """What it is; some exclude others (separation of duties)."""
    region: Annotated[str, REGION_NAME] | None = None
    """Where it may act on validators; left out, everywhere."""
    clearance: Annotated[int, Count(0, 3)] = 2
    """Production needs 2."""
    rate_nhz: Rate = 0
    """Routine acts of its roles a second: operators inspect validators and rotate keys, auditors
    read the log."""
    mistakes_ppm: Annotated[int, share()] = 0
    """Share of them that go wrong: a failed log-on, a missing second factor, another's duty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program that processes subjects' data for one purpose, under a processor's role."""

    __pydantic_config__ = STRICT
    name: Name
    """Unique; stands in the audit log."""
    purpose: Purpose
    """What for: one of `data.purposes`."""
    region: Annotated[str, REGION_NAME]
    """Where it runs: it reads the replica there."""
    rate_nhz: Rate
    """Reads of a subject's row a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What data subjects ask for, in requests a second of all of them together."""

    __pydantic_config__ = STRICT
    access_nhz: Rate = 0
    """To see what is held (article 15)."""
    export_nhz: Rate = 0
    """To take it along (article 20)."""
    erasure_nhz: Rate = 0
    """To have it erased (article 17)."""
    withdrawal_nhz: Rate = 0
    """To withdraw consent to one purpose (article 7(3))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """Copies of the keys: an erasure is not complete before the last that holds one expires."""

    __pydantic_config__ = STRICT
    every_ns: Pause
    """How often one is made, from the start on."""
    kept_ns: Pause
    """How long each is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Personal data: whose, where its copies are, and how requests are carried out."""

    __pydantic_config__ = STRICT
    subjects: Annotated[int, Count(1, 1_000_000)]
    """Persons known at the start."""
    purposes: tuple[Purpose, ...]
    """What data may be processed for."""
    regions: tuple[Annotated[str, REGION_NAME], ...]
    """Where replicas are; the first is the controller's. Each needs validators, which host it."""
    consenting_ppm: Annotated[int, share()] = 1_000_000
    """Share of the subjects that consent to a purpose at the start, purpose by purpose."""
    rows: Annotated[int, Count(1, 1_000)] = 1
    """Rows stored of a subject for each purpose that it consents to."""
    row_size_bytes: Annotated[int, size("16 B", "64 KiB")] = 256
    """Of one row, before it is sealed."""
    requests: Requests = Requests()
    """What subjects ask for of themselves."""
    handling_ns: Annotated[int, duration("0 s", "60 d")] = 10_000_000
    """Time of a data officer on one request; they are taken up first in, first out."""
    propagation_ns: Pause = 2_000_000_000
    """A replica that heard nothing of the consents for so long processes nothing."""
    retry_ns: Pause = 500_000_000
    """Between two tries to reach a replica."""
    inspect_every_ns: Pause = 5_000_000_000
    """How often an auditor looks for rows of the erased on every replica."""
    backups: Backups | None = None
    """Of the keys; left out, none."""
    retention_ns: Pause | None = None
    """Rows older than this are deleted; left out, never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transit:
    """What encryption in transit costs the computers of those who talk (modelled, ML-KEM and
    AES-GCM are not run): assumptions, of the order of TLS 1.3 on one server core."""

    __pydantic_config__ = STRICT
    handshake_ns: Annotated[int, duration("0 s", "1 s")] = 1_000_000
    """Of a new connection: each log-on, each retry to a replica."""
    per_kib_ns: Annotated[int, duration("0 s", "1 ms")] = 500
    """Of a record, by KiB, at each end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """How fast people answer an incident (assumptions; exercises measure one's own)."""

    __pydantic_config__ = STRICT
    react_ns: Pause = 2_000_000_000
    """From the finding to the first step."""
    step_ns: Pause = 1_000_000_000
    """From a step to the next."""
    denials: Annotated[int, Count(1, 10_000)] = 5
    """Denials of one principal within `window` that make an incident."""
    window_ns: Pause = 60_000_000_000
    """See `denials`."""


DEFAULT_PEOPLE: tuple[Person, ...] = tuple(
    Person(name=role.replace("_", "-"), roles=(role,))
    for role in (
        "operator",
        "auditor",
        "deployer",
        "security_officer",
        "records_officer",
        "data_officer",
        "legal",
    )
)
"""One person a role, who act when there is reason to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """Audit, access control and personal data, with those who use them and those who attack."""

    __pydantic_config__ = STRICT
    audit: Audit = Audit()
    """The log."""
    access: Access = Access()
    """The controller."""
    people: tuple[Person, ...] = DEFAULT_PEOPLE
    """Who acts; left out, one person a role."""
    services: tuple[Service, ...] = ()
    """Programs that process personal data."""
    data: Data | None = None
    """Personal data; left out, none."""
    transit: Transit = Transit()
    """Encryption in transit."""
    response: Response | None = None
    """Incident response; left out, findings are recorded and nobody acts on them."""
    events: tuple[Event, ...] = ()
    """What happens at stated times."""
    insiders: tuple[Insider, ...] = ()
    """Who attacks from inside."""
