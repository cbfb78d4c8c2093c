"""A core on a struck computer: what leaves, what is written first, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from sim.engine.impairment import Impaired
from sim.protocol.effects import Broadcast, Dropped, NoVote, Persist, Send, SetTimer
from sim.protocol.events import Event, MessageReceived, Restarted, Started, TimerFired
from sim.protocol.messages import BlocksRequest, Proposal, TimeoutMessage, VoteMessage
from sim.protocol.types import Timeout, Vote
from sim.world.adversary import Later
from sim.world.crypto.key_service import KeyService
from sim.world.crypto.signing import Edge
from sim.world.faults.disk import Disk

ME = 3
EVENT = TimerFired((1, 1, "view"))
FIRST, SECOND, THIRD = (Persist(state) for state in ("first", "second", "third"))  # type: ignore[arg-type]


def vote(view: int) -> Send:
    return Send(5, VoteMessage(Vote(1, view, b"block", ME, b"")))


def timeout(view: int) -> Broadcast:
    return Broadcast(TimeoutMessage(Timeout(1, view, 1, b"block", ME, b"")))


class Script:
    """A core that says what it is told to say, and remembers what it was told."""

    def __init__(self) -> None:
        self.says: list[Any] = []
        self.heard: list[tuple[Event, int]] = []

    def handle(self, event: Event, now_ns: int) -> list[Any]:
        self.heard.append((event, now_ns))
        return self.says


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def computer(script: Script) -> Impaired:
    return Impaired(script, ME, Disk(7), Edge(None, 0).owes)


def test_a_sound_computer_changes_nothing(computer: Impaired, script: Script) -> None:
    script.says = [FIRST, vote(1), SetTimer((1, 1, "view"), 9)]
    assert computer.handle(EVENT, 4) is script.says
    assert script.heard == [(EVENT, 4)]


def test_what_cannot_be_written_is_not_said(computer: Impaired, script: Script) -> None:
    """Not even again, without a write of its own; once it can be, it is written first."""
    request = Send(1, BlocksRequest(b"wanted", 1, 1))
    computer.disk.fail(1_000_000, on=True)
    script.says = [FIRST, vote(1), request]
    refusal = NoVote(1, 1, b"block", "not_persisted")
    assert computer.handle(EVENT, 10) == [refusal, request]
    script.says = [timeout(1)]
    assert computer.handle(EVENT, 20) == [Dropped("timeout", 1, "not_persisted")]
    computer.disk.fail(1_000_000, on=False)
    assert computer.handle(EVENT, 30) == [FIRST, timeout(1)]
    script.says = [SECOND, vote(2)]
    assert computer.handle(EVENT, 40) == [SECOND, vote(2)]


def test_what_was_not_written_is_forgotten_in_a_crash(computer: Impaired, script: Script) -> None:
    computer.disk.fail(1_000_000, on=True)
    script.says = [FIRST, vote(1)]
    computer.handle(EVENT, 10)
    computer.disk.fail(1_000_000, on=False)
    script.says = [timeout(1)]
    assert computer.handle(Restarted(None), 20) == [timeout(1)]


def test_statements_wait_for_a_slow_disk_and_nothing_else_does(
    computer: Impaired, script: Script
) -> None:
    """What was handed in before is durable before what comes after it leaves."""
    request, timer = Send(1, BlocksRequest(b"wanted", 1, 1)), SetTimer((1, 1, "view"), 9)
    computer.disk.slow(100, on=True)
    script.says = [FIRST, vote(1), request, timer]
    assert computer.handle(EVENT, 10) == [Later(FIRST, 100), Later(vote(1), 100), request, timer]
    script.says = [timeout(1)]
    assert computer.handle(EVENT, 60) == [Later(timeout(1), 50)]
    script.says = [SECOND, vote(2)]
    assert computer.handle(EVENT, 70) == [Later(SECOND, 140), Later(vote(2), 140)]
    computer.disk.slow(100, on=False)
    # The queue outlasts the fault, and so does the order.
    assert computer.handle(EVENT, 150) == [Later(SECOND, 60), Later(vote(2), 60)]
    assert computer.handle(EVENT, 210) is script.says


def test_a_quota_delays_statements_and_never_reorders_them(
    computer: Impaired, script: Script
) -> None:
    """One message that is both sent and broadcast is signed once."""
    slow = KeyService(10 * 10**9, 1, 5)
    computer.services.append(slow)
    message = vote(1).message
    script.says = [Send(5, message), Broadcast(message)]
    assert computer.handle(EVENT, 0) == [Later(e, 5) for e in script.says]
    assert slow.asked == 1
    script.says = [vote(2)]
    assert computer.handle(EVENT, 0) == [Later(vote(2), 100_000_005)]
    computer.services.remove(slow)
    script.says = [vote(3)]
    assert computer.handle(EVENT, 10) == [Later(vote(3), 99_999_995)]
    assert computer.handle(EVENT, 100_000_005) is script.says


def test_without_keys_nothing_of_its_own_leaves(computer: Impaired, script: Script) -> None:
    of_another = Send(1, VoteMessage(Vote(1, 1, b"block", ME + 1, b"signed")))
    computer.unsigned = 2
    script.says = [FIRST, vote(1), of_another]
    refusal = NoVote(1, 1, b"block", "not_signed")
    assert computer.handle(EVENT, 0) == [FIRST, refusal, of_another]
    computer.unsigned = 1
    assert computer.handle(EVENT, 0)[1] == refusal
    computer.unsigned = 0
    assert computer.handle(EVENT, 0) is script.says


def test_a_core_lives_by_its_own_clock(computer: Impaired, script: Script) -> None:
    computer.clock.change(1_000, 500, 1_000_000, on=True)
    script.says = [SetTimer((1, 1, "view"), 400)]
    assert computer.handle(EVENT, 1_100) == [SetTimer((1, 1, "view"), 200)]
    assert script.heard == [(EVENT, 1_700)]


def test_a_full_disk_has_no_room_for_blocks(computer: Impaired, script: Script) -> None:
    proposal = MessageReceived(1, Proposal(None), True)  # type: ignore[arg-type]
    computer.disk.fill(on=True)
    (lost,) = computer.handle(proposal, 0)
    assert (lost.sender, lost.what, lost.reason) == (1, "proposal", "disk_full")
    assert script.heard == []
    computer.handle(Started(), 0)
    assert script.heard == [(Started(), 0)]
    computer.disk.fill(on=False)
    computer.handle(proposal, 1)
    assert script.heard[-1] == (proposal, 1)
