"""The end of clients that do not read."""

import asyncio

UNREAD_S = 20.0
"""How long a client may take nothing of what is written to it."""


class UnreadOutput:
    """Ends a connection whose client takes nothing of what is written to it for UNREAD_S."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.stop()
        size = self._transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(UNREAD_S, self._check, size)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, before: int) -> None:
        if self._transport.get_write_buffer_size() < before:
            self.start()
        else:
            self._transport.abort()
