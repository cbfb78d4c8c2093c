"""Parts of the simulator driven by themselves, beside the closed forms that they should meet.

Owns: stations, races in the block tree, rare shortfalls, delays, the registry's limits; each
returns the frame of `rows`. Must not know: worlds, figures. Seconds each, the same at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim.protocol.fork_detector import BlockTree
from sim.protocol.types import QC, Block
from sim.study import theory
from sim.study.statistics.intervals import t_quantile
from sim.study.statistics.rare import exact_shortfall, quorum_shortfall
from sim.study.statistics.splitting import LateWeight, split
from sim.study.validation.rows import Compared, frame
from sim.world.chance import I64, Chance, mix_array
from sim.world.network.regions import matrix_regions, round_trip
from sim.world.network.stations import Cpu, Lane, serialisation_ns
from sim.world.network.tables import build_tables
from sim.world.registry.limits import RegistrationLimits, RegistrationMeter, TokenBucket
from sim.world.registry.placement import shards_of
from sim.world.registry.quorum import quorum_waits_ns

SEED = 1
UTILISATIONS = (0.3, 0.5, 0.7, 0.8, 0.9)
WORKERS = (1, 3, 8)
CUSTOMERS = 200_000
BATCHES = 40
"""Of consecutive waits: their means are nearly independent."""
SERVICE_NS = 1_000_000
SIGNATURE_BYTES, LANE_BITS_PER_S = 4_627, 10**9
CATCH_UPS = ((0.1, 1), (0.1, 2), (0.2, 1), (0.2, 3), (0.3, 2), (0.3, 5), (0.3, 10))
"""Share of the attacker and confirmations; (0.1, 1), (0.1, 2), (0.3, 5), (0.3, 10) are in
Nakamoto's table."""
TRIALS = 1_000
_HOPELESS = 1e-5
"""A race is given up when the attacker's chance of drawing level is below this."""


# -- stations -----------------------------------------------------------------------------------


def stations(customers: int = CUSTOMERS) -> pl.DataFrame:
    """Measure mean waits of computers (M/M/c) and of links (M/D/1), in units of the service."""
    return frame(_station_rows(customers))


def _station_rows(customers: int) -> Iterator[Compared]:
    for place, utilisation in enumerate(UTILISATIONS):
        for workers in WORKERS:
            rng = Chance(SEED, workers).stream(f"validation/m_m_c/{place}")
            gaps = rng.exponential(SERVICE_NS / (workers * utilisation), customers)
            services = np.maximum(rng.exponential(SERVICE_NS, customers), 1).astype(np.int64)
            arrivals = np.cumsum(gaps).astype(np.int64)
            ends = _served(arrivals, services.tolist(), Cpu(workers).serve)
            waits = (ends - arrivals - services) / SERVICE_NS
            expected = theory.wait_m_m_c(workers, utilisation)
            yield _waited(f"M/M/{workers}", utilisation, expected, waits)
        service_ns = serialisation_ns(SIGNATURE_BYTES, LANE_BITS_PER_S)
        rng = Chance(SEED, 0).stream(f"validation/m_d_1/{place}")
        gaps = rng.exponential(service_ns / utilisation, customers)
        arrivals = np.cumsum(gaps).astype(np.int64)
        ends = _served(arrivals, [SIGNATURE_BYTES] * customers, Lane(LANE_BITS_PER_S).send)
        waits = (ends - arrivals - service_ns) / service_ns
        yield _waited("M/D/1", utilisation, theory.wait_m_d_1(utilisation), waits)


def _served(arrivals: I64, work: Sequence[int], serve: Callable[[int, int], int]) -> I64:
    """Hand customers in one by one; return when each is done."""
    ends = [serve(now, amount) for now, amount in zip(arrivals.tolist(), work, strict=True)]
    return np.array(ends, dtype=np.int64)


