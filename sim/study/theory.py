"""Closed forms and exact recursions that measured figures are compared with.

Owns: what is known about lookups, queues, races, quorums and registries without simulating one.
Must not know: how anything is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, exp, factorial, lgamma, log, log1p, prod, sqrt

import numpy as np


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


# -- queues -------------------------------------------------------------------------------------


def erlang_c(servers: int, load: float) -> float:
    """Return the probability that an arrival of M/M/c waits; `load` < `servers`, in erlangs.

    Source: Erlang, "Solution of some problems in the theory of probabilities of significance in
    automatic telephone exchanges", 1917; Kleinrock, "Queueing Systems", volume 1, section 3.5.
    """
    below = sum(load**k / factorial(k) for k in range(servers))
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (below + last)


def wait_m_m_c(servers: int, utilisation: float) -> float:
    """Return the mean wait in M/M/c, in units of the mean service, by Erlang's C."""
    load = servers * utilisation
    return erlang_c(servers, load) / (servers - load)


def wait_m_d_1(utilisation: float) -> float:
    """Return the mean wait in M/D/1, in units of the service (Pollaczek and Khinchine)."""
    return utilisation / (2 * (1 - utilisation))


def clique_units(n: int, f: int) -> int:
    """Return a decision of basic HotStuff in a clique, in units of the time a message takes.

    T = (4n - f + 4) / mu: every message takes 1/mu of its receiver's computer, links none. Source:
    Chan, Tay, Yen, "A Performance Analysis of BFT Consensus for Blockchains", arXiv:2411.07622.
    """
    return 4 * n - f + 4


def chained_clique_units(n: int, f: int) -> int:
    """Return what a block of chained HotStuff takes under a leader that stays, proposed to final.

    Derived here, from `clique_units`. That is read as the leader's queue: n - f new-views; thrice
    its own proposal and n votes, all of which come before the next phase's although n - f suffice;
    the decision. A view of the chained protocol is a phase, so that a block takes all but the
    new-views, with three differences of this simulator:
    - a validator's vote for its own proposal costs it nothing: 3 less;
    - a computer signs in the order of its queue, so that the last proposal leaves after the f
      votes which its certificate did without: f more;
    - a certificate is n - f signatures that do not aggregate, checked with each of the four
      proposals: 4 (n - f) more.
    """
    return clique_units(n, f) - (n - f) - 3 + f + 4 * (n - f)


# -- races --------------------------------------------------------------------------------------


def nakamoto(q: float, z: int) -> float:
    """Return how often an attacker with a share q of the blocks draws level after z confirmations.

    The honest chain takes its expected time for z blocks, so that the attacker's progress is
    Poisson. Source: Nakamoto, "Bitcoin: A Peer-to-Peer Electronic Cash System", 2008, section 11.
    """
    p, mean = 1 - q, z * q / (1 - q)
    law = [exp(-mean) * mean**k / factorial(k) for k in range(z + 1)]
    return 1 - sum(law[k] * (1 - (q / p) ** (z - k)) for k in range(z + 1))


def rosenfeld(q: float, z: int) -> float:
    """Return the same where both chains grow at random: the attacker's progress is then negative
    binomial.

    Source: Rosenfeld, "Analysis of Hashrate-Based Double Spending", arXiv:1402.2009, equation 1,
    where drawing level suffices.
    """
    p = 1 - q
    law = [comb(k + z - 1, k) * p**z * q**k for k in range(z + 1)]
    return 1 - sum(law[k] * (1 - (q / p) ** (z - k)) for k in range(z + 1))


def forking_growth(bad: float) -> float:
    """Return the share of blocks of chained HotStuff that survive leaders who fork.

    `bad`: their share of the views, drawn independently. Such a leader builds on the lock, two
    blocks below the highest certificate, so a block survives where the next two leaders are good.
    Derived here, for the attack of Gai et al. (Bamboo), arXiv:2103.00777.
    """
    return (1 - bad) ** 2


def silent_growth(bad: float) -> float:
    """Return the same for silent leaders: the votes for a block go to the next one. As above."""
    return 1 - bad


# -- quorums ------------------------------------------------------------------------------------


def shortfall_in_time(n: int, falls: float, recovers: float, over: int, steps: int) -> float:
    """Return P(more than `over` of n equal validators are late at some step from 0 to `steps`).

    Each falls behind with `falls` and recovers with `recovers` a step, by itself, so that the
    number late is a Markov chain; all begin on time. Exact.
    """
    rows = np.zeros((over + 1, n + 1))
    for late in range(over + 1):
        rows[late] = np.convolve(_binomial(n - late, falls), _binomial(late, 1 - recovers))
    state, hit = np.zeros(over + 1), 0.0
    state[0] = 1.0
    for _ in range(steps):
        after = state @ rows
        hit += float(after[over + 1 :].sum())
        state = after[: over + 1]
    return hit


def _binomial(n: int, p: float) -> list[float]:
    return [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


# -- registries ---------------------------------------------------------------------------------


def blocked(load: float) -> float:
    """Return the share that one server without a queue turns away, whatever the service's law.

    `load`: arrivals a service. Source: Erlang's loss formula, and its insensitivity (Kleinrock,
    volume 1, section 3.6).
    """
    return load / (1 + load)


def fastest(count: int, needed: int) -> float:
    """Return the mean of the `needed`-th smallest of `count` exponentials of mean 1.

    Source: Renyi, "On the theory of order statistics", Acta Math. Acad. Sci. Hung. 4 (1953).
    """
    return sum(1 / (count - i) for i in range(needed))


def hottest(balls: int, bins: int) -> float:
    """Return the expected load of the fullest of `bins`, each ball in any of them alike.

    P(max <= x) is taken as P(Binomial(balls, 1 / bins) <= x)**bins, bins being almost independent.
    Source for the regime: Raab and Steger, "Balls into bins - a simple and tight analysis",
    RANDOM 1998.
    """
    mean = balls / bins
    sigma = sqrt(mean * (1 - 1 / bins))
    first, last = int(mean - 2 * sigma), int(mean + 9 * sigma)
    logs = [
        lgamma(balls + 1) - lgamma(k + 1) - lgamma(balls - k + 1)
        - k * log(bins) + (balls - k) * log1p(-1 / bins)
        for k in range(last)
    ]  # fmt: skip
    below = np.cumsum(np.exp(logs))[first:]
    return float(first + (1 - below**bins).sum())
