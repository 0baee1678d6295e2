"""The guard in front of aioice: what passes, on which addresses, and that aioice is as expected."""

import asyncio
import struct

import pytest
from aioice import Candidate, Connection
from aioice.ice import StunProtocol
from aiortc import RTCConfiguration, RTCPeerConnection

from server.webrtc.ice_guard import (
    MAX_UNREAD,
    DatagramGuard,
    guard,
    ice_transports,
    media_addresses,
)

PEER = ("192.0.2.1", 4000)
STRANGER = ("192.0.2.9", 4000)
COOKIE = 0x2112A442
SRTP = b"\x80" + bytes(40)
DTLS = b"\x16\xfe\xfd" + bytes(40)


class Port:
    """A guarded socket's protocol, as aioice makes it, that knows one candidate of its peer."""

    def __init__(self) -> None:
        self.connection = Connection(ice_controlling=False)
        known = Candidate("1", 1, "udp", 1, *PEER, "host")
        known._network_host = PEER[0]
        self.connection._remote_candidates.append(known)
        self.protocol = StunProtocol(self.connection)
        self.protocol.local_candidate = Candidate("1", 1, "udp", 1, "192.0.2.2", 1, "host")
        self.answered: list[object] = []
        self.protocol.send_stun = lambda message, addr: self.answered.append(message)
        self.guard = DatagramGuard(self.connection, self.protocol)

    def gets(self, data: bytes, addr: tuple[str, int] = STRANGER) -> int:
        """How many datagrams wait for DTLS afterwards."""
        self.guard.datagram_received(data, addr)
        return self.connection._queue.qsize()


def stun(kind: int, attributes: bytes = b"") -> bytes:
    return struct.pack("!HHI", kind, len(attributes), COOKIE) + bytes(range(12)) + attributes


FORGED = {
    "empty": b"",
    "one byte": b"\x00",
    "no protocol": b"\xff" * 100,
    "TURN channel": b"\x45" * 100,
    "huge": bytes(60_000),
    "STUN cut off": stun(0x0001)[:19],
    "STUN request": stun(0x0001),
    "STUN answer": stun(0x0101),
    "STUN indication": stun(0x0011),
    "like STUN": b"\x01\x01" + bytes(500),
}


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("address", [STRANGER, PEER], ids=["stranger", "peer"])
@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED)
async def test_what_no_peer_sends_is_dropped_without_an_answer(data, address):
    """An empty, short, huge or forged datagram changes nothing and gets no answer."""
    port = Port()
    for _ in range(100):
        unread = port.gets(data, address)
    assert (unread, port.answered) == (0, [])


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("data", [SRTP, DTLS, DTLS[:1]], ids=["SRTP", "DTLS", "cut off"])
async def test_media_and_handshakes_pass_from_the_peer_alone(data):
    """Media and handshakes of anyone but the peer are dropped."""
    port = Port()
    assert port.gets(data, STRANGER) == 0
    assert port.gets(data, (PEER[0], 4001)) == 0
    assert port.gets(data, PEER) == 1


@pytest.mark.fault("intruders")
async def test_a_flood_of_the_peer_itself_is_bounded():
    """A flood before the handshake keeps a bounded number of datagrams."""
    port = Port()
    for _ in range(10_000):
        unread = port.gets(SRTP, PEER)
    assert unread == MAX_UNREAD


async def test_a_check_that_names_the_connection_reaches_aioice():
    port = Port()
    name = f"{port.connection.local_username}:peer".encode()
    attribute = struct.pack("!HH", 0x0006, len(name)) + name + bytes(-len(name) % 4)
    port.gets(stun(0x0001, attribute))
    assert len(port.answered) == 1  # unsigned: aioice refuses it


async def test_a_peer_gathers_on_the_listening_address_and_its_sockets_are_guarded():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("audio")
    guard(peer, "127.0.0.1")
    await peer.setLocalDescription(await peer.createOffer())
    (transport,) = ice_transports(peer)
    (protocol,) = transport.iceGatherer._connection._protocols
    try:
        assert protocol.local_candidate.host == "127.0.0.1"
        assert isinstance(protocol.transport.get_protocol(), DatagramGuard)
        assert protocol.transport.get_extra_info("sockname")[0] == "127.0.0.1"
    finally:
        await peer.close()
    assert protocol.transport.is_closing()


@pytest.mark.fault("relays")
async def test_a_silent_stun_server_costs_a_second():
    """A STUN server that never answers delays the answer by a second, once."""
    from server.webrtc import ice_guard

    async def gather(component: int, addresses: list[str], timeout: float) -> list[object]:  # noqa: ASYNC109
        waited.append(timeout)
        return []

    waited: list[float] = []
    connection = Connection(ice_controlling=False)
    await ice_guard._gather(connection, gather, "127.0.0.1", 1, [])
    assert waited == [1.0]


INTERFACES = ("10.1.1.1", "2001:db8::1")


@pytest.mark.fault("intruders")
@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("localhost", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("10.1.1.1", ["10.1.1.1"]),
        ("0.0.0.0", ["10.1.1.1"]),
        ("::", ["10.1.1.1", "2001:db8::1"]),
    ],
)
def test_media_use_the_listening_address(listen, expected):
    """A server for this machine alone opens no port to the network, for media neither."""
    assert media_addresses(listen, INTERFACES) == expected


async def test_guarded_peers_talk(monkeypatch):
    """The guard lets real ICE, DTLS and RTP through, both ways."""
    here, there = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    here.createDataChannel("x")
    arrived = asyncio.get_running_loop().create_future()
    there.on("datachannel", lambda channel: arrived.set_result(channel.label))
    guard(here, "127.0.0.1")
    await here.setLocalDescription(await here.createOffer())
    await there.setRemoteDescription(here.localDescription)
    guard(there, "127.0.0.1")
    await there.setLocalDescription(await there.createAnswer())
    await here.setRemoteDescription(there.localDescription)
    try:
        async with asyncio.timeout(20):
            assert await arrived == "x"
    finally:
        await asyncio.gather(here.close(), there.close())
