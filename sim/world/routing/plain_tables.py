"""Contacts to be read: the tables of the kernels' twin as lists, with no trick.

Owns: who is there, who answers whom, what a node knows, told plainly: every bucket of a node is
written out. Must not know: how a lookup uses it, what a message costs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.world.chance import mix, proceed
from sim.world.routing.nodes import CONTACT_DRAW, PLANTED_DRAW, REFRESH_DRAW, Bundle
from sim.world.routing.parameters import AIMED, DROP, HONEST, PPM, WORLD

TRIES = 16
"""Draws for a bucket: at most this many times k."""
_LOW = (1 << 32) - 1


class PlainTables:
    """Nodes and what they know of one another, as it is at the time of the call."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.c = bundle.constants.view(np.recarray)[0]
        self.ids = [int(ident) for ident in bundle.node["ident"]]
        self.region = [int(region) for region in bundle.node["region"]]
        self.planted = [int(place) for place in bundle.planted if place < len(self.ids)]
        """The planted nodes: their places in the world's ring."""
        self.aimed = False
        """Whether the running lookup's key is aimed at."""

    # -- who is there ---------------------------------------------------------------------------

    def ring_of(self, node: int, kind: int) -> int:
        """Return the ring of a kind to which a node belongs."""
        zone = 1 + int(self.c.regions) + int(self.bundle.node["zone"][node])
        return (0, 1 + self.region[node], zone)[kind]

    def members(self, ring: int) -> list[int]:
        """Return the nodes of a ring, by id."""
        row = self.bundle.rings[ring]
        return [int(node) for node in self.bundle.at[int(row["first"]) : int(row["last"])]]

    def up(self, node: int) -> bool:
        """Say whether a node is alive."""
        return bool(self.bundle.node["up"][node])

    def malice(self, node: int) -> int:
        """Return how a node misbehaves in the running lookup."""
        malice = int(self.bundle.node["malice"][node])
        if malice < AIMED:
            return malice
        return malice - AIMED if self.aimed else HONEST

    def reaches(self, a: int, b: int) -> bool:
        """Say whether a question of node a, and the answer to it, pass between their hosts."""
        x, y = (int(self.bundle.node["host"][node]) for node in (a, b))
        return not self.bundle.cut[x, y] and not self.bundle.cut[y, x]

    def answers(self, asker: int, node: int) -> bool:
        """Say whether a node answers an asker at all."""
        return self.up(node) and self.malice(node) != DROP and self.reaches(asker, node)

    def was_up(self, node: int, t_ns: int) -> bool:
        """Say whether a node was alive; before its last two states nothing is known."""
        row = self.bundle.node[node]
        if t_ns >= row["since_ns"]:
            return bool(row["up"])
        return bool(t_ns >= row["before_ns"] and not row["up"])

    def closer(self, ring: int, node: int, key: int) -> int:
        """Count the live nodes of a ring that are closer to `key` than `node`."""
        own = self.ids[node] ^ key
        return sum(1 for o in self.members(ring) if self.ids[o] ^ key < own and self.up(o))

    def colluders(self, key: int, want: int) -> list[int]:
        """Return the live malicious nodes that are closest to `key`."""
        bad = [int(node) for node in self.bundle.bad if self.up(int(node))]
        return sorted(bad, key=lambda node: self.ids[node] ^ key)[:want]

    # -- tables ---------------------------------------------------------------------------------

    def table(self, x: int, outer: int, t_ns: int) -> list[int]:
        """Return all contacts of node x in rings from the innermost to kind `outer`."""
        c, row = self.c, self.bundle.node[x]
        refresh_ns = int(c.refresh_ns)
        phase = mix(int(self.bundle.draw[REFRESH_DRAW]), self.ids[x]) % refresh_ns
        period = (t_ns + phase) // refresh_ns
        filled_ns = period * refresh_ns - phase
        if row["up"]:
            filled_ns = max(filled_ns, int(row["since_ns"]))
        rings = [(kind, self._buckets(x, kind)) for kind in range(int(c.inner), outer - 1, -1)]
        contacts: list[int] = []
        for bucket in sorted({name for _, buckets in rings for name in buckets}):
            for kind, buckets in rings:
                here = buckets.get(bucket, [])
                chosen = self._chosen(x, kind, bucket, here, period, filled_ns)
                if chosen:
                    contacts += chosen
                    break
        return contacts

    def _buckets(self, x: int, kind: int) -> dict[tuple[int, int], list[int]]:
        """Sort the other nodes of x's ring into buckets (level, digit)."""
        b = int(self.c.b)
        buckets: dict[tuple[int, int], list[int]] = {}
        for node in self.members(self.ring_of(x, kind)):
            if node != x:
                level = (64 - (self.ids[node] ^ self.ids[x]).bit_length()) // b
                width = min(b, 64 - level * b)
                digit = self.ids[node] >> (64 - level * b - width) & ((1 << width) - 1)
                buckets.setdefault((level, digit), []).append(node)
        return buckets

    def _chosen(
        self,
        x: int,
        kind: int,
        bucket: tuple[int, int],
        here: list[int],
        period: int,
        filled_ns: int,
    ) -> list[int]:
        """Choose a bucket's contacts among the nodes in its range; planted ones replace some."""
        code = period << 18 | bucket[0] << 10 | kind << 8 | bucket[1]
        chosen = self._honest(x, kind, here, code, filled_ns)
        planted = [node for node in here if node in self.planted]
        if not planted:
            return chosen
        begun = mix(int(self.bundle.draw[PLANTED_DRAW]), self.ids[x], code)
        for place, node in enumerate(chosen):
            bits = mix(begun, self.ids[node])
            if (bits >> 32) * PPM >> 32 < self.c.planted_ppm:
                chosen[place] = planted[(bits & _LOW) * len(planted) >> 32]
        return chosen

    def _honest(self, x: int, kind: int, here: list[int], code: int, filled_ns: int) -> list[int]:
        """Choose contacts by the rule, among those in the range that were alive."""
        c = self.c
        k = int(c.k)
        if len(here) <= k:
            return [node for node in here if self.was_up(node, filled_ns)]
        begun = mix(int(self.bundle.draw[CONTACT_DRAW]), self.ids[x], code)
        near = c.proximity and kind == WORLD and c.regions > 1
        drawn: list[int] = []
        for draw, place in enumerate(_places(begun, len(here), TRIES * k)):
            if len(drawn) >= k and draw >= (2 * k if near else k):
                break
            node = here[place]
            if self.was_up(node, filled_ns) and node not in drawn:
                drawn.append(node)
        if near:
            drawn.sort(key=lambda node: self.region[node] != self.region[x])
        return drawn[:k]


def _places(begun: int, size: int, tries: int) -> Iterator[int]:
    """Draw places below `size`, two from each 64 bits."""
    for draw in range(tries):
        bits = proceed(begun, draw >> 1)
        half = bits & _LOW if draw & 1 else bits >> 32
        yield half * size >> 32
