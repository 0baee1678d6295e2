"""Which network addresses this server may send to.

Clients name addresses: ICE candidates, and targets of outputs. Without a rule a stranger could make
the server send packets into its own network, to a cloud's metadata service, or to a victim.
"""

import ipaddress
from collections.abc import Sequence
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
        "fe80::/10",  # link-local
        "ff00::/8",  # multicast
        "fd00:ec2::254/128",  # metadata service of AWS
    )
)


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
    """The IPv4 address in one that is mapped into IPv6."""
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address
