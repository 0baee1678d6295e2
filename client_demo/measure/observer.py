"""Watches every received frame and keeps only the values that measuring needs."""

import asyncio
from typing import Any

import av
import numpy as np
from avatar_client.received_media import CLOCK_RATES, ReceivedFrame
from avatar_client.recording import as_stereo
from numpy.typing import NDArray

from client_demo.measure.stream_analysis import (
    LOUDNESS_STEP_MS,
    MouthFrame,
    SoundLevel,
    mouth_region,
)

LOUDNESS_SAMPLES = CLOCK_RATES["audio"] * LOUDNESS_STEP_MS // 1000


class StreamObserver:
    """A tap (see ReceivedMedia.tap) that keeps each speaker's mouth and the loudness.

    `boxes`: speaker id -> face box in fractions of the frame.
    """

    def __init__(self, boxes: dict[str, dict[str, float]]) -> None:
        self.frames: dict[str, list[MouthFrame]] = {speaker: [] for speaker in boxes}
        self.levels: list[SoundLevel] = []
        self.first_frame_s: float | None = None
        self.has_frame = asyncio.Event()
        self._boxes = boxes
        self._previous: NDArray[np.float32] | None = None

    def __call__(self, received: ReceivedFrame[Any]) -> None:
        if received.kind == "video":
            self._add_frame(received)
        else:
            self._add_sound(received)

    def _add_frame(self, received: ReceivedFrame[av.VideoFrame]) -> None:
        pixels = brightness(received.frame)
        before = pixels if self._previous is None else self._previous
        change = float(np.mean(np.abs(pixels - before))) if before.shape == pixels.shape else 255
        self._previous = pixels
        if self.first_frame_s is None:
            self.first_frame_s = received.arrived_s
            self.has_frame.set()
        height, width = pixels.shape
        for speaker, box in self._boxes.items():
            mouth = pixels[mouth_region(box, width, height)].copy()
            frame = MouthFrame(received.arrived_s, received.pts, mouth, change)
            self.frames[speaker].append(frame)

    def _add_sound(self, received: ReceivedFrame[av.AudioFrame]) -> None:
        samples = as_stereo(received.frame).astype(np.float64).mean(axis=1) / 32768
        for start in range(0, len(samples) - LOUDNESS_SAMPLES + 1, LOUDNESS_SAMPLES):
            block = samples[start : start + LOUDNESS_SAMPLES]
            loudness = float(np.sqrt(np.mean(block**2)))
            self.levels.append(SoundLevel(received.arrived_s, received.pts + start, loudness))


def brightness(frame: av.VideoFrame) -> NDArray[np.float32]:
    """The Y plane (H, W) of a yuv420p frame, 0..255."""
    plane = frame.planes[0]
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width].astype(np.float32)
