"""Offers of every kind of client, and candidates that lead nowhere."""

import asyncio

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCCertificate, generate_certificate
from avatar_client.events import Error, OutputStopped, Pong, WebrtcAnswer
from cryptography.hazmat.primitives.asymmetric import rsa

from server.config import IceServer, Limits, Listen, ServerConfig, Webrtc
from server.webrtc.media import OFFERS_AT_ONCE
from tests.support.serving.flash import FlashBackend
from tests.support.serving.offering import (
    negotiate,
    peer_of,
    with_candidates,
    with_hidden_addresses,
    without_candidates,
)
from tests.support.serving.stand import client, serving
from tests.support.serving.virtual_clock import pass_time

BOTH = (("audio", "recvonly"), ("video", "recvonly"))
SECTIONS = {
    "mic first": (("audio", "sendonly"), *BOTH),
    "camera first": (("video", "sendonly"), *BOTH),
    "both first": (("audio", "sendonly"), ("video", "sendonly"), *BOTH),
    "two that receive": (*BOTH, *BOTH),
    "mic in the same section": (("audio", "sendrecv"), ("video", "recvonly")),
    "camera too": (("video", "sendrecv"), ("audio", "sendrecv")),
    "data channel": (*BOTH, ("application", "")),
}


@pytest.fixture
async def stand(character_root):
    async with serving(ServerConfig(), FlashBackend(character_root)) as stand:
        yield stand


def directions(answer: str) -> list[str]:
    names = ("a=sendonly", "a=inactive", "a=recvonly", "a=sendrecv")
    return [line[2:] for line in answer.splitlines() if line in names]


@pytest.mark.fault("offers")
@pytest.mark.parametrize("sections", SECTIONS.values(), ids=SECTIONS.keys())
async def test_sections_in_any_order_and_direction_bring_both_media(stand, speech, sections):
    """Whatever sections an offer has beside, in any order, sound and pictures arrive and play."""
    async with client(stand, "?character=ana", media=False) as talk:
        answer = await negotiate(talk, peer_of(*sections))
        await talk.till(lambda: len(talk.video.at) > 5 and len(talk.audio.at) > 5)
        await talk.say(speech(300))
        await talk.until(OutputStopped)
        assert sorted(directions(answer))[-2:] == ["sendonly", "sendonly"]
        assert directions(answer).count("sendonly") == 2
        assert "a=candidate:" in answer


@pytest.mark.fault("offers")
@pytest.mark.parametrize("change", [without_candidates, with_hidden_addresses])
async def test_candidates_that_end_early_are_no_end(stand, change):
    """An offer whose candidates are none, or hidden names, and end: the media connect."""
    async with client(stand, "?character=ana", media=False) as talk:
        await negotiate(talk, peer_of(*BOTH), change)
        await talk.till(lambda: len(talk.video.at) > 5 and len(talk.audio.at) > 5)
        assert talk.count(Error) == 0


@pytest.mark.fault("offers")
async def test_a_client_with_an_rsa_certificate_connects(stand):
    """A client whose DTLS certificate is RSA gets its media."""
    key = rsa.generate_private_key(65_537, 2048)
    peer = RTCPeerConnection()
    peer._RTCPeerConnection__certificates[:] = [RTCCertificate(key, generate_certificate(key))]
    peer.addTransceiver("audio", direction="recvonly")
    peer.addTransceiver("video", direction="recvonly")
    async with client(stand, "?character=ana", media=False) as talk:
        answer = await negotiate(talk, peer)
        assert "a=setup:passive" in answer
        await talk.till(lambda: len(talk.video.at) > 5)


