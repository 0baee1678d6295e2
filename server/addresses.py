"""Which network addresses this server may send to.

Clients name addresses: ICE candidates, and targets of outputs. Without a rule a stranger could make
the server send packets into its own network, to a cloud's metadata service, or to a victim.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NEVER: Sequence[Network] = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8",  # this host on this network
        "169.254.0.0/16",  # link-local; metadata services of most clouds
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "100.100.100.200/32",  # metadata service of Alibaba Cloud
        "::/128",
        "64:ff9b:1::/48",  # translated by a local NAT64 to what it likes (RFC 8215)
        "fe80::/10",  # link-local
        "ff00::/8",  # multicast
        "fd00:ec2::254/128",  # metadata service of AWS
    )
)

NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""IPv6 addresses that end in an IPv4 one: translated ones (RFC 6052), and the older compatible ones
(RFC 4291, 2.5.5.1), which `::1` is not.
"""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What one client may make the server send to.

    Public addresses are allowed. Private ones are only allowed to a client that comes from a
    private address itself, and loopback only to one on this machine: others have no use for them.
    `allowed` are networks that are open to everybody.
    """

    client: Address | None
    allowed: tuple[Network, ...] = ()

    def permits(self, address: Address) -> bool:
        """Whether the server may send there on behalf of the client."""
        plain = _unmapped(address)
        if any(plain in network for network in self.allowed if network.version == plain.version):
            return True
        if any(plain in network for network in NEVER if network.version == plain.version):
            return False
        if plain.is_loopback:
            return self._is_local
        return plain.is_global or self._is_private

    def permits_all(self, addresses: Iterable[Address]) -> bool:
        """Whether the server may send to a name: to each of the addresses that it stands for."""
        found = tuple(addresses)
        return bool(found) and all(self.permits(each) for each in found)

    @property
    def permits_local_names(self) -> bool:
        """Whether names of the local network (`.local`) may be looked up for the client."""
        return self._is_private

    @property
    def _is_local(self) -> bool:
        return self.client is not None and _unmapped(self.client).is_loopback

    @property
    def _is_private(self) -> bool:
        return self.client is not None and not _unmapped(self.client).is_global


def parse_address(text: str) -> Address | None:
    """The address in a text, without an IPv6 zone; None for anything else."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def client_network(host: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits.

    One IPv6 customer has at least such a network. A text that is no address stands for itself.
    """
    address = parse_address(host)
    if address is None:
        return host
    plain = _unmapped(address)
    if isinstance(plain, ipaddress.IPv4Address):
        return str(plain)
    return str(ipaddress.ip_network((plain, 64), strict=False))


def _unmapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one: mapped, translated (NAT64) or tunnelled (6to4)."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and int(address) > 1 and any(address in network for network in NAT64):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address


class NameLookup:
    """Looks names up in threads of its own: a silent name server delays nothing else."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._running: dict[str, asyncio.Future[tuple[Address, ...]]] = {}

    async def addresses(self, host: str, timeout_s: float) -> tuple[Address, ...]:
        """Every address of a name; none if it has none, or none became known in time.

        An address stands for itself. One lookup of a name runs at a time; all callers get it.
        """
        if (address := parse_address(host)) is not None:
            return (address,)
        running = self._running.get(host)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._pool, _look_up, host)
            self._running[host] = running
            running.add_done_callback(lambda _: self._running.pop(host, None))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(running)
        except TimeoutError:
            return ()


def _look_up(host: str) -> tuple[Address, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # no such name; a name that cannot be written in DNS
        return ()
    addresses = (parse_address(str(where[0])) for *_, where in found)
    return tuple(dict.fromkeys(each for each in addresses if each is not None))
