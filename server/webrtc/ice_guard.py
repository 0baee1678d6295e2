"""What gets in and out of a peer's UDP ports: a guard around aiortc's and aioice's ICE connection.

aioice hands every datagram of any sender to DTLS, and keeps them without a limit until the peer
connects; it gathers on every interface, and waits five seconds for a silent STUN server. Everything
here that depends on private parts of aioice is checked by tests/server/webrtc/test_ice_guard.py.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from aioice.ice import Connection, StunProtocol
from aiortc import RTCIceTransport, RTCPeerConnection

from server.addresses import parse_address

logger = logging.getLogger(__name__)

STUN_WAIT_S = 1.0
"""How long an answer waits for STUN and TURN servers; without them it has host addresses only."""
LARGEST_DATAGRAM = 2_048  # bytes; what WebRTC sends fits into one Ethernet frame
MAX_UNREAD = 256  # datagrams
STUN_REQUEST = b"\x00\x01"
STUN_HEADER = 20  # bytes
TRANSACTION = slice(8, 20)


def guard(peer: RTCPeerConnection, listen_host: str) -> None:
    """Guard each ICE transport of a peer; call it before candidates are gathered.

    `listen_host` is the address that the server listens on: media use the same.
    """
    for transport in ice_transports(peer):
        connection = _connection(transport)
        gather = connection.get_component_candidates
        # An attribute of the object hides its class's method.
        connection.get_component_candidates = partial(  # type: ignore[method-assign]
            _gather, connection, gather, listen_host
        )


def ice_transports(peer: RTCPeerConnection) -> list[RTCIceTransport]:
    """The ICE transports of a peer, each once."""
    dtls = [each.receiver.transport for each in peer.getTransceivers()]
    if peer.sctp is not None:
        dtls.append(peer.sctp.transport)
    return list(dict.fromkeys(each.transport for each in dtls))


def _connection(transport: RTCIceTransport) -> Connection:
    connection: Connection = transport.iceGatherer._connection
    return connection


async def _gather(
    connection: Connection,
    gather: Callable[..., Awaitable[list[Any]]],
    listen_host: str,
    component: int,
    addresses: Sequence[str],
) -> list[Any]:
    """Candidates on the listening address only, whose sockets are guarded."""
    found = await gather(
        component=component,
        addresses=media_addresses(listen_host, addresses),
        timeout=STUN_WAIT_S,
    )
    for protocol in connection._protocols:
        if protocol.local_candidate.type == "host":  # a relay lets in only what it is told to
            protocol.transport.set_protocol(DatagramGuard(connection, protocol))
    return found


def media_addresses(listen_host: str, interfaces: Iterable[str]) -> list[str]:
    """The addresses that media use if the server listens on `listen_host`.

    A wildcard address means all `interfaces` (without loopback) of its IP version; `::` takes both.
    """
    if listen_host == "localhost":
        return ["127.0.0.1"]
    address = parse_address(listen_host)
    if address is None or not address.is_unspecified:
        return [listen_host]
    known = [(each, parse_address(each)) for each in interfaces]
    return [
        each
        for each, found in known
        if found is not None and (address.version == 6 or found.version == 4)
    ]


class DatagramGuard(asyncio.DatagramProtocol):
    """Lets through what a peer may send; a stranger's datagrams change nothing.

    STUN passes if it answers a request of ours, or names this connection; aioice then checks its
    signature. DTLS and SRTP (first byte: RFC 7983) pass from an address that is a candidate of the
    peer, while few are unread. All else is dropped without an answer.
    """

    def __init__(self, connection: Connection, protocol: StunProtocol) -> None:
        self._connection = connection
        self._protocol = protocol
        self._user = connection.local_username.encode() + b":"

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if data and len(data) <= LARGEST_DATAGRAM and self._passes(data, addr):
            self._protocol.datagram_received(data, addr)

    def _passes(self, data: bytes, addr: tuple[Any, ...]) -> bool:
        first = data[0]
        if first < 4:
            return len(data) >= STUN_HEADER and self._is_expected(data)
        if 20 <= first < 64 or 128 <= first < 192:
            is_known = any(
                (each._network_host, each.port) == addr[:2]
                for each in self._connection._remote_candidates
            )
            return is_known and self._connection._queue.qsize() < MAX_UNREAD
        return False

    def _is_expected(self, data: bytes) -> bool:
        if data[:2] == STUN_REQUEST:
            return self._user in data
        return data[TRANSACTION] in self._protocol.transactions

    def error_received(self, exc: Exception) -> None:
        self._protocol.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
