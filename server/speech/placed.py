"""Sound at its place on the timeline, at the output's rate (48 kHz), until it was played."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from runtime.timing import OUTPUT_SAMPLES_PER_FRAME, SAMPLES_PER_FRAME
from runtime.values import Samples
from server.speech.items import Item
from server.speech.resampling import OUTPUT_PER_MODEL_SAMPLE

FADE_SAMPLES = 80
"""Interrupted sound fades out over 5 ms, so that it does not click."""
SEAM_SAMPLES = 16
"""Items that meet at different rates fade out and in over 1 ms each."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A piece of an item's sound at [start, stop) of the timeline; three output samples each.

    `item` is None if it was cut.
    """

    start: int
    stop: int
    output: Samples
    item: Item | None

    def within(self, frame: int) -> int:
        """How many of its samples lie in the video frame `frame`."""
        first = frame * SAMPLES_PER_FRAME
        return min(self.stop, first + SAMPLES_PER_FRAME) - max(self.start, first)

    def cut(self, position: int) -> "Placed | None":
        """Its fade from `position` on; None if it has no sound there."""
        stop = min(self.stop, position + FADE_SAMPLES)
        if stop <= position:
            return None
        part = self.output[_output(position - self.start) : _output(stop - self.start)]
        slope = np.linspace(1.0, 0.0, len(part), dtype=np.float32)
        return Placed(position, stop, part * slope, None)

    def faded_out(self) -> "Placed":
        """The same with its end faded, so that it may stop in mid-sound."""
        return self._scaled(-len(self._seam), self._seam[::-1])

    def faded_in(self) -> "Placed":
        """The same with its beginning faded, so that it may start in mid-sound."""
        return self._scaled(0, self._seam)

    @property
    def _seam(self) -> Samples:
        count = min(_output(SEAM_SAMPLES), len(self.output))
        slope: Samples = np.sin(np.linspace(0, np.pi / 2, count, dtype=np.float32)) ** 2
        return slope

    def _scaled(self, first: int, slope: Samples) -> "Placed":
        output = self.output.copy()
        if len(slope):
            first %= len(output)
            output[first : first + len(slope)] *= slope
        return replace(self, output=output)


def mix(pieces: Iterable[Placed], sound: Samples, frame: int) -> None:
    """Add the sound of video frame `frame` to `sound` (1920,) at 48 kHz."""
    first = frame * SAMPLES_PER_FRAME
    for each in pieces:
        start, stop = max(each.start, first), min(each.stop, first + SAMPLES_PER_FRAME)
        if start < stop:
            part = each.output[_output(start - each.start) : _output(stop - each.start)]
            sound[_output(start - first) : _output(stop - first)] += part


def _output(samples: int) -> int:
    return OUTPUT_PER_MODEL_SAMPLE * samples


assert OUTPUT_SAMPLES_PER_FRAME == OUTPUT_PER_MODEL_SAMPLE * SAMPLES_PER_FRAME
