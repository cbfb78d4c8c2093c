"""Heads of the audit log at each epoch: signed, co-signed, shown around, and held against the log.

Owns: when a head is taken, who is asked for a co-signature, what refuses it, the auditor's
inspections; signing and verifying are charged to the validators' computers. Must not know: what is
in the log, what an insider did to it (`shown` and `signs_with` are asked).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from sim.engine.compliance.places import Places
from sim.engine.compliance.staff import ALLOWED, LOG, Staff
from sim.engine.loop import Loop
from sim.engine.node import Node
from sim.record.recorder import Sink
from sim.record.tables import NO_ID
from sim.world.chance import Chance, mix
from sim.world.compliance.audit_logger import AuditLogger
from sim.world.compliance.head_keys import HeadKeys
from sim.world.compliance.merkle import HASH_BYTES
from sim.world.compliance.tree_heads import (
    SignedHead,
    TreeHead,
    Witness,
    audit,
    head_of,
)
from sim.world.crypto.costs import CostModel
from sim.world.crypto.suites import SIGNATURE_BYTES

HEAD_BYTES = 5 * 8 + HASH_BYTES + SIGNATURE_BYTES
TRIES = 5
"""How often a witness is asked; then the next epoch's head has to do (assumption)."""
FIRST_PAUSE_NS = 500_000_000
"""Before the second try; each further pause is twice as long (assumption)."""

Found = Callable[[str, str, str], None]
"""Told of a finding: (who found it, kind, what it is)."""


@dataclass(slots=True)
class Round:
    """One epoch's head on its way around."""

    head: TreeHead
    signature: bytes
    asked: int
    cosigned: int = 0
    refused: int = 0
    reason: str = ""
    complete_ns: int = -1


