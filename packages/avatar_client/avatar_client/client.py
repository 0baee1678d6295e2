"""The Python client: speech in over one WebSocket, a talking character out over WebRTC.

async with await AvatarClient.connect("http://127.0.0.1:8080", "ana") as client:
    media = await client.open_media()
    await client.speak(tts_chunks, rate=24_000)
    async for event in client.events(): ...
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from avatar_client.events import (
    BufferHigh,
    BufferStatus,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    SessionCreated,
    SessionUpdated,
    WebrtcAnswer,
)
from avatar_client.received_media import ReceivedMedia
from avatar_client.recording import Recorder, RecordingError
from avatar_client.session_socket import AvatarClientError, EventReader, SessionSocket, expect
from avatar_client.speech_queue import SpeechQueue

DEFAULT_RATE = 24_000  # Hz; what most voice models speak at
MAX_MESSAGE_S = 1.0
LEAST_WAIT_S = 0.05
ADMISSION_TIMEOUT_S = 300.0  # a full server queues sessions


@dataclass(slots=True)
class _Turn:
    """What one speaker's voice is at: one `speak` at a time; `cut` is set by an interruption."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    queue: SpeechQueue = field(default_factory=SpeechQueue)
    is_high: bool = False  # by the server's word
    told: asyncio.Event = field(default_factory=asyncio.Event)  # the server said something new
    cut: asyncio.Event = field(default_factory=asyncio.Event)


