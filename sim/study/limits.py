"""The work that the source document sets limits to, done once and timed.

Owns: what is worked on, and that the work was truly done: each measurement hands back what it made,
so that a test can look at it. Must not know: the limits, nor how figures are shown.
Times are wall-clock time of this process unless they say CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from sim.protocol.fork_detector import BlockTree
from sim.protocol.multi_signature import Accepted, VoteCollector, check_certificate
from sim.protocol.types import QC, TC, Block, EpochParameters, Timeout, Vote, WeightTable
from sim.protocol.weighted_voting import PPM, WeightParameters, weight_table
from sim.world.chance import Chance
from sim.world.compliance.audit_logger import AuditLogger, Outcome
from sim.world.crypto.signer import RealSigner
from sim.world.crypto.suites import suite

VALIDATORS = 150
SIGNERS = 100
BLOCKS = 1_000
RECORDS = 1_000_000
QUERIES = 200
ROUNDS = 7
"""Certificates of a measurement; the median counts."""

Way: TypeAlias = Literal["at once", "as they come"]

_QUORUM = 101
"""Equal weights that reach 67 % of 150."""
_ACTORS, _ACTIONS = 500, 20
_RECORD_NS = 1_000_000
"""Simulated time between two records: a thousand acts a second."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """Weight tables of 150 validators, one a round; `times_ns` each."""

    table: WeightTable
    times_ns: list[int]


def weigh(combine: Literal["additive", "stake_multiplied"], rounds: int = 50) -> Weighed:
    """Calculate the voting weights of 150 validators, all different."""
    parameters = WeightParameters(combine=combine)
    stakes = [10**9 + 7 * i**4 for i in range(VALIDATORS)]
    reputations = [400_000 + 3_000 * i for i in range(VALIDATORS)]
    uptimes = [PPM - 911 * i for i in range(VALIDATORS)]
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        table = weight_table(stakes, reputations, uptimes, parameters)
        times.append(time.perf_counter_ns() - start)
    return Weighed(table, times)


@dataclass(frozen=True, slots=True)
class Aggregated:
    """Certificates of 100 signatures. `times_ns`: wall clock; `cpu_ns`: of all threads."""

    signer: RealSigner
    certificates: list[QC]
    parameters: EpochParameters
    times_ns: list[int]
    cpu_ns: list[int]

    @property
    def sound(self) -> bool:
        """Whether every signature was verified, once, and each certificate has all of them."""
        whole = all(
            check_certificate(qc, self.parameters) is None and len(qc.signatures) == SIGNERS
            for qc in self.certificates
        )
        return whole and self.signer.verified == SIGNERS * len(self.certificates)


def aggregate(name: str, way: Way, threads: int = 1, rounds: int = ROUNDS) -> Aggregated:
    """Verify and aggregate 100 ML-DSA-87 votes of a suite into a certificate, a view a round.

    `at once`: all 100 lie there, timed from the first to the certificate. `as they come`: each is
    verified on arrival, timed is the last one, for what came before was paid while waiting.
    """
    block = bytes(32)
    equal = WeightTable((1,) * SIGNERS, SIGNERS)
    parameters = EpochParameters(1, block, 0, equal, 0, SIGNERS, 0, block)
    signer = RealSigner(suite(name), SIGNERS, seed=1, threads=threads)
    made, times, cpu = [], [], []
    for view in range(1, rounds + 1):
        bare = [Vote(1, view, block, i) for i in range(SIGNERS)]
        votes = [v._replace(signature=signer.sign(v.voter, v.signed_bytes())) for v in bare]
        collector = VoteCollector(parameters, view)
        start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
        if way == "at once":
            said = [(v.voter, v.signed_bytes(), v.signature) for v in votes]
            valid = signer.verify_all(said)
            for vote in votes:
                _count(collector, vote, valid)
        else:
            for vote in votes:
                start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
                valid = signer.verify(vote.voter, vote.signed_bytes(), vote.signature)
                _count(collector, vote, valid)
        times.append(time.perf_counter_ns() - start)
        cpu.append(time.process_time_ns() - cpu_start)
        assert collector.certificate is not None
        made.append(collector.certificate)
    signer.close()
    return Aggregated(signer, made, parameters, times, cpu)


def _count(collector: VoteCollector, vote: Vote, valid: bool) -> None:
    answer = collector.add(vote, valid)
    if not isinstance(answer, Accepted):
        raise RuntimeError(f"a sound vote was not counted: {answer}")


@dataclass(frozen=True, slots=True)
class Forked:
    """A tree of 1,000 blocks, its forks found, chosen among, finalised, reconciled."""

    kinds: list[str]
    chosen_is_a_tip: bool
    orphaned: int
    conflict_found: bool
    reconciled: int
    elapsed_ns: int


def fork(width: int) -> Forked:
    """Detect and resolve forks among 1,000 blocks in `width` branches, all live and certified.

    Then one branch becomes final, another is committed against it, and both are reconciled.
    """
    root, *blocks = branches(width)
    tips = blocks[-width:]
    start = time.perf_counter_ns()
    tree = BlockTree(root, lambda qc: qc.signers.bit_count(), keep=BLOCKS)
    forks = [found for block in blocks for found in tree.insert(block)]
    for block in tips:
        quorum = ((1 << _QUORUM) - 1) << (block.view % 50)
        forks += tree.certify(QC(1, block.view, block.id, quorum))
    chosen = tree.fork_choice()
    done = tree.finalize(blocks[0].id)
    loser = next(b for b in tips if not tree.extends(b.id, blocks[0].id))
    conflict = tree.finalize(loser.id)
    result = tree.reconcile(loser.id)
    elapsed = time.perf_counter_ns() - start
    return Forked(
        [found.kind for found in forks],
        tree.get(chosen) in tips,
        len(done.orphaned),
        conflict.fork is not None,
        len(result.orphaned),
        elapsed,
    )


def branches(width: int) -> list[Block]:
    """Return a root and a thousand blocks in `width` interleaved branches, with justifications."""
    root = Block(1, 0, 0, 0, bytes(32), QC(1, 0, bytes(32), 0))
    tips = [root] * width
    made = [root]
    for view in range(1, BLOCKS + 1):
        parent = tips[view % width]
        quorum = ((1 << _QUORUM) - 1) << (view % 50)
        justify = QC(1, parent.view, parent.id, quorum if parent.view else 0)
        said = tuple(Timeout(1, view - 1, parent.view, parent.id, s) for s in range(_QUORUM))
        tc = None if view == parent.view + 1 else TC(1, view - 1, said)
        block = Block(1, view, parent.height + 1, view % VALIDATORS, parent.id, justify, tc)
        tips[view % width] = block
        made.append(block)
    return made


@dataclass(frozen=True, slots=True)
class Queried:
    """Questions to an audit log of a million records. `answers`: records found, by question."""

    records: int
    answers: list[int]
    times_ns: list[int]
    append_cpu_ns: int


def query_audit(records: int = RECORDS, queries: int = QUERIES) -> Queried:
    """Fill an audit log and ask it: by actor, by action, by failure, by time, newest first."""
    rng = Chance(1, 0).stream("limits/audit")
    actors = [f"operator/{i}" for i in range(_ACTORS)]
    actions = [f"action/{i}" for i in range(_ACTIONS)]
    who = rng.integers(0, _ACTORS, records).tolist()
    what = rng.integers(0, _ACTIONS, records).tolist()
    refused = (rng.random(records) < 0.02).tolist()
    log = AuditLogger()
    cpu = time.process_time_ns()
    for place in range(records):
        outcome = Outcome.DENIED if refused[place] else Outcome.DONE
        log.append(place * _RECORD_NS, actors[who[place]], actions[what[place]], "", outcome)
    cpu = time.process_time_ns() - cpu
    hour_ns = 3_600 * 10**9
    asked: list[Callable[[int], object]] = [
        lambda n: log.query(actor=actors[n % _ACTORS]),
        lambda n: log.query(action=actions[n % _ACTIONS], newest_first=True),
        lambda n: log.query(outcome=Outcome.DENIED, since_ns=n * _RECORD_NS),
        lambda n: log.query(since_ns=n * _RECORD_NS, until_ns=n * _RECORD_NS + hour_ns),
        lambda n: log.query(actor=actors[n % _ACTORS], action=actions[n % _ACTIONS]),
    ]
    places = rng.integers(0, records, queries).tolist()
    answers, times = [], []
    for number, place in enumerate(places):
        start = time.perf_counter_ns()
        found = asked[number % len(asked)](place)
        times.append(time.perf_counter_ns() - start)
        assert isinstance(found, list)
        answers.append(len(found))
    return Queried(len(log), answers, times, cpu)


def median_ns(times_ns: list[int]) -> int:
    """Return the middle time."""
    return sorted(times_ns)[len(times_ns) // 2]


def p99_ns(times_ns: list[int]) -> int:
    """Return the time that 99 % of them do not exceed."""
    return int(np.sort(np.array(times_ns))[max(0, -(-99 * len(times_ns) // 100) - 1)])
