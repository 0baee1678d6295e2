"""Records received sound and video to mp4 (H.264 and AAC) and keeps their offset."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avatar_client.received_media import CLOCK_RATES, ReceivedFrame, ReceivedMedia

AUDIO_RATE, VIDEO_RATE = CLOCK_RATES["audio"], CLOCK_RATES["video"]
VIDEO_TIME_BASE = Fraction(1, VIDEO_RATE)
MAX_WAITING = 1500  # frames held while the offset is unknown or the encoder is behind
MAX_GAP_S = 10  # a longer gap in the sound is a broken stream, not lost packets


@dataclass(frozen=True, slots=True)
class TrackAlignment:
    """Times on one clock, in microseconds: pts 0 of both tracks, and time 0 of the file."""

    audio_us: int
    video_us: int
    file_us: int

    @property
    def audio_shift(self) -> int:
        """Samples to add to audio pts."""
        return (self.audio_us - self.file_us) * AUDIO_RATE // 1_000_000

    @property
    def video_shift(self) -> int:
        """Ticks of VIDEO_TIME_BASE to add to video pts."""
        return (self.video_us - self.file_us) * VIDEO_RATE // 1_000_000

    @classmethod
    def of_tracks(
        cls, audio_us: int, video_us: int, frames: list[ReceivedFrame[Any]]
    ) -> "TrackAlignment":
        """The file begins with the earliest of `frames`."""
        starts = {"audio": audio_us, "video": video_us}
        times = (starts[f.kind] + f.pts * 1_000_000 // CLOCK_RATES[f.kind] for f in frames)
        return cls(audio_us, video_us, min(times))


class RecordingWriter:
    """Encodes frames to mp4 in the caller's thread; pts are those of the received tracks."""

    def __init__(
        self, path: Path, width: int, height: int, fps: int, alignment: TrackAlignment
    ) -> None:
        self._alignment = alignment
        self._size = (width, height)
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._video = self._container.add_stream("libx264", rate=fps)
        self._video.width, self._video.height = width, height
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = VIDEO_TIME_BASE
        self._video.options = {"preset": "veryfast", "crf": "18"}
        self._audio = self._container.add_stream("aac", rate=AUDIO_RATE, layout="stereo")
        self._audio.bit_rate = 128_000
        self._next_sample: int | None = None
        self._last_video_pts = -1

    def write_video(self, frame: av.VideoFrame) -> None:
        pts = (frame.pts or 0) + self._alignment.video_shift
        if pts <= self._last_video_pts:
            return  # a repeated timestamp: mp4 allows each pts once
        self._last_video_pts = pts
        scaled = frame.reformat(*self._size, format="yuv420p")
        scaled.pts, scaled.time_base = pts, VIDEO_TIME_BASE
        scaled.pict_type = av.video.frame.PictureType.NONE  # the encoder chooses
        self._container.mux(self._video.encode(scaled))

    def write_audio(self, frame: av.AudioFrame) -> None:
        pts = (frame.pts or 0) + self._alignment.audio_shift
        samples = as_stereo(frame)
        if self._next_sample is None:
            self._next_sample = pts
        gap = pts - self._next_sample
        if gap > MAX_GAP_S * AUDIO_RATE:
            raise ValueError(
                f"the sound jumps by {gap / AUDIO_RATE:.0f} s, and only gaps up to {MAX_GAP_S} s "
                "are filled with silence. Start a new recording."
            )
        if gap > 0:  # lost packets: silence keeps the rest in time
            samples = np.concatenate([np.zeros((gap, 2), np.int16), samples])
        elif gap < 0:  # repeated samples
            samples = samples[-gap:]
        if len(samples):
            self._encode(samples, self._next_sample)
            self._next_sample += len(samples)

    def close(self) -> None:
        self._container.mux(self._video.encode(None))
        if self._next_sample is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()

    def _encode(self, samples: NDArray[np.int16], pts: int) -> None:
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, pts, Fraction(1, AUDIO_RATE)
        self._container.mux(self._audio.encode(frame))


def as_stereo(frame: av.AudioFrame) -> NDArray[np.int16]:
    """Samples (N, 2) of a decoded Opus frame (packed s16, one or two channels)."""
    channels = len(frame.layout.channels)
    samples = frame.to_ndarray().astype(np.int16, copy=False).reshape(-1, channels)
    return samples if channels == 2 else np.repeat(samples, 2, axis=1)


