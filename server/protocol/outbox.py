"""The events of one session that wait for its socket, also while the socket is lost."""

import asyncio
from collections import deque

from server.protocol.server_events import MetricsTick, ServerEvent


class Outbox:
    """A bounded queue of events. When it is full the reader is too slow: see `is_full`.

    Metrics are dropped first, as the next ones replace them; other events are kept up to the
    limit, and then the oldest go, counted in `dropped`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[ServerEvent] = deque()
        self._filled = asyncio.Event()
        self.dropped = 0

    @property
    def is_full(self) -> bool:
        return len(self._events) >= self._limit

    def put(self, event: ServerEvent) -> None:
        if isinstance(event, MetricsTick) and 2 * len(self._events) >= self._limit:
            return
        if self.is_full:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)
        self._filled.set()

    def put_first(self, event: ServerEvent) -> None:
        self._events.appendleft(event)
        self._filled.set()

    def drain(self) -> list[ServerEvent]:
        """What waits now."""
        waiting = list(self._events)
        self._events.clear()
        self._filled.clear()
        return waiting

    async def get(self) -> ServerEvent:
        while not self._events:
            self._filled.clear()
            await self._filled.wait()
        return self._events.popleft()
