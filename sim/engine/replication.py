"""Send the records of regions to the sites where their validators would come up.

Owns: when records are written, who sends them, their way over the links (the sender's consensus
lane, the wire, the site's own downlink), and the rows that say how far the copies are behind.
Must not know: who is lost, what is done about it.

A block is a record of every region at its first commit anywhere; what the sender had of the chain
then is what the record holds. Pieces of at most 100 ms of the stream's rate leave one after the
other, so that consensus gets between them. A link that drops or corrupts is tried again later: the
transport under the stream is reliable. Of the traffic tables it is in none; its link load shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from simpy.events import URGENT

from sim.engine.loop import LAST, Loop
from sim.engine.node import Node
from sim.engine.transport import Transport
from sim.protocol.chain import Chain
from sim.protocol.effects import PersistentState
from sim.protocol.messages import BlocksResponse, wire_size_bytes
from sim.protocol.types import Block
from sim.record.recorder import Sink
from sim.world.chance import Chance, begin, proceed
from sim.world.cloud.replication import Record, Stream
from sim.world.crypto.suites import SIGNATURE_BYTES
from sim.world.network.links import added_ns, stopped
from sim.world.network.stations import NS, Lane, Link, serialisation_ns

if TYPE_CHECKING:
    from sim.engine.world import Chained

SECOND_NS = NS
RETRY_NS = NS
"""When a cut link is tried again (assumption: about the retransmission timeout of TCP)."""
_PIECES_PER_S = 10


class Marks(NamedTuple):
    """What a site knows of a region: the chain up to a height, what its validators had signed."""

    height: int
    signed: tuple[PersistentState | None, ...]
    """By place among the region's validators."""


Copy: TypeAlias = Record[Marks]


@dataclass(slots=True)
class Pair:
    """A region with its validators, its site and the stream between them."""

    region: str
    site: str
    members: tuple[int, ...]
    host: int
    """A validator that has always been at the site: its links are those of who comes up there."""
    number: int
    stream: Stream[Marks]
    depot: Lane
    """The downlink of the machines that stand ready there."""
    busy: bool = False
    draws: int = 0
    last_ns: int = 0
    """When the last piece under way arrives."""
    away: bool = False
    """Whether the region's validators run at the site: then nothing is sent."""
    unsaved_bytes: int = 0
    """Written since the last backup, or while the validators were away."""


