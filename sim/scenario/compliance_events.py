"""What happens to compliance at stated times: requests, revocations, breaches, insiders' acts.

Owns: the kinds of `compliance.events` and `compliance.insiders`, in integers. Must not know: how
they are carried out, nor how they are found out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.fields import Count, Flag, Text, duration
from sim.scenario.occurrence import Instant
from sim.scenario.selection import REGION_NAME

NAME = Text(40, r"[a-z][a-z0-9_-]*", "a name of small letters and digits")
SubjectIndex: TypeAlias = Annotated[int, Count(0, 999_999)]
Span: TypeAlias = Annotated[int, duration("0 s", "365 d")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """Subjects ask for something, all at once."""

    __pydantic_config__ = STRICT
    kind: Literal["access", "export", "erasure"]
    """What."""
    at_ns: Instant
    """When."""
    first: SubjectIndex = 0
    """The first of them."""
    subjects: Annotated[int, Count(1, 1_000_000)] = 1
    """How many, one after another from `first`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Subjects withdraw their consent to a purpose, all at once."""

    __pydantic_config__ = STRICT
    kind: Literal["withdrawal"]
    """Told apart by this."""
    at_ns: Instant
    """When."""
    purpose: Annotated[str, NAME]
    """Which."""
    first: SubjectIndex = 0
    """The first of them."""
    subjects: Annotated[int, Count(1, 1_000_000)] = 1
    """How many, one after another from `first`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A legal case forbids the erasure of a subject's data (article 17(3)(e))."""

    __pydantic_config__ = STRICT
    kind: Literal["hold"]
    """Told apart by this."""
    subject: SubjectIndex
    """Whose."""
    case: Annotated[str, NAME] = "case"
    """Its name."""
    at_ns: Instant
    """From when."""
    until_ns: Instant | None = None
    """Until when; left out, for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A security officer takes a service's role away."""

    __pydantic_config__ = STRICT
    kind: Literal["revocation"]
    """Told apart by this."""
    service: Annotated[str, NAME]
    """Whose."""
    at_ns: Instant
    """When."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The pipeline deploys a version, or rolls one back, through the access controller."""

    __pydantic_config__ = STRICT
    kind: Literal["deploy", "roll_back"]
    """Which."""
    version: Annotated[str, Text(40, r"[a-z0-9][a-z0-9._-]*", "a version")]
    """Of what."""
    stage: Literal["staging", "production"] = "production"
    """Where to."""
    at_ns: Instant
    """When."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Personal data gets out at `at`; the clocks of articles 33 and 34 run from awareness."""

    __pydantic_config__ = STRICT
    kind: Literal["breach"]
    """Told apart by this."""
    at_ns: Instant
    """When it happens."""
    subjects: Annotated[int, Count(1, 1_000_000)] = 1
    """How many it concerns."""
    high_risk: Annotated[bool, Flag()] = False
    """Whether the subjects have to be told (article 34)."""
    processor_after_ns: Span = 0
    """From `at` until the processor is aware of it."""
    controller_after_ns: Span = 0
    """From then until it tells the controller (article 33(2)): the controller is aware."""
    authority_after_ns: Span | None = None
    """From awareness until the authority is told; left out, never."""
    subjects_after_ns: Span | None = None
    """From awareness until the subjects are told; left out, never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFault:
    """The store of the audit log cannot be written."""

    __pydantic_config__ = STRICT
    kind: Literal["log_fault"]
    """Told apart by this."""
    at_ns: Instant
    """From when."""
    until_ns: Instant
    """Until when."""


Event: TypeAlias = Annotated[
    DataRequest | Withdrawal | Hold | Revocation | Deployment | Breach | LogFault, ByKind()
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tampering:
    """Somebody with full access to the log's store changes it.

    `edit` changes a record and leaves the tree; `rewrite` changes it and rebuilds the tree over it;
    `delete` takes one out; `truncate` cuts off the end; `insert` puts one among those of its time;
    `back_date` adds one at the end that claims an earlier time.
    """

    __pydantic_config__ = STRICT
    kind: Literal["edit", "rewrite", "delete", "truncate", "insert", "back_date"]
    """How."""
    at_ns: Instant
    """When."""
    reach: Literal["witnessed", "newest"] = "witnessed"
    """Whether it changes what a co-signed head covers, or only the end that none covers yet."""
    back_ns: Annotated[int, duration("1 ms", "365 d")] = 5_000_000_000
    """How far back an inserted or back-dated record claims to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitView:
    """The keeper of the log shows some witnesses another log than the rest."""

    __pydantic_config__ = STRICT
    kind: Literal["split_view"]
    """Told apart by this."""
    at_ns: Instant
    """From when."""
    shown_to: Annotated[int, Count(1, 1_000)] = 1
    """How many of the witnesses, the first ones, see the other log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivilegeEscalation:
    """A person tries what its roles do not permit, again and again, until it is contained."""

    __pydantic_config__ = STRICT
    kind: Literal["privilege_escalation"]
    """Told apart by this."""
    person: Annotated[str, NAME] = "operator"
    """Who, by name; of `people`."""
    action: Literal["slash", "deploy", "grant_role", "set_retention"] = "slash"
    """What it tries."""
    stolen: Annotated[str, NAME] | None = None
    """Whose session it uses, its second factor included; left out, its own."""
    at_ns: Instant
    """From when."""
    every_ns: Annotated[int, duration("1 ms", "1 d")] = 1_000_000_000
    """Between two tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureEvasion:
    """The keeper of a replica confirms deletions and keeps the rows, and the keys if it can."""

    __pydantic_config__ = STRICT
    kind: Literal["erasure_evasion"]
    """Told apart by this."""
    region: Annotated[str, REGION_NAME]
    """Which replica's."""
    at_ns: Instant
    """From when."""
    keys: Annotated[bool, Flag()] = False
    """Whether it took a copy of the keys before: then what it keeps can be read."""
    hidden: Annotated[bool, Flag()] = False
    """Whether it moves the rows out of the store that auditors can inspect."""


Insider: TypeAlias = Annotated[
    Tampering | SplitView | PrivilegeEscalation | ErasureEvasion, ByKind()
]
