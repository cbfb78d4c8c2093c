"""What each replica of a shard has: writes on their way, crashes, returns, take-over.

Owns: which writes each host has seen and when, what a crash loses, which hosts may serve.
Must not know: how records are stored or found, gateways, limits.

Only writes that some live host still lacks are kept, newest last in a chain for each row. Each
remembers what it replaced, so a chain says what every host would answer. A host that missed a write
while it was down serves that shard again only when a live host, or several that were down together,
have brought it up to date.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain as joined

from sim.world.registry.columns import NEVER_NS, Record
from sim.world.registry.placement import Placement

CopyDelay = Callable[[int, int, int], int]
"""(number of the write, source, target) -> one-way delay of that copy in ns."""


@dataclass(slots=True, eq=False)
class Write:
    """One write that not every host has.

    `before`: what it replaced. `acknowledged_ns`: when its coordinator confirms it; NEVER_NS: that
    crashed first. `visible_ns`, `sender`: by host, when it has the write and from whom; NEVER_NS:
    nobody is sending it.
    """

    number: int
    row: int
    shard: int
    version: int
    before: Record | None
    coordinator: int
    acknowledged_ns: int
    visible_ns: dict[int, int]
    sender: dict[int, int]
    gone: bool = False

    def at(self, host: int, now_ns: int) -> bool:
        """Say whether a host has the write."""
        return self.visible_ns.get(host, NEVER_NS) <= now_ns

    def unsent(self, host: int) -> bool:
        """Say whether a host lacks the write and nobody is sending it."""
        return self.visible_ns.get(host, NEVER_NS) == NEVER_NS


@dataclass(frozen=True, slots=True)
class Undone:
    """A row's newest write that a crash undid. `acknowledged`: its sender believes in it."""

    row: int
    version: int
    before: Record | None
    acknowledged: bool


