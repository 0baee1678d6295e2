"""Talking video to an mp4 file: H.264 video and AAC audio, written frame by frame."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from runtime.errors import BadInput
from runtime.timing import OUTPUT_RATE, VIDEO_FPS
from runtime.values import Pixels, Samples

CRF = "18"  # visually lossless for drawn images


class VideoFileWriter:
    """Each `write` adds one frame and its audio, 40 ms at 25 fps.

        with VideoFileWriter(file, width, height) as video:
            video.write(pixels, audio)

    BadInput if the folder of the file does not exist.
    """

    def __init__(
        self, file: Path, width: int, height: int, fps: Fraction = Fraction(VIDEO_FPS)
    ) -> None:
        if not file.parent.is_dir():
            raise BadInput(f"The folder {file.parent} does not exist. Make it first.", param="out")
        self._container = av.open(str(file), "w", format="mp4", options={"movflags": "+faststart"})
        self._video = self._container.add_stream("libx264", rate=fps)
        self._video.width, self._video.height = width, height
        self._video.pix_fmt = "yuv420p"
        self._video.options = {"crf": CRF, "preset": "veryfast"}
        self._audio = self._container.add_stream("aac", rate=OUTPUT_RATE, layout="mono")
        self._fps = fps
        self._samples = int(OUTPUT_RATE / fps)  # per frame
        self._index = 0

    def write(self, pixels: Pixels, audio: Samples) -> None:
        """pixels (H, W, 3) uint8; audio float32 [-1, 1], 48 kHz: 48,000 / fps samples or fewer."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = self._index, 1 / self._fps
        self._container.mux(self._video.encode(frame))
        padded = np.zeros((1, self._samples), np.float32)
        padded[0, : len(audio)] = audio
        samples = av.AudioFrame.from_ndarray(padded, format="fltp", layout="mono")
        samples.sample_rate = OUTPUT_RATE
        samples.pts = self._index * self._samples
        samples.time_base = Fraction(1, OUTPUT_RATE)
        self._container.mux(self._audio.encode(samples))
        self._index += 1

    def __enter__(self) -> "VideoFileWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._video.encode(None))
            self._container.mux(self._audio.encode(None))
        self._container.close()
