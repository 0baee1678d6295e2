"""Who may speak to the server: the API key, short-lived client secrets, origins and hosts."""

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
    value: str
    expires_at: int


class Access:
    """Checks requests. `clock` gives wall time in seconds, as secrets expire by it."""

    def __init__(
        self, listen: Listen, secret_ms: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._listen = listen
        self._secret_s = secret_ms / 1000
        self._clock = clock
        self._expiries: dict[str, float] = {}

    def new_secret(self) -> ClientSecret:
        """A secret with which a browser may open sockets for a short while."""
        now = self._clock()
        self._expiries = {each: at for each, at in self._expiries.items() if at > now}
        while len(self._expiries) >= MAX_SECRETS:
            self._expiries.pop(next(iter(self._expiries)))
        value = secrets.token_urlsafe(24)
        self._expiries[value] = now + self._secret_s
        return ClientSecret(value, int(now + self._secret_s))

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise ProtocolError where a request may not be answered; `headers` have small letters."""
        self.check_origin(headers)
        key = self._listen.api_key
        if key is None or _same(bearer(headers), key):
            return
        given = offered_secret(headers)
        if given is not None and self._expiries.get(given, 0.0) > self._clock():
            return
        raise ProtocolError(
            ErrorCode.UNAUTHORIZED,
            "found no valid key, expected 'Authorization: Bearer <api key>', or a client secret "
            f"as the subprotocol '{SECRET_SUBPROTOCOL_PREFIX}<secret>'; get a secret from POST "
            "/v1/realtime/sessions",
        )

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Pages of other sites may not speak to this server through a user's browser."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._listen.api_key is None and name not in LOOPBACK_NAMES:
            raise _foreign(f"the host {host[:80]!r}", "localhost or 127.0.0.1")
        origin = headers.get("origin")
        if origin is None or origin in self._listen.allowed_origins:
            return
        if urlsplit(origin).netloc.lower() != host.lower():
            raise _foreign(f"the origin {origin[:80]!r}", "the server's own pages")


def bearer(headers: Mapping[str, str]) -> str:
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    offered = headers.get("sec-websocket-protocol", "")
    return [each.strip() for each in offered.split(",") if each.strip()]


def offered_secret(headers: Mapping[str, str]) -> str | None:
    """The secret among the offered subprotocols."""
    for each in offered_subprotocols(headers):
        if each.startswith(SECRET_SUBPROTOCOL_PREFIX):
            return each.removeprefix(SECRET_SUBPROTOCOL_PREFIX)
    return None


def may_resume(headers: Mapping[str, str], secret: str) -> bool:
    """Whether the request shows the session's own secret, as a subprotocol or bearer."""
    return _same(offered_secret(headers) or "", secret) or _same(bearer(headers), secret)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _foreign(found: str, expected: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.UNAUTHORIZED,
        f"found {found}, expected {expected}; add the origin to listen.allowed_origins, or set "
        "listen.api_key to serve other hosts",
    )
