"""Checks requests: their host and origin, the API key, and the client secret of a handshake."""

import hmac
import math
import time
from collections.abc import Callable, Mapping

from server.auth.client_secrets import ClientSecret, ClientSecrets
from server.auth.wrong_keys import WrongKeys
from server.config import Limits, Listen
from server.origins import Host, parsed_host, parsed_origin
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.handshake import SECRET_SUBPROTOCOL_PREFIX

MOST_SHOWN = 80
"""Characters of a header that an error repeats."""


class Authenticator:
    """Decides which requests are answered. Header names are lower case.

    `address` is the client's, as far as proxies tell it; it counts wrong keys and client secrets.
    `clock` is monotonic, `wall_clock` counts seconds from 1970.
    """

    def __init__(
        self,
        listen: Listen,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._listen = listen
        self._wrong_keys = WrongKeys(clock)
        self._secrets = ClientSecrets(
            limits.client_secret_ms / 1000, limits.max_client_secrets, clock, wall_clock
        )

    def new_secret(self, address: str) -> ClientSecret:
        """A secret that opens one socket within a short time."""
        return self._secrets.issue(address)

    def check(self, headers: Mapping[str, str], address: str) -> None:
        """Raise ProtocolError unless the HTTP request may be answered: it needs the API key."""
        self.check_origin(headers)
        if not self._shows_key(headers):
            raise self._refusal(bearer(headers), address)

    def check_handshake(self, headers: Mapping[str, str], address: str) -> None:
        """Raise ProtocolError unless the request may open a WebSocket.

        That takes the API key or a client secret, which is spent by this call.
        """
        self.check_origin(headers)
        secret = offered_secret(headers)
        is_spent = secret is not None and self._secrets.spend(secret)
        if not is_spent and not self._shows_key(headers):
            raise self._refusal(secret or bearer(headers), address)

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse pages of other sites, which would use this server through a visitor's browser."""
        text = headers.get("host", "")
        host = parsed_host(text)
        if host is None and text:
            raise ProtocolError(
                ErrorCode.INVALID_FIELD,
                f"The Host header {_shown(text)} is no host name. Send the server's name or "
                "address, with its port if that is not the usual one.",
                "host",
            )
        if self._listen.api_key is None and not (host and host.is_this_machine):
            raise _foreign_host(text)
        origin = headers.get("origin")
        if origin is not None and not self._is_allowed(origin, host):
            raise _foreign_origin(origin, text)

    def _is_allowed(self, text: str, host: Host | None) -> bool:
        origin = parsed_origin(text)
        if origin is None:
            return False
        if host is not None and origin.is_served_at(host):
            return True
        return str(origin) in self._listen.browser_origins

    def _shows_key(self, headers: Mapping[str, str]) -> bool:
        key = self._listen.api_key
        return key is None or _same(bearer(headers), key)

    def _refusal(self, shown: str, address: str) -> ProtocolError:
        """Of a request without the key; `shown` is what it has instead, if anything."""
        wait_s = self._wrong_keys.count(address) if shown else 0.0
        if wait_s:
            return ProtocolError(
                ErrorCode.RATE_LIMITED,
                "Too many wrong API keys or client secrets came from this address. The next one "
                f"is checked in {math.ceil(wait_s)} s; the right key is let in at any time.",
                retryable=True,
                retry_after_s=wait_s,
            )
        return ProtocolError(
            ErrorCode.UNAUTHORIZED,
            "The API key is missing or wrong. Send 'Authorization: Bearer <api key>'. To open a "
            f"WebSocket, a browser offers the subprotocol '{SECRET_SUBPROTOCOL_PREFIX}<secret>' "
            "with a client secret from POST /v1/realtime/sessions, which is good for one "
            "handshake and for nothing else.",
        )


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


def _shown(text: str) -> str:
    """Text of a stranger, short and with its control characters escaped."""
    return ascii(text[:MOST_SHOWN])


def _foreign_host(text: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.FORBIDDEN,
        f"The request is for the host {_shown(text)}, but without an API key this server answers "
        "only to names of its own machine, such as localhost. Open it by http://localhost, or "
        "set listen.api_key to serve under other names.",
        "host",
    )


def _foreign_origin(origin: str, host: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.FORBIDDEN,
        f"The request comes from a page of {_shown(origin)}, but the server was addressed as "
        f"{_shown(host)}. If that page is meant to use this server, add its origin to "
        "listen.allowed_origins (avatar serve --allowed-origin). If the page is this server's "
        "own, a proxy between changes the Host header: let it pass the browser's on (nginx: "
        "proxy_set_header Host $http_host).",
        "origin",
    )
