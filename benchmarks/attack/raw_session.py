"""A session held by hand: a socket, and a WebRTC peer that can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from avatar_client.events import SUBPROTOCOL
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from benchmarks.attack.target import Target

OPEN_S = 60.0


class RawSession:
    """Sends anything; keeps only the latest event of each type."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.peer: RTCPeerConnection | None = None
        self.counts: dict[str, int] = {}
        self._latest: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._sink = MediaBlackhole()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self.socket:
                event = json.loads(message)
                self._latest[event["type"]] = event
                self.counts[event["type"]] = self.counts.get(event["type"], 0) + 1
                self._changed.set()
        self._changed.set()

    @property
    def is_open(self) -> bool:
        return not self._reading.done()

    async def send(self, type: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def event(self, type: str, within_s: float = OPEN_S) -> dict[str, Any]:
        """The latest event of a type, as soon as there is one."""
        async with asyncio.timeout(within_s):
            while type not in self._latest:
                if not self.is_open:
                    raise ConnectionError(f"The socket closed before {type} came.")
                self._changed.clear()
                await self._changed.wait()
        return self._latest[type]

    async def open_media(self) -> None:
        """Negotiate, and throw away what arrives."""
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for kind in ("audio", "video"):
            self.peer.addTransceiver(kind, direction="recvonly")
        self.peer.on("track", self._sink.addTrack)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        await self.send("webrtc.offer", sdp=self.peer.localDescription.sdp)
        answer = await self.event("webrtc.answer")
        await self.peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        await self._sink.start()

    async def aclose(self) -> None:
        await self._sink.stop()
        if self.peer is not None:
            await self.peer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.socket.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@contextlib.asynccontextmanager
async def raw_session(
    target: Target, query: str = "", *, media: bool = False, admitted: bool = True
) -> AsyncIterator[RawSession]:
    """A session; with `media` also its peer, with `admitted` only when its place is free."""
    socket = await connect(
        target.socket_url + query,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        proxy=None,
        max_size=None,
        ping_interval=None,
    )
    session = RawSession(socket)
    try:
        if admitted:
            await session.event("session.created")
        if media:
            await session.open_media()
        yield session
    finally:
        await session.aclose()
