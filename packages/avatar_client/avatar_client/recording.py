"""Records received sound and video to mp4 (H.264 and AAC) and keeps their offset.

A thread opens the file and encodes. The file can be played at any moment, to within a second or
two; after its first failed write nothing more is encoded, and the session goes on.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avatar_client.errors import RecordingError
from avatar_client.media_files.failure import MediaFileError, reason_of
from avatar_client.media_files.output_name import check_video_output
from avatar_client.media_files.video_file import VideoFile
from avatar_client.received_media import CLOCK_RATES, ReceivedFrame, ReceivedMedia

AUDIO_RATE, VIDEO_RATE = CLOCK_RATES["audio"], CLOCK_RATES["video"]
VIDEO_TIME_BASE = Fraction(1, VIDEO_RATE)
MAX_WAITING = 1500  # frames held while the offset is unknown or the encoder is behind
MAX_GAP_S = 10  # a longer gap in the sound is a broken stream, not lost packets
# What the encoder holds back is lost if the process is killed: here 9 frames, 0.4 s.
X264 = {"preset": "veryfast", "crf": "18", "bf": "0", "rc-lookahead": "5", "threads": "2"}
"""No B-frames (`bf`): with them the end of a file in fragments may lack its last picture."""

logger = logging.getLogger(__name__)


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
    """Encodes frames in the caller's thread; pts are those of the received tracks.

    Raises MediaFileError if the file cannot be written.
    """

    def __init__(
        self, path: Path, width: int, height: int, fps: int, alignment: TrackAlignment
    ) -> None:
        self._alignment = alignment
        self._size = (width // 2 * 2, height // 2 * 2)  # H.264 in yuv420p needs even sides
        self._file = VideoFile(path)
        container = self._file.container
        self._video = container.add_stream("libx264", rate=fps)
        self._video.width, self._video.height = self._size
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = VIDEO_TIME_BASE
        self._video.options = {**X264}
        self._audio = container.add_stream("aac", rate=AUDIO_RATE, layout="stereo")
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
        self._file.mux(self._video.encode(scaled))

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
        self._file.mux(self._video.encode(None))
        if self._next_sample is not None:
            self._file.mux(self._audio.encode(None))
        self._file.close()

    def abandon(self) -> None:
        """Leave the file as it is."""
        self._file.abandon()

    def _encode(self, samples: NDArray[np.int16], pts: int) -> None:
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, pts, Fraction(1, AUDIO_RATE)
        self._file.mux(self._audio.encode(frame))


def as_stereo(frame: av.AudioFrame) -> NDArray[np.int16]:
    """Samples (N, 2) of a decoded Opus frame (packed s16, one or two channels)."""
    channels = len(frame.layout.channels)
    samples = frame.to_ndarray().astype(np.int16, copy=False).reshape(-1, channels)
    return samples if channels == 2 else np.repeat(samples, 2, axis=1)


class Recorder:
    """Writes what arrives at `media` from now on; `aclose` finishes the file.

    Frames wait until packets of both tracks show their offset (a second or two). If too few have
    come by the end, the arrival of each track's first frame decides, and `alignment` is
    "first frames" instead of "packets". `lost_frames` counts video frames that the encoder was too
    slow for. `failure` is set once the recording is broken; `aclose` raises it.
    """

    def __init__(self, media: ReceivedMedia, path: Path | str, fps: int) -> None:
        """Raises RecordingError unless `path` is a .mp4, .mov or .mkv that can be written."""
        self._path = Path(path)
        try:
            check_video_output(self._path)
        except MediaFileError as error:
            raise RecordingError(str(error)) from error
        self.alignment = "packets"
        self.lost_frames = 0
        self.failure: RecordingError | None = None
        self._media, self._fps = media, fps
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        self._waiting: list[ReceivedFrame[Any]] = []
        self._jobs: set[asyncio.Future[None]] = set()
        self._is_open = False
        self._writer: RecordingWriter | None = None  # of the thread
        self._closed = False
        self._untap = media.tap(self._take)

    async def aclose(self) -> None:
        """Write what is left and close the file; a second call does nothing.

        Raises RecordingError if no video frame was received or the file is broken.
        """
        if self._closed:
            return
        self._closed = True
        self._untap()
        if not self._is_open and self._waiting:
            self._open()
        try:
            if self._is_open:
                self._submit(self._close)
                await asyncio.wait(self._jobs)
            if self.failure is not None:
                raise self.failure
            if not self._is_open:
                raise RecordingError(f"{self._path} was not written: no video frame was received.")
        finally:
            self._thread.shutdown(wait=False)

    def _take(self, received: ReceivedFrame[Any]) -> None:
        if self._is_open:
            self._encode(received)
            return
        self._waiting.append(received)
        if self._media.synchronised.is_set() or len(self._waiting) >= MAX_WAITING:
            self._open()
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[0]  # sound without video

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
        self._is_open = True
        self._submit(self._start, video[0].frame.width, video[0].frame.height, alignment)
        waiting, self._waiting = self._waiting, []
        for received in waiting:
            self._encode(received)

    def _encode(self, received: ReceivedFrame[Any]) -> None:
        if self.failure is not None:
            return
        if len(self._jobs) >= MAX_WAITING and received.kind == "video":
            self.lost_frames += 1  # the sound stays complete
            return
        self._submit(self._write, received)

    def _submit(self, job: Callable[..., None], *arguments: Any) -> None:
        """Have the thread run `job`, after all earlier ones."""
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, self._run, job, *arguments)
        self._jobs.add(done)
        done.add_done_callback(self._jobs.discard)

    def _run(self, job: Callable[..., None], *arguments: Any) -> None:
        """In the thread: run a job, or nothing if an earlier one has failed."""
        if self.failure is not None:
            return
        try:
            job(*arguments)
        except Exception as error:  # whatever it is, `aclose` raises it
            is_told = isinstance(error, MediaFileError)
            message = str(error) if is_told else f"{self._path} is broken: {reason_of(error)}."
            self.failure = RecordingError(message)
            self.failure.__cause__ = error
            logger.warning("%s The recording has ended; the session goes on.", message)
            if self._writer is not None:
                self._writer.abandon()

    def _start(self, width: int, height: int, alignment: TrackAlignment) -> None:
        self._writer = RecordingWriter(self._path, width, height, self._fps, alignment)

    def _write(self, received: ReceivedFrame[Any]) -> None:
        assert self._writer is not None  # the first job made it
        write = self._writer.write_video if received.kind == "video" else self._writer.write_audio
        write(received.frame)

    def _close(self) -> None:
        assert self._writer is not None
        self._writer.close()


def _align_by_arrival(frames: list[ReceivedFrame[Any]]) -> TrackAlignment:
    """Place pts 0 of each track by the arrival of its first frame."""
    starts: dict[str, int] = {}
    for received in frames:
        media_us = received.pts * 1_000_000 // CLOCK_RATES[received.kind]
        starts.setdefault(received.kind, int(received.arrived_s * 1e6) - media_us)
    only = next(iter(starts.values()))
    return TrackAlignment.of_tracks(starts.get("audio", only), starts.get("video", only), frames)