def _waited(case: str, utilisation: float, expected: float, waits: NDArray[np.float64]) -> Compared:
    """Leave the first twentieth out as warm-up; the error is that of consecutive batches' means."""
    settled = waits[waits.size // 20 :]
    return Compared(
        "waits", case, utilisation, expected, float(settled.mean()), _error(settled), settled.size
    )


def _error(values: NDArray[Any]) -> float:
    """Return the standard error of the mean of values that depend on their neighbours."""
    means = np.array([part.mean() for part in np.array_split(values, BATCHES)])
    return float(means.std(ddof=1)) / sqrt(BATCHES)


# -- races --------------------------------------------------------------------------------------

HONEST, ATTACKER = 0, 1
GENESIS = Block(1, 0, 0, 0, bytes(32), QC(1, 0, bytes(32), 0))


class Race:
    """Two branches above genesis. Votes for the attacker's weigh more: a draw is the attacker's."""

    def __init__(self) -> None:
        self.tree = BlockTree(GENESIS, lambda qc: qc.signers)
        self.tips = [GENESIS, GENESIS]
        self.views = 0

    def mine(self, who: int) -> None:
        """Let a branch grow by a certified block."""
        parent = self.tips[who]
        self.views += 1
        justify = self.tree.certificate(parent.id) or QC(1, 0, parent.id, 0)
        block = Block(1, self.views, parent.height + 1, who, parent.id, justify)
        self.tree.insert(block)
        self.tree.certify(QC(1, block.view, block.id, 1 + who))
        self.tips[who] = block

    @property
    def deficit(self) -> int:
        """How many blocks the attacker lacks."""
        return self.tips[HONEST].height - self.tips[ATTACKER].height

    @property
    def caught_up(self) -> bool:
        """Whether the fork choice takes the attacker's branch."""
        return self.tree.fork_choice() == self.tips[ATTACKER].id


def attack(q: float, z: int, rng: np.random.Generator, *, poisson: bool) -> bool:
    """Mine z honest blocks and what the attacker finds meanwhile, then race to the end.

    `poisson`: z blocks take their expected time, as in `theory.nakamoto`; else both grow at random,
    as in `theory.rosenfeld`.
    """
    race = Race()
    if poisson:
        for _ in range(z):
            race.mine(HONEST)
        for _ in range(rng.poisson(z * q / (1 - q))):
            race.mine(ATTACKER)
    else:
        while race.tips[HONEST].height < z:
            race.mine(ATTACKER if rng.random() < q else HONEST)
    while not race.caught_up:
        if (q / (1 - q)) ** race.deficit < _HOPELESS:
            return False
        race.mine(ATTACKER if rng.random() < q else HONEST)
    return True


def caught_up(q: float, z: int, trials: int, *, poisson: bool) -> float:
    """Return the share of races in which the attacker drew level."""
    rng = Chance(SEED, z).stream(f"validation/race/{round(10 * q)}/{poisson}")
    return sum(attack(q, z, rng, poisson=poisson) for _ in range(trials)) / trials


def races(trials: int = TRIALS) -> pl.DataFrame:
    """Drive the block tree with two miners; compare with Nakamoto's and Rosenfeld's figures."""
    rows = []
    for name, law in (("Nakamoto", theory.nakamoto), ("Rosenfeld", theory.rosenfeld)):
        for q, z in CATCH_UPS:
            found = caught_up(q, z, trials, poisson=name == "Nakamoto")
            expected = law(q, z)
            error = sqrt(expected * (1 - expected) / trials)
            case = f"{name}, q = {q}"
            rows.append(Compared("races", case, z, expected, found, error, trials))
    return frame(rows)


# -- quorums that fall short --------------------------------------------------------------------

VALIDATORS, THIRD = 150, 50
LATE = (0.10, 0.118, 0.14, 0.18, 0.22, 0.26, 0.30, 0.34)
DRAWS = 100_000
CHAINS = ((8, 3), (10, 5), (12, 8))
"""Validators, and how many late at once are too many."""
_FALLS, _RECOVERS, _STEPS = 0.003, 0.05, 200


def shortfalls(draws: int = DRAWS) -> pl.DataFrame:
    """Estimate how often too much weight is late: by tilting at once, by splitting over time."""
    rows = []
    ones = [1] * VALIDATORS
    for late in LATE:
        chances = [late] * VALIDATORS
        chance = Chance(SEED, round(late * 1000))
        found = quorum_shortfall(ones, chances, THIRD, chance=chance, draws=draws).interval
        error = found.half_width / t_quantile(0.975, draws - 1)
        expected = exact_shortfall(ones, chances, THIRD)
        rows.append(
            Compared("shortfall, tilting", "tilting", late, expected, found.estimate, error, draws)
        )
    for n, over in CHAINS:
        process = LateWeight([1] * n, _FALLS, _RECOVERS)
        found = split(process, over, _STEPS, chance=Chance(SEED, n), effort=500).interval
        error = found.half_width / t_quantile(0.975, found.n - 1)
        expected = theory.shortfall_in_time(n, _FALLS, _RECOVERS, over, _STEPS)
        case = f"more than {over} of {n}"
        rows.append(
            Compared("shortfall, splitting", case, over, expected, found.estimate, error, found.n)
        )
    return frame(rows)


# -- delays -------------------------------------------------------------------------------------

PROBABILITIES = (0.5, 0.99)
PAIR_DRAWS = 20_000


def delays(draws: int = PAIR_DRAWS) -> pl.DataFrame:
    """Draw one-way delays of all pairs of the region table; compare p50 and p99 with its figures.

    In ms; `case` names the quantile. The standard error of a sample quantile is that of its rank,
    read off the sample. One pair's tail is cut to what light allows (see
    `sim.world.network.tables.build_tables`): its p99 is a part of its own, "delays, cut".
    """
    names = matrix_regions()
    tables = build_tables(names)
    key = Chance(SEED, 0).key("validation/delays")
    rows = []
    for number, (a, b) in enumerate(combinations(range(len(names)), 2)):
        bits = mix_array(key, np.arange(draws), number)
        drawn = np.sort(tables.delay_array(np.array(a), np.array(b), bits)) / 1e6
        trip = round_trip(names[a], names[b])
        figures = (trip.rtt_p50_ns / 2e6, trip.rtt_p99_ns / 2e6)
        whole = figures[1] - figures[0] <= int(tables.spread_ns[a, b]) / 1e6 + 1e-5
        for probability, expected in zip(PROBABILITIES, figures, strict=True):
            cut = probability > 0.5 and not whole
            part = "delays, cut" if cut else "delays (ms)"
            found, error = _quantile(drawn, probability)
            # Figures are halved and rounded to whole nanoseconds.
            row = Compared(
                part, f"p{probability * 100:g}", expected, expected, found, error, draws, 1e-6
            )
            rows.append(row)
    return frame(rows)


def _quantile(ordered: NDArray[np.float64], probability: float) -> tuple[float, float]:
    """Return a sample quantile and its standard error, from the ranks a deviation to each side."""
    n = ordered.size
    rank, spread = probability * n, sqrt(n * probability * (1 - probability))
    low, high = int(max(0, rank - spread)), int(min(n - 1, rank + spread))
    return float(ordered[int(rank)]), float(ordered[high] - ordered[low]) / 2


# -- the registry -------------------------------------------------------------------------------

LOADS = (0.2, 0.6, 1.0, 2.0)
REPLICAS = (2, 3, 5, 7)
SHARDS, RECORDS, PLACEMENTS = 150, (15_000, 60_000, 150_000), 60
ARRIVALS, ROWS = 100_000, 40_000


def registry() -> pl.DataFrame:
    """Compare the limits, the quorums and the placement of the registry with their closed forms."""
    return frame([*_refused(), *_agreed(), *_hottest()])


def _refused() -> Iterator[Compared]:
    bucket = TokenBucket(rate_nhz=1_000 * 10**9, burst=1)
    for place, load in enumerate(LOADS):
        rng = Chance(SEED, 0).stream(f"validation/bucket/{place}")
        times = np.cumsum(rng.exponential(bucket.step_ns / load, ARRIVALS)).astype(np.int64)
        meter = RegistrationMeter(RegistrationLimits(gateway=bucket), 1)
        refused = meter.admit_many(np.zeros(ARRIVALS, dtype=np.int64), times) != 0
        expected, found = theory.blocked(load), float(refused.mean())
        yield Compared(
            "registry: refused", "burst 1", load, expected, found, _error(refused), ARRIVALS
        )


def _agreed() -> Iterator[Compared]:
    unit_ns = 1_000_000
    for replicas in REPLICAS:
        rng = Chance(SEED, replicas).stream("validation/quorum")
        trips = rng.exponential(unit_ns, (ROWS, replicas - 1)).astype(np.int64)
        waits = quorum_waits_ns(trips, replicas) / unit_ns
        error = float(waits.std(ddof=1)) / sqrt(ROWS)
        expected = theory.fastest(replicas - 1, replicas // 2)
        yield Compared(
            "registry: quorum", "wait", replicas, expected, float(waits.mean()), error, ROWS, 1e-6
        )


def _hottest() -> Iterator[Compared]:
    for records in RECORDS:
        tops = []
        for placement in range(PLACEMENTS):
            key = Chance(SEED, placement).key("validation/shard")
            held = np.bincount(shards_of(key, np.arange(records), SHARDS), minlength=SHARDS)
            tops.append(int(held.max()))
        most = np.array(tops) / (records / SHARDS)
        error = float(most.std(ddof=1)) / sqrt(PLACEMENTS)
        expected = theory.hottest(records, SHARDS) / (records / SHARDS)
        yield Compared(
            "registry: hottest", "shard", records, expected, float(most.mean()), error, PLACEMENTS
        )
