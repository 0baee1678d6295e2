"""The guard in front of aioice: what passes, on which addresses, and that aioice is as expected."""

import asyncio
import struct

import pytest
from aioice import Candidate, Connection
from aioice import stun as stun_messages
from aioice.ice import CandidatePair, StunProtocol
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

from server.addresses import AddressRules, parse_address
from server.webrtc.check_budget import CHECKS_AT_ONCE, CheckBudget
from server.webrtc.ice_guard import (
    DATAGRAMS_AT_ONCE,
    MAX_REMOTE,
    MAX_UNREAD,
    DatagramGuard,
    Reach,
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
        DatagramGuard(self.connection, self.protocol, CheckBudget())

    def gets(self, data: bytes, addr: tuple[str, int] = STRANGER) -> int:
        """How many datagrams wait for DTLS afterwards."""
        self.protocol.datagram_received(data, addr)
        return self.connection._queue.qsize()


def reach(host: str = "127.0.0.1", client: str = "127.0.0.1") -> Reach:
    return Reach(host, AddressRules(parse_address(client)), CheckBudget())


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
    for _ in range(10_000):
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
    guard(peer, reach())
    await peer.setLocalDescription(await peer.createOffer())
    (transport,) = ice_transports(peer)
    (protocol,) = transport.iceGatherer._connection._protocols
    try:
        assert protocol.local_candidate.host == "127.0.0.1"
        assert isinstance(protocol.datagram_received.__self__, DatagramGuard)
        assert isinstance(protocol.send_stun.__self__, DatagramGuard)
        assert protocol.transport.get_extra_info("sockname")[0] == "127.0.0.1"
    finally:
        await peer.close()
    assert protocol.transport.is_closing()


@pytest.mark.fault("intruders")
async def test_a_connected_peer_is_heard_from_addresses_that_answered_alone():
    """Once a peer is connected, media of any address that never answered a check are dropped."""
    port = Port()
    other = Candidate("2", 1, "udp", 1, "192.0.2.7", 4000, "host")
    port.connection._remote_candidates.append(other)
    pairs = [CandidatePair(port.protocol, one) for one in port.connection._remote_candidates]
    port.connection._check_list += pairs
    pairs[0].state = CandidatePair.State.SUCCEEDED
    port.connection._nominated[1] = pairs[0]
    assert port.gets(SRTP, ("192.0.2.7", 4000)) == 0
    assert port.gets(SRTP, PEER) == 1


@pytest.mark.fault("intruders")
async def test_a_peer_that_floods_is_heard_at_a_bounded_rate(monkeypatch):
    """A flood of the peer itself is cut down to what a camera sends."""
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1.0)
    port, heard = Port(), 0
    for _ in range(DATAGRAMS_AT_ONCE + 2_000):
        if port.gets(SRTP, PEER):
            heard += 1
            port.connection._queue.get_nowait()
    assert heard == DATAGRAMS_AT_ONCE


def check(port: Port, *attributes: tuple[int, bytes]) -> bytes:
    """A check of the peer, signed, with these attributes after its name."""
    name = f"{port.connection.local_username}:peer".encode()
    parts = [(0x0006, name), *attributes]
    body = b"".join(struct.pack("!HH", kind, len(v)) + v + bytes(-len(v) % 4) for kind, v in parts)
    message = stun_messages.parse_message(stun(0x0001, body))
    message.add_message_integrity(port.connection.local_password.encode())
    return bytes(message)


@pytest.mark.fault("offers")
async def test_odd_checks_of_a_peer_change_nothing():
    """A check without a priority, or cut off inside an attribute, is dropped."""
    port = Port()
    port.connection._early_checks_done = True
    port.gets(check(port))
    name = f"{port.connection.local_username}:x".encode()
    cut = struct.pack("!HH", 0x0006, len(name)) + name + bytes(-len(name) % 4)
    port.gets(stun(0x0001, cut + struct.pack("!HH", 0x0024, 2) + b"\0\0\0\0"))
    assert port.connection._check_list == []


