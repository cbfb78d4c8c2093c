"""Validators on sockets that fail, come back, are lied to, and stop in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sim.live.cluster import Cluster, Outcome, Plan, run_cluster
from sim.live.codec import encode
from sim.live.line import CONNECT_S, Line
from sim.live.node import HOST
from sim.live.wire import MAX_FRAME_BYTES, dial, frame, read_frame
from sim.protocol.effects import Committed, Observation, Rejected
from sim.protocol.messages import Message, VoteMessage, wire_size_bytes
from sim.protocol.types import Block, PayloadRef, Vote
from sim.world.crypto.signer import ModelledSigner, RealSigner, Signer
from sim.world.crypto.suites import SIGNATURE_BYTES, suite
from sim.world.payload import NoPayload
from tests.protocol.harness import MS, accounts, rules
from tests.protocol.harness import settings as consensus

SEED = 3
S = 1_000 * MS


def plan(**changes: Any) -> Plan:
    """Four equal validators that need three votes, and time-outs that a test can wait for."""
    chosen: dict[str, Any] = {
        "consensus": consensus(timer_base_ns=100 * MS, timer_max_ns=200 * MS),
        "ledger": rules(epoch_blocks=8),
        "genesis": tuple(accounts(4)),
        "seed": SEED,
        "limit_ns": 15 * S,
    }
    return Plan(**(chosen | changes))


def chains(cluster: Cluster) -> list[dict[int, Committed]]:
    return [{commit.height: commit for commit in chain} for chain in cluster.commits]


def assert_one_chain(cluster: Cluster, height: int) -> None:
    """Up to `height` all validators committed the same blocks and states, without a gap."""
    first, *others = chains(cluster)
    assert sorted(first)[:height] == list(range(1, height + 1))
    for other in others:
        for level in range(1, height + 1):
            assert other[level] == first[level]


@pytest.mark.parametrize(
    ("name", "amnesia"),
    [("pycryptodome", False), (None, True)],
    ids=["real-persisted", "modelled-amnesia"],
)
def test_a_crashed_validator_comes_back_and_catches_up(name: str | None, amnesia: bool) -> None:
    async def scene() -> None:
        async with Cluster(plan(suite=name)) as cluster:
            assert await cluster.committed(5)
            await cluster.crash(3)
            assert 3 not in cluster.ports
            held = cluster.height(3)
            # An epoch without it: it needs the proof, not only the blocks.
            assert await cluster.committed(held + 9, nodes=(0, 1, 2))
            assert cluster.height(3) == held
            await cluster.restart(3, amnesia=amnesia)
            target = cluster.height(0) + 5
            assert await cluster.committed(target)
            assert_one_chain(cluster, target)
            heights = [commit.height for commit in cluster.commits[3]]
            assert (heights.count(1) == 2) == amnesia
            assert all(node.lines[3].connections >= 2 for node in cluster.nodes[:3])

    asyncio.run(scene())


def test_two_down_of_four_halt_the_chain_and_their_return_heals_it() -> None:
    async def scene() -> None:
        async with Cluster(plan()) as cluster:
            assert await cluster.committed(3)
            await cluster.crash(2)
            await cluster.crash(3)
            await asyncio.sleep(0.05)
            before = [cluster.height(node) for node in (0, 1)]
            await asyncio.sleep(0.5)
            assert [cluster.height(node) for node in (0, 1)] == before
            await cluster.restart(2)
            await cluster.restart(3)
            target = max(before) + 5
            assert await cluster.committed(target)
            assert_one_chain(cluster, target)

    asyncio.run(scene())


def test_a_run_ends_when_its_time_is_over() -> None:
    limit_ns = 300 * MS
    outcome = run_cluster(plan(limit_ns=limit_ns), height=1 << 60)
    assert isinstance(outcome, Outcome)
    assert not outcome.reached
    assert all(outcome.commits)
    assert limit_ns <= outcome.elapsed_ns < limit_ns + 5 * S


def test_a_halted_cluster_ends_in_time_as_well() -> None:
    async def scene() -> None:
        async with Cluster(plan(limit_ns=600 * MS)) as cluster:
            for node in (1, 2, 3):
                await cluster.crash(node)
            assert not await cluster.committed(1 << 60)
            assert cluster.ended
            # Too late: what comes back after the end is stopped on leaving.
            await cluster.restart(1)

    asyncio.run(scene())


def test_nothing_is_left_open() -> None:
    async def scene() -> tuple[dict[int, int], int]:
        async with Cluster(plan()) as cluster:
            assert await cluster.committed(2)
            ports = cluster.ports
            assert len(ports) == 4
        assert cluster.ports == {}
        for port in ports.values():
            with pytest.raises(OSError):
                await asyncio.open_connection(HOST, port)
        return ports, len(asyncio.all_tasks())

    _, tasks = asyncio.run(scene())
    assert tasks == 1


# -- strangers and liars ----------------------------------------------------------------------


async def greeted(
    cluster: Cluster, me: int, to: int, signer: Signer, network: bytes | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, cluster.ports[to])
    genesis = cluster.nodes[to].validator.ledger.genesis_block.id
    await dial(reader, writer, network=network or genesis, me=me, to=to, signer=signer)
    return reader, writer


async def closed(reader: asyncio.StreamReader) -> bool:
    """Tell whether the other side hangs up."""
    async with asyncio.timeout(CONNECT_S / 2):
        try:
            while await reader.read(1 << 16):
                continue
        except ConnectionError:
            return True
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def test_who_cannot_greet_is_hung_up_on() -> None:
    async def scene() -> None:
        async with Cluster(plan(suite="pycryptodome")) as cluster:
            liar = RealSigner(suite("pycryptodome"), 4, SEED + 1)
            honest = RealSigner(suite("pycryptodome"), 4, SEED)
            port = cluster.ports[0]
            noisy, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await closed(noisy)
            writer.close()
            for me, to, signer, network, reason in (
                (1, 0, liar, None, "forged_greeting"),
                (1, 0, honest, bytes(32), "wrong_greeting"),
                (0, 0, honest, None, "wrong_greeting"),
                (9, 0, honest, None, "wrong_greeting"),
            ):
                before = cluster.refused[0, None, reason]
                signer_of = signer if me < 4 else ModelledSigner()
                reader, writer = await greeted(cluster, me, to, signer_of, network)
                assert await closed(reader)
                assert cluster.refused[0, None, reason] == before + 1
                writer.close()
            assert cluster.refused[0, None, "too_large"] == 1
            assert await cluster.committed(cluster.height(0) + 5)

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (frame(b"\xff"), "unknown_kind"),
        (frame(encode(VoteMessage(Vote(1, 1, bytes(32), 1))) + b"\0"), "trailing"),
        (frame(encode(VoteMessage(Vote(1, 1, bytes(32), 1)))[:-1]), "truncated"),
        ((MAX_FRAME_BYTES + 1).to_bytes(4, "big"), "too_large"),
        (bytes(4), "empty"),
    ],
    ids=["unknown_kind", "trailing", "truncated", "too_large", "empty"],
)
def test_malformed_input_closes_the_connection_and_harms_nothing(
    content: bytes, reason: str
) -> None:
    async def scene() -> None:
        async with Cluster(plan()) as cluster:
            assert await cluster.committed(1)
            reader, writer = await greeted(cluster, 1, 0, ModelledSigner())
            writer.write(content)
            assert await closed(reader)
            writer.close()
            assert cluster.refused[0, 1, reason] == 1
            assert await cluster.committed(cluster.height(0) + 5)

    asyncio.run(scene())


def test_a_forged_vote_reaches_the_core_as_unverified() -> None:
    seen: list[tuple[int, Rejected]] = []

    def observe(node: int, now_ns: int, observation: Observation) -> None:
        if isinstance(observation, Rejected):
            seen.append((node, observation))

    async def scene() -> None:
        async with Cluster(plan(suite="pycryptodome"), observe=observe) as cluster:
            await cluster.committed(2)
            signer = RealSigner(suite("pycryptodome"), 4, SEED)
            reader, writer = await greeted(cluster, 1, 0, signer)
            forged = Vote(cluster.nodes[0].validator.epoch, 3, bytes(32), 2, b"\x01")
            writer.write(frame(encode(VoteMessage(forged))))
            wanted = (0, Rejected(1, "vote", "invalid_signature"))
            await until(lambda: wanted in seen)
            writer.close()
            assert await closed(reader)

    asyncio.run(scene())


def test_more_callers_than_there_can_be_are_turned_away() -> None:
    async def scene() -> None:
        async with Cluster(plan()) as cluster:
            await cluster.committed(1)
            silent = [await asyncio.open_connection(HOST, cluster.ports[0]) for _ in range(9)]
            await until(lambda: cluster.refused[0, None, "crowded"] > 0)
            for _, writer in silent:
                writer.close()
            assert await cluster.committed(cluster.height(0) + 3)

    asyncio.run(scene())


# -- the driver itself ------------------------------------------------------------------------


class Broken(NoPayload):
    def commit(self, block: Block, now_ns: int) -> None:
        raise LookupError("the store is gone")


def test_an_exception_ends_the_run_and_is_raised() -> None:
    with pytest.raises(LookupError, match="the store is gone"):
        run_cluster(plan(), Broken(), height=50)


class Late(NoPayload):
    """Everyone brings in one reference; it takes longer to reach the others than a view lasts."""

    def __init__(self) -> None:
        self.asked: dict[int, None] = {}

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        if validator in self.asked:
            return ()
        self.asked[validator] = None
        return (PayloadRef(validator, 0, 9, 1_000),)

    def ready_ns(self, validator: int, refs: tuple[PayloadRef, ...], now_ns: int) -> int:
        return max(now_ns, 250 * MS)


def test_views_without_payload_time_out_and_the_chain_goes_on() -> None:
    async def scene() -> None:
        reasons: list[str] = []

        def observe(node: int, now_ns: int, observation: Observation) -> None:
            reasons.append(getattr(observation, "reason", ""))

        async with Cluster(plan(), Late(), observe=observe) as cluster:
            assert await cluster.committed(6)
            assert_one_chain(cluster, 6)
        assert "payload_missing" in reasons
        assert "timeout" in reasons

    asyncio.run(scene())


def test_the_bytes_on_the_wire_are_those_that_the_simulator_charges() -> None:
    weighed = {"frames": 0, "charged": 0, "written": 0}

    def sent(node: int, message: Message, frame_bytes: int) -> None:
        weighed["frames"] += 1
        weighed["charged"] += wire_size_bytes(message, SIGNATURE_BYTES)
        weighed["written"] += frame_bytes

    async def scene() -> None:
        async with Cluster(plan(suite="pycryptodome"), sent=sent) as cluster:
            assert await cluster.committed(12)

    asyncio.run(scene())
    assert weighed["frames"] >= 12 * 6
    assert abs(weighed["written"] - weighed["charged"]) * 100 <= weighed["charged"]


def test_a_line_keeps_the_newest_frames_within_its_bounds() -> None:
    async def never() -> Any:
        raise OSError("nobody listens")

    line = Line(never)
    for number in range(5_000):
        line.send(frame(number.to_bytes(2, "big")))
    assert line.dropped == 5_000 - 4_096
    big = Line(never)
    for _ in range(10):
        big.send(bytes(8 << 20))
    assert big.dropped == 2


def test_a_frame_longer_than_allowed_is_not_read() -> None:
    async def scene() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(frame(b"abc") + frame(b"abcd"))
        reader.feed_eof()
        assert await read_frame(reader, 3) == b"abc"
        with pytest.raises(ValueError, match="too_large"):
            await read_frame(reader, 3)

    asyncio.run(scene())


@pytest.mark.parametrize("changes", [{"genesis": tuple(accounts(17))}, {"limit_ns": 0}])
def test_a_plan_without_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        plan(**changes)
