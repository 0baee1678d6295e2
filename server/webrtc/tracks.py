"""The two tracks of a session: the same slices, the same counter, the same start.

The session pushes a slice when it is due; each track hands it to aiortc's sender. The second
half of a slice's sound waits 20 ms, so that packets leave at an even pace and the time at which
aiortc maps RTP time to wall time is right for both tracks.
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
"""20 ms of sound, one Opus packet; aiortc gives two packets of one frame the same time stamp."""
WAITING_SLICES = 4
"""How many slices may wait for a slow sender before the session waits with it."""


@dataclass(frozen=True, slots=True)
class _Packet:
    pts: int
    due: float
    sound: NDArray[np.int16]


class SoundTrack(MediaStreamTrack):
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
class _Picture:
    pts: int
    pixels: Pixels


class PictureTrack(MediaStreamTrack):
    """25 pictures a second. A repeated picture is a new frame object each time: aiortc marks the
    object for a key frame, and sending it again would make every later frame a key frame."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._pictures: asyncio.Queue[_Picture | None] = asyncio.Queue(WAITING_SLICES)

    async def push(self, played: Slice, due: float) -> None:
        pts = played.slot * VIDEO_CLOCK_HZ // VIDEO_FPS
        await self._pictures.put(_Picture(pts, played.pixels))

    async def recv(self) -> av.VideoFrame:
        picture = await _next(self, self._pictures)
        layout = "rgb24" if picture.pixels.ndim == 3 else "yuv420p"  # what encoders take as it is
        frame = av.VideoFrame.from_ndarray(picture.pixels, format=layout)
        frame.pts = picture.pts
        frame.time_base = VIDEO_TIME_BASE
        return frame

    def stop(self) -> None:
        super().stop()
        _wake(self._pictures)


async def _next(track: MediaStreamTrack, queue: "asyncio.Queue[T | None]") -> T:
    if track.readyState != "live":
        raise MediaStreamError
    item = await queue.get()
    if item is None or track.readyState != "live":
        raise MediaStreamError
    return item


def _wake(queue: "asyncio.Queue[T | None]") -> None:
    """Let a waiting `recv` end; what was queued will not be sent any more."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
