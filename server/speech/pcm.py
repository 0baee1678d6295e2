"""Speech coming in: PCM16 bytes in any cuts become model sound and output sound, in lockstep.

A `PcmReader` belongs to one item. It keeps bytes as they came and resamples only what is asked
for, with carried state: no cut of the bytes changes the result.
"""

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from runtime.timing import OUTPUT_RATE, SAMPLE_RATE
from server.protocol.errors import ErrorCode, ProtocolError

BYTES_PER_SAMPLE = 2
OUTPUT_PER_MODEL_SAMPLE = OUTPUT_RATE // SAMPLE_RATE
BLOCKS_PER_SECOND = 25
"""The input is resampled in blocks of at most 40 ms, so that reading a little costs a little."""
LEAST_PER_SECOND = 200
"""And of at least 5 ms, so that writing single samples costs little too."""

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Little-endian PCM16: samples a second (8,000 to 48,000) and interleaved channels."""

    rate: int = SAMPLE_RATE
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        return BYTES_PER_SAMPLE * self.channels

    def model_samples(self, frames: int) -> int:
        """Model-rate samples that `frames` samples of each channel last, rounded up."""
        return -(-frames * SAMPLE_RATE // self.rate)


@dataclass(frozen=True, slots=True)
class Heard:
    """The same stretch of sound twice: (N,) at 16 kHz for the model, (3 N,) at 48 kHz to play."""

    model: Sound
    output: Sound


class PcmReader:
    """One item's sound: `write` bytes, `finish`, and `read` what is there so far."""

    def __init__(self, pcm: PcmFormat) -> None:
        self._pcm = pcm
        self._bytes = bytearray()
        self._to_model = _Resampler(pcm.rate, SAMPLE_RATE)
        self._to_output = _Resampler(pcm.rate, OUTPUT_RATE)
        self._frames_in = 0
        self._bytes_in = 0
        self._finished = False
        self.read_samples = 0

    @property
    def unread_samples(self) -> int:
        """Model samples written and not yet read."""
        return self._pcm.model_samples(self._bytes_in // self._pcm.frame_bytes) - self.read_samples

    def write(self, data: bytes) -> None:
        """Take PCM16 bytes; half a sample is carried to the next write."""
        assert not self._finished
        self._bytes += data
        self._bytes_in += len(data)

    def finish(self) -> None:
        """No more bytes will come; half a sample left over is dropped, as it never was one."""
        self._finished = True

    def prepare(self, samples: int) -> int:
        """Resample until `samples` can be read, if that many came; how many of them can be."""
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

    def read(self, samples: int) -> Heard:
        """The next `samples`, or fewer where fewer came."""
        count = self.prepare(samples)
        self.read_samples += count
        return Heard(self._to_model.take(count), self._to_output.take(3 * count))

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
    """A streaming resampler and what it has made and nobody took yet."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")
        self._ready: Sound = np.zeros(0, np.float32)
        self._made = 0
        self.is_done = False

    @property
    def ready(self) -> int:
        return len(self._ready)

    def feed(self, mono: Sound, is_last: bool) -> None:
        made = mono if self._stream is None else self._stream.resample_chunk(mono, last=is_last)
        self._extend(np.clip(made, -1.0, 1.0))
        self.is_done = is_last

    def end_at(self, total: int) -> None:
        """Make the whole stream `total` samples long: rounding leaves it one short or long."""
        excess = self._made - total
        if excess > 0:
            self._ready = self._ready[: len(self._ready) - excess]
        elif excess < 0:
            self._extend(np.zeros(-excess, np.float32))

    def take(self, count: int) -> Sound:
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def _extend(self, made: Sound) -> None:
        self._ready = np.concatenate([self._ready, made])
        self._made += len(made)


# ---------------------------------------------------------------- what is no PCM

_MAGICS = {
    b"RIFF": "a WAV file (RIFF)",
    b"ID3": "an MP3 file (ID3)",
    b"OggS": "an Ogg file (OggS)",
    b"fLaC": "a FLAC file (fLaC)",
    b"\x1aE\xdf\xa3": "a WebM or Matroska file (EBML)",
}
_MP3_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def refuse_container(head: bytes) -> None:
    """Raise where an item's first bytes are a file's head and not PCM samples."""
    found = next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)
    if found is None and head[4:8] == b"ftyp":
        found = "an MP4 file (ftyp)"
    if found is None and _is_mp3(head):
        found = "MP3 frames"
    if found is not None:
        raise ProtocolError(
            ErrorCode.CONTAINER_NOT_PCM,
            f"found {found} pushed as raw PCM, expected little-endian PCM16 samples without a "
            "header; decode the file first and send its samples",
            "audio",
        )


def _is_mp3(head: bytes) -> bool:
    """Two MPEG layer 3 frames in a row; one sync word alone may well be a sample."""
    length = _mp3_frame_bytes(head)
    return length > 0 and _mp3_frame_bytes(head[length:]) > 0


def _mp3_frame_bytes(head: bytes) -> int:
    """Bytes of the MPEG layer 3 frame at the start of `head` (ISO 11172-3, 2.4.1.3), or 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = (head[1] >> 3) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    per_frame = 144_000 if version == 3 else 72_000
    padding = (head[2] >> 1) & 1
    return per_frame * _MP3_KBPS[version == 3][bitrate] // _MP3_RATES[version][rate] + padding