class RecordingError(Exception):
    """A recording failed."""


class Recorder:
    """Writes what arrives at `media` from now on; `aclose` finishes the file.

    Frames wait until packets of both tracks show their offset (a second or two). If too few have
    come by the end, the arrival of each track's first frame decides, and `alignment` is
    "first frames" instead of "packets". `lost_frames` counts video frames that the encoder was too
    slow for.
    """

    def __init__(self, media: ReceivedMedia, path: Path, fps: int) -> None:
        """Raises RecordingError if the folder of `path` does not exist."""
        if not path.parent.is_dir():
            raise RecordingError(f"There is no folder {path.parent}. Create it first.")
        self.alignment = "packets"
        self.lost_frames = 0
        self._media, self._path, self._fps = media, path, fps
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        self._waiting: list[ReceivedFrame[Any]] = []
        self._encoding: set[asyncio.Future[None]] = set()
        self._failure: BaseException | None = None
        self._writer: RecordingWriter | None = None
        self._closed = False
        self._untap = media.tap(self._take)

    async def aclose(self) -> None:
        """Write what is left and close the file; a second call does nothing.

        Raises RecordingError if no video frame was received or the encoder failed.
        """
        if self._closed:
            return
        self._closed = True
        self._untap()
        if self._writer is None and self._waiting:
            self._open()
        if self._encoding:
            await asyncio.wait(self._encoding)
        try:
            if self._writer is not None:
                await self._close(self._writer)
            if self._failure is not None:
                raise RecordingError(f"{self._path} is broken: {self._failure}") from self._failure
            if self._writer is None:
                raise RecordingError(f"{self._path} was not written: no video frame was received.")
        finally:
            self._thread.shutdown(wait=False)

    async def _close(self, writer: RecordingWriter) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, writer.close)
        except (av.FFmpegError, OSError) as error:
            self._failure = self._failure or error

    def _take(self, received: ReceivedFrame[Any]) -> None:
        if self._failure is not None:
            return  # aclose raises it
        if self._writer is not None:
            self._encode(received)
            return
        self._waiting.append(received)
        if self._media.synchronised.is_set() or len(self._waiting) >= MAX_WAITING:
            self._open()

    def _open(self) -> None:
        video = [one for one in self._waiting if one.kind == "video"]
        if not video:
            return
        offset_us = self._media.video_offset_us
        if offset_us is None:
            self.alignment = "first frames"
            alignment = _align_by_arrival(self._waiting)
        else:
            alignment = TrackAlignment.of_tracks(0, offset_us, self._waiting)
        size = (video[0].frame.width, video[0].frame.height)
        try:
            self._writer = RecordingWriter(self._path, *size, self._fps, alignment)
        except (av.FFmpegError, OSError) as error:
            self._failure = error
            self._waiting.clear()
            return
        waiting, self._waiting = self._waiting, []
        for received in waiting:
            self._encode(received)

    def _encode(self, received: ReceivedFrame[Any]) -> None:
        if len(self._encoding) >= MAX_WAITING and received.kind == "video":
            self.lost_frames += 1  # the sound stays complete
            return
        assert self._writer is not None
        write = self._writer.write_video if received.kind == "video" else self._writer.write_audio
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, functools.partial(write, received.frame))
        self._encoding.add(done)
        done.add_done_callback(self._encoded)

    def _encoded(self, done: asyncio.Future[None]) -> None:
        self._encoding.discard(done)
        failure = done.exception()  # fetched always, else asyncio logs it as never retrieved
        self._failure = self._failure or failure


def _align_by_arrival(frames: list[ReceivedFrame[Any]]) -> TrackAlignment:
    """Place pts 0 of each track by the arrival of its first frame."""
    starts: dict[str, int] = {}
    for received in frames:
        media_us = received.pts * 1_000_000 // CLOCK_RATES[received.kind]
        starts.setdefault(received.kind, int(received.arrived_s * 1e6) - media_us)
    only = next(iter(starts.values()))
    return TrackAlignment.of_tracks(starts.get("audio", only), starts.get("video", only), frames)
