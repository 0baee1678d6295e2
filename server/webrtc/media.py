"""The media of one session: its stream, its WebRTC peer, and the pacer between them."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial

from runtime.errors import AvatarError
from server.addresses import AddressRules
from server.budget import TokenBucket
from server.config import ServerConfig
from server.generation.interface import Backend, StreamRequest
from server.generation.model_thread import ModelThread
from server.generation.tick_job import EmotionChange
from server.generation.tick_scheduler import TickScheduler
from server.metrics import Metrics
from server.playout import Pace, Playout, Slice
from server.protocol.client_events import WebrtcCandidate
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.outbox import Emit
from server.protocol.server_events import DegradedCause, SessionDegraded, SessionRecovered
from server.speech.lane import SpeakerLane
from server.tasks import Tasks
from server.webrtc.check_budget import CheckBudget
from server.webrtc.ice_guard import Reach
from server.webrtc.offer import read_offer
from server.webrtc.pacer import send_slices
from server.webrtc.peer import Peer
from server.webrtc.sending.sender import Sender

logger = logging.getLogger(__name__)

OFFERS_AT_ONCE = 10
OFFERS_PER_S = 1 / 6
"""A client on a train changes its network often; an answer costs some 20 ms of the event loop."""


class MediaState(Enum):
    """WAITING --offer--> CONNECTING --connected--> PLAYING --lost--> PAUSED --offer--> .."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    PLAYING = "playing"
    PAUSED = "paused"
    CLOSED = "closed"