@pytest.mark.fault("offers")
async def test_media_run_over_ipv6(character_root, monkeypatch):
    """A server that listens on an IPv6 address sends media there."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda *_, **__: ["::1"])
    config = ServerConfig(Listen(host="::1"))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False, host="[::1]") as talk,
    ):
        answer = await negotiate(talk, peer_of(*BOTH))
        assert "127.0.0.1" not in answer
        await talk.till(lambda: len(talk.video.at) > 5)


class Counting(asyncio.DatagramProtocol):
    """A host that never answers, and counts what it gets."""

    def __init__(self) -> None:
        self.received = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received += 1


@pytest.mark.fault("offers")
async def test_a_host_that_a_client_names_gets_tens_of_packets(stand):
    """Two hundred candidates of one silent host make the server send it tens of packets."""
    loop = asyncio.get_running_loop()
    silent = [
        await loop.create_datagram_endpoint(Counting, local_addr=("127.0.0.77", 0))
        for _ in range(200)
    ]
    lines = [f"127.0.0.77 {one.get_extra_info('sockname')[1]}" for one, _ in silent]
    try:
        async with client(stand, "?character=ana", media=False) as talk:
            for _ in range(3):
                await negotiate(talk, peer_of(*BOTH), with_candidates(lines))
            await talk.till(lambda: len(talk.video.at) > 5)
            assert sum(counting.received for _, counting in silent) <= 50
    finally:
        for transport, _ in silent:
            transport.close()


@pytest.mark.fault("offers")
async def test_candidates_of_a_refused_offer_are_swallowed(stand):
    """A refused offer gets one error, and the candidates that follow it none."""
    async with client(stand, "?character=ana", media=False) as talk:
        await talk.send("webrtc.offer", sdp="v=0")
        for n in range(17):
            line = f"candidate:1 1 udp 1 127.0.0.1 {5_000 + n} typ host"
            await talk.send("webrtc.candidate", candidate=line, sdp_mid="0")
        await talk.send("ping", event_id="last")
        await talk.until(Pong)
        assert [e.error.code for e in talk.events if type(e) is Error] == ["invalid_sdp"]
        await negotiate(talk, peer_of(*BOTH))
        await talk.till(lambda: len(talk.video.at) > 5)


@pytest.mark.fault("offers")
async def test_each_of_several_offers_at_once_is_answered_in_turn(stand):
    """Offers that overlap are answered one after another; too many of them are refused."""
    async with client(stand, "?character=ana", media=False) as talk:
        peer = peer_of(*BOTH)
        await peer.setLocalDescription(await peer.createOffer())
        for _ in range(OFFERS_AT_ONCE + 2):
            await talk.send("webrtc.offer", sdp=peer.localDescription.sdp)
        await talk.till(lambda: talk.count(WebrtcAnswer) == OFFERS_AT_ONCE)
        codes = [e.error.code for e in talk.events if type(e) is Error]
        assert codes == ["rate_limited", "rate_limited"]
        answers = [e.sdp for e in talk.events if type(e) is WebrtcAnswer]
        assert len(set(answers)) == OFFERS_AT_ONCE
        await peer.close()


@pytest.mark.fault("crowds")
async def test_bad_offers_do_not_hold_a_place(character_root, monkeypatch):
    """A client that sends bad offers again and again loses its place as if it sent none."""
    config = ServerConfig(limits=Limits(media_timeout_ms=10_000))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        for count in range(1, 6):
            await talk.send("webrtc.offer", sdp="v=0")
            await talk.till(lambda count=count: talk.count(Error) == count)
            pass_time(monkeypatch, 2.5)
        last = await talk.until(Error, lambda event: event.error.code == "no_media")
        assert last.error.type == "fatal"
        await talk.gone(stand)


@pytest.mark.fault("relays")
@pytest.mark.parametrize("scheme", ["stun", "turn"])
async def test_no_event_waits_for_a_silent_stun_or_turn_server(character_root, scheme):
    """While an answer waits for a STUN or TURN server, other events of the session are served."""
    loop = asyncio.get_running_loop()
    silent, counting = await loop.create_datagram_endpoint(Counting, local_addr=("127.0.0.1", 0))
    url = f"{scheme}:127.0.0.1:{silent.get_extra_info('sockname')[1]}"
    config = ServerConfig(webrtc=Webrtc(ice_servers=(IceServer((url,), "user", "word"),)))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        peer = peer_of(*BOTH)
        await peer.setLocalDescription(await peer.createOffer())
        await talk.send("webrtc.offer", sdp=without_candidates(peer.localDescription.sdp))
        await talk.send("ping", event_id="meanwhile")
        await talk.until(Pong)
        assert talk.count(WebrtcAnswer) == 0
        await talk.until(WebrtcAnswer)
        assert counting.received > 0
        await peer.close()
    silent.close()
