"""The only thread that touches the model; the event loop awaits it and never blocks.

Sessions share it between ticks: the job with the earliest deadline runs first.
"""

import asyncio
import heapq
import itertools
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

R = TypeVar("R")
Observer = Callable[[object, BaseException | None], None]
"""Gets the result or the error of a call, on the event loop, also if nobody awaits it any more."""


class Work(Enum):
    """What a call does, which says how long it may take."""

    LOAD = "load"
    """The start and the end of the model: any time."""
    OPEN = "open"
    TICK = "tick"
    """A tick, a rewind, or the wait for a tick's frames."""


@dataclass(eq=False, slots=True)
class UnderWay:
    """A call that the model works on. The watch counts its seconds."""

    work: Work
    seconds: float = 0.0


@dataclass(order=True, slots=True)
class _Job:
    deadline: float
    number: int
    call: Callable[[], Any] = field(compare=False)
    done: "asyncio.Future[Any]" = field(compare=False)
    work: Work = field(compare=False)


class ModelThread:
    """Runs calls one after another, the one with the earliest deadline first."""

    def __init__(self, observe: "Observer | None" = None) -> None:
        self._observe = observe or _ignore
        self._running: UnderWay | None = None
        self._beside: set[UnderWay] = set()
        self._jobs: list[_Job] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    @property
    def under_way(self) -> tuple[UnderWay, ...]:
        """The calls that were begun and have not ended, but for those that may take any time."""
        running = self._running
        is_bounded = running is not None and running.work is not Work.LOAD
        return (*self._beside, running) if running and is_bounded else (*self._beside,)

    def log_stack(self) -> None:
        """Write to the log where the thread is now."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        for line in "".join(traceback.format_stack(frame)).splitlines():
            logger.critical("%s", line)

    async def run(self, call: Callable[[], R], deadline: float = 0.0, work: Work = Work.TICK) -> R:
        """The result of `call()`, run on the thread; `deadline` is in the loop's time.

        If the caller is cancelled before its turn, the call does not run.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The model thread is closed. Start a new server.")
            heapq.heappush(self._jobs, _Job(deadline, next(self._count), call, done, work))
            self._changed.notify()
        return await done

    async def beside(self, call: Callable[[], R]) -> R:
        """The result of a call that only waits for a device, run on another thread."""
        waiting = UnderWay(Work.TICK)
        self._beside.add(waiting)
        running = asyncio.get_running_loop().run_in_executor(None, call)
        running.add_done_callback(lambda done: self._end_beside(waiting, done))
        return await running

    def _end_beside(self, waiting: UnderWay, done: "asyncio.Future[Any]") -> None:
        self._beside.discard(waiting)
        if not done.cancelled():
            error = done.exception()
            self._observe(None if error is not None else done.result(), error)

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
            self._running = UnderWay(job.work)
            try:
                result, error = job.call(), None
            except BaseException as reason:  # the caller gets it, whatever it is
                result, error = None, reason
            self._running = None
            observe = _ignore if job.work is Work.LOAD else self._observe
            job.done.get_loop().call_soon_threadsafe(_settle, job.done, result, error, observe)
            del job, result, error

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._jobs and not self._is_closed:
                self._changed.wait()
            return None if self._is_closed else heapq.heappop(self._jobs)


def _ignore(result: object, error: BaseException | None) -> None:
    """Observes nothing."""


def _settle(
    done: "asyncio.Future[Any]", result: object, error: BaseException | None, observe: Observer
) -> None:
    observe(result, error)
    if done.cancelled():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
