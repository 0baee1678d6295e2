"""Received sound and video: bounded queues, taps and the clocks of both tracks."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import av
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError

from avatar_client.stream_clock import StreamClock, offset_by_packets_us

Kind = Literal["audio", "video"]
CLOCK_RATES: dict[Kind, int] = {"audio": 48_000, "video": 90_000}  # Opus and video over RTP

LONGEST_FRAME_US = 40_000  # of the server's frames

AnyFrame = TypeVar("AnyFrame", av.VideoFrame, av.AudioFrame)


@dataclass(frozen=True, slots=True)
class ReceivedFrame(Generic[AnyFrame]):
    """One decoded frame; `frame.pts` counts from 0, the first frame of its track.

    `arrived_s` is the event loop's time at which the decoder returned it.
    """

    kind: Kind
    frame: AnyFrame
    arrived_s: float

    @property
    def pts(self) -> int:
        assert self.frame.pts is not None  # aiortc's decoders set it on every frame
        return self.frame.pts


class FrameQueue(Generic[AnyFrame]):
    """The latest frames of one track. If it is full, the oldest is dropped and counted."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._frames: deque[ReceivedFrame[AnyFrame]] = deque(maxlen=capacity)
        self._more = asyncio.Event()
        self._ended = False

    def put(self, received: ReceivedFrame[AnyFrame]) -> None:
        if len(self._frames) == self._frames.maxlen:
            self.dropped += 1
        self._frames.append(received)
        self._more.set()

    def end(self) -> None:
        """No more frames will come: iteration stops after those that are queued."""
        self._ended = True
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[ReceivedFrame[AnyFrame]]:
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._ended:
                return
            self._more.clear()
            await self._more.wait()


Tap = Callable[[ReceivedFrame[Any]], None]


class ReceivedMedia:
    """Both tracks of one session, as they arrive.

    Read `video` and `audio` (async iterators over the latest frames), or `tap` every frame.
    """

    def __init__(self, video_frames: int = 50, audio_frames: int = 200) -> None:
        self.video: FrameQueue[av.VideoFrame] = FrameQueue(video_frames)
        self.audio: FrameQueue[av.AudioFrame] = FrameQueue(audio_frames)
        self.clocks = {kind: StreamClock(rate) for kind, rate in CLOCK_RATES.items()}
        self.synchronised = asyncio.Event()  # set when `video_offset_us` is known
        self._taps: list[Tap] = []
        self._readers: list[asyncio.Task[None]] = []
        self._first_s: float | None = None  # when the first frame of all arrived
        self._latest_us = 0  # the largest pts of either track
        self._base_us = 0  # added to the times of tracks that were negotiated anew

    def tap(self, tap: Tap) -> Callable[[], None]:
        """Call `tap` with every frame from now on, on the event loop. Returns a function that
        removes it.
        """
        self._taps.append(tap)
        return lambda: self._taps.remove(tap)

    def receive(self, track: MediaStreamTrack, receiver: RTCRtpReceiver) -> None:
        """Start to read the frames of `track`, which `receiver` feeds."""
        kind: Kind = "video" if track.kind == "video" else "audio"
        _watch_packets(receiver, self.clocks[kind], self._packet_noted)
        queue = self.video if kind == "video" else self.audio
        self._readers.append(asyncio.create_task(self._read(kind, track, queue)))

    async def restart(self) -> None:
        """Forget the tracks. Those of the next connection go on at the time that has passed."""
        await self._stop_reading()
        if self._first_s is not None:
            passed_s = asyncio.get_running_loop().time() - self._first_s
            self._base_us = max(int(passed_s * 1_000_000), self._latest_us + LONGEST_FRAME_US)
        self.clocks = {kind: StreamClock(rate) for kind, rate in CLOCK_RATES.items()}
        self.synchronised.clear()

    async def aclose(self) -> None:
        await self._stop_reading()
        self.video.end()
        self.audio.end()

    @property
    def video_offset_us(self) -> int | None:
        """Microseconds from audio pts 0 to video pts 0; None before `synchronised` is set."""
        return offset_by_packets_us(self.clocks["audio"], self.clocks["video"])

    def timestamp_us(self, kind: Kind, pts: int) -> int:
        """`pts` of a track on the time line that both share; its 0 is audio pts 0.

        Raises LookupError before `synchronised` is set.
        """
        offset_us = self.video_offset_us
        if offset_us is None:
            raise LookupError(
                "The offset between the tracks is not known yet. Wait for `synchronised`."
            )
        return pts * 1_000_000 // CLOCK_RATES[kind] + (offset_us if kind == "video" else 0)

    async def _stop_reading(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    def _packet_noted(self) -> None:
        if not self.synchronised.is_set() and self.video_offset_us is not None:
            self.synchronised.set()

    async def _read(self, kind: Kind, track: MediaStreamTrack, queue: FrameQueue[Any]) -> None:
        loop = asyncio.get_running_loop()
        base = self._base_us * CLOCK_RATES[kind] // 1_000_000
        try:
            while True:
                frame: Any = await track.recv()
                frame.pts += base
                if self._first_s is None:
                    self._first_s = loop.time()
                self._latest_us = max(self._latest_us, frame.pts * 1_000_000 // CLOCK_RATES[kind])
                received = ReceivedFrame(kind, frame, loop.time())
                queue.put(received)
                for tap in [*self._taps]:
                    tap(received)
        except MediaStreamError:
            queue.end()


def _watch_packets(receiver: RTCRtpReceiver, clock: StreamClock, noted: Callable[[], None]) -> None:
    """Show `clock` the RTP packets and sender reports that reach `receiver`.

    aiortc has no public hook for either: its transport delivers them to these two methods.
    """
    loop = asyncio.get_running_loop()
    take_rtp, take_rtcp = receiver._handle_rtp_packet, receiver._handle_rtcp_packet

    async def watch_rtp(packet: Any, arrival_time_ms: int) -> None:
        clock.packet(packet.timestamp, int(loop.time() * 1_000_000))
        noted()
        await take_rtp(packet, arrival_time_ms)

    async def watch_rtcp(packet: Any) -> None:
        report = getattr(packet, "sender_info", None)
        if report is not None:
            clock.report(report.ntp_timestamp, report.rtp_timestamp)
        await take_rtcp(packet)

    vars(receiver).update(_handle_rtp_packet=watch_rtp, _handle_rtcp_packet=watch_rtcp)
