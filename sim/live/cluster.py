"""A few validators on loopback sockets in one process, for a bounded time.

Owns who runs, for how long, and what they committed. Must not know what messages mean. The run ends
when it is left, when its time is over, or with the first exception in a core or a driver.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

from sim.live.node import Node, Shared, seconds
from sim.protocol.effects import Committed, Observation
from sim.protocol.ledger import Account, Ledger, LedgerParameters
from sim.protocol.messages import Message
from sim.protocol.pacemaker import ConsensusParameters
from sim.protocol.types import Operation
from sim.protocol.validator import Validator
from sim.world.chance import Chance
from sim.world.crypto.signer import ModelledSigner, RealSigner, Signer
from sim.world.crypto.signing import Edge
from sim.world.crypto.suites import suite
from sim.world.payload import NoPayload, Payload

MAX_IDENTITIES = 16
"""Sockets grow with the square: 16 identities hold 496, both ends counted."""
MAX_LIMIT_NS = 600_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a cluster runs. `suite`: None where signatures are modelled. `limit_ns`: wall time.

    `operations`: each goes to its own validator right after its first event, in the order given.
    """

    consensus: ConsensusParameters
    ledger: LedgerParameters
    genesis: tuple[Account, ...]
    operations: tuple[Operation, ...] = ()
    suite: str | None = None
    seed: int = 0
    limit_ns: int = 30_000_000_000

    def __post_init__(self) -> None:
        if not 1 <= len(self.genesis) <= MAX_IDENTITIES:
            raise ValueError(
                f"{len(self.genesis)} identities: a live cluster runs 1 to {MAX_IDENTITIES}"
            )
        if not 0 < self.limit_ns <= MAX_LIMIT_NS:
            raise ValueError(
                f"limit_ns {self.limit_ns} must be positive and at most {MAX_LIMIT_NS}"
            )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `reached`: whether all committed the height before the time was over."""

    reached: bool
    commits: tuple[tuple[Committed, ...], ...]
    """By validator, in the order in which they were observed."""
    elapsed_ns: int


def run_cluster(plan: Plan, payload: Payload | None = None, *, height: int) -> Outcome:
    """Run a cluster until every validator has committed `height`, or until its time is over."""

    async def run() -> Outcome:
        began = time.monotonic_ns()
        async with Cluster(plan, payload) as cluster:
            reached = await cluster.committed(height)
        commits = tuple(tuple(chain) for chain in cluster.commits)
        return Outcome(reached, commits, time.monotonic_ns() - began)

    return asyncio.run(run())


class Cluster:
    """Validators 0 to n - 1, each with its own ledger, keys of its own, and sockets.

    An async context manager: entering starts all, leaving stops all. `sent(node, message, bytes)`
    sees every copy that is queued.
    """

    def __init__(
        self,
        plan: Plan,
        payload: Payload | None = None,
        *,
        sent: Callable[[int, Message, int], None] | None = None,
        observe: Callable[[int, int, Observation], None] | None = None,
    ) -> None:
        self.plan = plan
        self.commits: list[list[Committed]] = [[] for _ in plan.genesis]
        self.ended = False
        self.failure: BaseException | None = None
        self._payload = NoPayload() if payload is None else payload
        self._final: dict[bytes, None] = {}
        self._also = observe
        self._changed = asyncio.Event()
        self._began_ns = time.monotonic_ns()
        self._alarm: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._shared = Shared(
            network=Ledger(plan.ledger, plan.genesis).genesis_block.id,
            identities=len(plan.genesis),
            order_key=Chance(plan.seed, 0).key("live/broadcast-order"),
            payload=self._payload,
            now_ns=self.now_ns,
            observe=self._observe,
            sent=_ignore if sent is None else sent,
            failed=self._failed,
        )
        self.nodes = [self._node(index) for index in range(len(plan.genesis))]

    def _node(self, index: int) -> Node:
        plan = self.plan
        core = Validator(index, plan.consensus, Ledger(plan.ledger, plan.genesis))
        if plan.suite is None:
            return Node(core, Edge(None, 0), ModelledSigner(), self._shared)
        # One signer each: nobody's verification stands in for another's.
        signer: Signer = RealSigner(suite(plan.suite), len(plan.genesis), plan.seed)
        return Node(core, Edge(signer, 0), signer, self._shared)

    def now_ns(self) -> int:
        """Return the time since the cluster was made."""
        return time.monotonic_ns() - self._began_ns

    @property
    def refused(self) -> Counter[tuple[int, int | None, str]]:
        """Count what was refused, by node, peer (None: a stranger) and reason."""
        return Counter(
            {(n.id, *key): count for n in self.nodes for key, count in n.refused.items()}
        )

    @property
    def ports(self) -> dict[int, int]:
        """Map who listens now to its port on loopback."""
        return dict(self._shared.book)

    # -- running ------------------------------------------------------------------------------

    async def __aenter__(self) -> Cluster:
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(seconds(self.plan.limit_ns), self._end)
        try:
            for node in self.nodes:
                await node.open()
        except BaseException:
            await self._close()
            raise
        # Nothing is read between two of these: each core has its first event before any message.
        for node in self.nodes:
            own = tuple(op for op in self.plan.operations if op.validator == node.id)
            node.start(own)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        assert self._ending is not None
        await self._ending
        # Again: a node that was being opened when the time was over has opened since.
        await self._close()
        if self.failure is not None and error is None:
            raise self.failure

    async def committed(self, height: int, nodes: Iterable[int] | None = None) -> bool:
        """Wait until `nodes` (all) have committed `height`; False when the run ended before.

        Errors: whatever a core or a driver raised.
        """
        awaited = tuple(range(len(self.nodes)) if nodes is None else nodes)
        while any(self.height(node) < height for node in awaited):
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def height(self, node: int) -> int:
        """Return the highest height that `node` has committed."""
        chain = self.commits[node]
        return chain[-1].height if chain else 0

    async def crash(self, node: int) -> None:
        """Take a validator down: its sockets close, its timers and queues are lost."""
        await self.nodes[node].close()

    async def restart(self, node: int, *, amnesia: bool = False) -> None:
        """Bring it back on another port with what it had persisted, or with nothing."""
        if self.ended:
            return
        await self.nodes[node].open()
        self.nodes[node].restart(amnesia=amnesia)

    # -- ending -------------------------------------------------------------------------------

    def _end(self) -> None:
        """Stop all, once."""
        if self._ending is None:
            self.ended = True
            for node in self.nodes:
                node.silence()
            self._ending = asyncio.create_task(self._close())
            self._changed.set()

    async def _close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        await asyncio.gather(*(node.close() for node in self.nodes))

    def _failed(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
        self._end()

    def _observe(self, node: int, now_ns: int, observation: Observation) -> None:
        if type(observation) is Committed:
            self.commits[node].append(observation)
            if observation.block not in self._final:
                self._final[observation.block] = None
                block = self.nodes[node].validator.chain.tree.get(observation.block)
                assert block is not None, "a core holds what it has just committed"
                self._payload.commit(block, now_ns)
            self._changed.set()
        if self._also is not None:
            self._also(node, now_ns, observation)


def _ignore(node: int, message: Message, frame_bytes: int) -> None:
    return
