"""One validator on real sockets: its core, its listener, its lines, its timers.

Owns the dispatch from effect to action, as `sim.engine.driver` does under SimPy, and what survives
a crash. The core runs unchanged. It runs in one thread, one event at a time: whatever reads a
socket or a timer calls `handle`, which never waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from sim.live.codec import Refused, decode, decode_state, encode, encode_state
from sim.live.line import CONNECT_S, Connection, Line, hang_up
from sim.live.wire import dial, frame, read_frame, welcome
from sim.protocol.effects import (
    Broadcast,
    Dropped,
    Effect,
    EpochChanged,
    Observation,
    Persist,
    RequestBlocks,
    RequestPayload,
    Send,
    SetTimer,
)
from sim.protocol.events import (
    BlocksReceived,
    Event,
    MessageReceived,
    OperationSubmitted,
    PayloadReady,
    Restarted,
    Started,
    TimerFired,
)
from sim.protocol.messages import BlocksRequest, BlocksResponse, Message
from sim.protocol.pacemaker import members
from sim.protocol.types import Operation
from sim.protocol.validator import Validator
from sim.world.crypto.signer import Signer
from sim.world.crypto.signing import Edge
from sim.world.network.dissemination import star_order
from sim.world.payload import Payload

HOST = "127.0.0.1"
NS_PER_S = 1_000_000_000


def seconds(duration_ns: int) -> float:
    """Convert at the border to asyncio, the only place where time is a float."""
    return duration_ns / NS_PER_S


class Shared:
    """What the nodes of one cluster have in common, all of it outside the cores.

    `book`: identity -> port of who listens now. `observe(node, now_ns, observation)` sees every
    observation in order, `sent(node, message, frame_bytes)` every copy as it is queued;
    `failed(error)` is told of an exception in a core or a driver, which is a bug.
    """

    def __init__(
        self,
        *,
        network: bytes,
        identities: int,
        order_key: int,
        payload: Payload,
        now_ns: Callable[[], int],
        observe: Callable[[int, int, Observation], None],
        sent: Callable[[int, Message, int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.network = network
        self.identities = identities
        self.order_key = order_key
        self.payload = payload
        self.now_ns = now_ns
        self.observe = observe
        self.sent = sent
        self.failed = failed
        self.book: dict[int, int] = {}


async def _stop_listening(server: asyncio.Server) -> None:
    """Accept nothing more, then close.

    asyncio accepts a connection in one turn of the loop and ties it to its server in the next; one
    whose server was closed in between would leak.
    """
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()
    await server.wait_closed()


class Caller:
    """An incoming connection: whose it is, once that is known, and the task that reads it."""

    __slots__ = ("sender", "task", "writer")

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.sender: int | None = None
        self.task: asyncio.Task[None] | None = None


class Node:
    """Drive one validator. `open` before `start` or `restart`; `close` is a crash or the end."""

    def __init__(self, validator: Validator, edge: Edge, signer: Signer, shared: Shared) -> None:
        self.id = validator.me
        self.validator = validator
        self.edge = edge
        self.up = False
        self.life = 0
        self.persisted: bytes | None = None
        self.refused: Counter[tuple[int | None, str]] = Counter()
        """Why connections were closed and messages not sent, by peer (None: a stranger)."""
        self.lines: dict[int, Line] = {}
        self._signer = signer
        self._shared = shared
        self._members: tuple[int, ...] = members(validator.chain.epoch)
        self._sequence = 0
        self._answers: deque[Event] = deque()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._later: dict[int, asyncio.TimerHandle] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._incoming: dict[asyncio.StreamWriter, Caller] = {}
        self._server: asyncio.Server | None = None
        self._signed_last: tuple[Message, Message] | None = None
        self._framed_last: tuple[Message, bytes] | None = None
        self._actions: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            Broadcast: self._broadcast,
            SetTimer: self._set_timer,
            Persist: self._persist,
            RequestPayload: self._request_payload,
            RequestBlocks: self._request_blocks,
        }

    # -- life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Listen on an ephemeral port of loopback, and begin to dial every peer."""
        self.life += 1
        self._server = await asyncio.start_server(self._accepted, HOST, 0)
        self._shared.book[self.id] = self._server.sockets[0].getsockname()[1]
        self.up = True
        for peer in range(self._shared.identities):
            if peer != self.id:
                line = Line(lambda to=peer: self._connect(to))  # type: ignore[misc]
                self.lines[peer] = line
                self._tasks.append(asyncio.create_task(line.run()))

    def start(self, operations: tuple[Operation, ...]) -> None:
        """Wake the core for the first time and hand it its operator's `operations`, in order."""
        self.handle(Started())
        for operation in operations:
            self.handle(OperationSubmitted(self.edge.signed(operation)))

    def restart(self, *, amnesia: bool) -> None:
        """Wake the core after a crash with what was persisted, or with nothing."""
        state = None if amnesia or self.persisted is None else decode_state(self.persisted)
        self.handle(Restarted(state))

    def silence(self) -> None:
        """Handle nothing any more: no event reaches the core until it is opened again."""
        self.up = False
        for timer in (*self._timers.values(), *self._later.values()):
            timer.cancel()
        self._timers.clear()
        self._later.clear()
        self._answers.clear()

    async def close(self) -> None:
        """Fall silent and give up every socket and task; what was persisted stays."""
        self.silence()
        self._shared.book.pop(self.id, None)
        server, self._server = self._server, None
        if server is not None:
            await _stop_listening(server)
        calls = [caller.task for caller in self._incoming.values() if caller.task is not None]
        ending = [*self._tasks, *calls]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        # A task that was cancelled before it began has hung up nothing.
        for writer in self._incoming:
            writer.transport.abort()
        self._tasks.clear()
        self._incoming.clear()
        self.lines.clear()

    # -- sockets ------------------------------------------------------------------------------

    async def _connect(self, to: int) -> Connection:
        """Dial a peer and greet it."""
        port = self._shared.book.get(to)
        if port is None:
            raise ConnectionRefusedError(f"validator {to} is down")
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            network = self._shared.network
            await dial(reader, writer, network=network, me=self.id, to=to, signer=self._signer)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take up a connection at once, so that `close` finds it even before its task has begun."""
        if not self.up or len(self._incoming) >= 2 * self._shared.identities:
            self.refused[None, "crowded"] += 1
            writer.transport.abort()
            return
        caller = Caller(writer)
        caller.task = asyncio.create_task(self._take(caller, reader))
        self._incoming[writer] = caller

    async def _take(self, caller: Caller, reader: asyncio.StreamReader) -> None:
        """Find out who dialled and take its messages until it stops or says something malformed."""
        try:
            async with asyncio.timeout(CONNECT_S):
                sender = await self._welcome(reader, caller.writer)
            # One connection a peer, the newest: an older one may be a dead end.
            for other in self._incoming.values():
                if other.sender == sender and other.task is not None:
                    other.task.cancel()
            caller.sender = sender
            await self._listen(sender, reader)
        except Refused as refusal:
            self.refused[caller.sender, refusal.reason] += 1
        except (OSError, TimeoutError):
            self.refused[caller.sender, "lost"] += 1
        except Exception as error:
            self._shared.failed(error)
        finally:
            await hang_up(caller.writer)
            self._incoming.pop(caller.writer, None)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        shared = self._shared
        return await welcome(
            reader,
            writer,
            network=shared.network,
            me=self.id,
            identities=shared.identities,
            signer=self._signer,
        )

    async def _listen(self, sender: int, reader: asyncio.StreamReader) -> None:
        life = self.life
        while self.up and life == self.life:
            content = await read_frame(reader)
            if content is None:
                return
            self._deliver(sender, decode(content))
            # A peer that always has more to read must not keep timers and other peers waiting.
            await asyncio.sleep(0)

    def _deliver(self, sender: int, message: Message) -> None:
        """Hand a message that arrived to the core, its signatures checked."""
        verified = sender == self.id or not self.edge.doubts(sender)
        verified = verified or self.edge.verify(sender, message)
        if type(message) is BlocksResponse:
            self.handle(BlocksReceived(sender, message, verified))
        else:
            self.handle(MessageReceived(sender, message, verified))

    # -- events in ----------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Let the core handle one event and carry out what it asks, answers included."""
        if not self.up:
            return
        try:
            self._execute(self.validator.handle(event, self._shared.now_ns()))
            while self._answers:
                answer = self._answers.popleft()
                self._execute(self.validator.handle(answer, self._shared.now_ns()))
        except Exception as error:
            # Timers and loop callbacks have nobody above them who would see it.
            self._shared.failed(error)

    def _execute(self, effects: list[Effect]) -> None:
        for effect in effects:
            action = self._actions.get(type(effect))
            if action is not None:
                action(effect)
            else:
                self._observed(effect)

    # -- effects out --------------------------------------------------------------------------

    def _observed(self, effect: Any) -> None:
        if type(effect) is EpochChanged:
            chain = self.validator.chain
            root = chain.tree.get(effect.root)
            assert root is not None, "a core holds the root of every epoch that it enters"
            self._members = members(chain.ledger.next_epoch(root).parameters)
            # Nobody shares this ledger: what the core has let go of, nobody asks for.
            chain.ledger.forget(((chain.tree.lowest_height, chain.tree.highest_height()),))
        elif type(effect) is Dropped and effect.refs:
            self._shared.payload.give_back(self.id, effect.refs)
        self._shared.observe(self.id, self._shared.now_ns(), effect)

    def _send(self, effect: Send) -> None:
        message = self._signed(effect.message)
        if effect.to == self.id:
            # Later, not now: a core handles one event at a time.
            asyncio.get_running_loop().call_soon(self._loop_back, self.life, message)
        else:
            self._queue(effect.to, message)

    def _loop_back(self, life: int, message: Message) -> None:
        if life == self.life:
            self._deliver(self.id, message)

    def _broadcast(self, effect: Broadcast) -> None:
        message = self._signed(effect.message)
        self._sequence += 1
        others = [peer for peer in self._members if peer != self.id]
        number = self.id << 32 | self._sequence
        for peer in star_order(others, self._shared.order_key, number):
            self._queue(peer, message)

    def _signed(self, message: Message) -> Message:
        """Sign what is this validator's own; once, however often the object is sent."""
        if self._signed_last is None or self._signed_last[0] is not message:
            owes = self.edge.owes(self.id, message)
            made = self.edge.sign(self.id, message) if owes else message
            self._signed_last = (message, made)
        return self._signed_last[1]

    def _queue(self, to: int, message: Message) -> None:
        if self._framed_last is None or self._framed_last[0] is not message:
            try:
                self._framed_last = (message, frame(encode(message)))
            except Refused as refusal:
                self.refused[self.id, refusal.reason] += 1
                return
        content = self._framed_last[1]
        self._shared.sent(self.id, message, len(content))
        self.lines[to].send(content)

    def _set_timer(self, effect: SetTimer) -> None:
        """Arm the latest timer of its purpose; a superseded one never reaches the core."""
        purpose = effect.timer_id[2]
        armed = self._timers.get(purpose)
        if armed is not None:
            armed.cancel()
        loop = asyncio.get_running_loop()
        delay_s = seconds(effect.delay_ns)
        self._timers[purpose] = loop.call_later(delay_s, self._timer_due, effect.timer_id)

    def _timer_due(self, timer_id: tuple[int, int, str]) -> None:
        del self._timers[timer_id[2]]
        self.handle(TimerFired(timer_id))

    def _persist(self, effect: Persist) -> None:
        self.persisted = encode_state(effect.state)

    def _request_payload(self, effect: RequestPayload) -> None:
        now_ns, payload = self._shared.now_ns(), self._shared.payload
        if not effect.refs:
            refs = payload.new_refs(self.id, now_ns)
            self._answers.append(PayloadReady(refs, effect.request_id))
            return
        wait_ns = payload.ready_ns(self.id, effect.refs, now_ns) - now_ns
        answer = PayloadReady(effect.refs, effect.request_id)
        if wait_ns <= 0:
            self._answers.append(answer)
            return
        loop, number = asyncio.get_running_loop(), effect.request_id
        self._later[number] = loop.call_later(seconds(wait_ns), self._payload_due, number, answer)

    def _payload_due(self, number: int, answer: Event) -> None:
        del self._later[number]
        self.handle(answer)

    def _request_blocks(self, effect: RequestBlocks) -> None:
        request = BlocksRequest(effect.wanted, effect.above_height, effect.epoch)
        self._queue(effect.peer, request)
