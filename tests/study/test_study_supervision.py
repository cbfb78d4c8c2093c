"""Supervision: dead workers cost no task, hung ones end, errors stay with who made them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sim.study.slots import ExecutorLost, HereSlot, ProcessSlot, Slot
from sim.study.supervise import Account, Limits, Supervisor, supervise
from tests.study.tasks import Task, work


class Listed:
    """A source that gives a list, and notes what becomes of it."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.left = list(tasks)
        self.results: dict[int, int] = {}
        self.reasons: dict[int, str] = {}

    def next(self) -> Task | None:
        return self.left.pop(0) if self.left else None

    def done(self, task: Task, result: tuple[int, int]) -> None:
        assert task.number not in self.results
        assert result[0] == task.number
        self.results[task.number] = result[1]

    def failed(self, task: Task, reason: str) -> None:
        assert task.number not in self.reasons
        self.reasons[task.number] = reason


@pytest.fixture
def slots() -> Iterator[list[ProcessSlot]]:
    """Two workers."""
    opened = [ProcessSlot(), ProcessSlot()]
    yield opened
    for slot in opened:
        slot.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_task_ends_on_some_worker(slots: list[ProcessSlot]) -> None:
    source = Listed([Task(n) for n in range(20)])
    account = supervise(source, slots, work)
    assert sorted(source.results) == list(range(20))
    assert set(source.results.values()) <= {slot.pid() for slot in slots}
    assert (account.tasks, account.broken, account.overdue) == (20, 0, 0)
    assert os.getpid() not in source.results.values()


def test_a_dead_worker_loses_no_task(slots: list[ProcessSlot], tmp_path: Path) -> None:
    tasks = [Task(n, "wait") for n in range(6)]
    tasks[1] = Task(1, "die once", tmp_path / "died")
    source = Listed(tasks)
    account = supervise(source, slots, work)
    assert sorted(source.results) == list(range(6))
    assert not source.reasons
    assert account.broken == 1


def test_a_task_that_kills_each_worker_fails_alone(slots: list[ProcessSlot]) -> None:
    source = Listed([Task(0), Task(1, "die"), *(Task(n) for n in range(2, 8))])
    account = supervise(source, slots, work, limits=Limits(attempts=2))
    assert sorted(source.results) == [0, 2, 3, 4, 5, 6, 7]
    assert source.reasons == {1: "its worker died 2 times"}
    assert account.broken == 2


def test_a_hung_task_ends_at_its_limit_and_its_worker_with_it(slots: list[ProcessSlot]) -> None:
    before = [slot.pid() for slot in slots]
    source = Listed([Task(0, "hang"), *(Task(n) for n in range(1, 5))])
    account = supervise(source, slots, work, limits=Limits(time_s=1.0, grace_s=0.5))
    assert source.reasons == {0: "longer than its time limit, 1 s"}
    assert sorted(source.results) == [1, 2, 3, 4]
    assert account.overdue == 1
    after = [slot.pid() for slot in slots]
    assert len(set(before) - set(after)) == 1
    assert not any(alive(pid) for pid in set(before) - set(after))


def test_starting_a_worker_is_not_charged_to_its_first_task() -> None:
    slot = ProcessSlot(slow_start)
    try:
        source = Listed([Task(0)])
        supervise(source, [slot], work, limits=Limits(time_s=0.8))
        assert sorted(source.results) == [0]
    finally:
        slot.close()


def slow_start() -> None:
    """Take longer to begin than a task may take."""
    import time

    time.sleep(1.6)


def test_an_error_stays_with_its_task(slots: list[ProcessSlot]) -> None:
    source = Listed([Task(0, "raise"), Task(1)])
    account = supervise(source, slots, work)
    assert source.reasons == {0: "ValueError: number 0 is refused"}
    assert sorted(source.results) == [1]
    assert account.broken == 0


def test_a_full_disk_ends_everything(slots: list[ProcessSlot]) -> None:
    source = Listed([Task(0, "disk full"), *(Task(n, "wait") for n in range(1, 9))])
    with pytest.raises(OSError, match="No space left"):
        supervise(source, slots, work)
    assert source.left


def test_a_worker_killed_while_idle_is_replaced(slots: list[ProcessSlot]) -> None:
    supervise(Listed([Task(0)]), slots, work)
    os.kill(slots[0].pid(), signal.SIGKILL)
    source = Listed([Task(n) for n in range(6)])
    account = supervise(source, slots, work)
    assert sorted(source.results) == list(range(6))
    assert account.broken == 1


def test_where_no_worker_lives_nothing_goes_round_for_ever(slots: list[ProcessSlot]) -> None:
    source = Listed([Task(n, "die") for n in range(100)])
    with pytest.raises(ExecutorLost, match="workers died in a row"):
        supervise(source, slots, work, limits=Limits(attempts=1))
    assert len(source.left) > 80


def die_at_birth() -> None:
    """End a worker before it has begun."""
    os._exit(3)


def test_workers_that_never_begin_are_given_up_soon() -> None:
    slot = ProcessSlot(die_at_birth)
    try:
        with pytest.raises(ExecutorLost, match="3 workers died before they had begun"):
            supervise(Listed([Task(0), Task(1)]), [slot], work)
    finally:
        slot.close()


def test_a_request_to_stop_leaves_tasks_in_hand_without_result(slots: list[ProcessSlot]) -> None:
    source = Listed([Task(0), Task(1, "hang"), Task(2, "hang"), Task(3)])
    seen: list[list[int]] = []

    def look(supervisor: Supervisor[Task, tuple[int, int]]) -> None:
        seen.append([task.number for task, _ in supervisor.in_hand])

    account = supervise(source, slots, work, stop=lambda: [1, 2] in seen, look=look)
    assert sorted(source.results) == [0]
    assert not source.reasons
    assert account.tasks == 1
    assert [task.number for task in source.left] == [3]


def test_the_width_bounds_what_runs_at_once(slots: list[ProcessSlot]) -> None:
    source = Listed([Task(n, "wait") for n in range(4)])
    seen: list[int] = []
    account = supervise(
        source, slots, work, width=lambda: 1, look=lambda s: seen.append(len(s.in_hand))
    )
    assert max(seen) <= 1
    assert sorted(source.results) == [0, 1, 2, 3]
    assert account.occupancy <= 0.5 + 1e-6


def test_this_process_can_be_a_slot() -> None:
    source = Listed([Task(0), Task(1, "raise"), Task(2)])
    here: Sequence[Slot] = [HereSlot()]
    account: Account = supervise(source, here, work)
    assert source.results == {0: os.getpid(), 2: os.getpid()}
    assert list(source.reasons) == [1]
    assert account.tasks == 2
