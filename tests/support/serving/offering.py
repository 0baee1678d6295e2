"""Offers as many kinds of clients write them, to a real server."""

import re
from collections.abc import Callable

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from avatar_client.events import WebrtcAnswer

from tests.support.serving.stand import Client

Change = Callable[[str], str]
NAMELESS = "1b2c3d4e-aaaa-bbbb-cccc-123456789abc.local"


def peer_of(*sections: tuple[str, str]) -> RTCPeerConnection:
    """A peer whose offer has these kinds and directions, in this order."""
    peer = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    for kind, direction in sections:
        if kind == "application":
            peer.createDataChannel("x")
            continue
        what: MediaStreamTrack | str = kind
        if direction in ("sendonly", "sendrecv"):
            what = AudioStreamTrack() if kind == "audio" else VideoStreamTrack()
        peer.addTransceiver(what, direction=direction)
    return peer


async def negotiate(talk: Client, peer: RTCPeerConnection, change: Change = str) -> str:
    """Offer what `peer` wants, changed by `change`; the answer is set and returned."""
    before_it, talk.peer = talk.peer, peer
    peer.on("track", talk._receive)
    await peer.setLocalDescription(await peer.createOffer())
    before = talk.count(WebrtcAnswer)
    await talk.send("webrtc.offer", sdp=change(peer.localDescription.sdp))
    await talk.till(lambda: talk.count(WebrtcAnswer) > before)
    answer = [e for e in talk.events if type(e) is WebrtcAnswer][-1]
    await peer.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    if before_it is not None:
        await before_it.close()
    return str(answer.sdp)


def without_candidates(sdp: str) -> str:
    """With their end, as of a client that sends no more."""
    return re.sub(r"a=candidate:.*\r\n", "", sdp)


def with_hidden_addresses(sdp: str) -> str:
    """With names that nobody resolves in place of addresses, as browsers write them."""
    return re.sub(r"(a=candidate:\S+ 1 udp \d+ )\S+", rf"\g<1>{NAMELESS}", sdp)


def with_candidates(lines: list[str]) -> Change:
    """With these candidates of a host first."""
    text = "".join(
        f"a=candidate:{n} 1 udp {10_000 + n} {line} typ host\r\n" for n, line in enumerate(lines)
    )
    return lambda sdp: sdp.replace("a=candidate:", f"{text}a=candidate:", 1)
