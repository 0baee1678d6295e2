"""Records received sound and picture to mp4 (H264 and AAC), keeping their offset."""

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

from avatar_client.received_media import CLOCK_RATES, Received, ReceivedMedia

AUDIO_RATE, VIDEO_RATE = CLOCK_RATES["audio"], CLOCK_RATES["video"]
VIDEO_TIME_BASE = Fraction(1, VIDEO_RATE)
MAX_WAITING = 1500  # frames held while the sender's clocks are unknown or the encoder is behind
MAX_GAP_S = 10  # a longer hole in the sound is a broken stream, not lost packets


@dataclass(frozen=True, slots=True)
class Start:
    """Times on one clock, in microseconds: of pts 0 of both tracks, and of 0 in the file."""

    audio_us: int
    video_us: int
    file_us: int

    @property
    def audio_shift(self) -> int:
        """What to add to audio pts, in samples."""
        return (self.audio_us - self.file_us) * AUDIO_RATE // 1_000_000

    @property
    def video_shift(self) -> int:
        """What to add to video pts, in ticks of VIDEO_TIME_BASE."""
        return (self.video_us - self.file_us) * VIDEO_RATE // 1_000_000

    @classmethod
    def of_tracks(cls, audio_us: int, video_us: int, frames: list[Received[Any]]) -> "Start":
        """The file begins with the earliest of `frames`."""
        starts = {"audio": audio_us, "video": video_us}
        times = (starts[f.kind] + f.pts * 1_000_000 // CLOCK_RATES[f.kind] for f in frames)
        return cls(audio_us, video_us, min(times))


class Mp4Writer:
    """Encodes frames in the caller's thread; pts are those of the received tracks."""

    def __init__(self, path: Path, width: int, height: int, fps: int, start: Start) -> None:
        self._start = start
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
        pts = (frame.pts or 0) + self._start.video_shift
        if pts <= self._last_video_pts:
            return  # a repeated timestamp: mp4 wants each picture once
        self._last_video_pts = pts
        picture = frame.reformat(*self._size, format="yuv420p")
        picture.pts, picture.time_base = pts, VIDEO_TIME_BASE
        picture.pict_type = av.video.frame.PictureType.NONE
        self._container.mux(self._video.encode(picture))

    def write_audio(self, frame: av.AudioFrame) -> None:
        pts = (frame.pts or 0) + self._start.audio_shift
        samples = as_stereo(frame)
        if self._next_sample is None:
            self._next_sample = pts
        gap = pts - self._next_sample
        if gap > MAX_GAP_S * AUDIO_RATE:
            raise ValueError(
                f"the sound jumps by {gap / AUDIO_RATE:.0f} s, at most {MAX_GAP_S} s can be lost "
                "packets: the stream is broken, start the recording anew"
            )
        if gap > 0:  # lost packets: silence keeps what follows at its time
            samples = np.concatenate([np.zeros((gap, 2), np.int16), samples])
        elif gap < 0:  # came twice
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
    """A recording that could not be made."""


class Recorder:
    """Writes what arrives at `media` from now on; `aclose` finishes the file.

    Frames wait until the packets of both tracks tell their offset (a second or two). Should too
    few have come by the end, the tracks are laid by the arrival of their first frames, and
    `alignment` says "first frames" instead of "packets".
    """

    def __init__(self, media: ReceivedMedia, path: Path, fps: int) -> None:
        """Raises RecordingError where there is no folder to write to."""
        if not path.parent.is_dir():
            raise RecordingError(f"There is no folder {path.parent}. Make it, or name another one.")
        self.alignment = "packets"
        self.lost_frames = 0
        self._media, self._path, self._fps = media, path, fps
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        self._waiting: list[Received[Any]] = []
        self._encoding: set[asyncio.Future[None]] = set()
        self._failure: BaseException | None = None
        self._writer: Mp4Writer | None = None
        self._closed = False
        self._untap = media.tap(self._take)

    async def aclose(self) -> None:
        """Write what is left and close the file; a second call does nothing.

        Raises RecordingError when no picture was received or the encoder failed.
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
                raise RecordingError(f"{self._path} was not written: no picture was received.")
        finally:
            self._thread.shutdown(wait=False)

    async def _close(self, writer: Mp4Writer) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, writer.close)
        except (av.FFmpegError, OSError) as error:
            self._failure = self._failure or error

    def _take(self, received: Received[Any]) -> None:
        if self._failure is not None:
            return  # told by aclose
        if self._writer is not None:
            self._encode(received)
            return
        self._waiting.append(received)
        if self._media.synchronised.is_set() or len(self._waiting) >= MAX_WAITING:
            self._open()

    def _open(self) -> None:
        pictures = [one for one in self._waiting if one.kind == "video"]
        if not pictures:
            return
        apart_us = self._media.apart_us
        if apart_us is None:
            self.alignment = "first frames"
            start = _start_by_arrival(self._waiting)
        else:
            start = Start.of_tracks(0, apart_us, self._waiting)
        size = (pictures[0].frame.width, pictures[0].frame.height)
        try:
            self._writer = Mp4Writer(self._path, *size, self._fps, start)
        except (av.FFmpegError, OSError) as error:
            self._failure = error
            self._waiting.clear()
            return
        waiting, self._waiting = self._waiting, []
        for received in waiting:
            self._encode(received)

    def _encode(self, received: Received[Any]) -> None:
        if len(self._encoding) >= MAX_WAITING and received.kind == "video":
            self.lost_frames += 1  # the sound stays whole
            return
        assert self._writer is not None
        write = self._writer.write_video if received.kind == "video" else self._writer.write_audio
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, functools.partial(write, received.frame))
        self._encoding.add(done)
        done.add_done_callback(self._encoded)

    def _encoded(self, done: asyncio.Future[None]) -> None:
        self._encoding.discard(done)
        failure = done.exception()  # asked for each, else asyncio tells of it again
        self._failure = self._failure or failure


def _start_by_arrival(frames: list[Received[Any]]) -> Start:
    """Lay pts 0 of each track where its first frame's arrival puts it."""
    starts: dict[str, int] = {}
    for received in frames:
        media_us = received.pts * 1_000_000 // CLOCK_RATES[received.kind]
        starts.setdefault(received.kind, int(received.arrived_s * 1e6) - media_us)
    only = next(iter(starts.values()))
    return Start.of_tracks(starts.get("audio", only), starts.get("video", only), frames)
