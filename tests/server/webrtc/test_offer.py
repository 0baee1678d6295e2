"""Offers as clients write them, and as they should not."""

import base64
import json

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from server.protocol.errors import ProtocolError
from server.webrtc.offer import LARGEST_OFFER, read_offer, with_declined


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
        (lambda sdp: sdp + "a=x:" + "y" * LARGEST_OFFER, "more than 64000"),
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


@pytest.mark.fault("offers")
async def test_a_section_without_our_codecs_is_passed_over():
    """Of two sections that receive, the one that offers a codec of ours gets the media."""
    text = await offer(("video", "recvonly"), ("audio", "recvonly"), ("video", "recvonly"))
    first, rest = text.split("m=audio")
    strange = first.replace("VP8", "AV1").replace("H264", "H265")
    found = read_offer(f"{strange}m=audio{rest}")
    assert found.mids == {"audio": "1", "video": "2"}
    (declined,) = found.declined
    assert found.sdp.count("m=video") == 1
    assert "a=group:BUNDLE 1 2" in found.sdp
    assert declined.text.splitlines()[0].startswith("m=video 0 UDP/TLS/RTP/SAVPF ")
    answer = with_declined(found.sdp, found.declined)  # any SDP of the sections that are left
    assert [line[:7] for line in answer.splitlines() if line.startswith("m=")] == [
        "m=video", "m=audio", "m=video"
    ]  # fmt: skip
    assert "a=mid:0" in answer


@pytest.mark.fault("offers")
async def test_a_section_that_the_offer_gives_up_is_declined():
    """An offer may carry sections that are over, as browsers' later offers do."""
    text = await offer(("audio", "recvonly"), ("video", "recvonly"))
    dead = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n"
    found = read_offer(text + dead)
    assert [each.index for each in found.declined] == [2]
    assert found.mids == {"audio": "0", "video": "1"}


@pytest.mark.fault("offers")
async def test_a_bundled_section_with_port_0_is_served():
    """Sections that a browser bundles under port 0 are served like the others."""
    text = await offer(("audio", "recvonly"), ("video", "recvonly"))
    head, audio, video = text.split("m=")
    port = video.split()[1]
    video = video.replace(f"video {port}", "video 0", 1) + "a=bundle-only\r\n"
    assert read_offer("m=".join([head, audio, video])).mids == {"audio": "0", "video": "1"}


@pytest.mark.fault("offers")
async def test_candidates_count_for_the_section_that_carries_all():
    """Candidates of sections that share another's transport use nothing up."""
    text = await offer(("audio", "recvonly"), ("video", "recvonly"))
    assert read_offer(text).transports == {"0": "0", 0: "0"}
    loose = text.replace("a=group:BUNDLE 0 1\r\n", "")
    assert read_offer(loose).transports == {"0": "0", "1": "1", 0: "0", 1: "1"}
