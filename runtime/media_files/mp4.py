"""Talking video to an mp4 file: H264 pictures and AAC sound, written as they come."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from runtime.errors import BadInput
from runtime.timing import OUTPUT_RATE, VIDEO_FPS
from runtime.values import Pixels, Samples

CRF = "18"  # visually lossless for drawn pictures


class Mp4Writer:
    """Each `write` adds one picture and the sound that goes with it, 40 ms at 25 fps.

    with Mp4Writer(file, width, height) as video:
        video.write(pixels, sound)
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
        self._sound = self._container.add_stream("aac", rate=OUTPUT_RATE, layout="mono")
        self._fps = fps
        self._samples = int(OUTPUT_RATE / fps)  # of a picture
        self._index = 0

    def write(self, pixels: Pixels, sound: Samples) -> None:
        """pixels (H, W, 3) uint8; sound float32 [-1, 1], 48 kHz: 48,000 / fps samples or fewer."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        picture.pts, picture.time_base = self._index, 1 / self._fps
        self._container.mux(self._video.encode(picture))
        padded = np.zeros((1, self._samples), np.float32)
        padded[0, : len(sound)] = sound
        heard = av.AudioFrame.from_ndarray(padded, format="fltp", layout="mono")
        heard.sample_rate = OUTPUT_RATE
        heard.pts = self._index * self._samples
        heard.time_base = Fraction(1, OUTPUT_RATE)
        self._container.mux(self._sound.encode(heard))
        self._index += 1

    def __enter__(self) -> "Mp4Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._video.encode(None))
            self._container.mux(self._sound.encode(None))
        self._container.close()
