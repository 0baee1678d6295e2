"""The Python client: speech in over one WebSocket, a talking character out over WebRTC.

async with await AvatarClient.connect("http://127.0.0.1:8080", "maya") as client:
    media = await client.open_media()
    await client.speak(tts_chunks, rate=24_000)
    async for event in client.events(): ...
"""

import asyncio
import base64
import contextlib
import inspect
from collections.abc import AsyncIterable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from avatar_client.errors import AvatarClientError, RecordingError
from avatar_client.events import (
    BufferHigh,
    BufferStatus,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    SessionCreated,
    SessionUpdated,
    WebrtcAnswer,
    session_update,
)
from avatar_client.pcm_messages import (
    BYTES_PER_SAMPLE,
    MAX_MESSAGE_S,
    pcm_messages,
    whole_rate,
)
from avatar_client.received_media import ReceivedMedia
from avatar_client.recording import Recorder
from avatar_client.session_socket import EventReader, SessionSocket, expect
from avatar_client.speech_backlog import SpeechBacklog

DEFAULT_RATE = 24_000  # Hz; the rate of most voice models
LEAST_WAIT_S = 0.05
ADMISSION_TIMEOUT_S = 300.0  # a full server queues sessions
ENDING_S = 1.0  # a cancelled `speak` waits so long until its item is cleared
SETTINGS = tuple(one for one in inspect.signature(session_update).parameters if one != "event_id")


