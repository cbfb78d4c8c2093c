"""What the engine relies on: exactly-once commits, ranges, faults, refusals, memory, no slices."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.protocol.types import PayloadRef
from sim.world.agents import changes, kinds
from sim.world.agents import parameters as p
from sim.world.agents.plane import AgentPlane, estimated_bytes
from sim.world.agents.tables import Drained
from sim.world.chance import Chance
from tests.agents.bench_world import bench_network, bench_parameters, commit_all, measure
from tests.agents.cases import MS, PPM, SECOND, Case, basic, fixed_cases, network
from tests.agents.scripts import rows, run_script


def plane(seed: int = 3, **changed: Any) -> AgentPlane:
    return AgentPlane(basic(**changed), network(2), Chance(seed, 0))


def transactions(arrivals: Any) -> tuple[p.Traffic, ...]:
    kind = kinds.TRANSACTION
    return (p.Traffic(kind=kind, arrivals=arrivals, size_bytes=5_120, signature_bytes=4_627),)


def digest(drained: Drained) -> str:
    """Digest over sorted rows of every table."""
    whole = hashlib.sha256()
    for name, table in rows(drained).items():
        whole.update(json.dumps([name, sorted(table.items())]).encode())
    return whole.hexdigest()


def test_ranges_are_handed_out_once_in_order_and_without_gaps() -> None:
    source = plane()
    following = dict.fromkeys(range(5), 0)
    for now in range(50 * MS, 2 * SECOND, 50 * MS):
        source.advance(now)
        for ref in source.new_refs(4, now):
            assert ref.first == following[ref.gateway]
            assert source.held_ns(4, (ref,)) <= now
            following[ref.gateway] = ref.last + 1
    assert sum(following.values()) > 10


def test_a_second_commit_is_refused_and_counts_nothing() -> None:
    source = plane()
    source.advance(SECOND)
    refs = source.new_refs(0, SECOND)
    assert refs
    source.commit(refs, SECOND)
    delivered = source.counters().delivered[kinds.TRANSACTION]
    assert delivered == sum(ref.tx_count for ref in refs)
    with pytest.raises(ValueError, match="committed before"):
        source.commit(refs[:1], SECOND)
    assert source.counters().delivered[kinds.TRANSACTION] == delivered


def test_the_next_second_leaves_the_samples_of_the_last_alone() -> None:
    """Also a single one, whose row and column are the same memory."""
    source = plane(sample_ppm=4_000)
    found: list[list[int]] = []
    for second in range(1, 20):
        source.advance(second * SECOND)
        found.append(source.drain().samples["message"].tolist())
    whole = [message for messages in found for message in messages]
    assert [len(messages) for messages in found].count(1) > 2
    assert len(set(whole)) == len(whole)


def test_references_that_never_were_are_refused() -> None:
    source = plane()
    source.advance(SECOND)
    (ref, *_) = source.new_refs(0, SECOND)
    with pytest.raises(ValueError, match="no batch of this run"):
        source.commit((ref._replace(last=ref.last + 1),), SECOND)
    with pytest.raises(ValueError, match="no batch of this run"):
        source.held_ns(0, (ref._replace(first=10**6, last=10**6),))


def test_old_batches_leave_memory_but_can_still_be_pulled() -> None:
    small = replace(
        basic().dissemination,
        retain_ns=100 * MS,
        batch=p.Batch(count=1, size_bytes=10**6, age_ns=MS),
    )
    source = plane(traffic=transactions(p.Poisson(rate_nhz=30 * 10**9)), dissemination=small)
    first = None
    for now in range(100 * MS, 3 * SECOND, 100 * MS):
        source.advance(now)
        refs = source.new_refs(0, now)
        first = first or refs[0]
        source.commit(refs, now)
    assert first is not None
    assert source._payload._base > 0
    assert source.held_ns(3, (first,)) is None
    ready = source.pull(3, first, 3 * SECOND)
    assert ready is not None
    assert ready > 3 * SECOND
    with pytest.raises(ValueError, match="committed before"):
        source.commit((first,), 3 * SECOND)


def test_a_batch_that_never_commits_keeps_no_other_in_memory() -> None:
    """Gateway 1 proposes nothing any more: its batches stay, those of the others leave."""
    small = replace(
        basic().dissemination,
        retain_ns=100 * MS,
        batch=p.Batch(count=1, size_bytes=10**6, age_ns=MS),
    )
    source = plane(traffic=transactions(p.Poisson(rate_nhz=30 * 10**9)), dissemination=small)
    seen: dict[int, list[PayloadRef]] = {gateway: [] for gateway in range(5)}
    committed = 0
    for now in range(100 * MS, 5 * SECOND, 100 * MS):
        source.advance(now)
        refs = source.new_refs(0, now)
        for ref in refs:
            seen[ref.gateway].append(ref)
        done = tuple(ref for ref in refs if ref.gateway != 1)
        source.commit(done, now)
        committed += len(done)
    for refs in filter(None, seen.values()):
        assert [ref.first for ref in refs] == [0, *(ref.last + 1 for ref in refs[:-1])]
    book = source._payload
    assert book._base > 0
    waiting = len(seen[1])
    assert committed > 2 * waiting > 2048
    assert book._size < 2 * waiting + 600
    assert all(book._row(ref) is not None for ref in seen[1])
    assert source.held_ns(2, (seen[0][-1],)) is not None
    source.commit(tuple(seen[1]), 5 * SECOND)
    with pytest.raises(ValueError, match="committed before"):
        source.commit(tuple(seen[1]), 5 * SECOND)


def test_a_closed_loop_has_one_transaction_under_way_an_agent() -> None:
    loop = p.ClosedLoop(think_ns=150 * MS, share_ppm=500_000)
    source = plane(traffic=transactions(loop))
    for now in range(100 * MS, 3 * SECOND, 100 * MS):
        source.advance(now)
        assert source.counters().in_flight[kinds.TRANSACTION] <= 20
        source.commit(source.new_refs(1, now), now)
    offered = source.counters().offered[kinds.TRANSACTION]
    assert 100 < offered < 20 * 3 * SECOND // kinds.GRID_NS


def test_without_commits_a_closed_loop_stops() -> None:
    source = plane(traffic=transactions(p.ClosedLoop(think_ns=100 * MS)))
    source.advance(5 * SECOND)
    counters = source.counters()
    assert counters.offered[kinds.TRANSACTION] == 40
    assert counters.in_flight[kinds.TRANSACTION] == 40


def test_a_crashed_gateway_drives_its_agents_to_their_second() -> None:
    only = (p.Traffic(kind=kinds.LOOKUP_ID, arrivals=p.Poisson(rate_nhz=10**9), size_bytes=99),)
    source = plane(traffic=only, directory=replace(basic().directory, shards=(1,)))
    source.advance(SECOND)
    source.apply(changes.NodeDown(0))
    source.advance(4 * SECOND)
    served = source.drain()
    down = (served.stations["class"] == 0) & (served.stations["node"] == 0)
    after = down & (served.stations["second"] >= 1)
    assert served.stations["served"][after].sum() == 0
    assert served.stations["dropped"][after].sum() > 10
    counters = source.counters()
    assert counters.retried > 10
    assert sum(counters.dropped) == 0


def test_a_message_to_an_offline_agent_waits_for_its_return() -> None:
    only = (p.Traffic(kind=kinds.MESSAGE, arrivals=p.Poisson(rate_nhz=10**9), size_bytes=99),)
    source = plane(traffic=only, store=p.Store(messages_per_agent=10**6))
    source.apply(changes.Disconnect(share_ppm=PPM // 2, back_ns=2 * SECOND, spread_ns=SECOND // 2))
    source.advance(2 * SECOND)
    stored = source.counters().stored[kinds.MESSAGE]
    assert stored > 10
    source.advance(6 * SECOND)
    counters = source.counters()
    assert counters.stored[kinds.MESSAGE] == 0
    assert sum(counters.dropped) == 0
    latency = source.drain(final=True).latency
    assert latency["count"].sum() == counters.delivered[kinds.MESSAGE]


def test_unregistered_agents_are_refused_until_their_registration_is_in_force() -> None:
    half = replace(basic().directory, registered_ppm=0)
    traffic = tuple(t for t in basic().traffic if t.kind in (kinds.MESSAGE, kinds.REGISTRATION))
    source = plane(traffic=traffic, directory=half)
    source.advance(SECOND)
    early = source.counters()
    assert early.dropped_by_reason[kinds.NOT_REGISTERED] > 0.8 * early.dropped[kinds.MESSAGE]
    source.advance(30 * SECOND)
    before = source.counters().dropped_by_reason[kinds.NOT_REGISTERED]
    source.advance(32 * SECOND)
    assert source.counters().dropped_by_reason[kinds.NOT_REGISTERED] == before


def test_tables_know_nothing_of_slices_or_drains() -> None:
    digests = set()
    for step, drains in ((100 * MS, False), (33 * MS, True), (7 * MS + 3, True)):
        source = plane(seed=9)
        parts: list[Drained] = []
        now = 0
        while now < 2 * SECOND:
            now = min(now + step, 2 * SECOND)
            source.advance(now)
            if drains:
                parts.append(source.drain())
        parts.append(source.drain(final=True))
        merged = [
            {name: np.concatenate([part[i][name] for part in parts]) for name in parts[0][i]}
            for i in range(len(Drained._fields))
        ]
        digests.add(digest(Drained(*merged)))
    assert len(digests) == 1


def test_another_seed_is_another_run() -> None:
    found = []
    for seed in (1, 1, 2):
        source = plane(seed=seed)
        source.advance(SECOND)
        found.append(digest(source.drain(final=True)))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    "how",
    [
        # The pure-Python twin of every kernel at once, in a process without compilation.
        "NUMBA_DISABLE_JIT",
        # Kernels that check every index: none is beyond an end, or below zero.
        pytest.param("NUMBA_BOUNDSCHECK", marks=pytest.mark.slow),
    ],
)
def test_other_kernels_answer_as_compiled_ones(how: str, tmp_path: Path) -> None:
    code = (
        "import numpy as np; np.seterr(over='ignore')\n"
        "from tests.agents.test_agents_plane import drilled_digest\n"
        "print(drilled_digest())"
    )
    environment = {**os.environ, how: "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    if how == "NUMBA_BOUNDSCHECK":
        environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == drilled_digest()


def drilled_digest() -> str:
    """Digest of what a busy plane and one with relays say of half a second of trouble."""
    return "".join(drilled(fixed_cases()[place]) for place in (2, -1))


def drilled(case: Case) -> str:
    """Run half a second with a crash and a throttle."""
    first, last = case.parameters.gateways[0], case.parameters.gateways[-1]
    script = (
        (120 * MS, changes.Throttle(node=last, service_ppm=3 * PPM)),
        (250 * MS, 0),
        (300 * MS, changes.NodeDown(first)),
        (420 * MS, changes.NodeUp(first)),
        (500 * MS, 3),
    )
    source = AgentPlane(case.parameters, case.network, Chance(case.seed, 0))
    answers = run_script(source, replace(case, script=script, until_ns=600 * MS))
    return digest(source.drain(final=True)) + repr(answers)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gateways": (0, 9)}, "a gateway is no node"),
        ({"placement": (1, 0)}, "two agents or more"),
        ({"retries": p.Retries(attempts=3, timeout_ns=MS)}, "retry timeout below"),
        ({"store": p.Store(messages_per_agent=1, release_delay_ns=1)}, "release delay below"),
        ({"ingress": p.Station(servers=1, work_ns=2 * 10**9, per_kib_ns=10**9)}, "2\\*\\*31 ns"),
        ({"traffic": basic().traffic * 2}, "two workloads of one kind"),
    ],
)
def test_impossible_planes_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        basic(**changed)


def test_faults_on_what_is_not_there_are_refused() -> None:
    source = plane()
    source.advance(SECOND)
    with pytest.raises(ValueError, match="none of the 5"):
        source.apply(changes.NodeDown(5))
    with pytest.raises(ValueError, match="is not after"):
        source.apply(changes.Disconnect(share_ppm=PPM, back_ns=SECOND))


def test_an_agent_costs_less_than_a_hundred_bytes() -> None:
    assert estimated_bytes(10**6) < 100 * 10**6
    small, large = (
        AgentPlane(bench_parameters(n), bench_network(), Chance(1, 0)).memory_bytes()
        for n in (10_000, 110_000)
    )
    assert large - small == estimated_bytes(100_000)


@pytest.mark.benchmark
def test_plane_figures(capsys: pytest.CaptureFixture[str]) -> None:
    figures = measure(1_000_000, 10)
    assert figures.delivered > 1_400_000
    with capsys.disabled():
        print(f"\nplane, 1M agents: {figures.delivered_per_cpu_s:,} delivered a CPU-second")
        print(
            f"plane: {figures.plane_bytes / 2**20:.0f} MiB, peak {figures.peak_bytes / 2**20:.0f}"
        )


@pytest.mark.benchmark
def test_ten_million_messages_fit_a_gibibyte() -> None:
    source = AgentPlane(bench_parameters(1_000_000), bench_network(), Chance(1, 0))
    now = 0
    while sum(source.counters().delivered) < 10_000_000:
        now += SECOND // 2
        source.advance(now)
        commit_all(source, now)
        source.drain()
    assert source.memory_bytes() < 2**30
