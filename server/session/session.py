"""One conversation: its settings, the client's events, and its end.

The session outlives its socket by `resume_ms`: media goes on, and the client takes the session up
again with its id and secret.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from typing import Protocol

from runtime.errors import AvatarError
from server.addresses import AddressRules, parse_address
from server.budget import TokenBucket
from server.config import ServerConfig
from server.generation.interface import Backend, StreamRequest
from server.generation.model_thread import ModelThread
from server.metrics import Metrics
from server.protocol import client_events as client
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.outbox import Outbox
from server.protocol.server_events import (
    MetricsTick,
    Pong,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    SessionUpdated,
    WebrtcAnswer,
    error_event,
)
from server.session.session_info import Granted, session_info
from server.session.settings import Settings, as_protocol_error, check_emotion, updated
from server.tasks import Tasks
from server.webrtc.media import MediaSession, MediaState
from server.webrtc.peer import Peer

logger = logging.getLogger(__name__)

CHANGES_PER_S, CHANGES_AT_ONCE = 20.0, 100.0
"""Of the settings and of emotions: each costs up to a millisecond of the event loop."""


class Socket(Protocol):
    """The connection that serves a session now."""

    @property
    def client_host(self) -> str:
        """The client's IP address, or ""."""

    async def give_way(self) -> None:
        """Let go of the session; returns when this socket touches it no more."""