@dataclass(slots=True)
class _SpeakerState:
    """The sending side of one speaker. `lock` lets one `speak` send at a time."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    backlog: SpeechBacklog = field(default_factory=SpeechBacklog)
    is_high: bool = False  # the server reported that its buffer is nearly full
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # the server reported progress
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    messages: int = 0  # that began to be sent

    def forget_backlog(self) -> None:
        """The server holds nothing any more."""
        self.backlog.clear()
        self.is_high = False
        self.changed.set()


class AvatarClient:
    """One session with a talking character.

    The session survives a lost socket for the server's `resume_ms`: the media keep playing, and
    calls that send wait. After that readers receive another SessionCreated, and an error
    `sequence_gap` if speech was lost on the way.
    """

    def __init__(self, socket: SessionSocket, session: SessionCreated, rate: int) -> None:
        self.session = session
        self.media = ReceivedMedia()
        self.rate = rate
        self._socket = socket
        self._peer: RTCPeerConnection | None = None
        self._recorders: list[Recorder] = []
        self._speakers: dict[str, _SpeakerState] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._add_speakers()
        self._ended = asyncio.Event()
        self._watching = asyncio.create_task(self._watch_backlogs(socket.events()))

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
        """Open a session; speech is sent as mono PCM16 at `rate` Hz (8,000 to 48,000).

        `settings` are further fields of `session.update`, such as preset, seed and prompt. If the
        server is full, the call waits in its queue. Raises AvatarClientError.
        """
        rate = whole_rate(rate)
        _check_settings(settings)
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
        """Send `session.update`. Returns the granted settings, also kept as `session`.

        Raises AvatarClientError for a setting that there is not.
        """
        _check_settings(settings)
        self.session = await self._socket.request(
            SessionUpdated, "session.update", session=settings
        )
        self._add_speakers()
        return self.session

    async def open_media(self) -> ReceivedMedia:
        """Negotiate WebRTC over the session's socket and start to receive.

        A second call closes the first connection; `media` and recordings go on with the second.
        """
        if self._peer is not None:
            await self.media.restart()
            await self._close_peer()
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
        """A reader of the server's events from now on. Several readers may run at once."""
        return self._socket.events()

    def record(self, path: Path | str) -> Recorder:
        """Record sound and video from now on, until its `aclose` or this client's.

        Raises RecordingError unless `path` is a .mp4, .mov or .mkv that can be written.
        """
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
        backlog fills half of the server's buffer, or while the server reports it nearly full.
        Several calls for one speaker run one after another. Returns False if `interrupt` ended it.

        If `speech` raises, what came is committed and the error raised. If the call is cancelled,
        the speaker is interrupted: what was sent is dropped, as at `interrupt`.
        """
        given_rate = self.rate if rate is None else whole_rate(rate)
        name, _ = self._speaker(speaker)
        state = self._speakers[name]
        interrupted = state.interrupted
        async with state.lock:
            sent_before = state.messages
            try:
                await self._send_all(speech, given_rate, name, interrupted, item_id)
            except asyncio.CancelledError:
                if state.messages > sent_before:
                    await self._finish(self._clear(name))
                raise
            except Exception:
                if state.messages > sent_before and not interrupted.is_set():
                    with contextlib.suppress(AvatarClientError):  # the first error is raised
                        await self.commit(name)
                raise
            if interrupted.is_set():
                return False
            if commit:
                await self.commit(name)
        return True

    async def _send_all(
        self,
        speech: bytes | AsyncIterable[bytes],
        rate: int,
        name: str,
        interrupted: asyncio.Event,
        item_id: str | None,
    ) -> None:
        """Send the messages of `speech` until its end or an interruption."""
        state, index = self._speakers[name], self._speaker(name)[1]
        longest_s = min(MAX_MESSAGE_S, self._buffer_s / 4)
        messages = pcm_messages(speech, rate, self.rate, longest_s)
        async with contextlib.aclosing(messages):
            async for chunk in messages:
                seconds = len(chunk) / BYTES_PER_SAMPLE / self.rate
                await self._wait_for_room(state, interrupted, seconds)
                if interrupted.is_set():
                    return
                state.messages += 1
                await self._append(chunk, name, index, item_id)
                state.backlog.sent(seconds)
                item_id = None  # the first append names the item

    async def commit(self, speaker: str | None = None, item_id: str | None = None) -> None:
        """End the open item of `speaker`; the server plays it to its end."""
        name, _ = self._speaker(speaker)
        await self._socket.send("input_audio_buffer.commit", speaker=name, item_id=item_id)

    async def interrupt(self, speaker: str | None = None) -> None:
        """Silence `speaker`, or all speakers: speech that was not played yet is dropped."""
        names = [self._speaker(speaker)[0]] if speaker else list(self._speakers)
        for state in [self._speakers[name] for name in names]:
            state.interrupted.set()
            state.interrupted = asyncio.Event()
            state.forget_backlog()
        await self._socket.send("output_audio_buffer.clear", speaker=speaker)

    async def pass_on(self, event: str | bytes) -> None:
        """Send a voice model's own event unchanged (OpenAI Realtime names; audio at `rate`)."""
        await self._socket.send_text(event if isinstance(event, str) else event.decode())

    async def set_emotion(
        self, emotion: str, strength: float = 1.0, speaker: str | None = None
    ) -> None:
        """Change the emotion from the next tick on. An error event answers an unknown one."""
        await self._socket.send(
            "avatar.emotion.update", emotion=emotion, strength=strength, speaker=speaker
        )

    async def aclose(self) -> None:
        """Finish recordings and end the session. Raises RecordingError if one failed."""
        closed = await asyncio.gather(
            *(recorder.aclose() for recorder in self._recorders), return_exceptions=True
        )
        self._recorders.clear()
        await self.media.aclose()
        await self._close_peer()
        await self._socket.aclose()
        await asyncio.gather(*self._endings, return_exceptions=True)
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
        # the first error is the one to report
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

    async def _close_peer(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()

    async def _finish(self, ending: Coroutine[Any, Any, None]) -> None:
        """Run `ending` to its end, whoever is cancelled; wait ENDING_S for it at most."""
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        await asyncio.wait([task], timeout=ENDING_S)

    async def _clear(self, name: str) -> None:
        """Drop what was sent of a speaker; other calls of `speak` go on."""
        self._speakers[name].forget_backlog()
        with contextlib.suppress(AvatarClientError):  # then the session is over
            await self._socket.send("output_audio_buffer.clear", speaker=name)

    async def _append(self, chunk: bytes, name: str, index: int, item_id: str | None) -> None:
        if item_id is not None:
            audio = base64.b64encode(chunk).decode()
            await self._socket.send(
                "input_audio_buffer.append", audio=audio, speaker=name, item_id=item_id
            )
            return
        await self._socket.send_speech(chunk, index)

    async def _wait_for_room(
        self, state: _SpeakerState, interrupted: asyncio.Event, seconds: float
    ) -> None:
        """Wait until `seconds` more fit into half of the server's buffer, or an interruption."""
        loop = asyncio.get_running_loop()
        while not interrupted.is_set() and not self._ended.is_set():
            too_much_s = state.backlog.waiting_s(loop.time()) + seconds - self._buffer_s / 2
            if too_much_s <= 0 and not state.is_high:
                return
            state.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(too_much_s, LEAST_WAIT_S)):
                    await state.changed.wait()

    @property
    def _buffer_s(self) -> float:
        return self.session.latency.max_buffer_ms / 1000

    def _add_speakers(self) -> None:
        for speaker in self.session.speakers:
            self._speakers.setdefault(speaker.id, _SpeakerState())

    async def _watch_backlogs(self, events: EventReader) -> None:
        """Follow the server's reports on each speaker's speech until the session ends."""
        async for event in events:
            state = self._speakers.get(getattr(event, "speaker", ""))
            if state is not None:
                _follow(state, event)
        self._ended.set()
        for state in self._speakers.values():
            state.changed.set()


def _check_settings(settings: dict[str, Any]) -> None:
    """AvatarClientError for a name that `session.update` does not have."""
    for name in settings:
        if name not in SETTINGS:
            raise AvatarClientError(
                f"There is no setting {name!r}. Use: {', '.join(SETTINGS)}.", "invalid_field"
            )


def _follow(state: _SpeakerState, event: object) -> None:
    """Take an event about one speaker into its state."""
    if isinstance(event, OutputStarted):
        state.backlog.started(asyncio.get_running_loop().time())
    elif isinstance(event, OutputStopped):
        state.backlog.ended(event.audio_end_ms / 1000)
    elif isinstance(event, OutputCleared):
        state.backlog.clear()
    elif isinstance(event, BufferStatus):
        state.is_high = isinstance(event, BufferHigh)
        state.backlog.reported(event.queued_ms / 1000)
    state.changed.set()
