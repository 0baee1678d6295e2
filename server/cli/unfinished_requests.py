"""Which connections are closed when too many wait for the rest of a request."""

import logging
from typing import Protocol

from server.addresses import client_network
from server.budget import TokenBucket

logger = logging.getLogger(__name__)

WARNING_S = 60.0


class Connection(Protocol):
    """A connection whose request is not complete."""

    def drop(self) -> None:
        """Close the connection, which then counts no more (`remove`)."""


class UnfinishedRequests:
    """The connections of one process whose request is not complete, the oldest first."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._waiting: dict[Connection, str] = {}
        self._closed = 0
        self._warnings = TokenBucket(1 / WARNING_S, 1)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: Connection, host: str, now: float) -> None:
        """Count one more; the oldest is closed if there are too many, or too many of its client."""
        address = client_network(host)
        self._waiting[one] = address
        same = [each for each, other in self._waiting.items() if other == address]
        if len(same) > self._most_per_address:
            self._close(same[0], now)
        elif len(self._waiting) > self._most:
            self._close(next(iter(self._waiting)), now)

    def remove(self, one: Connection) -> None:
        self._waiting.pop(one, None)

    def _close(self, oldest: Connection, now: float) -> None:
        address = self._waiting[oldest]
        oldest.drop()
        self._closed += 1
        if self._warnings.take(now):
            logger.warning(
                "%d connections without a whole request were closed, the latest of %s: at most %d "
                "may wait, and %d of one address",
                self._closed,
                address,
                self._most,
                self._most_per_address,
            )
            self._closed = 0
