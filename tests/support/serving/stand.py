"""A real server on a loopback port, and a real client: a WebSocket and an aiortc peer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from avatar_client.events import (
    SUBPROTOCOL,
    ServerEvent,
    WebrtcAnswer,
    pack_binary_append,
    parse_server_event,
)
from avatar_client.received_media import ReceivedFrame, ReceivedMedia
from websockets.asyncio.client import ClientConnection, connect

from server.api.app import create_app
from server.cli.embedded import running
from server.config import ServerConfig
from server.generation.interface import Backend
from server.session.registry import SessionRegistry
from tests.support.network.link import Link, shape

TIMEOUT_S = 60.0


@dataclass(slots=True)
class Stand:
    port: int
    hub: SessionRegistry


@contextlib.asynccontextmanager
async def serving(config: ServerConfig, engine: Backend) -> AsyncIterator[Stand]:
    app = create_app(config, engine)
    async with running(config, app) as port:
        yield Stand(port, app.state.registry)


async def until(claim: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(TIMEOUT_S):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@dataclass(slots=True)
class Seen:
    """What a track brought: arrival in loop time, pts in the track's ticks, samples or grey."""

    at: list[float] = field(default_factory=list)
    pts: list[int] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)


class Client:
    """A session as a user's program holds it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[ServerEvent] = []
        self.messages: list[str] = []
        self.video, self.audio = Seen(), Seen()
        self._changed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._read())]
        self.peer: RTCPeerConnection | None = None
        self.media = ReceivedMedia()
        self.media.tap(self._collect)

    async def _read(self) -> None:
        async for message in self.socket:
            self.messages.append(message)
            self.events.append(parse_server_event(message))
            self._changed.set()

    async def send(self, type: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def say(self, pcm: bytes, speaker: int = 0, *, commit: bool = True) -> None:
        for start in range(0, len(pcm), 3201):  # odd cuts
            await self.socket.send(pack_binary_append(pcm[start : start + 3201], speaker))
        if commit:
            await self.socket.send(pack_binary_append(b"", speaker, commit=True))

    async def until(
        self, kind: type[ServerEvent], where: Callable[[ServerEvent], bool] = lambda _: True
    ) -> ServerEvent:
        """The first event of that kind, past ones included."""

        def find() -> ServerEvent | None:
            return next((e for e in self.events if type(e) is kind and where(e)), None)

        await self.till(lambda: find() is not None)
        found = find()
        assert found is not None
        return found

    async def gone(self, stand: Stand) -> None:
        """Wait until the server has freed every session."""
        async with asyncio.timeout(TIMEOUT_S):
            for session in list(stand.hub.sessions.values()):
                await session.closed.wait()

    async def till(self, claim: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not claim():
                self._changed.clear()
                await self._changed.wait()

    def count(self, kind: type[ServerEvent]) -> int:
        return sum(type(e) is kind for e in self.events)

    async def open_media(
        self,
        kinds: tuple[str, ...] = ("audio", "video"),
        video_codec: str | None = None,
        links: tuple[Link, Link] | None = None,
    ) -> str:
        """Offer to receive `kinds`; the answer's SDP. `links` carry what comes and what goes."""
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for kind in kinds:
            transceiver = self.peer.addTransceiver(kind, direction="recvonly")
            if kind == "video" and video_codec is not None:
                known = RTCRtpReceiver.getCapabilities("video").codecs
                transceiver.setCodecPreferences([c for c in known if c.mimeType == video_codec])
        self.peer.on("track", self._receive)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        if links is not None:
            shape(self.peer, *links)
        before = self.count(WebrtcAnswer)
        await self.send("webrtc.offer", sdp=self.peer.localDescription.sdp)
        await self.till(lambda: self.count(WebrtcAnswer) > before)
        answer = [e for e in self.events if type(e) is WebrtcAnswer][-1]
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        return answer.sdp

    def _receive(self, track) -> None:
        (receiver,) = [one for one in self.peer.getReceivers() if one.track is track]
        self.media.receive(track, receiver)

    def _collect(self, received: ReceivedFrame) -> None:
        frame, is_video = received.frame, received.kind == "video"
        seen = self.video if is_video else self.audio
        seen.at.append(received.arrived_s)
        seen.pts.append(received.pts)
        seen.frames.append(frame.to_ndarray(format="gray") if is_video else frame.to_ndarray())
        self._changed.set()

    async def aclose(self) -> None:
        if self.peer is not None:
            await self.peer.close()
        await self.media.aclose()
        await self.socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def client(
    stand: Stand, query: str = "", *, media: bool = True, host: str = "127.0.0.1"
) -> AsyncIterator[Client]:
    address = f"ws://{host}:{stand.port}/v1/realtime{query}"
    async with connect(address, subprotocols=[SUBPROTOCOL], compression=None) as socket:
        made = Client(socket)
        try:
            if media:
                await made.open_media()
                await made.till(lambda: bool(made.video.at and made.audio.at))
            yield made
        finally:
            await made.aclose()
