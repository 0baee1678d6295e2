"""Turns at work that takes long, such as decoding pictures: few at once, and fair between clients.

Without turns one client that asks a hundred times keeps all others waiting.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.protocol.errors import ErrorCode, ProtocolError

RETRY_AFTER_S = 5.0


class Turns:
    """Turns at one kind of work: `at_once` run, and one client has at most `each` of them.

    Who waits is served in rotation by client. At most `of_one` of a client and `of_all` wait; more
    are refused with `rate_limited`. `work` names the work in that refusal.
    """

    def __init__(self, work: str, at_once: int, of_one: int, of_all: int, each: int = 1) -> None:
        self._work = work
        self._at_once = at_once
        self._each = each
        self._of_one = of_one
        self._of_all = of_all
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def running(self) -> int:
        """How many have a turn."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Waits for a turn of `client`, an address, and has it during the block."""
        await self._enter(client)
        try:
            yield
        finally:
            self._leave(client)

    async def _enter(self, client: str) -> None:
        if not self._may_start(client) and self._is_full(client):
            raise ProtocolError(
                ErrorCode.RATE_LIMITED,
                f"Too many {self._work} at once. Try again in "
                f"{RETRY_AFTER_S:.0f} s, one after the other.",
                retryable=True,
                retry_after_s=RETRY_AFTER_S,
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(place)
        self._start()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave(client)  # its turn came as it was cancelled
            else:
                self._drop(client, place)
            raise

    def _may_start(self, client: str) -> bool:
        return self.running < self._at_once and self._running[client] < self._each

    def _is_full(self, client: str) -> bool:
        of_client = len(self._waiting.get(client, ()))
        return self.waiting >= self._of_all or of_client >= self._of_one

    def _leave(self, client: str) -> None:
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        if client in self._waiting:
            self._waiting.move_to_end(client)
        self._start()

    def _drop(self, client: str, place: asyncio.Future[None]) -> None:
        places = self._waiting[client]
        places.remove(place)
        if not places:
            del self._waiting[client]

    def _start(self) -> None:
        """Give every free turn to the client that has waited longest since its last one."""
        for client in list(self._waiting):
            if not self._may_start(client):
                continue
            place = next((each for each in self._waiting[client] if not each.cancelled()), None)
            if place is None:  # all cancelled, and about to be dropped
                continue
            self._drop(client, place)
            self._running[client] += 1
            place.set_result(None)
