"""What gets in and out of a peer's UDP ports: a guard around aiortc's and aioice's ICE connection.

aioice hands every datagram of any sender to DTLS, and keeps them without a limit until the peer
connects; it gathers on every interface, waits five seconds for a silent STUN server, and checks
every address that it is told. Everything here that depends on private parts of aioice is checked by
tests/server/webrtc/test_ice_guard.py.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aioice import Candidate, stun
from aioice.ice import CandidatePair, Connection, StunProtocol
from aiortc import RTCIceTransport, RTCPeerConnection

from server.addresses import AddressRules, NameLookup, parse_address
from server.budget import TokenBucket
from server.webrtc.check_budget import CheckBudget

logger = logging.getLogger(__name__)

Gather = Callable[..., Awaitable[list[Candidate]]]

STUN_WAIT_S = 1.0
"""How long an answer waits for STUN and TURN servers; without them it has host addresses only."""
LARGEST_DATAGRAM = 2_048  # bytes; what WebRTC sends fits into one Ethernet frame
MAX_UNREAD = 256  # datagrams
MAX_REMOTE = 64
"""Addresses of one peer: its candidates, and those that its own checks come from."""
DATAGRAMS_PER_S = 1_500
DATAGRAMS_AT_ONCE = 3_000
"""From one peer; a camera in high definition sends some 300 a second."""
STUN_REQUEST = b"\x00\x01"
STUN_HEADER = 20  # bytes
TRANSACTION = slice(8, 20)
# aioice reads attributes of a check as it finds them; these are its errors for odd ones.
STUN_ERRORS = (ValueError, KeyError, AssertionError, struct.error)

lookup = NameLookup()


@dataclass(frozen=True, slots=True)
class Reach:
    """Where one peer may be: `listen_host` is the server's address, of media too."""

    listen_host: str
    rules: AddressRules
    checks: CheckBudget


def guard(peer: RTCPeerConnection, reach: Reach) -> None:
    """Guard each ICE transport of a peer; call it before candidates are gathered."""
    for transport in ice_transports(peer):
        connection: Connection = transport.iceGatherer._connection
        gathering = _Gathering(connection, reach)
        _hide(connection, "get_component_candidates", gathering.gather)
        _hide(connection, "_add_remote_candidate", gathering.add_remote)
    if peer.sctp is not None:
        _hide(peer.sctp, "_handle_data", _discard)


def _hide(thing: object, method: str, by: Callable[..., Any]) -> None:
    """Put an attribute of the object in front of a method of its class."""
    if not callable(getattr(thing, method)):
        raise TypeError(f"{thing!r} has no method {method} any more")
    setattr(thing, method, by)


async def _discard(data: bytes) -> None:
    """What a data channel brings: nothing here reads it, so nothing keeps it."""


def ice_transports(peer: RTCPeerConnection) -> list[RTCIceTransport]:
    """The ICE transports of a peer, each once."""
    dtls = [each.receiver.transport for each in peer.getTransceivers()]
    if peer.sctp is not None:
        dtls.append(peer.sctp.transport)
    return list(dict.fromkeys(each.transport for each in dtls))


class _Gathering:
    """Local candidates on the listening address only, remote ones by the rules."""

    def __init__(self, connection: Connection, reach: Reach) -> None:
        self._connection = connection
        self._reach = reach
        self._gather: Callable[..., Awaitable[list[Candidate]]] = (
            connection.get_component_candidates
        )
        self._add_remote = connection._add_remote_candidate

    async def gather(self, component: int, addresses: Sequence[str]) -> list[Candidate]:
        """Candidates whose sockets are guarded."""
        connection, loop = self._connection, asyncio.get_running_loop()
        until = loop.time() + STUN_WAIT_S
        await _look_servers_up(connection)
        found = await self._gather(
            component=component,
            addresses=media_addresses(self._reach.listen_host, addresses),
            timeout=max(0.0, until - loop.time()),
        )
        for protocol in connection._protocols:
            DatagramGuard(connection, protocol, self._reach.checks)
        while not connection._queue.empty():  # no peer knows the ports yet
            connection._queue.get_nowait()
        return found

    def add_remote(self, candidate: Candidate, network_host: str) -> None:
        """Take a candidate whose name was looked up, if the server may send to its address."""
        address = parse_address(network_host)
        if address is None or not self._reach.rules.permits(address):
            logger.info("a candidate is left out: its address is off limits")
        elif len(self._connection._remote_candidates) < MAX_REMOTE:
            self._add_remote(candidate, network_host)