class AvatarClient:
    """One session with a talking character. It outlives a lost socket by the server's `resume_ms`:
    the media play on, and calls that send wait. Readers see another SessionCreated then, and an
    error `sequence_gap` where speech was lost on the way.
    """

    def __init__(self, socket: SessionSocket, session: SessionCreated, rate: int) -> None:
        self.session = session
        self.media = ReceivedMedia()
        self.rate = rate
        self._socket = socket
        self._peer: RTCPeerConnection | None = None
        self._recorders: list[Recorder] = []
        self._turns: dict[str, _Turn] = {}
        self._know_speakers()
        self._ended = asyncio.Event()
        self._watching = asyncio.create_task(self._watch_queues(socket.events()))

    @classmethod
    async def connect(
        cls,
        url: str,
        character: str | None = None,
        *,
        api_key: str | None = None,
        rate: int = DEFAULT_RATE,
        **settings: Any,
    ) -> "AvatarClient":
        """Open a session; speech will be sent as mono PCM16 at `rate` Hz (8,000 to 48,000).

        `settings` are further fields of `session.update` (preset, seed, video, speakers, prompt).
        Waits while a full server queues the session. Raises AvatarClientError.
        """
        socket = await SessionSocket.open(url, character, api_key)
        try:
            with socket.events() as reader:
                session = await expect(reader, SessionCreated, ADMISSION_TIMEOUT_S)
            client = cls(socket, session, rate)
            audio = {"input": {"format": {"type": "audio/pcm", "rate": rate, "channels": 1}}}
            await client.update(audio=audio, **settings)
        except BaseException:
            await socket.aclose()
            raise
        return client

    async def update(self, **settings: Any) -> SessionCreated:
        """Send `session.update` and return what the server granted; also kept as `session`."""
        self.session = await self._socket.request(
            SessionUpdated, "session.update", session=settings
        )
        self._know_speakers()
        return self.session

    async def open_media(self) -> ReceivedMedia:
        """Negotiate WebRTC over the session's socket and start to receive."""
        servers = [
            RTCIceServer(list(one.urls), one.username, one.credential)
            for one in self.session.ice_servers
        ]
        self._peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        peer.addTransceiver("audio", direction="recvonly")
        peer.addTransceiver("video", direction="recvonly")

        @peer.on("track")
        def receive(track: MediaStreamTrack) -> None:
            receivers = [one for one in peer.getReceivers() if one.track is track]
            self.media.receive(track, receivers[0])

        await peer.setLocalDescription(await peer.createOffer())
        offer = peer.localDescription.sdp
        answer = await self._socket.request(WebrtcAnswer, "webrtc.offer", sdp=offer)
        await peer.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        return self.media

    def events(self) -> EventReader:
        """A reader of the server's events from now on; several may read side by side."""
        return self._socket.events()

    def record(self, path: Path) -> Recorder:
        """Record sound and picture from now on; finished by its `aclose`, or this client's."""
        recorder = Recorder(self.media, path, self.session.video.fps)
        self._recorders.append(recorder)
        return recorder

    async def speak(
        self,
        speech: bytes | AsyncIterable[bytes],
        speaker: str | None = None,
        *,
        rate: int | None = None,
        item_id: str | None = None,
        commit: bool = True,
    ) -> bool:
        """Send mono PCM16, whole or as it is produced; `commit` ends the item after it.

        Speech at another `rate` than the session's is resampled. Sending pauses while the speaker's
        queue takes half of what the server holds, or the server says that it is nearly full.
        Several calls for one speaker follow one another. Returns False where `interrupt` cut it.
        """
        name, index = self._speaker(speaker)
        turn = self._turns[name]
        longest_s = min(MAX_MESSAGE_S, self._buffer_s / 4)
        cut = turn.cut
        async with turn.lock:
            async for chunk in _messages(speech, rate or self.rate, self.rate, longest_s):
                seconds = len(chunk) / 2 / self.rate
                await self._make_room(turn, cut, seconds)
                if cut.is_set():
                    return False
                await self._append(chunk, name, index, item_id)
                turn.queue.sent(seconds)
                item_id = None  # the first append names the item
            if cut.is_set():
                return False
            if commit:
                await self.commit(name)
        return True

    async def commit(self, speaker: str | None = None, item_id: str | None = None) -> None:
        """End the open item of `speaker`: what it holds is spoken to its end."""
        name, _ = self._speaker(speaker)
        await self._socket.send("input_audio_buffer.commit", speaker=name, item_id=item_id)

    async def interrupt(self, speaker: str | None = None) -> None:
        """Silence `speaker`, or everyone: what is queued and not yet played is dropped."""
        names = [self._speaker(speaker)[0]] if speaker else list(self._turns)
        for turn in [self._turns[name] for name in names]:
            turn.cut.set()
            turn.cut = asyncio.Event()
            turn.queue.cut()
            turn.is_high = False
            turn.told.set()
        await self._socket.send("output_audio_buffer.clear", speaker=speaker)

    async def pass_on(self, event: str | bytes) -> None:
        """Send a voice model's own event unchanged (OpenAI Realtime names; audio at `rate`)."""
        await self._socket.send_text(event if isinstance(event, str) else event.decode())

    async def set_emotion(
        self, emotion: str, strength: float = 1.0, speaker: str | None = None
    ) -> None:
        """Change the mood from the next tick on; an unknown emotion answers an error event."""
        await self._socket.send(
            "avatar.emotion.update", emotion=emotion, strength=strength, speaker=speaker
        )

    async def aclose(self) -> None:
        """Finish recordings and end the session; raises RecordingError where one failed."""
        closed = await asyncio.gather(
            *(recorder.aclose() for recorder in self._recorders), return_exceptions=True
        )
        self._recorders.clear()
        await self.media.aclose()
        if self._peer is not None:
            await self._peer.close()
        await self._socket.aclose()
        await self._watching  # it ends with the events
        for failure in closed:
            if failure is not None:
                raise failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # what went wrong first is what to tell
        with contextlib.suppress(*([RecordingError] if error is not None else [])):
            await self.aclose()

    def _speaker(self, name: str | None) -> tuple[str, int]:
        """The speaker's id and index; the first speaker for None."""
        names = [speaker.id for speaker in self.session.speakers]
        if name is None:
            return names[0], 0
        if name not in names:
            message = f"{self.session.character} has no speaker {name!r}. Use: {', '.join(names)}."
            raise AvatarClientError(message, "unknown_speaker")
        return name, names.index(name)

    async def _append(self, chunk: bytes, name: str, index: int, item_id: str | None) -> None:
        if item_id is not None:
            audio = base64.b64encode(chunk).decode()
            await self._socket.send(
                "input_audio_buffer.append", audio=audio, speaker=name, item_id=item_id
            )
            return
        await self._socket.send_speech(chunk, index)

    async def _make_room(self, turn: _Turn, cut: asyncio.Event, seconds: float) -> None:
        """Wait until `seconds` more fit into half of the server's buffer, or an interruption."""
        loop = asyncio.get_running_loop()
        while not cut.is_set() and not self._ended.is_set():
            too_much_s = turn.queue.waiting_s(loop.time()) + seconds - self._buffer_s / 2
            if too_much_s <= 0 and not turn.is_high:
                return
            turn.told.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(turn.told.wait(), max(too_much_s, LEAST_WAIT_S))

    @property
    def _buffer_s(self) -> float:
        return self.session.latency.max_buffer_ms / 1000

    def _know_speakers(self) -> None:
        for speaker in self.session.speakers:
            self._turns.setdefault(speaker.id, _Turn())

    async def _watch_queues(self, events: EventReader) -> None:
        """Follow the server's word on each speaker's queue, until the session ends."""
        loop = asyncio.get_running_loop()
        async for event in events:
            turn = self._turns.get(getattr(event, "speaker", ""))
            if turn is None:
                continue
            if isinstance(event, OutputStarted):
                turn.queue.started(loop.time())
            elif isinstance(event, OutputStopped):
                turn.queue.ended(event.audio_end_ms / 1000)
            elif isinstance(event, OutputCleared):
                turn.queue.cut()
            elif isinstance(event, BufferStatus):
                turn.is_high = isinstance(event, BufferHigh)
                turn.queue.told(event.queued_ms / 1000)
            turn.told.set()
        self._ended.set()
        for turn in self._turns.values():
            turn.told.set()


async def _messages(
    speech: bytes | AsyncIterable[bytes], rate: int, wanted: int, longest_s: float = MAX_MESSAGE_S
) -> AsyncIterator[bytes]:
    """Whole samples at the `wanted` rate, at most `longest_s` in one message."""
    resample = None if rate == wanted else av.AudioResampler("s16", "mono", wanted)
    most = int(wanted * longest_s) * 2
    odd = b""
    async for chunk in _chunks(speech):
        whole = odd + chunk
        odd = whole[len(whole) // 2 * 2 :]
        pcm = whole[: len(whole) // 2 * 2]
        if resample is not None:
            pcm = _resampled(resample, pcm, rate)
        for start in range(0, len(pcm), most):
            yield pcm[start : start + most]
    if resample is not None and (rest := _resampled(resample, None, rate)):
        yield rest


async def _chunks(speech: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(speech, bytes | bytearray | memoryview):
        yield bytes(speech)
        return
    async for chunk in speech:
        yield chunk


def _resampled(resampler: av.AudioResampler, pcm: bytes | None, rate: int) -> bytes:
    """PCM16 at the resampler's rate; None flushes what it holds."""
    frame = None
    if pcm is not None:
        if not pcm:
            return b""
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
    return b"".join(part.to_ndarray().astype("<i2").tobytes() for part in resampler.resample(frame))
