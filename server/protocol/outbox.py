"""The events of one session that wait for its socket, also while the socket is lost."""

import asyncio
from collections import deque
from collections.abc import Callable

from server.protocol.server_events import MetricsTick, ServerEvent

Emit = Callable[[ServerEvent], None]
"""The one way by which an event goes out to a session's client."""


class Outbox:
    """A bounded queue of events.

    Metrics are dropped first, because the next ones replace them. Other events are kept up to the
    limit; then the oldest are dropped, each with a call of `on_drop`.
    """

    def __init__(self, limit: int, on_drop: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._on_drop = on_drop
        self._events: deque[ServerEvent] = deque()
        self._filled = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether the next event drops the oldest."""
        return len(self._events) >= self._limit

    def put(self, event: ServerEvent) -> None:
        """Queue an event as the last one."""
        if isinstance(event, MetricsTick) and 2 * len(self._events) >= self._limit:
            return
        if self.is_full:
            self._events.popleft()
            self._on_drop()
        self._events.append(event)
        self._filled.set()

    def put_first(self, event: ServerEvent) -> None:
        """Queue an event as the next one."""
        self._events.appendleft(event)
        self._filled.set()

    def drain(self) -> list[ServerEvent]:
        """Remove and return the queued events."""
        queued = list(self._events)
        self._events.clear()
        self._filled.clear()
        return queued

    async def get(self) -> ServerEvent:
        """The next event, as soon as there is one."""
        while not self._events:
            self._filled.clear()
            await self._filled.wait()
        return self._events.popleft()
