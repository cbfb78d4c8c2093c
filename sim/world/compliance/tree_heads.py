"""Signed tree heads, witnesses that co-sign them, and the audit that holds a log against them.

Owns what makes the log tamper-evident: nothing in the store itself can, since who may rewrite the
store may rewrite its tree as well. Must not know: how signatures are made (they are handed in),
the event loop.

Source: RFC 6962 section 3.5 (heads), RFC 9162 section 2.1.4 (consistency); co-signing witnesses as
in Syta et al., "Keeping authorities honest or bust", IEEE S&P 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sim.world.compliance.audit_logger import AuditLogger
from sim.world.compliance.merkle import leaf_hash, verify_consistency

Verify = Callable[[int, bytes, bytes], bool]
"""(signer, signed bytes, signature) -> whether it holds."""


class TreeHead(NamedTuple):
    """What the log's keeper says of it at the end of an epoch."""

    keeper: int
    epoch: int
    time_ns: int
    size: int
    root: bytes

    def signed_bytes(self) -> bytes:
        """Return what the keeper and its witnesses sign."""
        numbers = b"".join(n.to_bytes(8, "big") for n in self[:4])
        return b"creto-sim/audit-tree-head/1" + numbers + self.root


class SignedHead(NamedTuple):
    """A tree head with its keeper's signature and those of (witness, signature)."""

    head: TreeHead
    signature: bytes
    cosignatures: tuple[tuple[int, bytes], ...] = ()


class SplitView(NamedTuple):
    """Two heads of one size, signed by one keeper, with different roots: proof of its guilt."""

    first: SignedHead
    second: SignedHead

    def holds(self, verify: Verify) -> bool:
        """Tell whether this convicts the keeper, to anyone who can verify its signatures."""
        one, two = self.first.head, self.second.head
        return (
            one.keeper == two.keeper
            and one.size == two.size
            and one.root != two.root
            and all(
                verify(s.head.keeper, s.head.signed_bytes(), s.signature)
                for s in (self.first, self.second)
            )
        )


class Witness:
    """Another validator that follows a log by its heads, and co-signs only what extends them."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self.latest: SignedHead | None = None
        self.split: SplitView | None = None

    def consider(self, shown: SignedHead, proof: Sequence[bytes]) -> str:
        """Return why `shown` is not co-signed; empty: it is, and is the latest head from now on.

        `proof`: consistency from the latest head's size to the shown one's. A refused head does
        not move the witness; where the refusal convicts the keeper, `split` keeps the proof.
        """
        head = shown.head
        if not self._verify(head.keeper, head.signed_bytes(), shown.signature):
            return "signature"
        if self.latest is None:
            self.latest = shown
            return ""
        known = self.latest.head
        if head.size == known.size and head.root != known.root:
            self.split = SplitView(self.latest, shown)
            return "split_view"
        if head.size < known.size:
            return "shrunk"
        if head.epoch < known.epoch or head.time_ns < known.time_ns:
            return "back_dated"
        if not verify_consistency(known.size, head.size, proof, known.root, head.root):
            return "inconsistent"
        self.latest = shown
        return ""

    def compare(self, other: SignedHead) -> SplitView | None:
        """Hold a head that another witness was shown against the own one (gossip)."""
        mine = self.latest
        if mine is None or mine.head.size != other.head.size or mine.head.root == other.head.root:
            return None
        pair = SplitView(mine, other)
        return pair if pair.holds(self._verify) else None


class Finding(NamedTuple):
    """What an audit found wrong. `sequence`: the first record concerned, -1: none in particular."""

    kind: str
    sequence: int
    said: str


def audit(log: AuditLogger, heads: Sequence[SignedHead], verify: Verify) -> list[Finding]:
    """Hold a log against heads that were kept outside of it; return all that is wrong.

    Finds: records whose content does not hash to their leaf (`content`), a past that a head
    contradicts (`rewritten`), fewer records than a head covers (`truncated`), records that claim to
    be older than a head that did not cover them (`back_dated`), and heads that do not verify
    (`signature`). What no head outside covers cannot be audited: `unwitnessed` says from where on;
    cutting off or rewriting that end is undetectable by anybody.
    """
    found: list[Finding] = []
    good = []
    for signed in heads:
        head = signed.head
        if verify(head.keeper, head.signed_bytes(), signed.signature):
            good.append(head)
        else:
            found.append(Finding("signature", -1, f"the head of epoch {head.epoch}"))
    good.sort(key=lambda head: head.size)
    for sequence, leaf in log.leaves():
        if leaf_hash(leaf) != log.tree.leaf(sequence):
            found.append(Finding("content", sequence, "it does not hash to its leaf"))
    agreed: list[TreeHead] = []
    contradicted = False
    for head in good:
        if head.size > len(log):
            said = f"epoch {head.epoch} had {head.size} records; there are {len(log)}"
            found.append(Finding("truncated", len(log), said))
        elif log.tree.root(head.size) == head.root:
            agreed.append(head)
        elif not contradicted:
            contradicted = True
            since = agreed[-1].size if agreed else 0
            found.append(Finding("rewritten", since, f"before the head of epoch {head.epoch}"))
    found.extend(_back_dated(log, agreed))
    covered = good[-1].size if good else 0
    if covered < len(log):
        found.append(Finding("unwitnessed", covered, f"{len(log) - covered} records"))
    return found


def _back_dated(log: AuditLogger, heads: list[TreeHead]) -> list[Finding]:
    times = log.times_ns()
    found = []
    for head in heads:
        start = max(0, head.size - log.first)
        earlier = np.flatnonzero(times[start:] < head.time_ns)
        if len(earlier):
            sequence = log.first + start + int(earlier[0])
            said = f"it claims {log[sequence].time_ns} ns; the head of {head.time_ns} ns lacks it"
            found.append(Finding("back_dated", sequence, said))
    return found


def head_of(log: AuditLogger, keeper: int, epoch: int, time_ns: int) -> TreeHead:
    """Return the head of a log as it is now."""
    return TreeHead(keeper, epoch, time_ns, len(log), log.tree.root())


def sign(head: TreeHead, by: Callable[[int, bytes], bytes]) -> SignedHead:
    """Return a head with its keeper's signature; `by` is (signer, bytes) -> signature."""
    return SignedHead(head, by(head.keeper, head.signed_bytes()))
