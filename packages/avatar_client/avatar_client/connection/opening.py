"""Opens a WebSocket to a server; says what is wrong if it cannot."""

import asyncio
import json
import logging
import ssl
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from avatar_client.connection.address import Proxy, key_headers, proxy_for, shown_url
from avatar_client.errors import AvatarClientError
from avatar_client.events import SECRET_SUBPROTOCOL_PREFIX, SUBPROTOCOL
from avatar_client.media_files.failure import reason_of

PING_S = 5.0  # a silent loss shows after three of these, before the server gives up
PROBE_S = 3.0
SECRET_HEADERS = ("authorization", "proxy-authorization", "sec-websocket-protocol")
FAILURES = (OSError, TimeoutError, InvalidHandshake, InvalidProxy, InvalidURI, ImportError)


class _WithoutSecrets(logging.Filter):
    """Hides keys in the headers that websockets logs at level debug."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args
        if (
            isinstance(arguments, tuple)
            and len(arguments) == 2
            and str(arguments[0]).lower() in SECRET_HEADERS
        ):
            record.args = (arguments[0], "(hidden)")
        return True


logger = logging.getLogger("avatar_client.websocket")
logger.addFilter(_WithoutSecrets())


async def open_socket(
    address: str, api_key: str | None, resume_secret: str | None = None
) -> ClientConnection:
    """A socket to `address` (ws or wss). Raises one of FAILURES."""
    offered = [SUBPROTOCOL]
    if resume_secret is not None:
        offered.append(SECRET_SUBPROTOCOL_PREFIX + resume_secret)
    proxy = proxy_for(address)
    return await connect(
        address,
        subprotocols=offered,  # type: ignore[arg-type]
        additional_headers=key_headers(api_key),
        compression=None,  # PCM does not shrink
        max_size=2**22,
        ping_interval=PING_S,
        ping_timeout=2 * PING_S,
        proxy=proxy.url if proxy else None,
        logger=logger,
    )


async def explained(address: str, failure: BaseException) -> AvatarClientError:
    """The error for one of FAILURES: what happened and what to do."""
    if isinstance(failure, InvalidStatus):
        return _refused(
            shown_url(address), failure.response.status_code, failure.response.body or b""
        )
    proxy = proxy_for(address)
    message = None if proxy else await _about_tls(address, failure)
    return AvatarClientError(message or _unreachable(address, failure, proxy))


def _unreachable(address: str, failure: BaseException, proxy: Proxy | None) -> str:
    where = shown_url(address)
    reason = reason_of(failure)
    if isinstance(failure, ImportError):
        return (
            f"The proxy {proxy.shown if proxy else ''} needs the package python-socks. Install "
            "it, or set NO_PROXY to the server's host."
        )
    if proxy is None:
        return f"No avatar server answers at {where} ({reason}). Start one: avatar serve"
    blame = "refused the connection" if isinstance(failure, ProxyError) else "is in between"
    return (
        f"No avatar server answers at {where} ({reason}). The proxy {proxy.shown}, which the "
        f"environment names, {blame}: set NO_PROXY to the server's host if it needs none."
    )


async def _about_tls(address: str, failure: BaseException) -> str | None:
    """What is wrong if one side speaks TLS and the other does not, or distrusts it."""
    if isinstance(failure, ssl.SSLError):
        return tls_problem(address, failure)
    parts = urlsplit(address)
    if isinstance(failure, InvalidMessage) and await _speaks_tls(parts.hostname, parts.port or 80):
        host = parts.netloc.rpartition("@")[2]
        return f"{host} answers with TLS only. Use https://{host} instead of http."
    return None


def tls_problem(address: str, failure: ssl.SSLError) -> str:
    """What is wrong with the TLS of a server, and what to do."""
    host = urlsplit(shown_url(address)).netloc
    if isinstance(failure, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {host} is not trusted ({failure.verify_message}). Use the name "
            "that it was made for, or set SSL_CERT_FILE to the authority's certificate."
        )
    return (
        f"{host} answers, but without TLS ({failure.reason}). Use http://{host} instead of https."
    )


async def _speaks_tls(host: str | None, port: int) -> bool:
    any_certificate = ssl.create_default_context()
    any_certificate.check_hostname = False
    any_certificate.verify_mode = ssl.CERT_NONE  # nothing is sent, only greeted
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port, ssl=any_certificate)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _refused(where: str, status: int, body: bytes | bytearray) -> AvatarClientError:
    """The error that the server sent in the body, or one made from the status."""
    try:
        error = json.loads(body)["error"]
        return AvatarClientError(error["message"], error["code"])
    except (ValueError, KeyError, TypeError):
        pass
    if b"HTTPS port" in body:  # nginx
        return AvatarClientError(f"{where} answers with TLS only. Use https instead of http.")
    if status in (401, 403):
        message = (
            f"{where} requires an API key (HTTP {status}). Pass it: --api-key or AVATAR_API_KEY"
        )
        return AvatarClientError(message, "unauthorized")
    return AvatarClientError(f"{where} refused the session with HTTP {status}.", "refused")
