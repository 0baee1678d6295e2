"""Which requests are answered: the API key, short-lived client secrets, origins and hosts."""

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from server.config import Listen
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.handshake import SECRET_SUBPROTOCOL_PREFIX

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_SECRETS = 10_000


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A secret for one browser; `expires_at` is in seconds since 1970."""

    value: str
    expires_at: int


class Authenticator:
    """Checks requests and issues client secrets; `clock` gives seconds since 1970."""

    def __init__(
        self, listen: Listen, secret_ms: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._listen = listen
        self._secret_s = secret_ms / 1000
        self._clock = clock
        self._expiries: dict[str, float] = {}

    def new_secret(self) -> ClientSecret:
        """A secret that opens sockets for a short while; the oldest goes if there are too many."""
        now = self._clock()
        self._expiries = {each: at for each, at in self._expiries.items() if at > now}
        while len(self._expiries) >= MAX_SECRETS:
            self._expiries.pop(next(iter(self._expiries)))
        value = secrets.token_urlsafe(24)
        self._expiries[value] = now + self._secret_s
        return ClientSecret(value, int(now + self._secret_s))

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise ProtocolError unless the request may be answered; header names are lower case."""
        self.check_origin(headers)
        key = self._listen.api_key
        if key is None or _same(bearer(headers), key):
            return
        given = offered_secret(headers)
        if given is not None and self._expiries.get(given, 0.0) > self._clock():
            return
        raise ProtocolError(
            ErrorCode.UNAUTHORIZED,
            "The API key is missing or wrong. Send 'Authorization: Bearer <api key>', or offer the "
            f"subprotocol '{SECRET_SUBPROTOCOL_PREFIX}<secret>' with a client secret from POST "
            "/v1/realtime/sessions.",
        )

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse pages of other sites, which would use this server through a visitor's browser."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._listen.api_key is None and name not in LOOPBACK_NAMES:
            raise _foreign(f"the host {host[:80]!r}")
        origin = headers.get("origin")
        if origin is None or origin in self._listen.allowed_origins:
            return
        if urlsplit(origin).netloc.lower() != host.lower():
            raise _foreign(f"the origin {origin[:80]!r}")


def bearer(headers: Mapping[str, str]) -> str:
    """The value of `Authorization: Bearer`, or ""."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    """The subprotocols that a WebSocket handshake offers."""
    offered = headers.get("sec-websocket-protocol", "")
    return [each.strip() for each in offered.split(",") if each.strip()]


def offered_secret(headers: Mapping[str, str]) -> str | None:
    """The secret among the offered subprotocols."""
    for each in offered_subprotocols(headers):
        if each.startswith(SECRET_SUBPROTOCOL_PREFIX):
            return each.removeprefix(SECRET_SUBPROTOCOL_PREFIX)
    return None


def may_resume(headers: Mapping[str, str], secret: str) -> bool:
    """Whether the request shows the session's own secret, as a subprotocol or bearer token."""
    return _same(offered_secret(headers) or "", secret) or _same(bearer(headers), secret)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _foreign(place: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.UNAUTHORIZED,
        f"The request comes from {place}, which is not this server's own. Add the origin to "
        "listen.allowed_origins, or set listen.api_key to serve other hosts.",
    )
