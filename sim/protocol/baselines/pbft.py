"""PBFT: the whole of it, with the view changes that replace a primary.

Owns how views end and begin; `ordering` owns what happens in one. Must not know how effects are
carried out.

Source: Castro and Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999, with signatures, and
TOCS 20(4), 2002, where a new view names its view changes by digest. View changes go to all with the
certificates they rest on; who lacks one that a new view names asks the primary for it.
"""

from __future__ import annotations

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.messages import (
    Declaration,
    NewViewMessage,
    ViewChangeMessage,
    ViewChangeRequest,
)
from sim.protocol.baselines.ordering import Ordering
from sim.protocol.baselines.view_change import chosen, unproved, view_to_join
from sim.protocol.effects import Effect, Rejected, Send, ViewChanged
from sim.protocol.messages import Message
from sim.protocol.pacemaker import VIEWS_AHEAD, ConsensusParameters
from sim.protocol.types import ValidatorId


class Pbft(Ordering):
    """A replica of PBFT."""

    def __init__(
        self,
        me: ValidatorId,
        parameters: ConsensusParameters,
        electorate: Electorate,
        interval: int = 16,
    ) -> None:
        super().__init__(me, parameters, electorate, interval)
        self._changes: dict[int, dict[ValidatorId, ViewChangeMessage]] = {}
        self._new_view: NewViewMessage | None = None
        self._waiting: tuple[ValidatorId, NewViewMessage] | None = None

    def receive_of_views(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        if isinstance(message, ViewChangeMessage):
            self._on_view_change(sender, message, out)
        elif isinstance(message, NewViewMessage):
            self._on_new_view(sender, message, out)
        elif isinstance(message, ViewChangeRequest):
            self._on_request(sender, message, out)

    def give_up(self, view: int, reason: str, out: list[Effect]) -> None:
        """Leave the present view: tell all what is prepared here, and wait for `view`."""
        self.epoch, self.changing = view, True
        self._failures += 1
        self._slots, self._held, self._waiting = {}, [], None
        self._new_view = None
        for old in [v for v in self._changes if v < view]:
            del self._changes[old]
        held = tuple(self._prepared[n] for n in sorted(self._prepared))
        unsigned = ViewChangeMessage(
            Declaration(self.me, b""),
            view,
            self.stable,
            self.stable_block,
            self.stable_proof,
            held,
        )
        message = unsigned._replace(declaration=Declaration(self.me, unsigned.content()))
        out.append(ViewChanged(view, self.view, reason))
        self._vote(message, out)
        self._arm(out)

    def _on_view_change(
        self, sender: ValidatorId, message: ViewChangeMessage, out: list[Effect]
    ) -> None:
        view, signer = message.view, message.declaration.signer
        if view < self.epoch or (view == self.epoch and not self.changing):
            return
        if view > self.epoch + VIEWS_AHEAD:
            out.append(Rejected(sender, "viewchange", "wrong_view"))
            return
        known = self._changes.setdefault(view, {})
        if signer in known:
            return
        reason = unproved(message, self.electorate)
        if reason is not None:
            out.append(Rejected(sender, "viewchange", reason))
            return
        known[signer] = message
        join = view_to_join(self._changes, self.epoch, self.electorate.faults)
        if join is not None:
            self.give_up(join, "sync", out)
        if self.changing and view == self.epoch:
            self._offer(out)
            if self._waiting is not None:
                sender, new_view = self._waiting
                self._waiting = None
                self._on_new_view(sender, new_view, out)

    def _offer(self, out: list[Effect]) -> None:
        """As the coming primary, begin the view with the first n - f view changes."""
        known = self._changes.get(self.epoch, {})
        if self.primary != self.me or len(known) < self.electorate.quorum:
            return
        if self._new_view is not None:
            return
        changes = tuple((s, known[s].declaration.said) for s in sorted(known))
        unsigned = NewViewMessage(Declaration(self.me, b""), self.epoch, changes)
        declared = Declaration(self.me, unsigned.content())
        self._new_view = unsigned._replace(declaration=declared)
        self._vote(self._new_view, out)

    def _on_request(
        self, sender: ValidatorId, message: ViewChangeRequest, out: list[Effect]
    ) -> None:
        known = self._changes.get(message.view, {})
        for signer in message.signers[: self.electorate.size]:
            change = known.get(signer)
            if change is not None:
                out.append(Send(sender, change))

    def _on_new_view(self, sender: ValidatorId, message: NewViewMessage, out: list[Effect]) -> None:
        view, declared = message.view, message.declaration
        if view < self.epoch or (view == self.epoch and not self.changing):
            return
        signers = tuple(dict(message.changes))
        if declared.signer != self.electorate.leader(view) or declared.said != message.content():
            out.append(Rejected(sender, "newview", "not_the_leader"))
            return
        if len(signers) < self.electorate.quorum:
            out.append(Rejected(sender, "newview", "below_quorum"))
            return
        known = self._changes.get(view, {})
        missing = tuple(s for s in signers if s not in known)
        if missing:
            self._waiting = (sender, message)
            if view > self.epoch:
                self.give_up(view, "sync", out)
                self._waiting = (sender, message)
            out.append(Send(declared.signer, ViewChangeRequest(view, missing)))
            return
        if any(known[s].declaration.said != said for s, said in message.changes):
            out.append(Rejected(sender, "newview", "not_the_view_change"))
            return
        self._begin(view, [known[s] for s in signers], out)

    def _begin(self, view: int, changes: list[ViewChangeMessage], out: list[Effect]) -> None:
        """Enter a view: what was prepared before is proposed again, as all derive alike."""
        stable, entries = chosen(changes)
        self.epoch, self.changing, self._slots = view, False, {}
        self._again, self._floor = entries, stable + len(entries)
        out.append(ViewChanged(view, self.view, "certificate"))
        if stable > self.final.height:
            self.ask(changes[0].declaration.signer, b"", out)
        self._propose_again(out)
        self._arm(out)
        held, self._held = self._held, []
        for sender, message in held:
            self.receive(sender, message, out)
        self._lead(out)
