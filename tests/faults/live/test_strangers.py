"""Datagrams of strangers to the media ports of a session that plays."""

import asyncio
import os
import struct

import pytest
from avatar_client.events import OutputStopped

from server.config import ServerConfig
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import client, serving

CLOSE_NOTIFY = b"\x15\xfe\xfd" + bytes(8) + struct.pack("!H", 2) + b"\x01\x00"
KINDS = {
    "empty": b"",
    "short": b"\x16",
    "huge": bytes(60_000),
    "random": os.urandom(1_200),
    "check": struct.pack("!HHI", 0x0001, 0, 0x2112A442) + os.urandom(12),
    "answer to a check": struct.pack("!HHI", 0x0101, 0, 0x2112A442) + os.urandom(12),
    "DTLS alert": CLOSE_NOTIFY,
    "RTP": b"\x80\x60" + os.urandom(170),
    "RTCP goodbye": b"\x81\xcb\x00\x01" + os.urandom(4),
}


@pytest.mark.fault("intruders")
@pytest.mark.parametrize(
    "count", [100, pytest.param(10_000, marks=[pytest.mark.nightly, pytest.mark.slow])]
)
async def test_a_stranger_changes_nothing(character_root, speech, count):
    """Thousands of datagrams of a stranger, of every kind, change nothing for a session."""
    loop = asyncio.get_running_loop()
    stranger, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        (session,) = stand.hub.sessions.values()
        peer = session.media._peer
        ports = [
            int(line.split()[5])
            for line in talk.peer.remoteDescription.sdp.splitlines()
            if line.startswith("a=candidate:")
        ]
        assert ports
        await talk.say(speech(600))
        for data in KINDS.values():
            for n in range(count):
                stranger.sendto(data, ("127.0.0.1", ports[0]))
                if n % 50 == 0:
                    await asyncio.sleep(0.005)
        assert (await talk.until(OutputStopped)).audio_end_ms == 600
        before = len(talk.video.at)
        await talk.till(lambda: len(talk.video.at) > before + 10)
        assert session.media._peer is peer
    stranger.close()