@dataclass(slots=True)
class Heads:
    """Take, show and check heads. `view(place)`: the log that a witness is shown, by its place
    among the witnesses, -1 for an auditor; `signs_with(place)`: the generation of the keeper's key
    that signs what it is shown, None the one in force.
    """

    env: Loop
    log: AuditLogger
    keys: HeadKeys
    places: Places
    staff: Staff
    costs: CostModel
    recorder: Sink
    chance: Chance
    keeper: int
    witnesses: tuple[int, ...]
    gossips: bool
    inspect_every_ns: int
    found: Found
    view: Callable[[int], AuditLogger]
    signs_with: Callable[[int], int | None]
    inspected: Callable[[], None]
    kept: list[SignedHead] = field(default_factory=list)
    """Heads that some witness co-signed, in order: what exists outside of the log's keeper."""
    rounds: list[Round] = field(default_factory=list)
    refusals: int = 0
    """Heads that some witness refused to co-sign."""
    _minds: list[Witness] = field(default_factory=list)

    def start(self) -> None:
        """Begin to inspect."""
        self._minds = [Witness(self.keys.verify) for _ in self.witnesses]
        self.env.at(self.inspect_every_ns, self._inspect)

    @property
    def covered(self) -> int:
        """How many records some head outside covers."""
        return max((signed.head.size for signed in self.kept), default=0)

    # Taking a head

    def epoch(self, epoch: int) -> None:
        """Take the head of an epoch that begins now."""
        keeper = self.places.nodes[self.keeper]
        if not keeper.up:
            head = TreeHead(self.keeper, epoch, self.env.now, -1, bytes(HASH_BYTES))
            self.rounds.append(Round(head, b"", len(self.witnesses)))
            return
        self.env.process(self._take(epoch, keeper, keeper.life))

    def _take(self, epoch: int, keeper: Node, life: int) -> Generator[Any, Any, None]:
        now = self.env.now
        shown = [self.view(place) for place in range(len(self.witnesses))]
        heads = [head_of(log, self.keeper, epoch, now) for log in shown]
        yield self._work(keeper, self._sign_ns(epoch, self.keeper))
        if keeper.life != life:
            return
        first = Round(heads[0], b"", len(self.witnesses))
        self.rounds.append(first)
        for place, head in enumerate(heads):
            generation = self.signs_with(place)
            signature = self.keys.sign(self.keeper, head.signed_bytes(), generation)
            signed = SignedHead(head, signature)
            self.env.process(self._ask(first, place, signed))

    def _work(self, node: Node, work_ns: int) -> Any:
        now = self.env.now
        return self.env.timeout(node.cpu.serve(now, work_ns) - now)

    def _sign_ns(self, epoch: int, validator: int) -> int:
        key = self.chance.key("compliance/heads")
        return self.costs.sign_ns(mix(key, epoch, validator))

    # Asking a witness

    def _ask(self, about: Round, place: int, signed: SignedHead) -> Generator[Any, Any, None]:
        source = self.places.nodes[self.keeper]
        target = self.places.nodes[self.witnesses[place]]
        pause = FIRST_PAUSE_NS
        for _ in range(TRIES):
            delay = self.places.send(source, target, HEAD_BYTES)
            if delay is not None:
                yield self.env.timeout(delay)
                if target.up:
                    yield from self._consider(about, place, signed, source, target)
                    return
            yield self.env.timeout(pause)
            pause *= 2

    def _consider(
        self, about: Round, place: int, signed: SignedHead, source: Node, target: Node
    ) -> Generator[Any, Any, None]:
        mind, head, life = self._minds[place], signed.head, target.life
        proof: list[bytes] = []
        yield self._work(target, self.costs.verify_ns)
        if target.life != life or (mind.latest and mind.latest.head.epoch >= head.epoch):
            return
        shown = self.view(place)
        if mind.latest is not None and mind.latest.head.size <= head.size <= len(shown):
            proof = shown.tree.consistency_proof(mind.latest.head.size, head.size)
        yield self._work(target, self.costs.hash_ns(2 * HASH_BYTES * (len(proof) + 1)))
        if target.life != life:
            return
        if not self.keys.in_force(self.keeper, signed.signature):
            reason = "revoked_key"
        else:
            reason = mind.consider(signed, proof)
        who = f"witness/{target.id}"
        if reason:
            about.refused += 1
            self.refusals += 1
            about.reason = about.reason or reason
            self.found(who, reason, f"head of epoch {head.epoch}")
            return
        yield self._work(target, self._sign_ns(head.epoch, target.id))
        cosignature = self.keys.sign(target.id, head.signed_bytes())
        self.kept.append(signed._replace(cosignatures=((target.id, cosignature),)))
        if self.gossips:
            self._gossip(place, signed)
        back = self.places.send(target, source, HEAD_BYTES)
        if back is None:
            return
        yield self.env.timeout(back)
        yield self._work(source, self.costs.verify_ns)
        if self.keys.verify(target.id, head.signed_bytes(), cosignature):
            about.cosigned += 1
            about.complete_ns = self.env.now

    # Showing it around

    def _gossip(self, place: int, signed: SignedHead) -> None:
        for other in range(len(self.witnesses)):
            if other != place:
                self.env.process(self._tell(place, other, signed))

    def _tell(self, place: int, other: int, signed: SignedHead) -> Generator[Any, Any, None]:
        source = self.places.nodes[self.witnesses[place]]
        target = self.places.nodes[self.witnesses[other]]
        delay = self.places.send(source, target, HEAD_BYTES)
        if delay is None:
            return
        yield self.env.timeout(delay)
        if not target.up:
            return
        yield self._work(target, self.costs.verify_ns)
        split = self._minds[other].compare(signed)
        if split is not None:
            sizes = f"two heads of {signed.head.size} records, signed by validator {self.keeper}"
            self.found(f"witness/{target.id}", "split_view", sizes)

    # The auditor

    def _inspect(self, _: None) -> None:
        self.env.at(self.env.now + self.inspect_every_ns, self._inspect)
        name = self.staff.on_duty("auditor")
        if not name or self.staff.act(name, "read_audit", LOG) != ALLOWED:
            return
        self.inspected()
        log = self.view(-1)
        for finding in audit(log, self.kept, self.keys.verify):
            if finding.kind != "unwitnessed":
                said = f"record {finding.sequence}: {finding.said}"
                self.found(name, finding.kind, said)

    # Tables

    def write(self) -> None:
        """Write the table of heads."""
        for made in self.rounds:
            head = made.head
            self.recorder.append_row(
                "heads",
                epoch=head.epoch,
                time_ns=head.time_ns,
                keeper=head.keeper,
                size=head.size,
                root=NO_ID if head.size < 0 else head.root.hex(),
                witnesses=made.asked,
                cosigned=made.cosigned,
                refused=made.refused,
                reason=made.reason,
                complete_ns=made.complete_ns,
            )
