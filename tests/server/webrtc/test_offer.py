"""Offers as clients write them, and as they should not."""

import base64
import json

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from server.addresses import AddressRules, parse_address
from server.protocol.errors import ProtocolError
from server.webrtc.offer import (
    LARGEST_OFFER,
    MAX_CANDIDATES,
    MAX_PER_ADDRESS,
    CandidateBudget,
    read_offer,
)


async def offer(*sections: tuple[str, str]) -> str:
    """The offer of a peer with these kinds and directions, in this order."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind, direction in sections:
        peer.addTransceiver(kind, direction=direction)
    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    await peer.close()
    return sdp


@pytest.mark.fault("offers")
async def test_the_first_section_of_each_kind_that_receives_is_served():
    """Sections may come in any order and direction; the first that receives gets the media."""
    text = await offer(
        ("audio", "sendonly"), ("video", "sendonly"), ("video", "recvonly"), ("audio", "sendrecv"),
        ("audio", "recvonly"),
    )  # fmt: skip
    found = read_offer(text)
    assert found.mids == {"video": "2", "audio": "3"}


@pytest.mark.fault("offers")
async def test_candidates_and_their_end_are_taken_out_of_the_offer():
    """Candidates that end early, or have names that nobody resolves, fail no offer."""
    text = await offer(("audio", "recvonly"), ("video", "recvonly"))
    text = text.replace(
        "a=end-of-candidates", "a=candidate:1 1 udp 99 x.local 9 typ host\r\na=end-of-candidates"
    )
    found = read_offer(text)
    assert "candidate" not in found.sdp
    assert ("1 1 udp 99 x.local 9 typ host", "0", 0) in [
        (each.line, each.sdp_mid, each.sdp_mline_index) for each in found.candidates
    ]


@pytest.mark.fault("offers")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda sdp: json.dumps({"type": "offer", "sdp": sdp}), "it is JSON, not SDP"),
        (lambda sdp: base64.b64encode(sdp.encode()).decode(), "SDP begins with `v=0`"),
        (lambda sdp: sdp + "a=x:" + "y" * LARGEST_OFFER, "more than 100000"),
        (lambda sdp: sdp + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 40, "sections, more than 16"),
        (lambda sdp: sdp.replace("a=recvonly", "a=sendonly"), "no audio or video section receives"),
        (lambda sdp: "", "no audio or video section receives"),
        (lambda sdp: sdp.replace("a=fingerprint", "a=x"), "without a DTLS fingerprint"),
    ],
)
async def test_what_is_no_offer_is_refused_and_named(spoil, reason):
    """An SDP in JSON, in base64, too large or without what it needs is refused by name."""
    good = await offer(("audio", "recvonly"))
    with pytest.raises(ProtocolError, match=reason) as error:
        read_offer(spoil(good))
    assert error.value.code == "invalid_sdp"


def taken(client: str, lines: list[str]) -> list[str]:
    budget = CandidateBudget(AddressRules(parse_address(client)))
    return [line for line in lines if budget.takes(line)]


def candidate(address: str, port: int = 9, kind: str = "udp") -> str:
    return f"1 1 {kind} 2130706431 {address} {port} typ host"


@pytest.mark.fault("offers")
def test_two_hundred_candidates_of_one_address_are_a_few():
    """An offer with hundreds of candidates makes the server send a few packets, not thousands."""
    assert (
        len(taken("8.8.8.8", [candidate("9.9.9.9", n) for n in range(1, 200)])) == MAX_PER_ADDRESS
    )
    many = [candidate(f"9.9.{n}.9") for n in range(200)]
    assert len(taken("8.8.8.8", many)) == MAX_CANDIDATES


@pytest.mark.fault("offers")
def test_a_client_of_the_internet_names_no_private_candidate():
    """Candidates of private, loopback and metadata addresses are only for clients from there."""
    lines = [candidate(each) for each in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "x.local")]
    assert taken("8.8.8.8", lines) == []
    assert taken("192.168.1.7", lines) == [lines[0], lines[3]]
    assert taken("127.0.0.1", lines) == [lines[0], lines[1], lines[3]]


def test_candidates_over_tcp_are_left_out():
    assert taken("8.8.8.8", [candidate("9.9.9.9", kind="tcp") + " tcptype active"]) == []
