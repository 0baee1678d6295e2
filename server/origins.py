"""Host and Origin headers, read strictly: whatever does not parse is None, never an exception."""

import ipaddress
import re
from dataclasses import dataclass

# RFC 3986, section 3.2.2, without percent encoding; "_" occurs in names of containers.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://([^/?#\s]{1,300})")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LARGEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Host:
    """A name or address in lower case, without the brackets of IPv6, and a port if one is given."""

    name: str
    port: int | None

    @property
    def is_this_machine(self) -> bool:
        """Whether the name can only mean the machine itself."""
        return self.name == "localhost" or is_loopback(self.name)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme and host of the page that a request comes from."""

    scheme: str
    host: Host

    def __str__(self) -> str:
        """As browsers write it: without a port that is the scheme's own."""
        name = f"[{self.host.name}]" if ":" in self.host.name else self.host.name
        is_default = self.host.port in (None, _DEFAULT_PORTS.get(self.scheme))
        return f"{self.scheme}://{name}" + ("" if is_default else f":{self.host.port}")

    def is_served_at(self, host: Host) -> bool:
        """Whether the page came from the server that is addressed as `host`.

        The scheme is not compared beyond its default port: behind a TLS proxy the server does not
        know its own.
        """
        default = _DEFAULT_PORTS.get(self.scheme)
        if default is None or self.host.name != host.name:
            return False
        return (self.host.port or default) == (host.port or default)


def parsed_host(text: str) -> Host | None:
    """The value of a Host header."""
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    name = found[1].lower()
    port = int(found[2]) if found[2] else None
    if port is not None and not 0 < port <= _LARGEST_PORT:
        return None
    if not name.startswith("["):
        return Host(name.removesuffix("."), port) if name.strip(".") else None
    try:
        return Host(ipaddress.IPv6Address(name[1:-1]).compressed, port)
    except ValueError:
        return None


def parsed_origin(text: str) -> Origin | None:
    """The value of an Origin header; None also for the "null" of files and sandboxes."""
    found = _ORIGIN.fullmatch(text)
    host = parsed_host(found[2]) if found else None
    return Origin(found[1].lower(), host) if found and host else None


def is_loopback(address: str) -> bool:
    """Whether the text is a loopback address, IPv4 in IPv6 included."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