async def _look_servers_up(connection: Connection) -> None:
    """Put addresses in place of the names of STUN and TURN servers, or leave those out.

    aioice would look them up in the threads that encode video.
    """
    servers = (connection.stun_server, connection.turn_server)
    wanted = [lookup.addresses(each[0], STUN_WAIT_S) for each in servers if each is not None]
    found = iter(await asyncio.gather(*wanted))
    if connection.stun_server is not None:
        # aioice asks over IPv4 only
        known = [str(each) for each in next(found) if each.version == 4]
        connection.stun_server = (known[0], connection.stun_server[1]) if known else None
    if connection.turn_server is not None:
        known = [str(each) for each in next(found)]
        if not known:
            connection.turn_server = None
        elif not connection.turn_ssl:  # a certificate is for a name
            connection.turn_server = (known[0], connection.turn_server[1])


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


class DatagramGuard:
    """Lets through what a peer may send; a stranger's datagrams change nothing.

    STUN passes if it answers a request of ours, or names this connection; aioice then checks its
    signature. DTLS and SRTP (first byte: RFC 7983) pass from an address of the peer, which has to
    have answered a check once the peer is connected. All else is dropped without an answer. Checks
    of ours go out as long as `checks` has some left.
    """

    def __init__(self, connection: Connection, protocol: StunProtocol, checks: CheckBudget) -> None:
        self._connection = connection
        self._checks = checks
        self._transactions = protocol.transactions
        self._user = connection.local_username.encode() + b":"
        self._budget = TokenBucket(DATAGRAMS_PER_S, DATAGRAMS_AT_ONCE)
        self._receive = protocol.datagram_received
        self._send = protocol.send_stun
        _hide(protocol, "datagram_received", self.datagram_received)
        _hide(protocol, "send_stun", self.send_stun)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if not data or len(data) > LARGEST_DATAGRAM or not self._passes(data, addr):
            return
        if self._connection._queue.qsize() >= MAX_UNREAD:
            return
        if not self._budget.take(asyncio.get_running_loop().time()):
            return
        try:
            self._receive(data, addr)
        except STUN_ERRORS as reason:
            logger.info("a check of a peer cannot be read: %r", reason)

    def _passes(self, data: bytes, addr: tuple[Any, ...]) -> bool:
        first = data[0]
        if first < 4:
            return len(data) >= STUN_HEADER and self._is_expected(data, addr)
        return (20 <= first < 64 or 128 <= first < 192) and addr[:2] in self._peer_addresses()

    def _is_expected(self, data: bytes, addr: tuple[Any, ...]) -> bool:
        if data[:2] == STUN_REQUEST:
            remote = self._connection._remote_candidates
            return self._user in data and (
                len(remote) < MAX_REMOTE
                or any((each._network_host, each.port) == addr[:2] for each in remote)
            )
        if data[TRANSACTION] not in self._transactions:
            return False
        self._checks.answered(addr[0])  # only this host knows the transaction
        return True

    def _peer_addresses(self) -> Iterable[tuple[str, int]]:
        """Where media may come from: any valid pair (RFC 8445, section 12.1)."""
        if self._connection._nominated:
            pairs = self._connection._check_list
            return [p.remote_addr for p in pairs if p.state is CandidatePair.State.SUCCEEDED]
        return [(each._network_host, each.port) for each in self._connection._remote_candidates]

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        is_check = message.message_class is stun.Class.REQUEST
        if not is_check or self._checks.take(addr[0], asyncio.get_running_loop().time()):
            self._send(message, addr)
