"""The two tracks of a session: the same slices, the same counter, the same start.

The pacer pushes a slice when it is due, and aiortc's sender takes it from each track. The second
half of a slice's sound waits 20 ms, so that packets leave at an even pace and aiortc maps RTP time
to wall time correctly for both tracks.
"""

import asyncio
import fractions
from dataclasses import dataclass
from typing import TypeVar

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from runtime.timing import OUTPUT_RATE, OUTPUT_SAMPLES_PER_FRAME, VIDEO_FPS
from runtime.values import Pixels
from server.playout import Slice

T = TypeVar("T")

VIDEO_CLOCK_HZ = 90_000
VIDEO_TIME_BASE = fractions.Fraction(1, VIDEO_CLOCK_HZ)
AUDIO_TIME_BASE = fractions.Fraction(1, OUTPUT_RATE)
PACKET_SAMPLES = OUTPUT_RATE // 50
"""20 ms, one Opus packet; aiortc would give two packets of one frame the same time stamp."""
WAITING_SLICES = 4
"""Slices that may wait for a slow sender before the pacer waits too."""


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
        self._packets: asyncio.Queue[_Packet | None] = asyncio.Queue(2 * WAITING_SLICES)

    async def push(self, played: Slice, due: float) -> None:
        for half in (0, 1):
            part = played.sound[half * PACKET_SAMPLES : (half + 1) * PACKET_SAMPLES]
            pts = played.slot * OUTPUT_SAMPLES_PER_FRAME + half * PACKET_SAMPLES
            await self._packets.put(_Packet(pts, due + half * PACKET_SAMPLES / OUTPUT_RATE, part))

    async def recv(self) -> av.AudioFrame:
        packet = await _next(self, self._packets)
        await asyncio.sleep(packet.due - asyncio.get_running_loop().time())
        frame = av.AudioFrame.from_ndarray(packet.sound[None, :], format="s16", layout="mono")
        frame.sample_rate = OUTPUT_RATE
        frame.pts = packet.pts
        frame.time_base = AUDIO_TIME_BASE
        return frame

    def stop(self) -> None:
        super().stop()
        _wake(self._packets)


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
        self._frames: asyncio.Queue[_VideoFrame | None] = asyncio.Queue(WAITING_SLICES)

    async def push(self, played: Slice, due: float) -> None:
        pts = played.slot * VIDEO_CLOCK_HZ // VIDEO_FPS
        await self._frames.put(_VideoFrame(pts, played.pixels))

    async def recv(self) -> av.VideoFrame:
        waiting = await _next(self, self._frames)
        layout = "rgb24" if waiting.pixels.ndim == 3 else "yuv420p"  # the encoders' own format
        frame = av.VideoFrame.from_ndarray(waiting.pixels, format=layout)
        frame.pts = waiting.pts
        frame.time_base = VIDEO_TIME_BASE
        return frame

    def stop(self) -> None:
        super().stop()
        _wake(self._frames)


async def _next(track: MediaStreamTrack, queue: "asyncio.Queue[T | None]") -> T:
    if track.readyState != "live":
        raise MediaStreamError
    item = await queue.get()
    if item is None or track.readyState != "live":
        raise MediaStreamError
    return item


def _wake(queue: "asyncio.Queue[T | None]") -> None:
    """Let a waiting `recv` end, and drop what was queued."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
