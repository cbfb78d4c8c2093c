"""A Kademlia with stored buckets, message by message: slow, and nothing shared with the kernels.

Lookups are objects that get answers from an event queue. Buckets are filled in one of two ways:
`mixed`: with any k of the nodes in their range, what long lives and many contacts tend to; or
`grown`: nodes join one after another, look themselves up, refresh every bucket and keep whoever
they hear of first. Source: Maymounkov and Mazieres, "Kademlia", IPTPS 2002.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

BITS = 64


@dataclass
class Node:
    """One node: its buckets, by length of the prefix shared with their ids."""

    ident: int
    k: int
    alive: bool = True
    buckets: dict[int, list[Node]] = field(default_factory=dict)

    def heard_from(self, other: Node) -> None:
        """Keep a node if its bucket has room."""
        if other is self:
            return
        bucket = self.buckets.setdefault(BITS - (self.ident ^ other.ident).bit_length(), [])
        if other not in bucket and len(bucket) < self.k:
            bucket.append(other)

    def find_node(self, asker: Node, key: int) -> list[Node]:
        """Answer FIND_NODE: the k closest contacts."""
        found = [node for bucket in self.buckets.values() for node in bucket]
        answer = sorted(found, key=lambda node: node.ident ^ key)[: self.k]
        self.heard_from(asker)
        return answer


class Queue:
    """Events in order of time."""

    def __init__(self) -> None:
        self.now = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, action))

    def run(self) -> None:
        while self._events:
            self.now, _, action = heapq.heappop(self._events)
            action()


class Search:
    """An iterative FIND_NODE by one node."""

    def __init__(
        self,
        asker: Node,
        key: int,
        alpha: int,
        queue: Queue,
        delay: Callable[[], int],
        timeout: int,
    ) -> None:
        self.asker, self.key, self.alpha = asker, key, alpha
        self.queue, self.delay, self.timeout = queue, delay, timeout
        self.depth: dict[int, int] = {}
        self.nodes: list[Node] = []
        self.asked: dict[int, bool] = {}
        self.silent: set[int] = set()
        self.answered: set[int] = set()
        self.flying = self.rpcs = self.rounds = 0
        for node in asker.find_node(asker, key):
            self.learn(node, 1)
        self.go_on(1)

    def learn(self, node: Node, depth: int) -> None:
        if node is not self.asker and node.ident not in self.depth:
            self.depth[node.ident] = depth
            self.nodes.append(node)
            self.nodes.sort(key=lambda n: n.ident ^ self.key)

    def go_on(self, wave: int) -> None:
        while self.flying < self.alpha:
            hopeful = [n for n in self.nodes if n.ident not in self.silent][: self.asker.k]
            unasked = [n for n in hopeful if n.ident not in self.asked]
            if not unasked:
                return
            self.send(unasked[0], wave)

    def send(self, node: Node, wave: int) -> None:
        self.asked[node.ident] = True
        self.flying += 1
        self.rpcs += 1
        self.rounds = max(self.rounds, wave)

        def arrive() -> None:
            answer = node.find_node(self.asker, self.key)
            self.queue.at(self.delay(), lambda: self.answer(node, answer, wave))

        if node.alive:
            self.queue.at(self.delay(), arrive)
        else:
            self.queue.at(self.timeout, lambda: self.give_up(node, wave))

    def answer(self, node: Node, answer: list[Node], wave: int) -> None:
        self.flying -= 1
        self.answered.add(node.ident)
        self.asker.heard_from(node)
        for other in answer:
            self.learn(other, self.depth[node.ident] + 1)
        self.go_on(wave + 1)

    def give_up(self, node: Node, wave: int) -> None:
        self.flying -= 1
        self.silent.add(node.ident)
        self.go_on(wave + 1)

    def result(self) -> tuple[int, int, int, int]:
        """Return (owner's id, depth, rounds, rpcs); the owner may be the asker."""
        own = self.asker.ident ^ self.key
        for node in self.nodes:
            if node.ident in self.answered and node.ident ^ self.key < own:
                return node.ident, self.depth[node.ident], self.rounds, self.rpcs
        return self.asker.ident, 0, self.rounds, self.rpcs


def mixed(n: int, k: int, rng: random.Random) -> list[Node]:
    """Fill each bucket with k nodes of its range, or with all of them where there are fewer."""
    nodes = [Node(rng.getrandbits(BITS), k) for _ in range(n)]
    for node in nodes:
        ranges: dict[int, list[Node]] = {}
        for other in nodes:
            if other is not node:
                shared = BITS - (node.ident ^ other.ident).bit_length()
                ranges.setdefault(shared, []).append(other)
        node.buckets = {s: rng.sample(all_, min(k, len(all_))) for s, all_ in ranges.items()}
    return nodes


def grown(n: int, k: int, alpha: int, delay: Callable[[], int], rng: random.Random) -> list[Node]:
    """Let n nodes join, then all refresh once more, as they would within the hour."""
    nodes: list[Node] = []
    for _ in range(n):
        node = Node(rng.getrandbits(BITS), k)
        if nodes:
            node.heard_from(rng.choice(nodes))
            look_up(node, node.ident, alpha, delay)
            refresh(node, alpha, delay, rng)
        nodes.append(node)
    for node in nodes:
        refresh(node, alpha, delay, rng)
    return nodes


def refresh(node: Node, alpha: int, delay: Callable[[], int], rng: random.Random) -> None:
    """Look up a random id in each bucket's range down to the deepest bucket that holds anybody."""
    for shared in range(max(node.buckets) + 1):
        flipped = node.ident ^ 1 << BITS - 1 - shared
        low = BITS - 1 - shared
        look_up(node, flipped >> low << low | rng.getrandbits(low), alpha, delay)


def look_up(
    node: Node, key: int, alpha: int, delay: Callable[[], int], timeout: int = 10**12
) -> tuple[int, int, int, int]:
    """Run one lookup to its end."""
    queue = Queue()
    search = Search(node, key, alpha, queue, delay, timeout)
    queue.run()
    return search.result()
