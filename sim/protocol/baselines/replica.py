"""What the baselines have in common: the blocks at hand, commits in order, catching up.

Owns the block store, the final chain, what was asked of whom. Must not know votes, leaders, views.
What a core knows survives a crash, as with a log that is written before anything is sent; timers
and messages under way do not.
"""

from __future__ import annotations

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.effects import Effect, Forked, Rejected, RequestBlocks, Send
from sim.protocol.events import (
    BlocksReceived,
    Event,
    MessageReceived,
    Restarted,
    Started,
    TimerFired,
)
from sim.protocol.messages import BlocksRequest, BlocksResponse, Message, Proposal
from sim.protocol.pacemaker import ConsensusParameters
from sim.protocol.types import QC, Block, BlockId, ValidatorId

ANYTHING = b""
"""As `wanted`: whatever the peer follows."""
ORPHANS = 16
"""Proposals kept until their parent has been fetched."""
OPEN_BLOCKS = 4_096
"""Blocks kept above the final one; more are refused."""


class Baseline:
    """A validator of a baseline. `handle` is total, synchronous and deterministic.

    Subclasses override `start`, `receive`, `expire`, `take_synced`, `proof_of` and `tip`.
    """

    def __init__(
        self, me: ValidatorId, parameters: ConsensusParameters, electorate: Electorate
    ) -> None:
        self.me = me
        self.parameters = parameters
        self.electorate = electorate
        self.final = electorate.genesis
        self.blocks: dict[BlockId, Block] = {self.final.id: self.final}
        self.halted = False
        self.epoch = 0
        self.view = 0
        self._heights: dict[int, list[BlockId]] = {0: [self.final.id]}
        self._lowest = 0
        self._orphans: dict[BlockId, tuple[ValidatorId, Proposal]] = {}
        self._asked_ns = -1
        self._asked = 0
        self.now_ns = 0

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event at local time `now_ns` and return what to do, in order."""
        out: list[Effect] = []
        if self.halted:
            return out
        self.now_ns = now_ns
        if isinstance(event, MessageReceived):
            sender, message, verified = event
            if not verified:
                out.append(Rejected(sender, _concerns(message), "invalid_signature"))
            elif isinstance(message, BlocksRequest):
                self._answer(sender, message, out)
            else:
                self.receive(sender, message, out)
        elif isinstance(event, TimerFired):
            epoch, view, purpose = event.timer_id
            self.expire(epoch, view, purpose, out)
        elif isinstance(event, BlocksReceived):
            self._on_blocks(event, out)
        elif isinstance(event, Started):
            self.start(out)
        elif isinstance(event, Restarted):
            self._asked_ns = -1
            self.start(out)
            self._ask_someone(out)
        return out

    # What a protocol adds

    def start(self, out: list[Effect]) -> None:
        """Begin, or go on after a crash: set the timers."""
        raise NotImplementedError

    def receive(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        """Take a message whose signatures hold."""
        raise NotImplementedError

    def expire(self, epoch: int, view: int, purpose: str, out: list[Effect]) -> None:
        """Take a timer that ran out; an old one has no effect."""
        raise NotImplementedError

    def take_synced(
        self, blocks: tuple[Block, ...], proof: QC | None, out: list[Effect]
    ) -> str | None:
        """Take up blocks that hang together and on a known one; return why not."""
        raise NotImplementedError

    def tip(self) -> Block:
        """Return the last block that `proof_of` can prove."""
        raise NotImplementedError

    def proof_of(self, block: Block) -> QC | None:
        """Return what proves a block to who is behind, where it is at hand."""
        raise NotImplementedError

    # Blocks

    def insert(self, block: Block) -> str | None:
        """Keep a block whose parent is here; return why not: wrong_height | full."""
        parent = self.blocks[block.parent]
        if block.height != parent.height + 1:
            return "wrong_height"
        if len(self.blocks) > OPEN_BLOCKS + self.parameters.store_blocks:
            return "full"
        self.blocks[block.id] = block
        self._heights.setdefault(block.height, []).append(block.id)
        return None

    def extends(self, block: Block, ancestor: BlockId) -> bool:
        """Say whether `ancestor` is the block or above which it stands."""
        goal = self.blocks.get(ancestor)
        if goal is None:
            return False
        step: Block | None = block
        while step is not None and step.height > goal.height:
            step = self.blocks.get(step.parent)
        return step is not None and step.id == ancestor

    def commit(self, block: Block, out: list[Effect]) -> bool:
        """Make a block and what is below it final; False after a conflict with finality."""
        path: list[Block] = []
        step: Block | None = block
        while step is not None and step.height > self.final.height:
            path.append(step)
            step = self.blocks.get(step.parent)
        if step is None or step.id != self.final.id:
            if step is None or self.extends(self.final, step.id):
                return True
            self.halted = True
            out.append(Forked("finality", step.parent, (self.final.id, block.id)))
            return False
        for one in reversed(path):
            self.final = one
            out.append(self.electorate.committed(one))
        if path:
            self._prune()
        return True

    def _prune(self) -> None:
        """Forget what is too far below finality to help anybody."""
        while self._lowest < self.final.height - self.parameters.store_blocks:
            for block_id in self._heights.pop(self._lowest, []):
                del self.blocks[block_id]
            self._lowest += 1

    # Catching up

    def keep_orphan(self, sender: ValidatorId, message: Proposal, out: list[Effect]) -> None:
        """Keep a proposal until its parent is here, and ask for that."""
        parent = message.block.parent
        self._orphans[parent] = (sender, message)
        if len(self._orphans) > ORPHANS:
            del self._orphans[next(iter(self._orphans))]
        self.ask(sender, parent, out)

    def adopt_orphan(self, block: Block, out: list[Effect]) -> None:
        """Take up the proposal that waited for `block`."""
        waiting = self._orphans.pop(block.id, None) if self._orphans else None
        if waiting is not None:
            self.receive(waiting[0], waiting[1], out)

    def ask(
        self, peer: ValidatorId, wanted: BlockId, out: list[Effect], above_height: int = -1
    ) -> None:
        """Ask a peer for `wanted` and what is below it, unless an answer is still awaited.

        `above_height`: from where on; left out, above what is final here.
        """
        waited = self.now_ns - self._asked_ns
        if peer == self.me or (self._asked_ns >= 0 and waited < self.parameters.timer_base_ns):
            return
        self._asked_ns = self.now_ns
        floor = self.final.height if above_height < 0 else above_height
        out.append(RequestBlocks(peer, wanted, floor, 0))

    def _ask_someone(self, out: list[Effect]) -> None:
        """Ask a peer for whatever it follows, another one each time."""
        self._asked += 1
        step = 1 + self._asked % (self.electorate.size - 1)
        self.ask((self.me + step) % self.electorate.size, ANYTHING, out)

    def _answer(self, sender: ValidatorId, request: BlocksRequest, out: list[Effect]) -> None:
        """Give up to `sync_blocks` blocks, ascending, and what proves the last of them."""
        last = self.blocks.get(request.wanted) or self.tip()
        path: list[Block] = []
        step: Block | None = last
        while step is not None and step.height > request.above_height:
            path.append(step)
            step = self.blocks.get(step.parent)
        path.reverse()
        blocks, proof = self.excerpt(path)
        out.append(Send(sender, BlocksResponse(tuple(blocks), None, proof)))

    def excerpt(self, path: list[Block]) -> tuple[list[Block], QC | None]:
        """Return the first blocks of a path, `sync_blocks` at most, and what proves the last."""
        limit = self.parameters.sync_blocks
        if len(path) > limit:
            return path[:limit], path[limit].justify
        return path, self.proof_of(path[-1]) if path else None

    def more(self, blocks: tuple[Block, ...]) -> bool:
        """Say whether an answer with these blocks was cut short."""
        return len(blocks) == self.parameters.sync_blocks

    def _on_blocks(self, event: BlocksReceived, out: list[Effect]) -> None:
        sender, response, verified = event
        self._asked_ns = -1
        blocks = response.blocks
        reason = None if verified else "invalid_signature"
        if reason is None and blocks:
            reason = self._broken(blocks)
            if reason is None:
                reason = self.take_synced(blocks, response.certificate, out)
            if reason is None and self.more(blocks):
                # Where nothing became final the rest is above these, not above finality.
                self.ask(sender, ANYTHING, out, blocks[-1].height)
        if reason is not None:
            out.append(Rejected(sender, "blocks", reason))

    def _broken(self, blocks: tuple[Block, ...]) -> str | None:
        parent = self.blocks.get(blocks[0].parent)
        if parent is None:
            return "unconnected"
        for block in blocks:
            if block.parent != parent.id or block.height != parent.height + 1:
                return "broken_chain"
            parent = block
        return None


def _concerns(message: Message) -> str:
    return type(message).__name__.removesuffix("Message").lower()
