"""A deterministic network around validators: the test driver.

A time-ordered queue of events, delays and drops from a plain hash, signatures that are hashes of
(signer, bytes). It carries out effects as the drivers do, and remembers what validators observed.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from sim.protocol.adaptive_quorum import QuorumParameters
from sim.protocol.effects import (
    Accused,
    Broadcast,
    Committed,
    Dropped,
    Effect,
    EpochChanged,
    Forked,
    Persist,
    PersistentState,
    RequestBlocks,
    RequestPayload,
    Send,
    SetTimer,
)
from sim.protocol.events import (
    BlocksReceived,
    Event,
    MessageReceived,
    PayloadReady,
    Restarted,
    Started,
    TimerFired,
)
from sim.protocol.ledger import Account, Ledger, LedgerParameters
from sim.protocol.messages import (
    BlocksRequest,
    BlocksResponse,
    Message,
    signed_statements,
    with_signatures,
)
from sim.protocol.pacemaker import ConsensusParameters, members
from sim.protocol.stake_manager import StakeParameters
from sim.protocol.types import BlockId, PayloadRef
from sim.protocol.validator import Validator

MS = 1_000_000
STAKE = 1_000
_NEVER = (10**12, 10**12)
STEADY = QuorumParameters(byzantine_ppm=_NEVER, timeouts_ppm=_NEVER, missed_ppm=_NEVER)

Link = Callable[[int, int, Message, int], "int | None"]
"""(sender, receiver, message, now_ns) -> delay_ns, or None for a drop."""
Mind = Callable[["Network", int, list[Effect]], list[Effect]]
"""An adversary: edits a validator's effects before they are carried out."""


