"""Small frozen values that callers of the runtime and its parts exchange."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised")

Pixels = NDArray[np.uint8]  # (H, W, 3), RGB; or (3 H / 2, W), I420, in a stream of that layout
Samples = NDArray[np.float32]  # (N,), mono, [-1, 1], 16 kHz unless the name says otherwise


class Box(NamedTuple):
    """A rectangle in fractions of an image, origin top left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def as_dict(self) -> dict[str, float]:
        return self._asdict()


@dataclass(frozen=True, slots=True)
class Frame:
    """Video frame `index` of a stream; frame 0 is shown at time 0."""

    index: int
    pixels: Pixels
