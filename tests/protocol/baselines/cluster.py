"""Baselines on the test driver, with liars among them and links that lose, delay and part.

A liar runs an honest core, and then: proposes one block to some and a twin to the others, votes for
every block that it has seen of a view, keeps words back. Everything is a pure function of the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.hotstuff import HotStuff
from sim.protocol.baselines.messages import (
    CheckpointMessage,
    CommitMessage,
    PrevoteMessage,
    phase,
)
from sim.protocol.baselines.pbft import Pbft
from sim.protocol.baselines.streamlet import Streamlet
from sim.protocol.baselines.tendermint import Tendermint
from sim.protocol.effects import Broadcast, Effect, Send
from sim.protocol.events import BlocksReceived, Event, MessageReceived
from sim.protocol.messages import BlocksResponse, Message, Proposal
from sim.protocol.types import Block, PayloadRef
from tests.protocol.harness import MS, Link, Network, draw, settings

KINDS: dict[str, Callable[..., Any]] = {
    "hotstuff": HotStuff,
    "pbft": lambda *args: Pbft(*args, 4),
    "streamlet": Streamlet,
    "tendermint": Tendermint,
}
TIMER_MS = {"streamlet": 200}
"""Where an epoch has a length of its own: twice the longest delay of a good link."""
PHASES: dict[type, str] = {
    CommitMessage: "commit",
    CheckpointMessage: "checkpoint",
    PrevoteMessage: "prevote",
}
GOOD = (5 * MS, 40 * MS)
"""Delays of a link after it has healed."""


class Cluster(Network):
    """Validators of one baseline; `liars` lie from beginning to end."""

    def __init__(
        self,
        kind: str,
        count: int,
        *,
        seed: int = 0,
        liars: Iterable[int] = (),
        link: Link | None = None,
        leaders: str = "weighted",
    ) -> None:
        timer = TIMER_MS.get(kind, 400) * MS
        parameters = settings(timer_base_ns=timer, timer_max_ns=8 * timer, sync_blocks=8)
        electorate = Electorate(count, seed, leaders)
        cores = {i: KINDS[kind](i, parameters, electorate) for i in range(count)}
        super().__init__(count, parameters=parameters, link=link, validators=cores)
        self.seed = seed
        self.liars = tuple(liars)
        self.honest = [i for i in range(count) if i not in self.liars]
        self._seen: dict[tuple[int, int], dict[bytes, None]] = {}
        for liar in self.liars:
            self.minds[liar] = self._lie

    def _members_of(self, node: int) -> tuple[int, ...]:
        return tuple(range(len(self.validators)))

    def handle(self, node: int, event: Event) -> None:
        """Let liars share what blocks they have seen."""
        if node in self.liars and isinstance(event, MessageReceived):
            message = event.message
            if isinstance(message, Proposal):
                self._note(message.block)
        super().handle(node, event)

    def _note(self, block: Block) -> None:
        self._seen.setdefault((block.epoch, block.view), {})[block.id] = None

    def _lie(self, network: Network, me: int, effects: list[Effect]) -> list[Effect]:
        out: list[Effect] = []
        for place, effect in enumerate(effects):
            bits = draw(self.seed, "lie", me, self.now_ns, place)
            if not isinstance(effect, (Send, Broadcast)) or (
                isinstance(effect, Send) and effect.to == me
            ):
                out.append(effect)
            elif bits % 8 == 0:
                continue
            elif isinstance(effect, Broadcast) and isinstance(effect.message, Proposal):
                out += self._two_proposals(me, effect.message.block, bits >> 3)
            else:
                out += self._all_votes(effect)
        return out

    def _two_proposals(self, me: int, block: Block, bits: int) -> list[Effect]:
        twin = replace(block, payload=(PayloadRef(0, 1, 1, bits % 97),), signature=b"")
        self._note(block)
        self._note(twin)
        first, second = Proposal(block), Proposal(twin)
        others = [i for i in self.validators if i != me]
        return [Send(to, second if bits >> to & 1 else first) for to in others]

    def _all_votes(self, effect: Send | Broadcast) -> list[Effect]:
        message: Any = effect.message
        vote = getattr(message, "vote", None)
        if vote is None:
            return [effect]
        known = self._seen.get((vote.epoch, vote.view), {})
        name = PHASES.get(type(message))
        ids = [block if name is None else phase(name, block) for block in known]
        others = [i for i in ids if i != vote.block]
        more: list[Message] = [
            message._replace(vote=vote._replace(block=i, signature=b"")) for i in others
        ]
        return [effect, *(effect._replace(message=lie) for lie in more)]


def troubled(seed: int, until_ns: int, count: int, *, loss_percent: int = 10) -> Link:
    """Lose, delay and part until `until_ns`, by turns of half a second; be good afterwards."""

    def link(sender: int, receiver: int, message: Message, now_ns: int) -> int | None:
        bits = draw(seed, sender, receiver, type(message).__name__, now_ns)
        low, high = GOOD
        if now_ns < until_ns:
            turn = draw(seed, "turn", now_ns // (500 * MS))
            if turn % 3 == 0 and (turn >> sender & 1) != (turn >> receiver & 1):
                return None
            if bits % 100 < loss_percent:
                return None
            high *= 1 + turn % 7
        return low + (bits >> 8) % (high - low)

    return link


class Twins(Cluster):
    """Two sides that never hear of each other, and identities that stand on both.

    `both`: validators that run a core a side, under one key; the others stand on one side each.
    """

    def __init__(self, kind: str, count: int, *, both: Iterable[int], quorum: int = 0) -> None:
        self.both = tuple(both)
        self.count = count
        super().__init__(kind, count)
        some = next(iter(self.validators.values()))
        electorate: Electorate = some.electorate
        if quorum:
            electorate.quorum = quorum
            electorate.pinned = replace(electorate.pinned, quorum=quorum)
            for i in range(count):
                self.validators[i] = KINDS[kind](i, self.parameters, electorate)
        for place, twin in enumerate(self.both):
            self.validators[count + place] = KINDS[kind](twin, self.parameters, electorate)
            self._life[count + place] = 0
            self._members[count + place] = tuple(range(count))
        single = [i for i in range(count) if i not in self.both]
        self.honest = single
        self._side = {i: place % 2 for place, i in enumerate(single)}
        self._side |= dict.fromkeys(self.both, 0)
        self._side |= {count + place: 1 for place in range(len(self.both))}

    def _name(self, node: int) -> int:
        return node if node < self.count else self.both[node - self.count]

    def signed(self, node: int, message: Message) -> Message:
        return super().signed(self._name(node), message)

    def send(self, node: int, to: int, message: Message) -> None:
        """Hand a message to whoever is called `to` on the sender's side."""
        me = self._name(node)
        message = self.signed(node, message)
        for peer in self.validators:
            if self._name(peer) == to and self._side[peer] == self._side[node]:
                delay = 0 if peer == node else 20 * MS
                if isinstance(message, BlocksResponse):
                    self.push(peer, BlocksReceived(me, message, True), delay)
                else:
                    self.push(peer, MessageReceived(me, message, True), delay)

    def execute(self, node: int, effect: Effect) -> None:
        if isinstance(effect, Broadcast):
            for peer in range(self.count):
                if peer != self._name(node):
                    self.send(node, peer, effect.message)
        else:
            super().execute(node, effect)
