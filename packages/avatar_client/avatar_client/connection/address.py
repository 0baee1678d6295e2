"""Addresses, keys and proxies of a server, as users write them."""

import ipaddress
import urllib.request
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.exceptions import InvalidURI
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from avatar_client.errors import AvatarClientError


def realtime_url(url: str, character: str | None = None, session: str | None = None) -> str:
    """`http://host:8080` as `ws://host:8080/v1/realtime?character=...`."""
    parts = _split(url)
    path = (
        parts.path if parts.path.endswith("/realtime") else f"{parts.path.rstrip('/')}/v1/realtime"
    )
    wanted = {"character": character, "session": session}
    query = dict(parse_qsl(parts.query)) | {name: value for name, value in wanted.items() if value}
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode(query), ""))


def http_url(url: str, path: str) -> str:
    """The address of `path`, such as `characters`, in the server's HTTP API."""
    parts = _split(url)
    base = parts.path.rstrip("/").removesuffix("/realtime").removesuffix("/v1")
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, f"{base}/v1/{path}", "", ""))


def shown_url(address: str) -> str:
    """`address` for messages: without a password or a query."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def clean_key(api_key: str | None) -> str | None:
    """The key without white space around it, as files of secrets have it; None if it is empty.

    Raises AvatarClientError for letters that no header can hold; its message has no key in it.
    """
    key = (api_key or "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise AvatarClientError(
            "The API key has characters other than ASCII letters, digits and signs, so it cannot "
            "be the server's. Copy it again.",
            "unauthorized",
        )
    return key or None


def key_headers(api_key: str | None) -> dict[str, str]:
    """The header that shows the key to the server."""
    key = clean_key(api_key)
    return {"Authorization": f"Bearer {key}"} if key else {}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy of the environment; `shown` is its address without a password."""

    url: str

    @property
    def shown(self) -> str:
        return shown_url(self.url)


def proxy_for(address: str) -> Proxy | None:
    """The proxy that the environment names for `address` (http, https, ws or wss).

    This machine itself is never reached through a proxy.
    """
    parts = urlsplit(address)
    if is_loopback(parts.hostname or ""):
        return None
    try:
        uri = parse_uri(urlunsplit(parts._replace(scheme=_ws_scheme(parts.scheme))))
    except InvalidURI:
        return None  # connecting tells what is wrong with it
    found = get_proxy(uri)
    return Proxy(found if "://" in found else f"http://{found}") if found else None


def is_loopback(host: str) -> bool:
    """Is it this machine?"""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or address.is_unspecified


def http_opener(address: str) -> urllib.request.OpenerDirector:
    """Opens HTTP addresses; this machine's without a proxy."""
    if is_loopback(urlsplit(address).hostname or ""):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _split(url: str) -> SplitResult:
    """Its parts, with ws or wss as the scheme. AvatarClientError."""
    try:
        parts = urlsplit((url if "://" in url else f"http://{url}").strip())
        is_address = bool(parts.hostname) and parts.port != 0  # an odd port raises
        scheme = _ws_scheme(parts.scheme)
        uri = parse_uri(urlunsplit((scheme, parts.netloc, parts.path, "", "")))
        is_address = is_address and bool(uri.host)
    except (ValueError, InvalidURI):
        is_address = False
    if not is_address:
        raise AvatarClientError(
            f"{url!r} is not the address of an avatar server. Write it like http://127.0.0.1:8080; "
            "ports go up to 65535."
        )
    return parts._replace(scheme=scheme)


def _ws_scheme(scheme: str) -> str:
    return {"http": "ws", "https": "wss"}.get(scheme, scheme)
