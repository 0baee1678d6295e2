"""A real aiortc peer under our sender: what a client asks for, and what is then sent."""

import asyncio
import itertools
import os
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aioice.ice
import aiortc.rtcrtpsender
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
)
from avatar_client.received_media import ReceivedFrame, ReceivedMedia

from server.metrics import Metrics
from server.playout import Slice
from server.webrtc.sending.feedback import REPORTS_PER_S, attach
from server.webrtc.sending.requests import KEY_FRAME_EVERY_S
from server.webrtc.sending.sender import Sender
from server.webrtc.tracks import AudioTrack, VideoTrack

SLOT_S = 0.04


@dataclass
class Pair:
    """A server's peer that sends, and a client's that receives."""

    metrics: Metrics
    sender: Sender
    tracks: list[AudioTrack | VideoTrack]
    server: RTCPeerConnection
    client: RTCPeerConnection
    media: ReceivedMedia
    pts: dict[str, list[int]] = field(default_factory=lambda: {"audio": [], "video": []})

    def collect(self, received: ReceivedFrame) -> None:
        self.pts[received.kind].append(received.pts)

    def receiver(self, kind: str) -> RTCRtpReceiver:
        (found,) = [each for each in self.client.getReceivers() if each.track.kind == kind]
        return found

    def ssrc(self, kind: str) -> int:
        (found,) = [each._ssrc for each in self.server.getSenders() if each.kind == kind]
        return found

    async def send_rtcp(self, data: bytes) -> None:
        await self.receiver("video").transport._send_rtp(data)

    async def play(self, slots: range, on_slot=lambda slot: None) -> None:
        start = asyncio.get_running_loop().time()
        for n, slot in enumerate(slots):
            pixels = np.full((64, 64, 3), 40 + slot % 100, np.uint8)
            made = Slice(slot, slot, pixels, np.full(1920, 300, np.int16))
            for track in self.tracks:
                await track.push(made, start + n * SLOT_S)
            on_slot(slot)
            await asyncio.sleep(start + (n + 1) * SLOT_S - asyncio.get_running_loop().time())

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"avatar_{name}_total", labels) or 0.0


@asynccontextmanager
async def paired() -> AsyncIterator[Pair]:
    metrics = Metrics()
    sender = Sender(200_000, metrics, lambda _: None)
    server, client = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    tracks = [AudioTrack(sender), VideoTrack(sender)]
    pair = Pair(metrics, sender, tracks, server, client, ReceivedMedia())
    pair.media.tap(pair.collect)
    client.on("track", lambda track: pair.media.receive(track, pair.receiver(track.kind)))
    for track in tracks:
        client.addTransceiver(track.kind, direction="recvonly")
    try:
        await client.setLocalDescription(await client.createOffer())
        for track in tracks:
            server.addTransceiver(track, direction="sendonly")
        await server.setRemoteDescription(client.localDescription)
        await server.setLocalDescription(await server.createAnswer())
        attach(server, sender)
        await client.setRemoteDescription(server.localDescription)
        async with asyncio.timeout(20):
            while client.connectionState != "connected":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield pair
    finally:
        for track in tracks:
            track.stop()
        await client.close()
        await server.close()
        await pair.media.aclose()


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])


@pytest.mark.fault("weak-networks")
async def test_a_storm_of_retransmission_requests_is_bounded() -> None:
    """A client that asks for the same packets again and again gets each once per round trip."""
    async with paired() as pair:
        await pair.play(range(15))
        newest = pair.sender._streams["video"]._sent[-1].number
        entries = [struct.pack("!HH", (newest - n) % 65_536, 0) for n in range(10)] * 30
        for ssrc in [pair.ssrc("video")] * 20 + [12_345]:
            body = struct.pack("!LL", 1, ssrc) + b"".join(entries)
            head = struct.pack("!BBH", 0x80 | RTCP_RTPFB_NACK, RTCP_RTPFB, len(body) // 4)
            await pair.send_rtcp(head + body)
        await pair.play(range(15, 20))
        assert 10 <= pair.metric("retransmissions", result="sent") <= 40


@pytest.mark.fault("viewers")
async def test_a_storm_of_key_frame_requests_is_bounded() -> None:
    """A client that asks for key frames all the time gets two a second, the first at once."""
    async with paired() as pair:
        await pair.play(range(5))
        request = bytes(RtcpPsfbPacket(RTCP_PSFB_PLI, 1, pair.ssrc("video")))
        loop = asyncio.get_running_loop()
        asking: list[asyncio.Task[None]] = []

        def ask(_: int) -> None:
            asking.extend(loop.create_task(pair.send_rtcp(request)) for _ in range(5))

        began = loop.time()
        await pair.play(range(5, 35), ask)
        await asyncio.gather(*asking)
        most = (loop.time() - began) / KEY_FRAME_EVERY_S + 1
        assert 2 <= pair.metric("key_frames") <= most


@pytest.mark.fault("weak-networks")
async def test_more_reports_than_anybody_needs_are_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flood of reports is read up to a bound, and media go on."""
    async with paired() as pair:
        await pair.play(range(5))
        request = bytes(RtcpPsfbPacket(RTCP_PSFB_PLI, 1, pair.ssrc("video")))
        monkeypatch.setattr(pair.sender, "now", lambda: 5.0)  # all in one moment
        for _ in range(2 * int(REPORTS_PER_S)):
            await pair.send_rtcp(request)
            await asyncio.sleep(0)
        await pair.play(range(5, 20))
        assert pair.metric("rtcp_dropped") > 100
        assert len(pair.pts["video"]) > 10


@pytest.mark.fault("messages")
async def test_malformed_reports_end_nothing() -> None:
    """Reports that cannot be read are dropped; the media of their sender go on."""
    chance = random.Random(4)
    async with paired() as pair:
        await pair.play(range(5))
        too_many = struct.pack("!4sBBH", b"REMB", 200, 0, 1)  # two hundred SSRCs in no bytes
        await pair.send_rtcp(bytes(RtcpPsfbPacket(RTCP_PSFB_APP, 1, 0, too_many)))
        for _ in range(100):
            body = os.urandom(4 * chance.randint(1, 10))
            kind, count = 200 + chance.randrange(7), chance.randrange(32)
            head = struct.pack("!BBH", 0x80 | count, kind, len(body) // 4)
            await pair.send_rtcp(head + body)
        before = len(pair.pts["video"])
        await pair.play(range(5, 20))
        assert pair.client.connectionState == "connected"
        assert len(pair.pts["video"]) > before + 5


@pytest.mark.fault("clocks")
async def test_media_go_on_when_rtp_numbers_and_times_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """When RTP sequence numbers and time stamps wrap, sound and picture go on and stay in step."""
    monkeypatch.setattr(aiortc.rtcrtpsender, "random_sequence_number", lambda: 65_520)
    near_the_end = itertools.count(2**32 - 20_000)  # SSRCs come from it too
    monkeypatch.setattr(aiortc.rtcrtpsender, "random32", lambda: next(near_the_end))
    async with paired() as pair:
        await pair.play(range(75))
        async with asyncio.timeout(10):
            await pair.media.synchronised.wait()
        await pair.play(range(75, 90))
        for kind, clock in (("audio", 48_000), ("video", 90_000)):
            steps = np.diff(pair.pts[kind])
            assert len(steps) > 60
            assert (steps > 0).all()
            assert steps.max() < clock / 2
        # Both count from their first frame, and those were of the same moment.
        assert abs(pair.media.video_offset_us) < 300_000
        assert pair.sender.rate.loss < 0.02  # reports are understood across the wrap
