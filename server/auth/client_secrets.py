"""Client secrets: each opens one WebSocket, once, within a short time."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.protocol.errors import ErrorCode, ProtocolError

MOST_SECRETS = 100_000
"""Of all issuers together: some 30 MB."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A secret for one browser; `expires_at` is in seconds since 1970, for information."""

    value: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Live:
    issuer: str
    until_s: float  # on the monotonic clock, so that a step of the wall clock changes nothing


class ClientSecrets:
    """Issues secrets and takes them back; `clock` is monotonic, `wall_clock` counts from 1970.

    An issuer has at most `max_each` live secrets: a further one ends that issuer's oldest, never
    another's.
    """

    def __init__(
        self,
        lifetime_s: float,
        max_each: int,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._lifetime_s = lifetime_s
        self._max_each = max_each
        self._clock = clock
        self._wall_clock = wall_clock
        self._live: dict[str, _Live] = {}  # all live equally long, so the oldest come first
        self._by_issuer: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def issue(self, issuer: str) -> ClientSecret:
        """A new secret; raises ProtocolError if there are too many in all."""
        self._forget_expired()
        own = self._by_issuer.get(issuer, {})
        if len(own) >= self._max_each:
            self._forget(next(iter(own)))
        if len(self._live) >= MOST_SECRETS:
            raise ProtocolError(
                ErrorCode.RATE_LIMITED,
                f"There are {MOST_SECRETS} unused client secrets, which is the limit. Try again "
                f"in {self._lifetime_s:.0f} s, and issue a secret only when a client connects.",
                retryable=True,
                retry_after_s=self._lifetime_s,
            )
        value = secrets.token_urlsafe(24)
        self._live[value] = _Live(issuer, self._clock() + self._lifetime_s)
        self._by_issuer.setdefault(issuer, {})[value] = None
        return ClientSecret(value, int(self._wall_clock() + self._lifetime_s))

    def spend(self, value: str) -> bool:
        """Whether the secret was live; it is not afterwards."""
        self._forget_expired()
        if value not in self._live:
            return False
        self._forget(value)
        return True

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._live:
            oldest = next(iter(self._live))
            if self._live[oldest].until_s > now:
                return
            self._forget(oldest)

    def _forget(self, value: str) -> None:
        issuer = self._live.pop(value).issuer
        own = self._by_issuer[issuer]
        del own[value]
        if not own:
            del self._by_issuer[issuer]
