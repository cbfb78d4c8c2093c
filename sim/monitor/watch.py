"""All monitors of one replicate behind one call.

Owns: which monitors run and which validators they believe. Must not know: SimPy, tables, checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim.monitor.base import KEEP, Handler, Monitor, Violation
from sim.monitor.branches import ConflictNoticed, ForkChoice, Reconciliation
from sim.monitor.pinned import QuorumOverlap, WeightCap
from sim.monitor.progress import Liveness, NoLostMessage, NoLostRegistration, SupplyConservation
from sim.monitor.punishment import Conviction, EvidenceProposed, Jail, Terms
from sim.monitor.safety import (
    Accountability,
    Agreement,
    BlockOf,
    CertificateUniqueness,
    CommitMonotonicity,
    EpochOf,
    LedgerEquality,
    PinnedParameters,
    Validity,
)
from sim.monitor.votes import VoteSafety
from sim.protocol.chain import Chain
from sim.protocol.effects import Committed, Observation
from sim.protocol.messages import Message, VoteMessage
from sim.protocol.types import Block, EpochParameters


class Watch:
    """Feed every observation of every validator to the monitors that want it.

    `honest`: bitmap of the validators that no adversary owns.
    `block_of` and `epoch_of` give what an id stands for, None once forgotten; without them commits
    are not judged by content. `commit_within_ns`: None where liveness isn't asked for. `terms`:
    what the ledger says of offences, None where their consequences aren't asked for; `cap_ppm`:
    the most that a validator may weigh. `baseline`: validators run another protocol than the main
    one, without its evidence, epochs and rule of voting; `certified` says whether its blocks stand
    on certificates of their parents.
    """

    def __init__(
        self,
        *,
        honest: int,
        validators: int,
        block_of: BlockOf | None = None,
        epoch_of: EpochOf | None = None,
        commit_within_ns: int | None = None,
        start_ns: int = 0,
        terms: Terms | None = None,
        cap_ppm: int = 1_000_000,
        baseline: bool = False,
        certified: bool = True,
    ) -> None:
        agreement = Agreement(epoch_of)
        self._monotonicity = CommitMonotonicity(validators, block_of)
        self._accountability = Accountability(honest, agreement)
        pinned = None if epoch_of is None else _while_agreed(agreement, epoch_of)
        self._votes = VoteSafety(honest, validators, block_of, pinned)
        self._no_lost_message = NoLostMessage()
        self._no_lost_registration = NoLostRegistration()
        self._supply = SupplyConservation()
        self._overlap = QuorumOverlap(agreement)
        self._cap = WeightCap(cap_ppm)
        self._fork_choice = ForkChoice()
        self._noticed = ConflictNoticed(agreement)
        self._reconciliation: Reconciliation | None = None
        self._conviction: Conviction | None = None
        self._evidence: EvidenceProposed | None = None
        self._liveness = None if commit_within_ns is None else Liveness(commit_within_ns, start_ns)
        self.monitors: list[Monitor] = [agreement, CertificateUniqueness(), self._monotonicity]
        if not baseline:
            self.monitors += [
                LedgerEquality(),
                PinnedParameters(agreement),
                self._accountability,
                self._votes,
                self._no_lost_message,
                self._no_lost_registration,
                self._supply,
                self._overlap,
                self._cap,
                self._fork_choice,
                self._noticed,
            ]
        if block_of is not None and epoch_of is not None:
            self.monitors.append(Validity(block_of, epoch_of, certified=certified))
            if not baseline:
                self._reconciliation = Reconciliation(block_of)
                self.monitors.append(self._reconciliation)
            if terms is not None and not baseline:
                self._evidence = EvidenceProposed(validators, block_of, terms)
                self._conviction = Conviction(validators, agreement, epoch_of)
                self.monitors += [self._evidence, Jail(block_of, pinned or epoch_of, terms)]
                if honest != (1 << validators) - 1:
                    self.monitors.append(self._conviction)
        if self._liveness is not None:
            self.monitors.append(self._liveness)
        self._believed = _routes(self.monitors)
        self._doubted = _routes([m for m in self.monitors if not m.honest_only])
        self._shown: dict[int, tuple[Committed, int]] = {}
        """By height: what was shown first, and who did. What looks at content alone knows it."""
        self._of = [
            self._believed if honest >> node & 1 else self._doubted for node in range(validators)
        ]
        judge: Callable[[int, int, Message], None] = self._votes.stated
        self.stated = _unjudged if baseline else judge
        """Show what a validator signs, as it does: (node, now_ns, message)."""

    def observe(self, node: int, now_ns: int, observation: Observation) -> None:
        """Show one observation of one validator."""
        routes = self._of[node]
        if type(observation) is Committed and routes is self._believed:
            # Validators that derive one ledger may show one object: only the first is news.
            shown = self._shown
            first = shown.setdefault(observation.height, (observation, node))
            if first[0] is observation and first[1] != node:
                self._monotonicity.committed(node, now_ns, observation)
                return
            if len(shown) > KEEP:
                del shown[next(iter(shown))]
        handlers = routes.get(type(observation))
        if handlers is not None:
            for handler in handlers:
                handler(node, now_ns, observation)

    def restarted(self, node: int, now_ns: int, *, amnesia: bool = False) -> None:
        """A validator came back: its next commit may be at any height.

        After `amnesia` it may contradict what it signed before: it may be convicted like a
        dishonest one, though its commits still count.
        """
        self._monotonicity.restarted(node)
        if self._evidence is not None and self._conviction is not None:
            self._evidence.restarted(node)
            self._conviction.restarted(node)
        if amnesia:
            self._accountability.corrupted(node)
            self._votes.corrupted(node)

    def corrupted(self, node: int) -> None:
        """An adversary took a validator over: believe it no longer."""
        self._of[node] = self._doubted
        self._accountability.corrupted(node)
        self._votes.corrupted(node)

    def redeemed(self, node: int) -> None:
        """An adversary let go of a validator that starts anew: believe what it commits.

        What it signed may still convict it, as with one that has lost its memory.
        """
        self._of[node] = self._believed

    def healed(self, now_ns: int) -> None:
        """The last fault or attack ended: the clock of liveness starts anew."""
        if self._liveness is not None:
            self._liveness.healed(now_ns)

    def heard(self, node: int, now_ns: int, message: Message) -> None:
        """Show a message, its signatures verified, that somebody doubtful got through to `node`."""
        if self._conviction is not None and self._believes(node) and type(message) is VoteMessage:
            self._conviction.voted(node, now_ns, message.vote)

    def proposed(self, block: Block, now_ns: int) -> None:
        """Show a block as its proposer makes it; as it leaves, too, which may be later."""
        if self._evidence is not None and self._believes(block.proposer):
            self._evidence.proposed(block, now_ns)

    def stands(self, node: int, now_ns: int, chain: Chain) -> None:
        """Show where a validator stands: its block tree, and what it judges certificates by."""
        if self._believes(node):
            self._overlap.judges_by(node, now_ns, chain.epoch)
            self._cap.judges_by(node, now_ns, chain.epoch)
            self._fork_choice.follows(node, now_ns, chain.tree)

    def compare(self, now_ns: int, chains: Sequence[Chain]) -> None:
        """Show the chains of all validators, by identity, now and then."""
        trees = [(i, chain.tree) for i, chain in enumerate(chains) if self._believes(i)]
        self._noticed.compare(now_ns, trees)

    def ended(self, now_ns: int, chains: Sequence[Chain]) -> None:
        """Show the chains of all validators at the end, by identity."""
        self.compare(now_ns, chains)
        if self._reconciliation is not None:
            for node, chain in enumerate(chains):
                if self._believes(node):
                    self._reconciliation.ended_on(now_ns, node, chain.tree)

    def _believes(self, node: int) -> bool:
        return self._of[node] is self._believed

    def conserve(
        self,
        now_ns: int,
        *,
        offered: int,
        delivered: int,
        stored: int,
        in_flight: int,
        dropped: Mapping[str, int],
    ) -> None:
        """Compare the agent plane's counters: see `NoLostMessage.conserve`."""
        self._no_lost_message.conserve(
            now_ns,
            offered=offered,
            delivered=delivered,
            stored=stored,
            in_flight=in_flight,
            dropped=dropped,
        )

    def registry(self, now_ns: int, lost: Mapping[int, int]) -> None:
        """Show the acknowledged registrations lost since the start, by host."""
        self._no_lost_registration.registry(now_ns, lost)

    def supply(self, now_ns: int, node: int, *, minted: int, held: Mapping[str, int]) -> None:
        """Compare a ledger's books: see `SupplyConservation.supply`."""
        self._supply.supply(now_ns, node, minted=minted, held=held)

    @property
    def accountable(self) -> int:
        """Bitmap of who has to answer for what it signs: nobody owns it, it kept its memory."""
        return self._accountability.honest

    @property
    def lost_messages(self) -> int | None:
        """Messages without an account at the last `conserve`; None before the first."""
        return self._no_lost_message.lost

    def finish(self, now_ns: int) -> tuple[Violation, ...]:
        """End the run: return each broken invariant's first occurrence, earliest first."""
        for monitor in self.monitors:
            monitor.finish(now_ns)
        found = [m.violation for m in self.monitors if m.violation is not None]
        return tuple(sorted(found, key=lambda v: (v.time_ns, v.monitor)))


def _while_agreed(agreement: Agreement, epoch_of: EpochOf) -> EpochOf:
    """Answer while there is one answer: conflicting roots pin two sets of parameters."""

    def pinned(epoch: int) -> EpochParameters | None:
        return epoch_of(epoch) if agreement.violation is None else None

    return pinned


def _unjudged(node: int, now_ns: int, message: Message) -> None:
    """Stand for the monitor of votes where they follow another protocol's rule."""


def _routes(monitors: list[Monitor]) -> dict[type, tuple[Handler, ...]]:
    routes: dict[type, list[Any]] = {}
    for monitor in monitors:
        for kind, handler in monitor.handlers().items():
            routes.setdefault(kind, []).append(handler)
    return {kind: tuple(handlers) for kind, handlers in routes.items()}
