"""PCM16 bytes, cut anywhere, to samples for the model (16 kHz) and for playback (48 kHz).

A `PcmReader` belongs to one item. It keeps the bytes and resamples only the part that is read.
Items that follow at once at the same format are resampled as one sound: neither the cuts of the
bytes nor those into items change the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.timing import SAMPLE_RATE
from runtime.values import Samples
from server.speech.resampling import (
    BLOCKS_PER_SECOND,
    LEAST_PER_SECOND,
    Run,
    Speech,
    StreamPool,
    lookahead_frames,
    model_samples,
)

BYTES_PER_SAMPLE = 2


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
        return model_samples(frames, self.rate)


class PcmReader:
    """The audio of one item: `write` bytes, `finish`, and `read` what has arrived.

    `following` are the readers of the items that come after it; a finished item's last samples
    are made with the first ones of the next, if that is there in time.
    """

    __slots__ = ("_finished", "_frames_in", "_mono", "_offset", "_pool", "_read", "_run", "pcm")

    def __init__(self, pcm: PcmFormat, pool: StreamPool | None = None) -> None:
        self.pcm = pcm
        self._mono = _MonoBuffer(pcm.channels)
        self._pool = StreamPool() if pool is None else pool
        self._run: Run | None = None  # made when the first sample is read
        self._offset = 0  # frames of the run before this item
        self._frames_in = 0
        self._finished = False
        self._read = 0

    @property
    def unread_samples(self) -> int:
        """Model samples written and not yet read."""
        start = self.pcm.model_samples(self._offset)
        return self.pcm.model_samples(self._offset + self._frames_in) - start - self._read

    @property
    def is_joined(self) -> bool:
        """Whether its first sample goes on from the item before, without a seam."""
        return self._offset > 0

    def write(self, data: bytes) -> None:
        """Append PCM16 bytes; half a sample is kept for the next write."""
        assert not self._finished
        self._frames_in += self._mono.write(data)

    def finish(self) -> None:
        """No more bytes will come; an incomplete last sample is dropped."""
        self._finished = True
        self._mono.finish()

    def prepare(self, samples: int, following: Sequence["PcmReader"] = ()) -> int:
        """Resample enough for a read of `samples`; how many of them can be read now."""
        if self._run is None:
            self._run = Run(self.pcm.rate, self._pool)
        run, wanted = self._run, min(samples, self.unread_samples)
        if run.ready_samples < wanted and not run.is_done:
            _feed_until(run, wanted, [self, *following], samples)
        return min(wanted, run.ready_samples)

    def read(self, samples: int, following: Sequence["PcmReader"] = ()) -> Speech:
        """The next `samples`, or fewer if fewer have arrived."""
        count = self.prepare(samples, following)
        assert self._run is not None
        self._read += count
        return self._run.take(count)

    def holds(self, samples: int) -> bool:
        """Whether `samples` can surely be read as soon as the items before it are."""
        if self._finished:
            return True
        wanted = samples * self.pcm.rate // SAMPLE_RATE + lookahead_frames(self.pcm.rate)
        return self._mono.frames >= wanted

    @property
    def _is_at_end(self) -> bool:
        """Whether the next block is its last."""
        return self._finished and self._mono.frames <= self._block_frames

    @property
    def _block_frames(self) -> int:
        return self.pcm.rate // BLOCKS_PER_SECOND

    def _feed_inside(self, run: Run) -> bool:
        """Feed one block that is not the last; False if too little has arrived."""
        there = self._mono.frames
        if there < self.pcm.rate // LEAST_PER_SECOND:
            return False
        self._feed(run, min(there, self._block_frames), is_last=False)
        return True

    def _feed(self, run: Run, frames: int, *, is_last: bool) -> None:
        if self._run is None:
            self._run, self._offset = run, run.frames
        run.feed(self._mono.take(frames), is_last=is_last)


def _feed_until(run: Run, wanted: int, chain: Sequence[PcmReader], asked: int) -> None:
    """Feed `run` from `chain` until `wanted` samples of the first item are ready, if they can be.

    `asked` samples of the whole chain are about to be read.
    """
    number, last = 0, None
    while run.ready_samples < wanted and not run.is_done:
        reader = chain[number]
        if reader._is_at_end:
            last = _last_of_run(run, chain, asked) if last is None else last
            reader._feed(run, reader._mono.frames, is_last=number == last)
            number += 1
        elif not reader._feed_inside(run):
            break


def _last_of_run(run: Run, chain: Sequence[PcmReader], asked: int) -> int:
    """The place in `chain` of the last item that goes into `run`.

    Items of the same format do. An open one does if enough of it has arrived: then it will surely
    be placed at once after the one before it.
    """
    run_pcm = chain[0].pcm
    for number, reader in enumerate(chain[1:]):
        asked -= chain[number].unread_samples
        if reader._run is run:
            continue
        if reader._run is not None or reader.pcm != run_pcm or not reader.holds(max(asked, 0)):
            return number
    return len(chain) - 1


class _MonoBuffer:
    """PCM16 that waits. Several channels are mixed as they arrive: 4 bytes a sample at most."""

    __slots__ = ("_bytes", "_channels", "_rest")

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._bytes = bytearray()  # PCM16 of one channel, or float32 mixed of several
        self._rest = b""

    @property
    def frames(self) -> int:
        return len(self._bytes) // self._width

    @property
    def _width(self) -> int:
        return BYTES_PER_SAMPLE if self._channels == 1 else 4

    def write(self, data: bytes) -> int:
        """Append bytes; how many more samples there are."""
        before = self.frames
        if self._channels == 1:
            self._bytes += data
        else:
            data, size = self._rest + data, BYTES_PER_SAMPLE * self._channels
            whole = len(data) // size * size
            self._rest = data[whole:]
            ints = np.frombuffer(data[:whole], "<i2").reshape(-1, self._channels)
            self._bytes += ints.astype(np.float32).mean(axis=1).tobytes()
        return self.frames - before

    def finish(self) -> None:
        """Drop half a sample at the end."""
        self._rest = b""
        del self._bytes[self.frames * self._width :]

    def take(self, frames: int) -> Samples:
        """The first `frames` samples, (N,) in [-1, 1]."""
        size = frames * self._width
        taken = bytes(self._bytes[:size])
        del self._bytes[:size]
        if self._channels == 1:
            return np.frombuffer(taken, "<i2").astype(np.float32) / 32768.0
        return np.frombuffer(taken, np.float32) / 32768.0