class MediaSession:
    """From an offer to slices on the wire; `on_end` is called if the session has to end.

    Events go out through `emit`.
    """

    def __init__(
        self,
        speakers: Sequence[str],
        backend: Backend,
        thread: ModelThread,
        config: ServerConfig,
        metrics: Metrics,
        emit: Emit,
        on_end: Callable[[ProtocolError], None],
    ) -> None:
        self.state = MediaState.WAITING
        self._backend = backend
        self._thread = thread
        self._config = config
        self._metrics = metrics
        self._emit = emit
        self._on_end = on_end
        self._moved = asyncio.Event()
        self._peer: Peer | None = None  # plays
        self._next: Peer | None = None  # answered, not connected yet
        self._newest: Peer | None = None  # of the latest offer, unless it was refused
        self._had_offer = False
        self._is_overdue = False
        self._offers = TokenBucket(OFFERS_PER_S, OFFERS_AT_ONCE)
        self._is_network_weak = False
        self._answering = asyncio.Lock()
        self._checks = CheckBudget()
        self._tasks = Tasks("media", self._on_error)
        self.playout, self._scheduler = self._prepare(speakers)
        self._wait_for_offer()

    @property
    def is_live(self) -> bool:
        """Whether an offer was answered: the character and the preset are fixed from then on."""
        return self.state is not MediaState.WAITING

    def change_speakers(self, speakers: Sequence[str], *, is_new_character: bool) -> None:
        """Before the media start. Other names end what was queued for the old ones; emotions stay
        with the speakers that keep their names, unless the character is a new one.
        """
        before = () if is_new_character else self._scheduler.waiting_emotions
        emotions = [each for each in before if each.speaker in speakers]
        if is_new_character or tuple(speakers) != tuple(self.playout.lanes):
            self.playout.interrupt(self.playout.lanes)
            self.playout, self._scheduler = self._prepare(speakers, emotions)

    def _prepare(
        self, speakers: Sequence[str], emotions: Sequence[EmotionChange] = ()
    ) -> tuple[Playout, TickScheduler]:
        buffer_ms = self._config.limits.max_buffer_ms
        pacing = self._config.pacing
        lanes = [SpeakerLane(each, buffer_ms, pacing.rebuffer_ms, self._emit) for each in speakers]
        playout = Playout(lanes, self._metrics.clock_resyncs.inc)
        return playout, TickScheduler(playout, self._thread, pacing, self._emit, emotions)

    # ------------------------------------------------------------ peer

    def begin_answer(self, text: str, rules: AddressRules) -> Peer:
        """Check an offer, and take its candidates from now on; ProtocolError refuses it."""
        self._had_offer, self._newest = True, None
        self._check_rate()
        offer = read_offer(text)
        reach = Reach(self._config.listen.host, rules, self._checks)
        self._newest = Peer(offer, self._config.webrtc, reach, self._sender(), self._on_peer_change)
        return self._newest

    async def answer(self, peer: Peer, request: StreamRequest) -> str:
        """Answer the offer of a peer; the first one also opens the stream of `request`.

        A later offer replaces the peer, for example after a change of network: the one before plays
        until the new one is connected. Offers are answered one after another. Cancelled, it leaves
        everything as it was.
        """
        try:
            async with self._answering:
                answer = await peer.answer()
            self._check_open()
        except BaseException:
            if self._newest is peer:
                self._newest = None
            await peer.close()
            if self._is_overdue:
                self._on_end(self._no_offer())
            raise
        self._tasks.stop_timer("offer")
        before, self._next = self._next, peer
        if self.state is not MediaState.PLAYING:
            self.state = MediaState.CONNECTING
            self._wait_for_peer()
        if "generate" not in self._tasks:
            open_stream = partial(self._backend.open, request)
            self._tasks.start("generate", self._scheduler.run(open_stream))
        if before is not None:
            self._close_later(before)
        return answer

    def _check_rate(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._offers.take(now):
            raise ProtocolError(
                ErrorCode.RATE_LIMITED,
                f"This session sent more than {OFFERS_AT_ONCE} offers in a short time. Wait "
                f"{math.ceil(self._offers.wait_s(now))} s, then offer again.",
                "sdp",
                retryable=True,
            )

    def _check_open(self) -> None:
        """The session may have ended while an offer was answered: nothing may start then."""
        if self.state is MediaState.CLOSED:
            raise ProtocolError(
                ErrorCode.SESSION_NOT_FOUND,
                "The session has ended in the meantime. Open a new one.",
            )

    def add_candidate(self, event: WebrtcCandidate) -> None:
        """Use one more candidate of the latest offer; those of a refused one change nothing."""
        if self._newest is not None:
            self._newest.add_candidate(event)
        elif not self._had_offer:
            raise ProtocolError(
                ErrorCode.NO_OFFER,
                "A candidate came before any offer. Send webrtc.offer first.",
                "candidate",
            )

    def _on_peer_change(self, peer: Peer, state: str) -> None:
        if self.state is MediaState.CLOSED:
            return
        is_lost = state in ("failed", "closed")
        if peer is self._next and state == "connected":
            self._take_over(peer)
        elif peer is self._next and is_lost:
            self._next = None
            self._close_later(peer)
        elif peer is self._peer and is_lost and self.state is MediaState.PLAYING:
            self.state = MediaState.PAUSED if self._next is None else MediaState.CONNECTING
            self._moved.set()
            self._tasks.stop("play")
            self._wait_for_peer()

    def _take_over(self, peer: Peer) -> None:
        """`peer` plays from now on; the one before it ends."""
        before, self._peer, self._next = self._peer, peer, None
        self._tasks.stop_timer("peer")
        self.state = MediaState.PLAYING
        self._tasks.start("play", self._play(peer))
        if before is not None:
            self._close_later(before)

    def _close_later(self, peer: Peer) -> None:
        self._tasks.start(f"close {id(peer)}", peer.close())

    def _wait_for_offer(self) -> None:
        """Start the timer that ends the session if no offer arrives that can be answered."""
        self._tasks.start_timer(
            "offer", self._config.limits.media_timeout_ms, self._end_without_offer
        )

    def _end_without_offer(self) -> None:
        if self._newest is not None:  # one that came in time is being answered
            self._is_overdue = True
        else:
            self._on_end(self._no_offer())

    def _no_offer(self) -> ProtocolError:
        limit_ms = self._config.limits.media_timeout_ms
        return ProtocolError(
            ErrorCode.NO_MEDIA,
            f"No webrtc.offer that could be answered arrived within {limit_ms // 1000} s, so the "
            "session was closed to free its slot. Open a new session and send the offer right "
            "away; audio can be sent before or after it.",
        )

    def _wait_for_peer(self) -> None:
        """Start the timer that ends the session unless a peer connects; further offers do not
        extend it.
        """
        if self._tasks.has_timer("peer"):
            return
        limit_ms = self._config.limits.peer_timeout_ms
        lost = ProtocolError(
            ErrorCode.PEER_LOST,
            f"The WebRTC connection was missing for {limit_ms // 1000} s, so the session was "
            "closed. Check the network (UDP, TURN), then open another session.",
        )
        self._tasks.start_timer("peer", limit_ms, partial(self._on_end, lost))

    # ------------------------------------------------------------ speech and frames

    def wake(self) -> None:
        """Speech arrived."""
        self._scheduler.wake()

    def interrupt(self, speakers: Sequence[str]) -> None:
        """The user barged in: silence the speakers, at any time."""
        self._scheduler.interrupt(speakers)

    def set_emotion(self, speaker: str, emotion: str, strength: float) -> None:
        """Takes effect with the next tick, or with the first one of a stream not open yet."""
        self._scheduler.set_emotion(speaker, emotion, strength)

    async def _play(self, peer: Peer) -> None:
        await self._scheduler.until_playable()
        self._scheduler.wake()  # the clock starts
        await send_slices(self.playout, peer.tracks, self._on_slice)

    def _on_slice(self, played: Slice, pace: Pace | None, lag_s: float) -> None:
        self._scheduler.wake()
        self._moved.set()
        self._metrics.loop_lag.observe(lag_s)
        self._metrics.slices.labels(kind="held" if played.frame is None else "new").inc()
        rtf = round(self._scheduler.times.rtf, 3)
        if pace is Pace.DEGRADED:
            reason = "frames are late: the model is slower than real time, or too many share it"
            self._emit(SessionDegraded(cause=DegradedCause.MODEL, reason=reason, rtf=rtf))
        elif pace is Pace.ON_TIME:
            reason = "frames are on time again"
            self._emit(SessionRecovered(cause=DegradedCause.MODEL, reason=reason, rtf=rtf))

    def _sender(self) -> Sender:
        """For a new peer; the client knows what it was told of the one before."""
        bps = self._config.webrtc.video_bitrate
        return Sender(bps, self._metrics, self._on_network, is_weak=self._is_network_weak)

    def _on_network(self, is_weak: bool) -> None:
        if is_weak is self._is_network_weak:
            return
        self._is_network_weak = is_weak
        rtf, cause = round(self._scheduler.times.rtf, 3), DegradedCause.NETWORK
        if is_weak:
            reason = "the viewer's network carries too little: fewer pictures, simpler sound"
            self._emit(SessionDegraded(cause=cause, reason=reason, rtf=rtf))
        else:
            reason = "the viewer's network carries every picture again"
            self._emit(SessionRecovered(cause=cause, reason=reason, rtf=rtf))

    # ------------------------------------------------------------ end

    async def until_silent(self) -> bool:
        """Wait until the speech that came has been played; whether there was some to play."""
        has_played = False
        while self.state is MediaState.PLAYING and self.playout.has_speech:
            has_played = True
            self._moved.clear()
            await self._moved.wait()
        return has_played

    async def close(self) -> None:
        """End the loops, the peer and the stream; items that are left end as interrupted."""
        self.state = MediaState.CLOSED
        self._moved.set()
        await self._tasks.aclose()
        self.playout.interrupt(self.playout.lanes)
        peers = [each for each in {self._peer, self._next, self._newest} if each is not None]
        await asyncio.gather(*(each.close() for each in peers))

    def _on_error(self, error: BaseException) -> None:
        logger.error("the stream failed", exc_info=error)
        if isinstance(error, AvatarError):  # its message is meant for people
            self._on_end(ProtocolError(ErrorCode.GENERATOR_FAILED, str(error), error.param))
            return
        self._on_end(
            ProtocolError(
                ErrorCode.GENERATOR_FAILED,
                f"The stream of this session failed ({type(error).__name__}). Open another "
                "session; report the server's log if it happens again.",
                retryable=True,
            )
        )
