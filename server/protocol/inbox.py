"""The messages of one socket that arrived and were not acted on yet, bounded by bytes."""

import asyncio
from collections import deque

Message = str | bytes

OVERHEAD_BYTES = 100
"""What a message takes besides its content, about."""


class Inbox:
    """A queue of messages with an end; at most `limit` bytes, or one message that is larger."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._has_ended = False
        self._changed = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def offer(self, message: Message) -> bool:
        """Take a message if there is room; whether there was."""
        size = _size(message)
        if self._bytes + size > self._limit:
            return False
        self._add(message, size)
        return True

    async def put(self, message: Message) -> None:
        """Take a message, as soon as there is room. A larger one than the limit needs it all."""
        size = _size(message)
        while self._messages and self._bytes + size > self._limit:
            await self._next_change()
        self._add(message, size)

    def end(self) -> None:
        """No more messages will come."""
        self._has_ended = True
        self._changed.set()

    async def get(self) -> Message | None:
        """The next message, as soon as there is one; None after the last one."""
        while not self._messages:
            if self._has_ended:
                return None
            await self._next_change()
        message = self._messages.popleft()
        self._bytes -= _size(message)
        self._changed.set()
        return message

    def _add(self, message: Message, size: int) -> None:
        self._messages.append(message)
        self._bytes += size
        self._changed.set()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _size(message: Message) -> int:
    return len(message) + OVERHEAD_BYTES
