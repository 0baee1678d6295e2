"""The media of one session: its stream, its peer, and the loop that sends a slice every 40 ms."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial

from runtime.errors import AvatarError
from server.config import ServerConfig
from server.generation.interface import Engine, StreamRequest
from server.generation.model_thread import ModelThread
from server.generation.tick_scheduler import Director
from server.metrics import Metrics
from server.playout import Pace, Playout, Slice
from server.protocol.client_events import WebrtcCandidate
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.outbox import Outbox
from server.protocol.server_events import (
    MetricsTick,
    ServerEvent,
    SessionDegraded,
    SessionRecovered,
)
from server.session.settings import Settings
from server.speech.lane import SpeakerLane
from server.tasks import Tasks
from server.webrtc.pacer import send_slices
from server.webrtc.peer import Peer

logger = logging.getLogger(__name__)


class MediaState(Enum):
    """WAITING --offer--> CONNECTING --connected--> PLAYING --lost--> PAUSED --offer--> .."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    PLAYING = "playing"
    PAUSED = "paused"
    CLOSED = "closed"


class Media:
    """From an offer to slices on the wire. `on_end` is told why the session has to end, if so."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        thread: ModelThread,
        config: ServerConfig,
        metrics: Metrics,
        outbox: Outbox,
        on_end: Callable[[ProtocolError], None],
    ) -> None:
        self.state = MediaState.WAITING
        self.playout = _playout_for(settings, config)
        self.may_offer_again = False
        self._engine = engine
        self._thread = thread
        self._config = config
        self._metrics = metrics
        self._outbox = outbox
        self._on_end = on_end
        self._sends_metrics = settings.metrics
        self._peer: Peer | None = None
        self._director: Director | None = None
        self._has_director = asyncio.Event()
        self._tasks = Tasks("media", self._on_error)
        self._wait_for_offer()

    @property
    def is_live(self) -> bool:
        """Whether an offer was answered: the character and the preset are fixed from then on."""
        return self.state is not MediaState.WAITING

    def adopt(self, settings: Settings) -> list[ServerEvent]:
        """Take new settings; another cast of speakers ends what was queued for the old one."""
        self._sends_metrics = settings.metrics
        if self.is_live or settings.character.speaker_ids == tuple(self.playout.lanes):
            return []
        events = self.playout.cut(self.playout.lanes)
        self.playout = _playout_for(settings, self._config)
        return events

    # ------------------------------------------------------------ peer

    async def answer(self, offer: str, settings: Settings) -> str:
        """Answer an offer; the first one also opens the stream with `settings`."""
        if self._peer is not None and self._peer.is_alive and not self.may_offer_again:
            raise ProtocolError(
                ErrorCode.ALREADY_OFFERED,
                "found a second offer while the first one's connection lives, expected one offer "
                "a session; close that connection first, or open another session",
                "sdp",
            )
        peer = Peer(self._config.webrtc, self._on_peer_change)
        self._tasks.stop_timer("offer")  # to answer may take seconds
        try:
            answer = await peer.answer(offer)
            self._check_open()
        except BaseException:
            if self.state is MediaState.WAITING:
                self._wait_for_offer()
            await peer.close()
            raise
        before, self._peer = self._peer, peer
        self.may_offer_again = False
        self._tasks.stop("play")
        self.state = MediaState.CONNECTING
        self._wait_for_peer()
        if before is not None:
            await before.close()
        if self._director is None and "direct" not in self._tasks:
            self._tasks.start("direct", self._direct(settings))
        return answer

    def _check_open(self) -> None:
        """The session may have ended while an offer was answered: nothing may start then."""
        if self.state is MediaState.CLOSED:
            raise ProtocolError(
                ErrorCode.SESSION_NOT_FOUND,
                "found a session that has ended meanwhile, expected a live one; open a new one",
            )

    async def add_candidate(self, event: WebrtcCandidate) -> None:
        if self._peer is None:
            raise ProtocolError(
                ErrorCode.NO_OFFER,
                "found a candidate before an offer, expected webrtc.offer first; send it",
                "candidate",
            )
        await self._peer.add_candidate(event)

    def _on_peer_change(self, peer: Peer, state: str) -> None:
        if peer is not self._peer or self.state is MediaState.CLOSED:
            return
        if state == "connected" and self.state is MediaState.CONNECTING:
            self._tasks.stop_timer("peer")
            self.state = MediaState.PLAYING
            self._tasks.start("play", self._play(peer))
        elif state in ("failed", "closed") and self.state is not MediaState.PAUSED:
            self.state = MediaState.PAUSED
            self._tasks.stop("play")
            self._wait_for_peer()

    def _wait_for_offer(self) -> None:
        """From the session's first moment on, and anew after an offer that could not be answered;
        once one is, its peer is waited for.
        """
        limit_ms = self._config.limits.media_timeout_ms
        missing = ProtocolError(
            ErrorCode.NO_MEDIA,
            f"found no webrtc.offer within {limit_ms // 1000} s of the session's begin, or of the "
            "last one that failed, expected one, as its place may be waited for; open another "
            "session and offer sooner: speech may come before or after",
        )
        self._tasks.start_timer("offer", limit_ms, partial(self._on_end, missing))

    def _wait_for_peer(self) -> None:
        limit_ms = self._config.limits.peer_timeout_ms
        lost = ProtocolError(
            ErrorCode.PEER_LOST,
            f"found no WebRTC connection for {limit_ms // 1000} s, expected the peer to connect "
            "or to offer again; check the network and open another session",
        )
        self._tasks.start_timer("peer", limit_ms, partial(self._on_end, lost))

    # ------------------------------------------------------------ speech and pictures

    def nudge(self) -> None:
        """Speech came."""
        if self._director is not None:
            self._director.nudge()

    def cut(self, speakers: Sequence[str]) -> list[ServerEvent]:
        """Barge-in, at any time."""
        if self._director is not None:
            return self._director.cut(speakers)
        return self.playout.cut(speakers)

    def set_mood(self, speaker: str, emotion: str, strength: float) -> bool:
        """Whether there is a stream that takes it."""
        if self._director is not None:
            self._director.set_mood(speaker, emotion, strength)
        return self._director is not None

    async def _direct(self, settings: Settings) -> None:
        """Open the stream and run its ticks."""
        request = StreamRequest(settings.character, settings.preset, settings.seed)
        generator = await self._thread.run(partial(self._engine.open, request))
        director = Director(generator, self.playout, self._thread, self._config.pacing)
        director.on_tick = self._on_tick
        for speaker, emotion in settings.emotions.items():
            director.set_mood(speaker, emotion, 1.0)
        self._director = director
        self._has_director.set()
        await director.run()

    def _on_tick(self, tick: MetricsTick) -> None:
        self._metrics.observe_tick(tick)
        if self._sends_metrics:
            self._outbox.put(tick)

    async def _play(self, peer: Peer) -> None:
        await self._has_director.wait()
        assert self._director is not None
        await send_slices(self.playout, self._director, peer.tracks, self._on_slice)

    def _on_slice(self, played: Slice, pace: Pace | None, lag_s: float) -> None:
        for event in played.events:
            self._outbox.put(event)
        self._metrics.loop_lag.observe(lag_s)
        self._metrics.slices.labels(kind="held" if played.frame is None else "new").inc()
        rtf = 0.0 if self._director is None else round(self._director.times.rtf, 3)
        if pace is Pace.DEGRADED:
            reason = "pictures are late: the model is slower than real time, or shared by too many"
            self._outbox.put(SessionDegraded(reason=reason, rtf=rtf))
        elif pace is Pace.ON_TIME:
            self._outbox.put(SessionRecovered(reason="pictures are in time again", rtf=rtf))

    # ------------------------------------------------------------ end

    async def close(self) -> list[ServerEvent]:
        """End the loops, the peer and the stream; each item that is left ends as cut."""
        self.state = MediaState.CLOSED
        await self._tasks.aclose()
        events = self.playout.cut(self.playout.lanes)
        if self._peer is not None:
            await self._peer.close()
        self._director = None
        return events

    def _on_error(self, error: BaseException) -> None:
        logger.error("the stream failed", exc_info=error)
        if isinstance(error, AvatarError):  # says what was found, expected, and what to do
            self._on_end(ProtocolError(ErrorCode.GENERATOR_FAILED, str(error), error.param))
            return
        self._on_end(
            ProtocolError(
                ErrorCode.GENERATOR_FAILED,
                f"found {type(error).__name__} in the stream of this session, expected pictures; "
                "open another session, and report the server's log if it comes again",
                retryable=True,
            )
        )


def _playout_for(settings: Settings, config: ServerConfig) -> Playout:
    buffer_ms, rebuffer_ms = config.limits.max_buffer_ms, config.pacing.rebuffer_ms
    speakers = settings.character.speaker_ids
    return Playout({each: SpeakerLane(each, buffer_ms, rebuffer_ms) for each in speakers})
