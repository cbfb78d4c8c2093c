"""Closed forms and exact recursions that measured figures are compared with.

Owns: what is known about lookups without simulating one. Must not know: how lookups are run.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod


def closest_at_least(size: int, k: int, distance: int) -> float:
    """Return the probability that the closest of k of `size` nodes is at `distance` or beyond.

    k distinct nodes, uniform over distances 0 .. size - 1; all of them if there are no more than k.
    """
    if distance <= 0:
        return 1.0
    if size <= k or distance > size - k:
        return 0.0
    return prod((size - distance - i) / (size - i) for i in range(k))


def hops_by_level(bits: int, k: int) -> list[float]:
    """Return the expected hops from a node whose distance to the key has i + 1 bits, i < `bits`.

    A full id space of 2**bits nodes, each with k distinct uniform contacts in every bucket, greedy
    forwarding: from a distance of i + 1 bits the contacts lie uniformly in the 2**i nodes around
    the key, and the closest of them is next, at h + 1 bits with probability P(>= 2**h) -
    P(>= 2**(h + 1)). Its law depends on i alone, so this is exact.

    Source: the random graph of Cai and Devroye, "A Probabilistic Analysis of Kademlia Networks",
    ISAAC 2013, arXiv:1309.5866, in its version with fixed ids. They give asymptotics (hops tend to
    c_k log n); this finite recursion is derived here.
    """
    hops: list[float] = []
    for i in range(bits):
        size = 1 << i
        tails = [closest_at_least(size, k, 1 << h) for h in range(i + 1)]
        hops.append(1.0 + sum((tails[h] - tails[h + 1]) * hops[h] for h in range(i)))
    return hops


def mean_hops(bits: int, k: int) -> float:
    """Return the expected hops between two uniform nodes of a full id space of 2**bits.

    The same node may be both, at no hop. For k = 1 this is bits / 2.
    """
    hops = hops_by_level(bits, k)
    return sum((1 << i) * h for i, h in enumerate(hops)) / (1 << bits)


def hops_distribution(bits: int, k: int) -> list[float]:
    """Return the probability of 0, 1, .. `bits` hops between two uniform nodes; see `mean_hops`."""
    levels: list[list[float]] = []
    for i in range(bits):
        tails = [closest_at_least(1 << i, k, 1 << h) for h in range(i + 1)]
        law = [0.0] * (bits + 1)
        law[1] = 1.0 - tails[0]
        for h in range(i):
            weight = tails[h] - tails[h + 1]
            for number in range(bits):
                law[number + 1] += weight * levels[h][number]
        levels.append(law)
    whole = [0.0] * (bits + 1)
    whole[0] = 1.0 / (1 << bits)
    for i, law in enumerate(levels):
        for number, p in enumerate(law):
            whole[number] += p * (1 << i) / (1 << bits)
    return whole


def poisoned_success(law: Sequence[float], malicious: float) -> float:
    """Return the share of recursive lookups whose one path meets no poisoner.

    `law`: probability of 0, 1, .. hops without poisoners. Each hop, the last included, reaches a
    node that is malicious with probability `malicious`, wherever it is: the sum over h of
    P(h) (1 - malicious)**h. Silent nodes are not covered: who meets one goes round it.
    """
    return float(sum(p * (1 - malicious) ** h for h, p in enumerate(law)))
