"""PCM16 bytes, cut anywhere, to samples for the model (16 kHz) and for playback (48 kHz).

A `PcmReader` belongs to one item. It keeps the bytes and resamples only the part that is read.
Resampler state carries over, so the cuts of the bytes do not change the result.
"""

from dataclasses import dataclass

import numpy as np
import soxr

from runtime.timing import OUTPUT_RATE, SAMPLE_RATE
from runtime.values import Samples

BYTES_PER_SAMPLE = 2
OUTPUT_PER_MODEL_SAMPLE = OUTPUT_RATE // SAMPLE_RATE
BLOCKS_PER_SECOND = 25
"""Input is resampled in blocks of at most 40 ms, so that a short read is cheap."""
LEAST_PER_SECOND = 200
"""Blocks have at least 5 ms, so that many tiny writes are cheap too."""


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Little-endian PCM16: sample rate (8,000 to 48,000 Hz) and interleaved channels."""

    rate: int = SAMPLE_RATE
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        return BYTES_PER_SAMPLE * self.channels

    def model_samples(self, frames: int) -> int:
        """Samples at the model's rate for `frames` input samples per channel, rounded up."""
        return -(-frames * SAMPLE_RATE // self.rate)


@dataclass(frozen=True, slots=True)
class Speech:
    """One stretch of speech at two rates: `model` (N,) at 16 kHz, `output` (3 N,) at 48 kHz."""

    model: Samples
    output: Samples


class PcmReader:
    """The audio of one item: `write` bytes, `finish`, and `read` what has arrived."""

    def __init__(self, pcm: PcmFormat) -> None:
        self._pcm = pcm
        self._bytes = bytearray()
        self._to_model = _Resampler(pcm.rate, SAMPLE_RATE)
        self._to_output = _Resampler(pcm.rate, OUTPUT_RATE)
        self._frames_in = 0
        self._bytes_in = 0
        self._finished = False
        self._read_samples = 0
        self.unread_samples = 0
        """Model samples written and not yet read."""

    def write(self, data: bytes) -> None:
        """Append PCM16 bytes; half a sample is kept for the next write."""
        assert not self._finished
        self._bytes += data
        self._bytes_in += len(data)
        self._count_unread()

    def finish(self) -> None:
        """No more bytes will come; an incomplete last sample is dropped."""
        self._finished = True

    def prepare(self, samples: int) -> int:
        """Resample enough for a read of `samples`; how many of them can be read now."""
        size = self._pcm.frame_bytes
        most, least = self._pcm.rate // BLOCKS_PER_SECOND, self._pcm.rate // LEAST_PER_SECOND
        while not self._can_read(samples) and not self._to_model.is_done:
            there = len(self._bytes) // size
            is_last = self._finished and there <= most
            if there < least and not is_last:
                break
            self._feed(min(there, most), is_last)
        readable = min(self._to_model.ready, self._to_output.ready // OUTPUT_PER_MODEL_SAMPLE)
        return min(samples, readable)

    def read(self, samples: int) -> Speech:
        """The next `samples`, or fewer if fewer have arrived."""
        count = self.prepare(samples)
        self._read_samples += count
        self._count_unread()
        return Speech(self._to_model.take(count), self._to_output.take(3 * count))

    def _count_unread(self) -> None:
        arrived = self._pcm.model_samples(self._bytes_in // self._pcm.frame_bytes)
        self.unread_samples = arrived - self._read_samples

    def _can_read(self, samples: int) -> bool:
        output = OUTPUT_PER_MODEL_SAMPLE * samples
        return self._to_model.ready >= samples and self._to_output.ready >= output

    def _feed(self, frames: int, is_last: bool) -> None:
        size = frames * self._pcm.frame_bytes
        ints = np.frombuffer(bytes(self._bytes[:size]), dtype="<i2")
        del self._bytes[:size]
        mono = ints.reshape(-1, self._pcm.channels).astype(np.float32).mean(axis=1) / 32768.0
        self._frames_in += frames
        self._to_model.feed(mono, is_last)
        self._to_output.feed(mono, is_last)
        if is_last:
            total = self._pcm.model_samples(self._frames_in)
            self._to_model.end_at(total)
            self._to_output.end_at(OUTPUT_PER_MODEL_SAMPLE * total)


class _Resampler:
    """A streaming resampler and its output that was not taken yet."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")
        self._ready: Samples = np.zeros(0, np.float32)
        self._made = 0
        self.is_done = False

    @property
    def ready(self) -> int:
        return len(self._ready)

    def feed(self, mono: Samples, is_last: bool) -> None:
        made = mono if self._stream is None else self._stream.resample_chunk(mono, last=is_last)
        self._extend(np.clip(made, -1.0, 1.0))
        self.is_done = is_last

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
