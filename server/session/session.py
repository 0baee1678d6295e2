"""One conversation: its settings, its events in and out, and its end.

The session outlives its socket by `resume_ms`: the media play on, and the client takes it up
again with its id and secret.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from runtime.errors import AvatarError
from server.config import ServerConfig
from server.generation.interface import Engine
from server.generation.model_thread import ModelThread
from server.metrics import Metrics
from server.protocol import client_events as said
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.outbox import Outbox
from server.protocol.server_events import (
    Pong,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    SessionUpdated,
    WebrtcAnswer,
    error_event,
)
from server.session.session_info import Granted, session_info
from server.session.settings import (
    Settings,
    as_protocol_error,
    check_emotion,
    speaker_name,
    updated,
)
from server.speech.lane import SpeakerLane
from server.tasks import Tasks
from server.webrtc.media import Media, MediaState

logger = logging.getLogger(__name__)


class Socket(Protocol):
    """The connection that serves a session now."""

    async def give_way(self) -> None: ...


class Session:
    """Acts on the client's events; what happens is told through `outbox`."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        thread: ModelThread,
        config: ServerConfig,
        metrics: Metrics,
        on_closed: Callable[["Session"], None],
        *,
        has_tts: bool = False,
    ) -> None:
        self.id = f"sess_{secrets.token_hex(8)}"
        self.secret = secrets.token_urlsafe(24)
        self.settings = settings
        self.outbox = Outbox(config.limits.max_unsent_events)
        self.closed = asyncio.Event()
        self.connection: Socket | None = None
        self._engine = engine
        self._config = config
        self._metrics = metrics
        self._has_tts = has_tts
        self._on_closed = on_closed
        self._next_seq: int | None = None
        self._tasks = Tasks(self.id, self._on_error)
        self.media = Media(settings, engine, thread, config, metrics, self.outbox, self._end_soon)

    def created(self) -> SessionCreated:
        return self._info(SessionCreated)

    def _info(self, kind: type[Granted]) -> Granted:
        return session_info(
            kind,
            self.id,
            self.secret,
            self.settings,
            self._engine,
            self._config,
            has_tts=self._has_tts,
        )

    # ------------------------------------------------------------ events from the client

    async def handle(self, event: said.ClientEvent) -> None:
        """Act on one event; what is wrong with it becomes an error event, and nothing else."""
        try:
            await self._act(event)
        except ProtocolError as reason:
            reason.event_id = reason.event_id or event.event_id
            self.refuse(reason)
        except AvatarError as reason:
            refusal = as_protocol_error(reason)
            refusal.event_id = event.event_id
            self.refuse(refusal)

    def refuse(self, reason: ProtocolError) -> None:
        """Tell the client what was wrong; the session goes on."""
        self._metrics.errors.labels(code=str(reason.code)).inc()
        self.outbox.put(error_event(reason))

    async def _act(self, event: said.ClientEvent) -> None:
        match event:
            case said.Append():
                self._append(event)
            case said.Commit():
                self._say(self._lane(event.speaker).commit(event.item_id))
            case said.ClearInput():
                for lane in self._lanes(event.speaker):
                    self._say(lane.clear_input())
            case said.ClearOutput():
                self._metrics.interruptions.inc()
                self._say(self.media.cut([lane.speaker for lane in self._lanes(event.speaker)]))
            case said.EmotionUpdate():
                self._set_emotion(event)
            case said.SessionUpdate():
                self._update(event)
            case said.WebrtcOffer():
                answer = await self.media.answer(event.sdp, self.settings)
                self.outbox.put(WebrtcAnswer(sdp=answer))
            case said.WebrtcCandidate():
                await self.media.add_candidate(event)
            case said.Ping():
                self.outbox.put(Pong(event_id=event.event_id))
            case said.SessionClose():
                await self.close("closed by the client")
        self.media.nudge()

    def _append(self, event: said.Append) -> None:
        if event.seq is not None:
            self._check_seq(event.seq)
        lane = self._lane(event.speaker)
        self._say(lane.append(event.audio, event.item_id, self.settings.pcm))
        self._metrics.audio_bytes.inc(len(event.audio))
        if event.commit:
            self._say(lane.commit(event.item_id))

    def _check_seq(self, seq: int) -> None:
        """Tell of binary messages that never came; what came is played without them."""
        expected, self._next_seq = self._next_seq, (seq + 1) % 2**32
        if expected is not None and seq > expected:
            self.refuse(
                ProtocolError(
                    ErrorCode.SEQUENCE_GAP,
                    f"found seq {seq}, expected {expected}: {seq - expected} binary messages never "
                    "came; count those of all speakers together, and those sent while the socket "
                    "was lost",
                    "seq",
                )
            )

    def _set_emotion(self, event: said.EmotionUpdate) -> None:
        self._check_has_emotions(event.emotion)
        speaker = speaker_name(self.settings.character, event.speaker)
        check_emotion(self.settings.character, speaker, event.emotion)
        if not self.media.set_mood(speaker, event.emotion, event.strength):
            moods = {**self.settings.emotions, speaker: event.emotion}
            self.settings = replace(self.settings, emotions=moods)

    def _check_has_emotions(self, emotion: str) -> None:
        if not self._engine.has_emotions():
            raise ProtocolError(
                ErrorCode.UNSUPPORTED,
                f"found the emotion {emotion[:64]!r}, but this model has no emotion module; "
                "leave emotions out or load a model with one",
                "emotion",
            )

    def _update(self, event: said.SessionUpdate) -> None:
        for wish in event.speakers or ():
            if wish.emotion is not None:
                self._check_has_emotions(wish.emotion)
        characters, is_live = self._engine.characters(), self.media.is_live
        after = updated(self.settings, event, characters, is_live=is_live)
        lanes = self.media.playout.lanes.values()
        if after.pcm != self.settings.pcm and any(lane.has_open_item for lane in lanes):
            raise ProtocolError(
                ErrorCode.INVALID_FIELD,
                "found a new audio format inside an open item, expected one format for the whole "
                "item; commit it first",
                "audio.input.format",
            )
        self.settings = after
        self._say(self.media.adopt(after))
        for wish in event.speakers or ():
            if wish.emotion is not None:
                self.media.set_mood(wish.id, wish.emotion, 1.0)
        self.outbox.put(self._info(SessionUpdated))

    def _lane(self, speaker: str | int | None) -> SpeakerLane:
        return self.media.playout.lanes[speaker_name(self.settings.character, speaker)]

    def _lanes(self, speaker: str | int | None) -> list[SpeakerLane]:
        if speaker is None:
            return list(self.media.playout.lanes.values())
        return [self._lane(speaker)]

    def _say(self, events: Sequence[ServerEvent]) -> None:
        for event in events:
            self.outbox.put(event)

    # ------------------------------------------------------------ socket and end

    def attach(self) -> None:
        """A socket took the session up."""
        self._tasks.stop_timer("socket")

    def detach(self) -> None:
        """The socket is lost; for a while another one may take the session up."""
        self.media.may_offer_again = True
        if not self.is_closed:
            self._tasks.start_timer("socket", self._config.limits.resume_ms, self._abandon)

    @property
    def is_closed(self) -> bool:
        return self.media.state is MediaState.CLOSED

    def _abandon(self) -> None:
        self._tasks.start("close", self.close("the socket was lost and not taken up again"))

    def _end_soon(self, reason: ProtocolError) -> None:
        self._tasks.start("close", self.fail(reason))

    async def fail(self, reason: ProtocolError) -> None:
        """End the session with a fatal error."""
        self._metrics.errors.labels(code=str(reason.code)).inc()
        self.outbox.put(error_event(reason, "fatal"))
        await self.close(str(reason.code))

    async def close(self, reason: str) -> None:
        """End every task, the peer and the stream. Later calls do nothing."""
        if self.is_closed:
            await self.closed.wait()
            return
        self._say(await self.media.close())
        self.outbox.put(SessionClosed(reason=reason))
        self.closed.set()
        self._on_closed(self)
        await self._tasks.aclose()

    def _on_error(self, error: BaseException) -> None:
        logger.error("session %s could not be closed cleanly", self.id, exc_info=error)
