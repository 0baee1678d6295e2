"""The two tracks of a session: the same slices, the same counter, the same start.

The pacer pushes a slice when it is due, and aiortc's sender takes it from each track. The second
half of a slice's sound waits 20 ms, so that packets leave at an even pace and aiortc maps RTP time
to wall time correctly for both tracks.
"""

import asyncio
import fractions
import logging
from dataclasses import dataclass
from typing import Generic, TypeVar

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from runtime.timing import OUTPUT_RATE, OUTPUT_SAMPLES_PER_FRAME, VIDEO_FPS
from runtime.values import Pixels
from server.playout import Slice

logger = logging.getLogger(__name__)

T = TypeVar("T")

VIDEO_CLOCK_HZ = 90_000
VIDEO_TIME_BASE = fractions.Fraction(1, VIDEO_CLOCK_HZ)
AUDIO_TIME_BASE = fractions.Fraction(1, OUTPUT_RATE)
PACKET_SAMPLES = OUTPUT_RATE // 50
"""20 ms, one Opus packet; aiortc would give two packets of one frame the same time stamp."""
WAITING_SLICES = 4
"""Slices that may wait for a slow sender before the pacer waits too."""
UNREAD_S = 1.0
"""How long the pacer waits for a sender; one that has ended must not hold the other track."""


class _Waiting(Generic[T]):
    """What waits for a track's sender. A sender that has not read for a second gets no more until
    it reads again: its own part is lost, and the other track goes on.
    """

    def __init__(self, size: int, kind: str) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue(size)
        self._kind = kind
        self._is_unread = False

    async def put(self, part: T) -> None:
        if self._is_unread and self._queue.full():
            return
        try:
            async with asyncio.timeout(UNREAD_S):
                await self._queue.put(part)
            self._is_unread = False
        except TimeoutError:
            self._is_unread = True
            logger.warning("the %s of a peer is not read by its sender; it is left out", self._kind)

    async def next(self, track: MediaStreamTrack) -> T:
        if track.readyState != "live":
            raise MediaStreamError
        part = await self._queue.get()
        if part is None or track.readyState != "live":
            raise MediaStreamError
        return part

    def end(self) -> None:
        """Let a waiting `next` end, and drop what was queued."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)


@dataclass(frozen=True, slots=True)
class _Packet:
    pts: int
    due: float
    sound: NDArray[np.int16]


class AudioTrack(MediaStreamTrack):
    """Opus, 48 kHz mono, in packets of 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._slices = _Waiting[_Packet](2 * WAITING_SLICES, self.kind)

    async def push(self, played: Slice, due: float) -> None:
        for half in (0, 1):
            part = played.sound[half * PACKET_SAMPLES : (half + 1) * PACKET_SAMPLES]
            pts = played.slot * OUTPUT_SAMPLES_PER_FRAME + half * PACKET_SAMPLES
            packet = _Packet(pts, due + half * PACKET_SAMPLES / OUTPUT_RATE, part)
            await self._slices.put(packet)

    async def recv(self) -> av.AudioFrame:
        packet = await self._slices.next(self)
        await asyncio.sleep(packet.due - asyncio.get_running_loop().time())
        frame = av.AudioFrame.from_ndarray(packet.sound[None, :], format="s16", layout="mono")
        frame.sample_rate = OUTPUT_RATE
        frame.pts = packet.pts
        frame.time_base = AUDIO_TIME_BASE
        return frame

    def stop(self) -> None:
        super().stop()
        self._slices.end()


@dataclass(frozen=True, slots=True)
class _VideoFrame:
    pts: int
    pixels: Pixels


class VideoTrack(MediaStreamTrack):
    """25 frames a second.

    A repeat is a new frame object each time: aiortc marks the object for a key frame, and if it
    were sent again, every later frame would be a key frame.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._slices = _Waiting[_VideoFrame](WAITING_SLICES, self.kind)

    async def push(self, played: Slice, due: float) -> None:
        pts = played.slot * VIDEO_CLOCK_HZ // VIDEO_FPS
        await self._slices.put(_VideoFrame(pts, played.pixels))

    async def recv(self) -> av.VideoFrame:
        waiting = await self._slices.next(self)
        layout = "rgb24" if waiting.pixels.ndim == 3 else "yuv420p"  # the encoders' own format
        frame = av.VideoFrame.from_ndarray(waiting.pixels, format=layout)
        frame.pts = waiting.pts
        frame.time_base = VIDEO_TIME_BASE
        return frame

    def stop(self) -> None:
        super().stop()
        self._slices.end()
