"""Admission of sessions: up to a limit at once, then a queue in order, then a refusal.

No client, that is no address, has more than its share of the slots, nor more than half of the
queue. Who has its share waits; those of other addresses are admitted past it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from server.protocol.errors import ErrorCode, ProtocolError


@dataclass(slots=True, eq=False)
class _Waiter:
    client: str
    admitted: "asyncio.Future[None]"
    on_position: Callable[[int], None]


class Admission:
    """Counts the slots; each `enter` that returned needs one `leave`."""

    def __init__(
        self, max_sessions: int, max_queued: int, max_per_client: int | None = None
    ) -> None:
        self._max_sessions = max_sessions
        self._max_queued = max_queued
        self._max_per_client = max_sessions if max_per_client is None else max_per_client
        self._max_queued_per_client = (max_queued + 1) // 2
        self._queue: list[_Waiter] = []
        self._active: Counter[str] = Counter()
        self._closed: ProtocolError | None = None
        self.active = 0

    @property
    def queued(self) -> int:
        return len(self._queue)

    async def enter(self, client: str, on_position: Callable[[int], None]) -> None:
        """Take a slot, waiting in order; `on_position` gets the position in the queue, from 1."""
        if self._closed is not None:
            raise self._closed
        if self._may_begin(client):
            self._begin(client)
            return
        self._check_queue(client)
        waiter = _Waiter(client, asyncio.get_running_loop().create_future(), on_position)
        self._queue.append(waiter)
        on_position(len(self._queue))
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
                self._report_positions()
            elif waiter.admitted.done() and not _ended_without_slot(waiter.admitted):
                self.leave(client)  # admitted at the very moment of the cancellation
            raise

    def close(self, reason: ProtocolError) -> None:
        """Admit nobody from now on; who waits is refused with `reason`."""
        self._closed = reason
        waiting, self._queue = self._queue, []
        for waiter in waiting:
            if not waiter.admitted.done():
                waiter.admitted.set_exception(reason)

    def leave(self, client: str) -> None:
        """Free the slot, or give it to the first in the queue whose client may have one more."""
        self.active -= 1
        self._active[client] -= 1
        if not self._active[client]:
            del self._active[client]
        for waiter in list(self._queue):
            if not waiter.admitted.done() and self._may_begin(waiter.client):
                self._queue.remove(waiter)
                self._begin(waiter.client)
                waiter.admitted.set_result(None)
        self._report_positions()

    def _may_begin(self, client: str) -> bool:
        """Whether a slot is free for the client. Whoever may begin does not stay in the queue."""
        return self.active < self._max_sessions and self._active[client] < self._max_per_client

    def _begin(self, client: str) -> None:
        self.active += 1
        self._active[client] += 1

    def _check_queue(self, client: str) -> None:
        if len(self._queue) >= self._max_queued:
            raise ProtocolError(
                ErrorCode.SERVER_FULL,
                f"The server is full: {self.active} of {self._max_sessions} sessions run, and "
                f"{len(self._queue)} of {self._max_queued} clients wait. Try again later.",
                retryable=True,
            )
        waiting = sum(each.client == client for each in self._queue)
        if waiting >= self._max_queued_per_client:
            raise ProtocolError(
                ErrorCode.RATE_LIMITED,
                f"Your address {client} has {self._active[client]} sessions, and {waiting} more "
                f"clients of it wait. One address may have {self._max_per_client} sessions "
                f"(limits.max_sessions_per_address) and {self._max_queued_per_client} of the "
                f"{self._max_queued} places in the queue. End one of them, or try again later.",
                retryable=True,
            )

    def _report_positions(self) -> None:
        for place, waiter in enumerate(self._queue, start=1):
            waiter.on_position(place)


def _ended_without_slot(admitted: "asyncio.Future[None]") -> bool:
    return admitted.cancelled() or admitted.exception() is not None
