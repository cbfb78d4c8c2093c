"""What routing is built from: frozen values, codes of modes, outcomes and malice.

Owns: `RoutingParameters`, its bounds and defaults. Must not know: YAML, networks, agents.
"""

from __future__ import annotations

from dataclasses import dataclass

KADEMLIA, HIERARCHICAL = range(2)
KINDS = ("kademlia", "hierarchical")
RECURSIVE, ITERATIVE = range(2)
STYLES = ("recursive", "iterative")

FOUND, NOT_FOUND, TIMED_OUT, POISONED = range(4)
OUTCOMES = ("found", "not_found", "timed_out", "poisoned")

HONEST, DROP, POISON = range(3)
MALICE = ("honest", "drop", "poison")
"""What a node does with questions: answers, stays silent, names colluders nearest to the key."""
AIMED = 4
"""Added to a node's malice: it is honest but for the keys that are aimed at."""
PPM = 1_000_000

WORLD, REGION, ZONE = range(3)
RINGS = ("world", "region", "zone")
"""Kinds of rings, outermost first."""

MAX_K, MAX_B, MAX_ALPHA, MAX_PATHS = 64, 8, 16, 8
MIN_ID_BITS, MAX_ID_BITS = 8, 64
COLLISION_ODDS = 1_000
"""Ids of n nodes are refused when any two of them collide with more than 1 in 2,000 odds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingParameters:
    """How nodes know one another and how a question travels.

    Defaults: k of Maymounkov and Mazieres, "Kademlia", IPTPS 2002 (20), alpha of the same (3).
    """

    kind: int = KADEMLIA
    """KADEMLIA: one ring, the world. HIERARCHICAL: zone, region, world."""
    style: int = RECURSIVE
    k: int = 20
    """Contacts a bucket; answers name as many."""
    b: int = 1
    """Bits of an id resolved a hop: a level has 2**b - 1 buckets."""
    id_bits: int = 64
    alpha: int = 3
    """Iterative: questions in flight."""
    disjoint_paths: int = 1
    proximity: bool = True
    """Those of the own region come first in the choice of a bucket's k among 2k draws."""
    rpc_timeout_ns: int = 500_000_000
    """After this a contact that did not answer is given up."""
    rpc_bytes: int = 96
    """A question, and an answer without contacts: UDP and IPv6 headers (48 B), a message type and a
    transaction number (8 B), two ids of 160 bits as in Kademlia (40 B)."""
    contact_bytes: int = 26
    """A contact in an answer: IPv6 address (16 B), port (2 B), id of 64 bits (8 B)."""
    refresh_ns: int = 3_600_000_000_000
    """Age that a bucket reaches before it is filled anew: an hour, as in Kademlia."""
    deadline_ns: int = 0
    """A lookup whose question has not reached the owner by then has timed out; 0: no deadline."""

    def __post_init__(self) -> None:
        problems = [text for holds, text in self._demands() if not holds]
        if problems:
            raise ValueError("routing: " + "; ".join(problems))

    def _demands(self) -> list[tuple[bool, str]]:
        return [
            (
                self.kind in range(len(KINDS)),
                f"kind {self.kind}: know 0 (kademlia), 1 (hierarchical)",
            ),
            (
                self.style in range(len(STYLES)),
                f"style {self.style}: know 0 (recursive), 1 (iterative)",
            ),
            (1 <= self.k <= MAX_K, f"k {self.k}: need 1 to {MAX_K}"),
            (1 <= self.b <= MAX_B, f"b {self.b}: need 1 to {MAX_B}"),
            (
                MIN_ID_BITS <= self.id_bits <= MAX_ID_BITS,
                f"id_bits {self.id_bits}: need {MIN_ID_BITS} to {MAX_ID_BITS}",
            ),
            (1 <= self.alpha <= MAX_ALPHA, f"alpha {self.alpha}: need 1 to {MAX_ALPHA}"),
            (
                1 <= self.disjoint_paths <= MAX_PATHS,
                f"disjoint_paths {self.disjoint_paths}: need 1 to {MAX_PATHS}",
            ),
            (self.rpc_timeout_ns > 0, "rpc_timeout must be positive"),
            (self.refresh_ns > 0, "refresh must be positive"),
            (self.rpc_bytes > 0 and self.contact_bytes > 0, "messages need bytes"),
            (self.deadline_ns >= 0, "deadline must not be negative"),
        ]


def check_id_bits(id_bits: int, nodes: int) -> None:
    """Raise ValueError where 2**id_bits < nodes**2 x 1,000: two nodes could get one id."""
    need = (nodes * nodes * COLLISION_ODDS - 1).bit_length()
    if id_bits < need:
        raise ValueError(
            f"id_bits {id_bits} are too few for {nodes:,} nodes: two of them would share an "
            f"id with odds above 1 in {2 * COLLISION_ODDS:,}; need {need} or more, or fewer nodes"
        )
