"""Looks at every received frame while it is there, and keeps only what measuring needs."""

import asyncio
from typing import Any

import av
import numpy as np
from avatar_client.received_media import CLOCK_RATES, Received
from avatar_client.recording import as_stereo
from numpy.typing import NDArray

from client_demo.measure.measure import LOUDNESS_STEP_MS, Picture, Sound, mouth_region

LOUDNESS_SAMPLES = CLOCK_RATES["audio"] * LOUDNESS_STEP_MS // 1000


class Observer:
    """A tap (see ReceivedMedia.tap): pictures seen at each speaker's mouth, and loudness.

    `boxes`: speaker id -> face box in fractions of the picture.
    """

    def __init__(self, boxes: dict[str, dict[str, float]]) -> None:
        self.pictures: dict[str, list[Picture]] = {speaker: [] for speaker in boxes}
        self.sounds: list[Sound] = []
        self.first_picture_s: float | None = None
        self.has_seen = asyncio.Event()
        self._boxes = boxes
        self._before: NDArray[np.float32] | None = None

    def __call__(self, received: Received[Any]) -> None:
        if received.kind == "video":
            self._see(received)
        else:
            self._hear(received)

    def _see(self, received: Received[av.VideoFrame]) -> None:
        picture = brightness(received.frame)
        before = picture if self._before is None else self._before
        change = float(np.mean(np.abs(picture - before))) if before.shape == picture.shape else 255
        self._before = picture
        if self.first_picture_s is None:
            self.first_picture_s = received.arrived_s
            self.has_seen.set()
        height, width = picture.shape
        for speaker, box in self._boxes.items():
            mouth = picture[mouth_region(box, width, height)].copy()
            seen = Picture(received.arrived_s, received.pts, mouth, change)
            self.pictures[speaker].append(seen)

    def _hear(self, received: Received[av.AudioFrame]) -> None:
        samples = as_stereo(received.frame).astype(np.float64).mean(axis=1) / 32768
        for start in range(0, len(samples) - LOUDNESS_SAMPLES + 1, LOUDNESS_SAMPLES):
            block = samples[start : start + LOUDNESS_SAMPLES]
            loudness = float(np.sqrt(np.mean(block**2)))
            self.sounds.append(Sound(received.arrived_s, received.pts + start, loudness))


def brightness(frame: av.VideoFrame) -> NDArray[np.float32]:
    """The Y plane (H, W) of a yuv420p frame, 0..255."""
    plane = frame.planes[0]
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width].astype(np.float32)