def draw(*parts: object) -> int:
    """64 bits from a plain hash."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def sign(signer: int, said: bytes) -> bytes:
    return hashlib.sha256(signer.to_bytes(4, "big") + said).digest()[:8]


def settings(**changes: Any) -> ConsensusParameters:
    chosen: dict[str, Any] = {"timer_base_ns": 500 * MS, "timer_max_ns": 4_000 * MS}
    return ConsensusParameters(**(chosen | changes))


def rules(**changes: Any) -> LedgerParameters:
    """Short epochs at a quorum that stays: a test that wants the level to move says so."""
    stake = changes.pop("stake", None) or StakeParameters(min_stake=STAKE)
    return LedgerParameters(stake=stake, **({"epoch_blocks": 10, "quorum": STEADY} | changes))


def accounts(count: int, candidates: int = 0) -> list[Account]:
    rich = Account(stake=STAKE * 10, free=STAKE * 10)
    return [rich] * count + [Account(stake=0, free=STAKE * 10)] * candidates


def hash_delay(seed: object, low_ms: int = 10, high_ms: int = 60) -> Link:
    """Delay each message by a hash of (seed, sender, receiver, instant)."""

    def link(sender: int, receiver: int, message: Message, now_ns: int) -> int:
        bits = draw(seed, sender, receiver, type(message).__name__, now_ns)
        return low_ms * MS + bits % ((high_ms - low_ms) * MS + 1)

    return link


class Network:
    """Validators, the queue between them, and what they said."""

    def __init__(
        self,
        count: int = 4,
        *,
        parameters: ConsensusParameters | None = None,
        ledger: LedgerParameters | None = None,
        genesis: Iterable[Account] | None = None,
        link: Link | None = None,
        private_ledgers: bool = False,
        checked: bool = True,
        validator: type[Validator] = Validator,
        validators: dict[int, Validator] | None = None,
    ) -> None:
        self.now_ns = 0
        self.genesis = list(accounts(count) if genesis is None else genesis)
        self.rules = rules() if ledger is None else ledger
        self.parameters = settings() if parameters is None else parameters
        self.link = hash_delay(0) if link is None else link
        self.checked = checked
        self.minds: dict[int, Mind] = {}
        self.down: set[int] = set()
        self.persisted: dict[int, PersistentState] = {}
        self.offered: list[tuple[int, PayloadRef]] = []
        """(when it reaches all validators, reference), ascending in time."""
        self.delivered = 0
        self.log: list[tuple[int, int, Effect]] = []
        self.chains: dict[int, list[Committed]] = defaultdict(list)
        shared = Ledger(self.rules, self.genesis)
        self.validators = validators or {
            i: validator(
                i, self.parameters, Ledger(self.rules, self.genesis) if private_ledgers else shared
            )
            for i in range(len(self.genesis))
        }
        self._queue: list[tuple[int, int, int, int, Event]] = []
        self._sequence = 0
        self._life = dict.fromkeys(self.validators, 0)
        self._told: dict[int, dict[PayloadRef, None]] = defaultdict(dict)
        self._members = {i: self._members_of(i) for i in self.validators}
        self._signed: dict[int, tuple[Message, Message]] = {}

    def _members_of(self, node: int) -> tuple[int, ...]:
        return members(self.validators[node].chain.epoch)

    # Running

    def start(self, nodes: Iterable[int] | None = None) -> Network:
        for node in self.validators if nodes is None else nodes:
            self.push(node, Started(), 0)
        return self

    def push(self, node: int, event: Event, delay_ns: int) -> None:
        self._sequence += 1
        entry = (self.now_ns + delay_ns, self._sequence, node, self._life[node], event)
        heapq.heappush(self._queue, entry)

    def run(self, until_ns: int, stop: Callable[[], bool] | None = None) -> Network:
        while self._queue and self._queue[0][0] <= until_ns:
            if stop is not None and stop():
                return self
            self.step()
        self.now_ns = max(self.now_ns, until_ns)
        return self

    def step(self) -> None:
        when, _, node, life, event = heapq.heappop(self._queue)
        self.now_ns = when
        if node not in self.down and life == self._life[node]:
            self.handle(node, event)

    def handle(self, node: int, event: Event) -> None:
        self.delivered += 1
        effects = self.validators[node].handle(event, self.now_ns)
        if node in self.minds:
            effects = self.minds[node](self, node, effects)
        for effect in effects:
            self.execute(node, effect)

    def nudge(self) -> Network:
        """Let every validator's view timer run out now: they all speak."""
        for node, core in self.validators.items():
            self.push(node, TimerFired((core.epoch, core.view, "view")), 0)
        return self

    # Faults

    def crash(self, node: int) -> None:
        self.down.add(node)
        self._life[node] += 1

    def restart(self, node: int, *, amnesia: bool = False) -> None:
        self.down.discard(node)
        self.push(node, Restarted(None if amnesia else self.persisted.get(node)), 0)

    # Effects

    def execute(self, node: int, effect: Effect) -> None:
        if isinstance(effect, Send):
            self.send(node, effect.to, effect.message)
        elif isinstance(effect, Broadcast):
            for peer in self._members[node]:
                if peer != node and peer in self.validators:
                    self.send(node, peer, effect.message)
        elif isinstance(effect, SetTimer):
            self.push(node, TimerFired(effect.timer_id), effect.delay_ns)
        elif isinstance(effect, Persist):
            self.persisted[node] = effect.state
        elif isinstance(effect, RequestPayload):
            self._answer_payload(node, effect)
        elif isinstance(effect, RequestBlocks):
            request = BlocksRequest(effect.wanted, effect.above_height, effect.epoch)
            self.send(node, effect.peer, request)
        else:
            self._observe(node, effect)

    def signed(self, node: int, message: Message) -> Message:
        """Sign a message object once, however often it is sent."""
        known = self._signed.get(id(message))
        if known is None or known[0] is not message:
            made = with_signatures(message, node, lambda said: sign(node, said))
            known = self._signed[id(message)] = (message, made)
        return known[1]

    def send(self, node: int, to: int, message: Message) -> None:
        message = self.signed(node, message)
        delay_ns: int | None = 0
        if to != node:
            delay_ns = self.link(node, to, message, self.now_ns)
        if delay_ns is None or to not in self.validators:
            return
        verified = not self.checked or all(
            mark == sign(signer, said) for signer, said, mark in signed_statements(message)
        )
        if isinstance(message, BlocksResponse):
            self.push(to, BlocksReceived(node, message, verified), delay_ns)
        else:
            self.push(to, MessageReceived(node, message, verified), delay_ns)

    def _answer_payload(self, node: int, effect: RequestPayload) -> None:
        if not effect.refs:
            told = self._told[node]
            fresh = [r for at, r in self.offered if at <= self.now_ns and r not in told]
            told.update(dict.fromkeys(fresh))
            self.handle(node, PayloadReady(tuple(fresh), effect.request_id))
            return
        arrival = {ref: at for at, ref in self.offered}
        if all(ref in arrival for ref in effect.refs):
            ready = max(arrival[ref] for ref in effect.refs)
            answer = PayloadReady(effect.refs, effect.request_id)
            self.push(node, answer, max(0, ready - self.now_ns))

    def _observe(self, node: int, effect: Effect) -> None:
        self.log.append((self.now_ns, node, effect))
        if isinstance(effect, Committed):
            self.chains[node].append(effect)
        elif isinstance(effect, EpochChanged):
            self._members[node] = self._members_of(node)
        elif isinstance(effect, Dropped):
            for ref in effect.refs:
                self._told[node].pop(ref, None)

    # What was observed

    def seen(self, kind: type[Any], node: int | None = None) -> list[Any]:
        return [e for _, who, e in self.log if isinstance(e, kind) and node in (None, who)]

    def heights(self, nodes: Iterable[int] | None = None) -> list[int]:
        chosen = self.validators if nodes is None else nodes
        return [self.chains[n][-1].height if self.chains[n] else 0 for n in chosen]

    def accused(self, node: int | None = None) -> dict[tuple[str, int, int, int], None]:
        return dict.fromkeys(a.evidence.key() for a in self.seen(Accused, node))

    def conflicts(self, nodes: Iterable[int] | None = None) -> list[tuple[int, BlockId, BlockId]]:
        """List heights at which two of `nodes` committed different blocks."""
        first: dict[int, BlockId] = {}
        found = []
        for node in self.validators if nodes is None else nodes:
            for commit in self.chains[node]:
                known = first.setdefault(commit.height, commit.block)
                if known != commit.block:
                    found.append((commit.height, known, commit.block))
        return found

    def forks(self, kind: str) -> list[Forked]:
        return [fork for fork in self.seen(Forked) if fork.kind == kind]