class Replication:
    """All streams of a run.

    `rates`: (from when, bits a second) of what each region writes beside the chain; in order.
    `backup_every_ns`: copies are whole backups, that often; None: records leave as they are made.
    """

    def __init__(
        self,
        *,
        env: Loop,
        nodes: list[Node],
        pairs: Sequence[Pair],
        transport: Transport,
        chance: Chance,
        rates: Sequence[tuple[int, int]],
        stream_bits_per_s: int,
        backup_every_ns: int | None,
        sink: Sink,
    ) -> None:
        self._env = env
        self._nodes = nodes
        self.pairs = {pair.region: pair for pair in pairs}
        self._transport = transport
        self._tables = transport.tables
        self._links = transport.links
        self._key = chance.key("clouds/replication")
        self._rates = rates
        self.bits_per_s = stream_bits_per_s
        self._backup_every_ns = backup_every_ns
        self._row = sink.append_row

    def start(self) -> None:
        """Arm the clock of the records, and that of the backups."""
        self._env.at(SECOND_NS, self._second, SECOND_NS, LAST)
        if self._backup_every_ns is not None:
            self._env.at(self._backup_every_ns, self._back_up, self._backup_every_ns, URGENT)

    def committed(self, block: Block, now_ns: int) -> None:
        """Write a block that has just been committed, its transactions with it."""
        size = wire_size_bytes(BlocksResponse((block,)), SIGNATURE_BYTES)
        size += sum(ref.size_bytes for ref in block.payload)
        for pair in self.pairs.values():
            self._write(pair, size, now_ns)

    def marks(self, pair: Pair) -> Marks:
        """Return what a copy made now would hold."""
        members = [self._nodes[node] for node in pair.members]
        heights = [chain_of(node).tree.final.height for node in members if node.up]
        return Marks(max(heights, default=0), tuple(node.persisted for node in members))

    def delay_ns(self, pair: Pair) -> int:
        """Draw a one-way delay between a region and its site."""
        pair.draws += 1
        bits = proceed(begin(self._key, pair.number), pair.draws)
        home, site = self._tables.index(pair.region), self._tables.index(pair.site)
        return self._tables.delay_ns(home, site, bits)

    def send_back(self, pair: Pair, arrived: Callable[[Pair], None]) -> None:
        """Copy home what was written while the validators were away; then call `arrived`."""
        size, pair.unsaved_bytes = max(1, pair.unsaved_bytes), 0
        taken = serialisation_ns(size, self.bits_per_s) + self.delay_ns(pair)
        self._env.at(self._env.now + taken, lambda _: arrived(pair))

    def resume(self, pair: Pair) -> None:
        """Begin anew once the validators are back: what they know, the site knows."""
        pair.away = False
        pair.unsaved_bytes = 0
        pair.stream.restart(Record(self._env.now, 1, self.marks(pair)))

    # -- writing ------------------------------------------------------------------------------

    def _write(self, pair: Pair, size_bytes: int, now_ns: int) -> None:
        pair.unsaved_bytes += size_bytes
        if pair.away or self._sender(pair) is None:
            return
        if self._backup_every_ns is not None:
            pair.stream.newest_ns = now_ns
            return
        pair.unsaved_bytes = 0
        pair.stream.write(Record(now_ns, size_bytes, self.marks(pair)))
        self._pump(pair)

    def _back_up(self, now_ns: int) -> None:
        assert self._backup_every_ns is not None
        next_ns = now_ns + self._backup_every_ns
        self._env.at(next_ns, self._back_up, next_ns, URGENT)
        for pair in self.pairs.values():
            if pair.unsaved_bytes and not pair.away and self._sender(pair) is not None:
                size, pair.unsaved_bytes = pair.unsaved_bytes, 0
                pair.stream.write(Record(now_ns, size, self.marks(pair)))
                self._pump(pair)

    def rate_bits_per_s(self, now_ns: int) -> int:
        """Return how much a region writes beside the chain."""
        found = 0
        for from_ns, rate in self._rates:
            if from_ns <= now_ns:
                found = rate
        return found

    def _second(self, now_ns: int) -> None:
        """Write what the second that ends now brought, and its rows; arm the next."""
        size = self.rate_bits_per_s(now_ns - SECOND_NS) // 8
        for pair in self.pairs.values():
            if size:
                self._write(pair, size, now_ns)
            pair.stream.steady = self.rate_bits_per_s(now_ns) > 0
            if pair.away:
                continue
            written, arrived = pair.stream.drain()
            self._row(
                "replication",
                second=now_ns // SECOND_NS - 1,
                source_region=pair.region,
                destination_region=pair.site,
                written_bytes=written,
                arrived_bytes=arrived,
                waiting_bytes=pair.stream.waiting_bytes,
                newest_ns=pair.stream.copy.written_ns,
                age_ns=pair.stream.age_ns(now_ns),
            )
        self._env.at(now_ns + SECOND_NS, self._second, now_ns + SECOND_NS, LAST)

    # -- sending ------------------------------------------------------------------------------

    def _sender(self, pair: Pair) -> Node | None:
        members = (self._nodes[node] for node in pair.members)
        return next((node for node in members if node.up), None)

    def _pump(self, pair: Pair) -> None:
        """Let the next piece leave, if nothing does and there is one."""
        sender, size = self._sender(pair), pair.stream.take()
        if pair.busy or pair.away or not size or sender is None:
            return
        pair.busy = True
        pair.draws += 1
        now, bits = self._env.now, proceed(begin(self._key, pair.number), pair.draws)
        verdict = self._links.judge(sender.id, pair.host, now, bits)
        if stopped(verdict):
            self._env.at(now + RETRY_NS, self._again, pair)
            return
        leaves = now + serialisation_ns(size, self.bits_per_s)
        leaves = max(leaves, sender.uplink.send(now, size, pair.host))
        due = (pair, sender, sender.life, size, bits, added_ns(verdict))
        self._env.at(leaves, self._left, due)

    def _again(self, pair: Pair) -> None:
        pair.busy = False
        self._pump(pair)

    def _left(self, due: tuple[Pair, Node, int, int, int, int]) -> None:
        """Put a piece on the wire, unless its sender crashed with it: then another one sends it."""
        pair, sender, life, size, bits, extra_ns = due
        pair.busy = False
        if sender.life == life and not pair.away:
            source, target = sender.region, self._tables.index(pair.site)
            delay = self._tables.delay_ns(source, target, bits)
            delay += self._transport.retransmission(source, target, size, delay, bits)
            arrives = self._env.now + delay + extra_ns + pair.depot.service_ns(size)
            pair.last_ns = arrives = max(arrives, pair.last_ns)
            last = pair.stream.left(size)
            self._env.at(arrives, self._came_in, (pair, size, last))
        self._pump(pair)

    def _came_in(self, due: tuple[Pair, int, bool]) -> None:
        pair, size, last = due
        finish = pair.depot.receive(self._env.now, size)
        self._env.at(finish, self._arrived, (pair, size, last))

    def _arrived(self, due: tuple[Pair, int, bool]) -> None:
        pair, size, last = due
        pair.stream.arrived(size, last=last)


def piece_bytes(stream_bits_per_s: int) -> int:
    """Return the size of a piece: what a stream carries in a tenth of a second."""
    return max(1, stream_bits_per_s // 8 // _PIECES_PER_S)


def depot(bandwidth_bits_per_s: int, consensus_share_ppm: int) -> Lane:
    """Return the downlink of machines that stand ready: one as validators have it."""
    return Link(bandwidth_bits_per_s, consensus_share_ppm=consensus_share_ppm).consensus


def chain_of(node: Node) -> Chain:
    """Return the chain of a validator of the main protocol."""
    return cast("Chained", node.validator).chain
