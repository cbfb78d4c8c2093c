"""Rules of the `compliance` section: people who can act, data that can be kept, acts that can be.

Owns: what no single field of it can say. Policies are read and checked against their schema here,
so that a scenario whose policies do not fit never runs. Must not know: YAML, places in files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.scenario import compliance_events as events
from sim.scenario.compliance import Compliance, Data
from sim.scenario.model import EqualStake
from sim.scenario.quantities import DURATION
from sim.scenario.rulebook import Finding, needs
from sim.scenario.selection import Random

_WHERE = "compliance"
MOST_BACKUPS = 1_000
"""Backups of the keys that are kept at a time."""


@needs("compliance", "validators")
def _audit(compliance: Compliance | None, validators: Any) -> Iterator[Finding]:
    if compliance is None:
        return
    audit, path = compliance.audit, (_WHERE, "audit")
    if audit.keeper >= validators.count:
        last = validators.count - 1
        yield (*path, "keeper"), f"there is no validator {audit.keeper} at genesis: 0 to {last}"
    if isinstance(audit.witnesses, Random) and audit.witnesses.random >= validators.count:
        yield (
            (*path, "witnesses", "random"),
            f"{audit.witnesses.random} witnesses beside the keeper, of {validators.count} "
            f"validators: ask for at most {validators.count - 1}",
        )
    if audit.rotate_at_ppm is not None and audit.capacity_bytes is None:
        yield (*path, "rotate_at"), "share of what? State `capacity` too"
    for index, insider in enumerate(compliance.insiders):
        archived = audit.rotate_at_ppm is not None or audit.retention_ns is not None
        if isinstance(insider, events.Tampering | events.SplitView) and archived:
            yield (
                (_WHERE, "insiders", index),
                "cannot be together with `rotate_at` or `retention`: no tree can be rebuilt over "
                "contents that are archived; leave out one of them",
            )


@needs("compliance", "protocol")
def _epochs_there(compliance: Compliance | None, protocol: Any) -> Iterator[Finding]:
    if compliance is not None and protocol.kind != "creto":
        yield (
            (_WHERE,),
            f"`{protocol.kind}` has no epochs, at whose beginning heads of the audit log are "
            "signed: leave the section out, or use `protocol: {kind: creto}`",
        )


@needs("storage", "start_from", "protocol", "validators")
def _stores(
    storage: str | None, start_from: str | None, protocol: Any, validators: Any
) -> Iterator[Finding]:
    if protocol.kind != "creto":
        for key, value in (("storage", storage), ("start_from", start_from)):
            if value not in (None, "memory"):
                yield (key,), f"`{protocol.kind}` has no stakes and reputations to keep"
    if start_from is None:
        return
    if not (Path(start_from) / "replicate=000" / "store").is_dir():
        yield (
            ("start_from",),
            f"`{start_from}` has no store in it: name the directory of a run whose scenario says "
            "`storage: rocksdb`, and no sweep",
        )
    if not isinstance(validators.stake, EqualStake):
        yield ("validators", "stake"), "stakes are those of `start_from`: leave one of them out"


@needs("compliance")
def _policies_fit(compliance: Compliance | None) -> Iterator[Finding]:
    if compliance is None:
        return
    access, path = compliance.access, (_WHERE, "access")
    from sim.world.compliance.access_controller import Engine, PolicyError, read_policies

    if access.policies is None and access.schema_file is None:
        return
    key = "schema_file" if access.policies is None else "policies"
    try:
        Engine(**read_policies(access.policies, access.schema_file))
    except (OSError, UnicodeDecodeError) as error:
        file = access.policies if getattr(error, "filename", "") == access.policies else None
        where = "policies" if file is not None else "schema_file"
        yield (*path, where), getattr(error, "strerror", None) or "is no text"
    except PolicyError as error:
        yield (*path, key), str(error)
    except ModuleNotFoundError as error:
        yield (*path, "policies"), str(error)


@needs("compliance")
def _people(compliance: Compliance | None) -> Iterator[Finding]:
    if compliance is None:
        return
    from sim.world.compliance.access_controller import CONFLICTS

    names: dict[str, None] = {}
    everybody: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("people", compliance.people),
        ("services", compliance.services),
    )
    for key, items in everybody:
        for index, item in enumerate(items):
            if item.name in names:
                yield (_WHERE, key, index, "name"), f"`{item.name}` is the name of somebody else"
            names[item.name] = None
    for index, person in enumerate(compliance.people):
        for one, other in CONFLICTS:
            if one in person.roles and other in person.roles:
                yield (
                    (_WHERE, "people", index, "roles"),
                    f"who is {one} cannot be {other} (separation of duties): give one to somebody "
                    "else",
                )
        if person.rate_nhz and not any(r in person.roles for r in ("operator", "auditor")):
            yield (
                (_WHERE, "people", index, "rate"),
                "only operators and auditors have routine duties: leave it out",
            )
        if person.mistakes_ppm and not person.rate_nhz:
            yield (_WHERE, "people", index, "mistakes"), "share of what? State `rate` too"
    roles = {role for person in compliance.people for role in person.roles}
    for role, why in _needed(compliance):
        if role not in roles:
            yield (_WHERE, "people"), f"nobody is {role}, who {why}"


def _needed(compliance: Compliance) -> Iterator[tuple[str, str]]:
    yield "auditor", "inspects the log"
    kinds = [event.kind for event in compliance.events]
    if compliance.data is not None:
        yield "data_officer", "handles requests of data subjects"
    if compliance.response is not None or "revocation" in kinds:
        yield "security_officer", "contains incidents and revokes rights"
    if compliance.audit.rotate_at_ppm is not None:
        yield "records_officer", "archives the log"
    if "hold" in kinds:
        yield "legal", "places holds"
    if "deploy" in kinds or "roll_back" in kinds:
        yield "deployer", "deploys"


@needs("compliance", "validators")
def _data(compliance: Compliance | None, validators: Any) -> Iterator[Finding]:
    if compliance is None:
        return
    data, path = compliance.data, (_WHERE, "data")
    if data is None:
        if compliance.services:
            yield (_WHERE, "services"), "process what? State `data` too"
        return
    lived_in = dict.fromkeys(validators.placement.each(validators.count))
    if not data.purposes:
        yield (*path, "purposes"), "data is kept for a purpose: name at least one"
    if not data.regions:
        yield (*path, "regions"), "data is kept somewhere: name at least one region"
    for key, values in (("purposes", data.purposes), ("regions", data.regions)):
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (*path, key, index), f"`{value}` is named twice"
    for index, region in enumerate(data.regions):
        if region not in lived_in:
            yield (*path, "regions", index), f"no genesis validator lives in `{region}`"
    for index, service in enumerate(compliance.services):
        where = (_WHERE, "services", index)
        if service.purpose not in data.purposes:
            yield (*where, "purpose"), _unknown("purpose", service.purpose, data.purposes)
        if service.region not in data.regions:
            yield (*where, "region"), _unknown("replica", service.region, data.regions)
    kept = data.backups
    if kept is not None and kept.kept_ns // kept.every_ns > MOST_BACKUPS:
        yield (
            (*path, "backups"),
            f"{kept.kept_ns // kept.every_ns:,} backups at a time; at most {MOST_BACKUPS:,}",
        )


def _unknown(what: str, value: str, known: tuple[str, ...]) -> str:
    return f"{what} `{value}` is not one of {', '.join(known)}"


@needs("compliance", "duration")
def _events(compliance: Compliance | None, duration: int) -> Iterator[Finding]:
    if compliance is None:
        return
    for key, items in (("events", compliance.events), ("insiders", compliance.insiders)):
        for index, item in enumerate(items):
            if item.at_ns >= duration:
                yield (
                    (_WHERE, key, index, "at"),
                    f"{DURATION.format(item.at_ns)} is not before the end of the run, "
                    f"{DURATION.format(duration)}: it would never happen",
                )
            until = getattr(item, "until_ns", None)
            if until is not None and until <= item.at_ns:
                yield (_WHERE, key, index, "until"), "must be after `at`"
    for index, event in enumerate(compliance.events):
        yield from _event((_WHERE, "events", index), event, compliance)
    for index, insider in enumerate(compliance.insiders):
        yield from _insider((_WHERE, "insiders", index), insider, compliance)


def _event(path: tuple[Any, ...], event: Any, compliance: Compliance) -> Iterator[Finding]:
    if isinstance(event, events.Revocation):
        names = tuple(service.name for service in compliance.services)
        if event.service not in names:
            yield (*path, "service"), _unknown("service", event.service, names or ("none",))
        return
    if not isinstance(event, events.DataRequest | events.Withdrawal | events.Hold | events.Breach):
        return
    data = compliance.data
    if data is None:
        yield path, f"`{event.kind}` of whose data? State `data` too"
        return
    yield from _subjects(path, event, data)
    if isinstance(event, events.Withdrawal) and event.purpose not in data.purposes:
        yield (*path, "purpose"), _unknown("purpose", event.purpose, data.purposes)
    told = isinstance(event, events.Breach) and event.subjects_after_ns is not None
    if told and not event.high_risk:
        yield (
            (*path, "subjects_after"),
            "subjects are told of a high risk (article 34): state `high_risk: true`, or leave it "
            "out",
        )


def _subjects(path: tuple[Any, ...], event: Any, data: Data) -> Iterator[Finding]:
    first = event.subject if isinstance(event, events.Hold) else getattr(event, "first", 0)
    count = getattr(event, "subjects", 1)
    if first + count > data.subjects:
        key = "subject" if isinstance(event, events.Hold) else "subjects"
        yield (
            (*path, key),
            f"subject {first + count - 1} is not known: there are {data.subjects}, from 0",
        )


def _insider(path: tuple[Any, ...], insider: Any, compliance: Compliance) -> Iterator[Finding]:
    names = tuple(person.name for person in compliance.people)
    if isinstance(insider, events.PrivilegeEscalation):
        for key, name in (("person", insider.person), ("stolen", insider.stolen)):
            if name is not None and name not in names:
                yield (*path, key), _unknown("person", name, names)
    elif isinstance(insider, events.ErasureEvasion):
        if compliance.data is None:
            yield path, "evades the erasure of what? State `data` too"
        elif insider.region not in compliance.data.regions:
            yield (
                (*path, "region"),
                _unknown("replica", insider.region, compliance.data.regions),
            )
