"""Speech from files: any sound that PyAV reads, as mono PCM16 at the session's rate."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

CHUNK_MS = 40
AUDIBLE = 0.01  # root mean square of 10 ms, -40 dB of full scale: quieter is silence


class AudioFileError(ValueError):
    """A file has no sound that can be read."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Mono PCM16 samples (N,) at `rate` Hz."""

    samples: NDArray[np.int16]
    rate: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate

    def chunks(self, chunk_ms: int = CHUNK_MS) -> Iterator[bytes]:
        """The samples as little-endian bytes, `chunk_ms` at a time; the last may be shorter."""
        step = self.rate * chunk_ms // 1000
        for start in range(0, len(self.samples), step):
            yield self.samples[start : start + step].astype("<i2").tobytes()


def read_speech(path: Path, rate: int) -> Speech:
    """Read the first audio stream of `path`, mixed to mono and resampled to `rate` Hz.

    Raises AudioFileError if the file is missing, has no sound or cannot be read by PyAV.
    """
    if not path.is_file():
        raise AudioFileError(f"There is no file {path}. Pass the path of a sound file.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioFileError(f"{path} has no sound in it. Use a file with an audio track.")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            parts = [
                part.to_ndarray()[0]
                for frame in [*container.decode(audio=0), None]
                for part in resampler.resample(frame)
            ]
    except av.FFmpegError as error:
        raise AudioFileError(
            f"{path} cannot be read as sound ({error.strerror}). "
            "Use WAV, MP3, FLAC, Opus or another common format."
        ) from error
    samples = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    if not len(samples):
        raise AudioFileError(f"{path} is empty. Use a file with sound in it.")
    return Speech(samples, rate)


def sound_onset(samples: NDArray[np.int16], rate: int, threshold: float = AUDIBLE) -> int | None:
    """Index of the first audible sample, to within 10 ms; None if all is quiet."""
    block = rate // 100
    whole = len(samples) // block * block
    blocks = samples[:whole].reshape(-1, block).astype(np.float64) / 32768
    loud = np.flatnonzero(np.sqrt(np.mean(blocks**2, axis=1)) >= threshold)
    return int(loud[0]) * block if len(loud) else None


async def at_speaking_pace(speech: Speech, chunk_ms: int = CHUNK_MS) -> AsyncIterator[bytes]:
    """The chunks of `speech` at the pace of a person: each at the moment at which it is spoken."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for index, chunk in enumerate(speech.chunks(chunk_ms)):
        due = start + (index + 1) * chunk_ms / 1000
        await asyncio.sleep(max(0.0, due - loop.time()))
        yield chunk
