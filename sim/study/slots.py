"""Slots: where one task runs at a time, all behind `concurrent.futures.Executor`.

Owns: processes of this machine, each a pool of its own with one worker, so that a worker that dies
takes nobody with it and is known by the task that it had; a Dask cluster; this process itself.
Must not know: what tasks do, nor in which order they come.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing.connection import wait as wait_for
from typing import Any, Protocol

STILLBORN = 3
"""Workers of one slot that may die in a row before they have begun."""
NO_DASK = "a Dask cluster needs the extra `cluster`: pip install 'creto-sim[cluster]'"


class ExecutorLost(Exception):
    """There is nothing left that could run a task: a cluster that is gone."""


class Slot(Protocol):
    """One place where one task runs at a time."""

    def submit(self, work: Callable[[Any], Any], task: Any) -> Future[Any]:
        """Start a task; the slot is free again when the future is done."""
        ...

    def ready(self) -> bool:
        """Whether a task that is given now starts now: a new worker first has to begin."""
        ...

    def broken_by(self, error: BaseException) -> bool:
        """Whether an error says that the worker died, rather than that the task failed."""
        ...

    def rebuild(self) -> None:
        """End whatever runs here and be ready again. Raises ExecutorLost where that cannot be."""
        ...

    def close(self) -> None:
        """End whatever runs here, for good."""
        ...


def _begin() -> None:
    """Set a worker up: Ctrl-C is the parent's to act on, and no worker outlives its parent.

    As many workers as cores run already: Polars, not imported yet, is told not to start a thread a
    core in each of them.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        # A worker that waits for its next task holds both ends of the queue: the death of the
        # parent would never show there.
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, name="parent", daemon=True).start()


class ProcessSlot:
    """A process of this machine, started afresh (spawn) so that it inherits no state.

    `warm` is called in a new worker before its first task: imports, mostly.
    """

    def __init__(self, warm: Callable[[], None] | None = None) -> None:
        self._warm = warm
        self._stillborn = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_begin)
        self._pid = self._pool.submit(_pid_of, self._warm)
        self._ended = False

    @property
    def executor(self) -> Executor:
        return self._pool

    def pid(self) -> int:
        """Return the worker's process id; waits until it has begun."""
        return self._pid.result()

    def ready(self) -> bool:
        return self._pid.done()

    def submit(self, work: Callable[[Any], Any], task: Any) -> Future[Any]:
        return self._pool.submit(work, task)

    def broken_by(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def rebuild(self) -> None:
        began = self._pid.done() and self._pid.exception() is None
        self._stillborn = 0 if began else self._stillborn + 1
        self._end()
        if self._stillborn >= STILLBORN:
            raise ExecutorLost(
                f"{STILLBORN} workers died before they had begun: a script that runs a study needs "
                'its calls below `if __name__ == "__main__":`, for workers import it'
            )
        self._start()

    def close(self) -> None:
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(BrokenExecutor):
            # An idle worker would end at its leisure, a busy one when its task does. By the child
            # and not by its number, which another process may have by now.
            pid = self._pid.result()
            for child in multiprocessing.active_children():
                if child.pid == pid:
                    child.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _pid_of(warm: Callable[[], None] | None) -> int:
    if warm is not None:
        warm()
    return os.getpid()


class HereSlot:
    """This process: a task has ended when `submit` returns. Nothing can be stopped or rebuilt."""

    def submit(self, work: Callable[[Any], Any], task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def ready(self) -> bool:
        return True

    def broken_by(self, error: BaseException) -> bool:
        return False

    def rebuild(self) -> None:
        """Do nothing: what runs here cannot have died."""

    def close(self) -> None:
        """Do nothing."""


class DaskSlot:
    """A share of a Dask cluster; make as many as there are workers with `dask_slots`."""

    def __init__(self, client: Any, executor: Executor) -> None:
        self._client = client
        self._executor = executor
        self._future: Future[Any] | None = None

    def submit(self, work: Callable[[Any], Any], task: Any) -> Future[Any]:
        self._future = self._executor.submit(work, task)
        return self._future

    def ready(self) -> bool:
        return True

    def broken_by(self, error: BaseException) -> bool:
        # By name: the package is an extra, and errors travel pickled.
        return type(error).__name__ in ("KilledWorker", "CancelledError", "FutureCancelledError")

    def rebuild(self) -> None:
        # The cluster replaces its own workers; all that is to be done is to take the task back.
        if self._future is not None:
            self._future.cancel()
        if self._client.status != "running":
            raise ExecutorLost(f"the Dask cluster is gone: its client is {self._client.status}")

    def close(self) -> None:
        if self._future is not None:
            self._future.cancel()


def dask_slots(address: str, timeout_s: float = 30) -> tuple[list[DaskSlot], Callable[[], None]]:
    """Connect to the scheduler at `address`; return a slot a worker, and what closes them.

    Raises ExecutorLost where the extra is missing, nobody answers, or there are no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ExecutorLost(
            "a Dask cluster needs the extra: pip install 'creto-sim[cluster]'"
        ) from None
    try:
        client = Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExecutorLost(f"no Dask scheduler answers at {address}: {error}") from None
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        client.close()
        raise ExecutorLost(f"the Dask cluster at {address} has no workers")
    executor = client.get_executor(pure=False)

    def close() -> None:
        executor.shutdown(wait=False)
        client.close()

    return [DaskSlot(client, executor) for _ in workers], close
