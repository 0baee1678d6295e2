"""Talking video to a file: H.264 video and AAC audio, written frame by frame."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from avatar_client.media_files.failure import MediaFileError, reason_of
from avatar_client.media_files.video_file import VideoFile

from runtime.errors import BadInput
from runtime.timing import OUTPUT_RATE, VIDEO_FPS
from runtime.values import Pixels, Samples

CRF = "18"  # visually lossless for drawn images


class VideoFileWriter:
    """Each `write` adds one frame and its audio, 40 ms at 25 fps.

        with VideoFileWriter(file, width, height) as video:
            video.write(pixels, audio)

    The ending of `file` decides the format: .mp4, .mov or .mkv. The file appears under its name
    once it is complete; until then it is `file`.part, which an error removes. BadInput if it cannot
    be written.
    """

    def __init__(
        self, file: Path, width: int, height: int, fps: Fraction = Fraction(VIDEO_FPS)
    ) -> None:
        self._out = file
        target = file.resolve()  # a link stays a link
        is_device = target.exists() and not target.is_file()
        self._aside = target if is_device else target.with_name(f"{target.name}.part")
        try:
            self._file = VideoFile(self._aside, shown=file)
        except MediaFileError as error:
            raise BadInput(str(error), param="out") from error
        container = self._file.container
        self._video = container.add_stream("libx264", rate=fps)
        self._video.width, self._video.height = width, height
        self._video.pix_fmt = "yuv420p"
        # With B-frames (`bf`) the end of a file in fragments may lack its last picture.
        self._video.options = {"crf": CRF, "preset": "veryfast", "bf": "0"}
        self._audio = container.add_stream("aac", rate=OUTPUT_RATE, layout="mono")
        self._fps = fps
        self._samples = int(OUTPUT_RATE / fps)  # per frame
        self._index = 0

    def write(self, pixels: Pixels, audio: Samples) -> None:
        """pixels (H, W, 3) uint8; audio float32 [-1, 1], 48 kHz: 48,000 / fps samples or fewer."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = self._index, 1 / self._fps
        padded = np.zeros((1, self._samples), np.float32)
        padded[0, : len(audio)] = audio
        samples = av.AudioFrame.from_ndarray(padded, format="fltp", layout="mono")
        samples.sample_rate = OUTPUT_RATE
        samples.pts = self._index * self._samples
        samples.time_base = Fraction(1, OUTPUT_RATE)
        self._encode(frame, samples)
        self._index += 1

    def __enter__(self) -> "VideoFileWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_complete = False
        try:
            if kind is None:
                self._encode(None, None)
                self._close()
                is_complete = True
        finally:
            self._file.abandon()
            if not is_complete and self._aside.is_file():
                self._aside.unlink()

    def _encode(self, picture: av.VideoFrame | None, sound: av.AudioFrame | None) -> None:
        """Encode and write a frame and its sound; None for what the encoders hold back."""
        try:
            self._file.mux(self._video.encode(picture))
            self._file.mux(self._audio.encode(sound))
        except MediaFileError as error:
            raise BadInput(str(error), param="out") from error

    def _close(self) -> None:
        try:
            self._file.close()
            if self._aside.is_file():
                self._aside.replace(self._out.resolve())
        except MediaFileError as error:
            raise BadInput(str(error), param="out") from error
        except OSError as error:
            raise BadInput(f"{self._out} is broken: {reason_of(error)}.", param="out") from error
