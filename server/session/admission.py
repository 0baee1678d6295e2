"""Admission of sessions: up to a limit at once, then a queue in order, then a refusal."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from server.protocol.errors import ErrorCode, ProtocolError


@dataclass(slots=True)
class _Waiter:
    admitted: "asyncio.Future[None]"
    on_position: Callable[[int], None]


class Admission:
    """Counts the slots; each `enter` that returned needs one `leave`."""

    def __init__(self, max_sessions: int, max_queued: int) -> None:
        self._max_sessions = max_sessions
        self._max_queued = max_queued
        self._queue: deque[_Waiter] = deque()
        self._closed: ProtocolError | None = None
        self.active = 0

    @property
    def queued(self) -> int:
        return len(self._queue)

    async def enter(self, on_position: Callable[[int], None]) -> None:
        """Take a slot, waiting in order; `on_position` gets the position in the queue, from 1."""
        if self._closed is not None:
            raise self._closed
        if self.active < self._max_sessions and not self._queue:
            self.active += 1
            return
        if len(self._queue) >= self._max_queued:
            raise ProtocolError(
                ErrorCode.SERVER_FULL,
                f"The server is full: {self.active} of {self._max_sessions} sessions run, and "
                f"{len(self._queue)} of {self._max_queued} clients wait. Try again later.",
                retryable=True,
            )
        waiter = _Waiter(asyncio.get_running_loop().create_future(), on_position)
        self._queue.append(waiter)
        on_position(len(self._queue))
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
                self._report_positions()
            elif waiter.admitted.done() and not _ended_without_slot(waiter.admitted):
                self.leave()  # admitted at the very moment of the cancellation
            raise

    def close(self, reason: ProtocolError) -> None:
        """Admit nobody from now on; who waits is refused with `reason`."""
        self._closed = reason
        waiting, self._queue = self._queue, deque()
        for waiter in waiting:
            if not waiter.admitted.done():
                waiter.admitted.set_exception(reason)

    def leave(self) -> None:
        """Free the slot, or give it to the next in the queue."""
        self.active -= 1
        while self._queue and self.active < self._max_sessions:
            waiter = self._queue.popleft()
            if not waiter.admitted.done():
                self.active += 1
                waiter.admitted.set_result(None)
        self._report_positions()

    def _report_positions(self) -> None:
        for place, waiter in enumerate(self._queue, start=1):
            waiter.on_position(place)


def _ended_without_slot(admitted: "asyncio.Future[None]") -> bool:
    return admitted.cancelled() or admitted.exception() is not None