class Session:
    """Acts on the client's events. It owns the settings; every event goes out through `emit`."""

    def __init__(
        self,
        settings: Settings,
        backend: Backend,
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
        self.outbox = Outbox(config.limits.max_unsent_events, metrics.events_dropped.inc)
        self.closed = asyncio.Event()
        self._socket: Socket | None = None
        self._backend = backend
        self._config = config
        self._metrics = metrics
        self._has_tts = has_tts
        self._on_closed = on_closed
        self._next_seq: int | None = None
        self._closing: asyncio.Task[None] | None = None
        self._tasks = Tasks(self.id, self._on_error)
        self._changes = TokenBucket(CHANGES_PER_S, CHANGES_AT_ONCE)
        self.media = MediaSession(
            settings.character.speaker_ids,
            backend,
            thread,
            config,
            metrics,
            self.emit,
            self._end_soon,
        )
        if config.limits.max_session_ms:
            self._tasks.start_timer("age", config.limits.max_session_ms, self._end_old)
        self._restart_idle_timer()

    def _restart_idle_timer(self) -> None:
        if limit_ms := self._config.limits.idle_ms:
            self._tasks.start_timer("idle", limit_ms, self._end_idle)

    def _end_old(self) -> None:
        limit_s = self._config.limits.max_session_ms / 1000
        self._end_soon(_expired(f"The session lasted {limit_s:g} s, the most that is allowed"))

    def _end_idle(self) -> None:
        if any(lane.queued_samples for lane in self.media.playout.lanes.values()):
            self._restart_idle_timer()
            return
        limit_s = self._config.limits.idle_ms / 1000
        self._end_soon(_expired(f"The client sent no message for {limit_s:g} s"))

    def emit(self, event: ServerEvent) -> None:
        """Send an event to the client, now or when a socket takes the session up again."""
        if isinstance(event, MetricsTick):
            self._metrics.observe_tick(event)
            if not self.settings.metrics:
                return
        self.outbox.put(event)

    def _info(self, kind: type[Granted]) -> Granted:
        return session_info(
            kind,
            self.id,
            self.secret,
            self.settings,
            self._backend,
            self._config,
            has_tts=self._has_tts,
        )

    # ------------------------------------------------------------ events from the client

    async def handle(self, event: client.ClientEvent) -> None:
        """Act on one event; a fault in it becomes an error event and changes nothing else."""
        self._restart_idle_timer()
        if isinstance(event, client.SessionUpdate):  # waits for the disk; a lost socket is no end
            await asyncio.shield(asyncio.create_task(self._handle(event)))
        else:
            await self._handle(event)

    async def _handle(self, event: client.ClientEvent) -> None:
        await self._refusing(event, partial(self._act, event))

    async def _refusing(
        self, event: client.ClientEvent, act: Callable[[], Awaitable[None]]
    ) -> None:
        """Do what an event asks for; an error of the client becomes an event of its own."""
        try:
            await act()
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
        self.emit(error_event(reason))

    async def _act(self, event: client.ClientEvent) -> None:
        playout = self.media.playout
        match event:
            case client.Append():
                self._append(event)
            case client.ModelFormatNamed():
                self._hear_format(event)
            case client.Commit():
                playout.lane(event.speaker).commit(event.item_id)
            case client.ClearInput():
                for lane in playout.lanes_of(event.speaker):
                    lane.clear_input()
            case client.ClearOutput():
                self._metrics.interruptions.inc()
                self.media.interrupt([lane.speaker for lane in playout.lanes_of(event.speaker)])
            case client.EmotionUpdate():
                self._set_emotion(event)
            case client.SessionUpdate():
                await self._update(event)
            case client.WebrtcOffer():
                peer = self.media.begin_answer(event.sdp, self._address_rules())
                # Beside the next events: an answer may wait for STUN and TURN servers.
                answer = partial(self._answer, peer)
                self._tasks.start(f"answer {id(peer)}", self._refusing(event, answer))
            case client.WebrtcCandidate():
                self.media.add_candidate(event)
            case client.Ping():
                self.emit(Pong(event_id=event.event_id))
            case client.SessionClose():
                await self.close("closed by the client")
        self.media.wake()

    async def _answer(self, peer: Peer) -> None:
        settings = self.settings
        request = StreamRequest(settings.character, settings.preset, settings.seed)
        self.emit(WebrtcAnswer(sdp=await self.media.answer(peer, request)))

    def _address_rules(self) -> AddressRules:
        """Where media may be sent for the client, by the address that it comes from."""
        host = self._socket.client_host if self._socket is not None else ""
        networks = self._config.webrtc.allowed_networks
        return AddressRules(parse_address(host), tuple(map(ip_network, networks)))

    def _append(self, event: client.Append) -> None:
        if event.seq is not None:
            self._check_seq(event.seq)
        lane = self.media.playout.lane(event.speaker)
        settings = self.settings
        pcm = settings.model_speech.checked() if event.is_forwarded else settings.pcm
        lane.append(event.audio, event.item_id, pcm)
        self._metrics.audio_bytes.inc(len(event.audio))
        if event.commit:
            lane.commit(event.item_id)

    def _hear_format(self, event: client.ModelFormatNamed) -> None:
        """A voice model names the format of its speech; the next item is read with it."""
        speech = self.settings.model_speech.named(event.format)
        self.settings = replace(self.settings, model_speech=speech)
        speech.checked()

    def _check_seq(self, seq: int) -> None:
        """Report binary messages that never came; those that came are played without them."""
        expected, self._next_seq = self._next_seq, (seq + 1) % 2**32
        if expected is not None and seq > expected:
            self.refuse(
                ProtocolError(
                    ErrorCode.SEQUENCE_GAP,
                    f"{seq - expected} binary messages are missing: seq is {seq}, the next one "
                    f"should have been {expected}. Count the messages of all speakers together, "
                    "and those sent while the socket was lost.",
                    "seq",
                )
            )

    def _set_emotion(self, event: client.EmotionUpdate) -> None:
        self._check_rate(event)
        self._check_has_emotions(event.emotion)
        speaker = self.media.playout.lane(event.speaker).speaker
        check_emotion(self.settings.character, event.emotion)
        self.media.set_emotion(speaker, event.emotion, event.strength)

    def _check_rate(self, event: client.ClientEvent) -> None:
        now = asyncio.get_running_loop().time()
        if not self._changes.take(now):
            raise ProtocolError(
                ErrorCode.RATE_LIMITED,
                f"This session sent more than {CHANGES_AT_ONCE:.0f} changes of settings and "
                f"emotions at once, or {CHANGES_PER_S:.0f} a second, so this {event.type} changed "
                f"nothing. Send it again in {math.ceil(1000 * self._changes.wait_s(now))} ms.",
                retryable=True,
            )

    def _check_has_emotions(self, emotion: str) -> None:
        if not self._backend.has_emotions():
            raise ProtocolError(
                ErrorCode.UNSUPPORTED,
                f"This model has no emotion module, so {emotion[:64]!r} cannot be shown. Leave "
                "emotions out, or load a model with one.",
                "emotion",
            )

    async def _update(self, event: client.SessionUpdate) -> None:
        self._check_rate(event)
        emotions = [each for each in event.speakers or () if each.emotion is not None]
        for wish in emotions:
            self._check_has_emotions(str(wish.emotion))
        characters = await self._backend.characters.current() if event.character else {}
        before = self.settings
        after = updated(before, event, characters, is_live=self.media.is_live)
        if after.pcm != before.pcm and self.media.playout.has_open_item:
            raise ProtocolError(
                ErrorCode.INVALID_FIELD,
                "The audio format cannot change inside an open item. Commit it first.",
                "audio.input.format",
            )
        self.settings = after
        if after.character is not before.character:
            is_new = after.character.id != before.character.id
            self.media.change_speakers(after.character.speaker_ids, is_new_character=is_new)
        for wish in emotions:
            self.media.set_emotion(wish.id, str(wish.emotion), 1.0)
        self.emit(self._info(SessionUpdated))

    # ------------------------------------------------------------ socket and end

    @property
    def has_socket(self) -> bool:
        return self._socket is not None

    async def attach(self, socket: Socket) -> None:
        """`socket` takes the session up; the one before it lets go first."""
        while self._socket is not None:  # of several that come at once, each gives way in turn
            await self._socket.give_way()
        self._socket = socket
        self._tasks.stop_timer("socket")
        self.outbox.put_first(self._info(SessionCreated))

    def detach(self, socket: Socket) -> None:
        """`socket` serves the session no more; for a while another one may take it up."""
        if self._socket is not socket:
            return
        self._socket = None
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
        self.emit(error_event(reason, "fatal"))
        await self.close(str(reason.code))

    async def close(self, reason: str) -> None:
        """End every task, the peer and the stream. Later calls wait for the first one.

        A caller that is cancelled does not stop it: the slot is freed whatever happens.
        """
        if self._closing is None:
            for timer in ("socket", "age", "idle"):
                self._tasks.stop_timer(timer)
            self._closing = asyncio.create_task(self._close(reason), name=f"{self.id}-closing")
        await asyncio.shield(self._closing)

    async def _close(self, reason: str) -> None:
        try:
            await self.media.close()
        finally:
            self.emit(SessionClosed(reason=reason))
            self.closed.set()
            self._on_closed(self)
        await self._tasks.aclose()

    def _on_error(self, error: BaseException) -> None:
        logger.error("session %s: a task failed", self.id, exc_info=error)
        if self._closing is None and isinstance(error, Exception):
            self._end_soon(internal_error(error))


def _expired(cause: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.SESSION_EXPIRED,
        f"{cause}, so the session was closed to free its slot. Open a new one if you need it.",
    )


def internal_error(error: Exception) -> ProtocolError:
    return ProtocolError(
        ErrorCode.INTERNAL,
        f"Internal error ({type(error).__name__}) while handling an event. The session has ended; "
        "open a new one and report the server log.",
    )
