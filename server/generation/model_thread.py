"""The only thread that touches the model; the event loop awaits it and never blocks.

Sessions share it between ticks: the job with the earliest deadline runs first.
"""

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

R = TypeVar("R")


@dataclass(order=True, slots=True)
class _Job:
    deadline: float
    number: int
    call: Callable[[], Any] = field(compare=False)
    done: "asyncio.Future[Any]" = field(compare=False)


class ModelThread:
    """Runs calls one after another, the one with the earliest deadline first."""

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    async def run(self, call: Callable[[], R], deadline: float = 0.0) -> R:
        """The result of `call()`, run on the thread; `deadline` is in the loop's time.

        If the caller is cancelled before its turn, the call does not run.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The model thread is closed. Start a new server.")
            heapq.heappush(self._jobs, _Job(deadline, next(self._count), call, done))
            self._changed.notify()
        return await done

    async def beside(self, call: Callable[[], R]) -> R:
        """The result of a call that only waits for a device, run on another thread."""
        return await asyncio.get_running_loop().run_in_executor(None, call)

    async def aclose(self) -> None:
        """Finish the running call, drop the waiting ones and end the thread."""
        with self._changed:
            self._is_closed = True
            dropped, self._jobs = self._jobs, []
            self._changed.notify()
        for job in dropped:
            job.done.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _work(self) -> None:
        """Run the calls; holds no reference while it waits, so a session's objects can be freed."""
        while (job := self._next()) is not None:
            if job.done.cancelled():
                del job
                continue
            try:
                result, error = job.call(), None
            except BaseException as reason:  # the caller gets it, whatever it is
                result, error = None, reason
            job.done.get_loop().call_soon_threadsafe(_settle, job.done, result, error)
            del job, result, error

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._jobs and not self._is_closed:
                self._changed.wait()
            return None if self._is_closed else heapq.heappop(self._jobs)


def _settle(done: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