@dataclass(slots=True)
class Replicas:
    """Hosts of all shards over time; calls come in the order of time.

    `needed`: live hosts that may take over a shard and decide what was written: 1, or a quorum.
    `notice_ns`: after so long without a sign of life a host is known to be down.
    """

    hosts: Placement
    needed: int
    notice_ns: int
    copy_delay: CopyDelay
    _down_since: dict[int, int] = field(default_factory=dict)
    _behind: dict[int, set[int]] = field(default_factory=dict)
    """By host: shards that it does not serve until it has been brought up to date."""
    _missed: dict[int, set[int]] = field(default_factory=dict)
    """By host: shards of which it missed a write that all live hosts had."""
    _chains: dict[int, list[Write]] = field(default_factory=dict)
    _line: deque[Write] = field(default_factory=deque)
    """Writes that will settle of themselves, oldest first."""
    _stuck: list[Write] = field(default_factory=list)
    """Writes that wait for a host to crash, return or be replaced."""

    def up(self, host: int) -> bool:
        return host not in self._down_since

    def serves(self, shard: int, host: int) -> bool:
        """Say whether a host is up and has missed no write of the shard."""
        return host not in self._down_since and shard not in self._behind.get(host, ())

    def known_down(self, shard: int, host: int, now_ns: int) -> bool:
        """Say whether gateways know at `now_ns` that a host does not serve the shard."""
        since_ns = self._down_since.get(host)
        if since_ns is None:
            return shard in self._behind.get(host, ())
        return now_ns > since_ns + self.notice_ns

    def long_down(self, now_ns: int) -> list[int]:
        """Return the hosts that are known to be down, in the order in which they went."""
        return [h for h, since in self._down_since.items() if now_ns > since + self.notice_ns]

    def live(self, shard: int) -> list[int]:
        """Return the hosts of a shard that serve, in their order."""
        if not self._down_since and not self._behind:
            return list(self.hosts[shard])
        return [host for host in self.hosts[shard] if self.serves(shard, host)]

    def pending(self) -> int:
        """Return how many writes some host still lacks."""
        return sum(map(len, self._chains.values()))

    def add(self, write: Write) -> None:
        self._chains.setdefault(write.row, []).append(write)
        self._line.append(write)

    def forget(self, row: int) -> None:
        """Drop a row's chain: its record is over on all hosts alike."""
        for write in self._chains.pop(row, ()):
            write.gone = True

    def has_chain(self, row: int) -> bool:
        return row in self._chains

    def lacking(self, host: int, row: int, now_ns: int) -> list[Write]:
        """Return a row's writes that a host of its shard lacks at `now_ns`, newest first.

        What the host has instead is what the last of them replaced.
        """
        lacking: list[Write] = []
        for write in reversed(self._chains.get(row, ())):
            if write.at(host, now_ns):
                break
            lacking.append(write)
        return lacking

    def settle(self, now_ns: int) -> list[int]:
        """Forget the oldest writes that all live hosts have; return rows left without a chain."""
        settled = []
        while self._line:
            write = self._line[0]
            if not write.gone:
                live = self.live(write.shard)
                if not live or any(write.unsent(host) for host in live):
                    self._stuck.append(write)
                elif all(write.at(host, now_ns) for host in live):
                    settled += self._forget_upto(write, now_ns)
                else:
                    break
            self._line.popleft()
        return settled

    def _forget_upto(self, write: Write, now_ns: int) -> list[int]:
        """Forget a write that all live hosts have, and what it superseded."""
        chain = self._chains[write.row]
        upto = chain.index(write) + 1
        for host in self.hosts[write.shard]:
            if not any(one.at(host, now_ns) for one in chain[upto - 1 :]):
                self._missed.setdefault(host, set()).add(write.shard)
        for old in chain[:upto]:
            old.gone = True
        del chain[:upto]
        if chain:
            return []
        del self._chains[write.row]
        return [write.row]

    def crash(self, host: int, now_ns: int) -> list[Undone]:
        """Take a host down; return the newest writes of rows that are undone, newest first.

        Copies to it that have not arrived never do, nor do those that it sent; what it had it
        keeps. Then those who are live take over: see `_take_over`.
        """
        if host in self._down_since:
            return []
        self._down_since[host] = now_ns
        for write in self._writes(host):
            if write.coordinator == host and write.acknowledged_ns > now_ns:
                write.acknowledged_ns = NEVER_NS
            for other, visible_ns in write.visible_ns.items():
                if visible_ns > now_ns and host in (other, write.sender[other]):
                    write.visible_ns[other] = NEVER_NS
        return self._take_over(host, now_ns)

    def recover(self, host: int, now_ns: int) -> list[Undone]:
        """Bring a host back; return what is undone because enough are live again to decide.

        In shards with a live host it has, at once, all that one has. In others all hosts that are
        up put together what they have, and serve if nothing lacks that a sender believes in.
        """
        if self._down_since.pop(host, None) is None:
            return []
        pending: dict[int, list[list[Write]]] = {}
        for chain in self._chains.values():
            pending.setdefault(chain[0].shard, []).append(chain)
        for shard, row in enumerate(self.hosts):
            if host not in row:
                continue
            self._behind.setdefault(host, set()).add(shard)
            chains = pending.get(shard, [])
            sources = self.live(shard)
            group = [other for other in row if self.up(other)]
            if not sources and self._complete(shard, group, chains, now_ns):
                sources = group
            if not sources:
                continue
            for other in group:
                for kept in (self._behind, self._missed):
                    kept.get(other, set()).discard(shard)
                self._bring_up(other, sources, list(joined(*chains)), now_ns)
        return self._take_over(host, now_ns)

    def _complete(
        self, shard: int, group: Sequence[int], chains: Sequence[list[Write]], now_ns: int
    ) -> bool:
        """Say whether some hosts have, together, all that must not be lost.

        One has all that all live hosts had, and of each row someone has the last confirmed write or
        a later one; the last of all if they are too few to undo what was not confirmed.
        """
        if all(shard in self._missed.get(host, ()) for host in group):
            return False
        for chain in chains:
            last = len(chain) - 1
            if len(group) >= self.needed:
                while last >= 0 and chain[last].acknowledged_ns == NEVER_NS:
                    last -= 1
            owed = chain[last:] if last >= 0 else []
            if owed and not any(write.at(host, now_ns) for write in owed for host in group):
                return False
        return True

    def move(self, after: Placement, now_ns: int) -> None:
        """Change the placement; a new host has, at once, what the old ones that are up have."""
        before = self.hosts
        writes = [write for chain in self._chains.values() for write in chain]
        self.hosts = after
        for shard, (old, new) in enumerate(zip(before, after, strict=True)):
            for host in new:
                if host not in old:
                    self._behind.get(host, set()).discard(shard)
                    self._missed.get(host, set()).discard(shard)
        for write in writes:
            old, new = before[write.shard], after[write.shard]
            for host in new:
                if host not in old:
                    write.visible_ns.pop(host, None)
                    self._bring_up(host, [h for h in old if self.up(h)], [write], now_ns)
            for host in old:
                if host not in new:
                    write.visible_ns.pop(host, None)
        self._reconsider()

    def _writes(self, host: int) -> Iterator[Write]:
        """Yield the kept writes of a host's shards, by row the newest first."""
        for chain in list(self._chains.values()):
            if host in self.hosts[chain[0].shard]:
                yield from reversed(list(chain))

    def _take_over(self, host: int, now_ns: int) -> list[Undone]:
        """Let the live hosts of a host's shards decide on what is under way.

        What a live host has is sent to those whom nobody sends it. What none has and nobody sends
        them is undone, if enough are live to take over; else it waits for more.
        """
        undone = []
        for write in self._writes(host):
            live = self.live(write.shard)
            holders = [other for other in live if write.at(other, now_ns)]
            if holders:
                self._send(write, holders[0], live, now_ns)
            elif len(live) >= self.needed and all(write.unsent(other) for other in live):
                undone += self._undo(write, now_ns)
        self._reconsider()
        return undone

    def _send(self, write: Write, source: int, live: Sequence[int], now_ns: int) -> None:
        for host in live:
            if write.unsent(host):
                delay_ns = self.copy_delay(write.number, source, host)
                write.visible_ns[host] = now_ns + self.notice_ns + delay_ns
                write.sender[host] = source

    def _undo(self, write: Write, now_ns: int) -> list[Undone]:
        """Take a write out of its chain: what follows it replaced what it had replaced."""
        chain = self._chains[write.row]
        place = chain.index(write)
        del chain[place]
        write.gone = True
        if place < len(chain):
            # Replaced since, so nobody can miss it.
            chain[place].before = write.before
            return []
        if not chain:
            del self._chains[write.row]
        return [Undone(write.row, write.version, write.before, write.acknowledged_ns <= now_ns)]

    def _bring_up(
        self, host: int, sources: Sequence[int], writes: Sequence[Write], now_ns: int
    ) -> None:
        """Give a host what one of `sources` has."""
        for write in writes:
            if not write.at(host, now_ns) and any(write.at(other, now_ns) for other in sources):
                write.visible_ns[host] = now_ns
                write.sender[host] = host

    def _reconsider(self) -> None:
        """Let writes that were stuck settle if they can."""
        waiting = [write for write in joined(self._stuck, self._line) if not write.gone]
        self._stuck.clear()
        self._line = deque(sorted(waiting, key=lambda write: write.number))
