"""A stretch of sound without a gap, resampled to the model's rate and the output's (16 and 48 kHz).

Resampler state carries over from block to block, so the cuts of the input do not change the result.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr

from runtime.timing import OUTPUT_RATE, SAMPLE_RATE
from runtime.values import Samples

OUTPUT_PER_MODEL_SAMPLE = OUTPUT_RATE // SAMPLE_RATE
BLOCKS_PER_SECOND = 25
"""Input is resampled in blocks of at most 40 ms, so that a short read is cheap."""
LEAST_PER_SECOND = 200
"""Blocks have at least 5 ms, so that many tiny writes are cheap too."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One stretch of speech at two rates: `model` (N,) at 16 kHz, `output` (3 N,) at 48 kHz."""

    model: Samples
    output: Samples


def model_samples(frames: int, rate: int) -> int:
    """Samples at the model's rate for `frames` at `rate`, rounded up."""
    return -(-frames * SAMPLE_RATE // rate)


class Run:
    """One or more items that follow at once, at one rate: their sound is resampled as one.

    It takes up to 0.3 MB and 2 ms to make (odd rates; 0.1 ms at the usual ones), so it is made when
    it is needed, and its resamplers go with its end.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._to_model = _Resampler(rate, SAMPLE_RATE)
        self._to_output = _Resampler(rate, OUTPUT_RATE)
        self.frames = 0
        """Input samples fed so far."""
        self.is_done = False
        """Whether its end was fed."""

    @property
    def ready_samples(self) -> int:
        """Model samples that can be taken."""
        return min(self._to_model.ready, self._to_output.ready // OUTPUT_PER_MODEL_SAMPLE)

    def feed(self, mono: Samples, *, is_last: bool) -> None:
        """Append input (N,); with `is_last` the run ends at its exact length."""
        self.frames += len(mono)
        self._to_model.feed(mono, is_last)
        self._to_output.feed(mono, is_last)
        self.is_done = is_last
        if is_last:
            total = model_samples(self.frames, self._rate)
            self._to_model.end_at(total)
            self._to_output.end_at(OUTPUT_PER_MODEL_SAMPLE * total)

    def take(self, count: int) -> Speech:
        output = self._to_output.take(OUTPUT_PER_MODEL_SAMPLE * count)
        return Speech(self._to_model.take(count), output)


@lru_cache(maxsize=64)
def lookahead_frames(rate: int) -> int:
    """Input samples that must follow a moment before that moment's sound can be taken, at most."""
    run, block, most = Run(rate), rate // LEAST_PER_SECOND, 0
    for _ in range(LEAST_PER_SECOND):
        missing_from = run.ready_samples * rate // SAMPLE_RATE
        run.feed(np.zeros(block, np.float32), is_last=False)
        most = max(most, run.frames - missing_from)
    return most + block


class _Resampler:
    """A streaming resampler and its output that was not taken yet."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")
        self._ready: Samples = np.zeros(0, np.float32)
        self._made = 0

    @property
    def ready(self) -> int:
        return len(self._ready)

    def feed(self, mono: Samples, is_last: bool) -> None:
        made = mono if self._stream is None else self._stream.resample_chunk(mono, last=is_last)
        self._extend(np.clip(made, -1.0, 1.0))
        if is_last:
            self._stream = None  # up to 170 kB

    def end_at(self, total: int) -> None:
        """Cut or pad the stream to `total` samples: rounding can leave it one off."""
        excess = self._made - total
        if excess > 0:
            self._ready = self._ready[: len(self._ready) - excess]
        elif excess < 0:
            self._extend(np.zeros(-excess, np.float32))

    def take(self, count: int) -> Samples:
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def _extend(self, made: Samples) -> None:
        self._ready = np.concatenate([self._ready, made])
        self._made += len(made)