@pytest.mark.fault("offers")
async def test_a_peer_has_a_bounded_number_of_addresses():
    """Checks that seem to come from a thousand addresses are answered for a few."""
    port = Port()
    for n in range(1_000):
        port.gets(check(port, (0x0024, bytes(4))), (f"198.51.100.{n % 250}", 1_000 + n))
        if port.connection._early_checks:
            port.connection.check_incoming(*port.connection._early_checks.pop())
    assert len(port.connection._remote_candidates) == MAX_REMOTE
    for pair in port.connection._check_list:
        if pair.task is not None:
            pair.task.cancel()


@pytest.mark.fault("offers")
async def test_a_host_that_never_answers_gets_tens_of_packets():
    """However many candidates name a host, the server sends it tens of packets."""
    port, sent = Port(), []
    protocol = StunProtocol(port.connection)
    protocol.local_candidate = port.protocol.local_candidate
    protocol.send_stun = lambda message, addr: sent.append(addr)
    DatagramGuard(port.connection, protocol, CheckBudget())
    port.connection.remote_username, port.connection.remote_password = "peer", "x" * 22
    for n in range(1_200):
        known = Candidate("1", 1, "udp", 1, "192.0.2.50", 2_000 + n, "host")
        request = port.connection.build_request(CandidatePair(protocol, known), nominate=False)
        protocol.send_stun(request, ("192.0.2.50", 2_000 + n))
    assert len(sent) == CHECKS_AT_ONCE


@pytest.mark.fault("offers")
async def test_a_local_name_that_stands_for_an_address_off_limits_is_left_out():
    """A name is only as good as the address that it stands for."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("audio")
    guard(peer, reach(client="192.168.1.5"))
    (transport,) = ice_transports(peer)
    connection = transport.iceGatherer._connection
    for n, address in enumerate(("169.254.169.254", "127.0.0.1", "192.168.1.9")):
        named = Candidate(str(n), 1, "udp", 1, "x.local", 9000 + n, "host")
        connection._add_remote_candidate(named, address)
    assert [each._network_host for each in connection.remote_candidates] == ["192.168.1.9"]
    await peer.close()


@pytest.mark.fault("relays")
@pytest.mark.parametrize("scheme", ["stun", "turn"])
@pytest.mark.parametrize("host", ["127.0.0.1", "names.nobody.invalid"])
async def test_servers_that_do_not_answer_cost_a_second(scheme, host):
    """A STUN or TURN server that never answers, or has no address, delays the answer a second."""
    loop = asyncio.get_running_loop()
    silent, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    number = silent.get_extra_info("sockname")[1]
    server = RTCIceServer([f"{scheme}:{host}:{number}"], "user", "word")
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[server]))
    peer.addTransceiver("audio")
    guard(peer, reach())
    async with asyncio.timeout(4.5):  # aioice alone waits 5 s
        await peer.setLocalDescription(await peer.createOffer())
    assert "typ host" in peer.localDescription.sdp
    await peer.close()
    silent.close()


async def test_data_channels_bring_nothing():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("x")
    guard(peer, reach())
    assert await peer.sctp._handle_data(b"\x13\x88" * 600) is None
    assert "_handle_data" in type(peer.sctp).__dict__  # what aiortc's DTLS calls
    await peer.close()


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


async def test_guarded_peers_connect():
    """The guard lets real ICE and DTLS through, both ways."""
    here, there = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    here.addTransceiver("audio")
    connected = asyncio.Event()
    there.on("connectionstatechange", connected.set)
    guard(here, reach())
    await here.setLocalDescription(await here.createOffer())
    await there.setRemoteDescription(here.localDescription)
    guard(there, reach())
    await there.setLocalDescription(await there.createAnswer())
    await here.setRemoteDescription(there.localDescription)
    try:
        async with asyncio.timeout(20):
            while there.connectionState != "connected":
                connected.clear()
                await connected.wait()
        assert here.iceConnectionState == "completed"
    finally:
        await asyncio.gather(here.close(), there.close())
