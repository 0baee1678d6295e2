"""The two tracks of a session: the same slices, the same counter, the same start.

The pacer pushes a slice when it is due; aiortc's sender takes encoded packets from each track. The
second half of a slice's sound waits 20 ms, so that packets leave at an even pace and aiortc maps
RTP time to wall time correctly for both tracks.
"""

import asyncio
import fractions
import logging
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.stream import Stream
from numpy.typing import NDArray

from runtime.timing import OUTPUT_RATE, OUTPUT_SAMPLES_PER_FRAME, VIDEO_FPS
from server.playout import Slice
from server.webrtc.sending.encoders import OpusEncoder, VideoEncoder
from server.webrtc.sending.sender import Sender

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
    """Opus, 48 kHz mono, in packets of 20 ms; for other codecs frames, which aiortc encodes."""

    kind = "audio"

    def __init__(self, sender: Sender) -> None:
        super().__init__()
        self.is_opus = True
        self._sender = sender
        self._encoder = OpusEncoder()
        self._slices = _Waiting[_Packet](2 * WAITING_SLICES, self.kind)

    async def push(self, played: Slice, due: float) -> None:
        for half in (0, 1):
            part = played.sound[half * PACKET_SAMPLES : (half + 1) * PACKET_SAMPLES]
            pts = played.slot * OUTPUT_SAMPLES_PER_FRAME + half * PACKET_SAMPLES
            packet = _Packet(pts, due + half * PACKET_SAMPLES / OUTPUT_RATE, part)
            await self._slices.put(packet)

    def encode_as(self, mime_type: str) -> None:
        """The codec that was agreed on."""
        self.is_opus = mime_type.lower() == "audio/opus"

    async def recv(self) -> "av.Packet[av.AudioStream] | av.AudioFrame":
        packet = await self._slices.next(self)
        await asyncio.sleep(packet.due - asyncio.get_running_loop().time())
        frame = av.AudioFrame.from_ndarray(packet.sound[None, :], format="s16", layout="mono")
        frame.sample_rate = OUTPUT_RATE
        frame.pts = packet.pts
        frame.time_base = AUDIO_TIME_BASE
        if not self.is_opus:
            return frame
        split = self._sender.split
        return await asyncio.get_running_loop().run_in_executor(
            None, self._encoder.encode, frame, split.sound_bps, split.has_fec
        )

    def stop(self) -> None:
        super().stop()
        self._slices.end()


class VideoTrack(MediaStreamTrack):
    """25 pictures a second, fewer if the network carries no more."""

    kind = "video"

    def __init__(self, sender: Sender) -> None:
        super().__init__()
        self._sender = sender
        self._encoder = VideoEncoder("video/VP8")
        self._slices = _Waiting[Slice](WAITING_SLICES, self.kind)

    async def push(self, played: Slice, due: float) -> None:
        await self._slices.put(played)

    def encode_as(self, mime_type: str) -> None:
        """The codec that was agreed on."""
        self._encoder = VideoEncoder(mime_type)

    async def recv(self) -> "av.Packet[Stream]":
        while True:
            played = await self._slices.next(self)
            frame = as_frame(played)
            if not self._sender.takes_picture(played.slot, frame.width * frame.height):
                continue
            packet = await asyncio.get_running_loop().run_in_executor(
                None,
                partial(
                    self._encoder.encode,
                    frame,
                    self._sender.split.video_bps,
                    is_key=self._sender.wants_key_frame(),
                ),
            )
            if packet is not None:
                self._sender.picture_made(packet.size)
                return packet

    def stop(self) -> None:
        super().stop()
        self._slices.end()


def as_frame(played: Slice) -> av.VideoFrame:
    """The picture of a slice, with its time."""
    layout = "rgb24" if played.pixels.ndim == 3 else "yuv420p"  # the encoders' own format
    frame = av.VideoFrame.from_ndarray(played.pixels, format=layout)
    frame.pts = played.slot * VIDEO_CLOCK_HZ // VIDEO_FPS
    frame.time_base = VIDEO_TIME_BASE
    return frame
